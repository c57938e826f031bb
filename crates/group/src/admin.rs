//! What the administrator asks: ListGroups, DescribeGroups, ConsumerGroupDescribe, DeleteGroups.

use ottla_wire::ErrorCode;
use ottla_wire::messages::list_groups_response::ListedGroup;
use ottla_wire::messages::{
    ListGroupsRequest, ListGroupsResponse, consumer_group_describe_response, delete_groups_response,
    describe_groups_response,
};
use ottla_wire::primitives::Str;

use crate::config::GroupConfig;
use crate::context::Context;
use crate::group::Group;
use crate::groups::Groups;
use crate::offsets::Offsets;
use crate::request::Caller;
use crate::topics::Topics;

/// From this version on DescribeGroups says that a group does not exist (KIP-1043); before, such a group is dead.
const DESCRIBE_GROUPS_TELLS_ABSENCE_FROM: i16 = 6;

/// ListGroups: the groups of this partition that pass the filters (KIP-518, KIP-848), which are not case sensitive.
pub fn list_groups(groups: &Groups, request: &ListGroupsRequest) -> ListGroupsResponse {
    let passes = |filter: &[Str], value: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
    };
    let shown = |group: &ListedGroup| {
        passes(&request.states_filter, &group.group_state) && passes(&request.types_filter, &group.group_type)
    };
    let listed = groups.iter().map(|(_, group)| group.listed()).filter(shown);
    ListGroupsResponse { groups: listed.collect(), ..Default::default() }
}

/// DescribeGroups, of one group. A group of another kind is none here.
pub fn describe_group(groups: &Groups, caller: &Caller, id: Str) -> describe_groups_response::DescribedGroup {
    if let Some(described) = groups.get(&id).and_then(Group::describe) {
        return described;
    }
    let state = Str::from_static("Dead");
    let mut described = describe_groups_response::DescribedGroup { group_state: state, ..Default::default() };
    if caller.version >= DESCRIBE_GROUPS_TELLS_ABSENCE_FROM {
        described.error_code = ErrorCode::GroupIdNotFound.code();
        let kind = if groups.get(&id).is_some() { "is not a classic group" } else { "not found" };
        described.error_message = Some(format!("Group {id} {kind}.").into());
    }
    described.group_id = id;
    described
}

/// ConsumerGroupDescribe, of one group.
pub fn describe_consumer_group(
    groups: &Groups,
    config: &GroupConfig,
    topics: &dyn Topics,
    id: Str,
) -> consumer_group_describe_response::DescribedGroup {
    let message = match groups.get(&id) {
        Some(Group::Consumer(group)) => return group.describe(config, topics),
        Some(Group::Classic(_)) => format!("Group {id} is not a consumer group."),
        None => format!("Group {id} not found."),
    };
    consumer_group_describe_response::DescribedGroup {
        error_code: ErrorCode::GroupIdNotFound.code(),
        error_message: Some(message.into()),
        group_id: id,
        ..Default::default()
    }
}

/// DeleteGroups, of one group: it goes with its offsets, if it is empty.
pub fn delete_group(
    ctx: &mut Context<'_>,
    groups: &mut Groups,
    offsets: &mut Offsets,
    id: Str,
) -> delete_groups_response::DeletableGroupResult {
    let checked = groups.get(&id).ok_or(ErrorCode::GroupIdNotFound).and_then(Group::validate_delete);
    let error = match checked {
        Ok(()) => {
            offsets.remove_group(ctx, &id);
            groups.delete(ctx, &id);
            ErrorCode::None
        }
        Err(error) => error,
    };
    delete_groups_response::DeletableGroupResult { group_id: id, error_code: error.code() }
}
