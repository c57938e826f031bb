//! Requests of administrators: ListGroups, DescribeGroups, ConsumerGroupDescribe, DeleteGroups, and the
//! history of a group.

use ottla_coordinator::Ticket;
use ottla_wire::ErrorCode;
use ottla_wire::messages::list_groups_response::ListedGroup;
use ottla_wire::messages::{
    ListGroupsRequest, ListGroupsResponse, consumer_group_describe_response, delete_groups_response,
    describe_groups_response,
};
use ottla_wire::primitives::Str;

use crate::classic::ClassicGroup;
use crate::consumer::ConsumerGroup;
use crate::group::Group;
use crate::groups::Groups;
use crate::history::Rebalance;
use crate::request::{
    Caller, ConsumerGroupDescribe, DeleteGroup, DescribeGroup, GroupRequest, History, Response,
};
use crate::step::{Serve, Step};

/// From this version on DescribeGroups says that a group does not exist (KIP-1043); before, such a group is
/// dead.
const DESCRIBE_GROUPS_TELLS_ABSENCE_FROM: i16 = 6;

impl GroupRequest for ListGroupsRequest {
    type Response = ListGroupsResponse;

    const READS_ONLY: bool = true;

    fn group(&self) -> Option<&Str> {
        None
    }

    fn refuse(self, error: ErrorCode) -> ListGroupsResponse {
        ListGroupsResponse { error_code: error.code(), ..Default::default() }
    }
}

impl Serve for ListGroupsRequest {
    fn serve(self, step: &mut Step<'_>, ticket: Ticket, _caller: &Caller) {
        step.ctx.reply(ticket, Response::ListGroups(list_groups(step.groups, &self)));
    }
}

impl GroupRequest for DescribeGroup {
    type Response = describe_groups_response::DescribedGroup;

    const READS_ONLY: bool = true;
    const NEEDS_NAME: bool = false;

    fn group(&self) -> Option<&Str> {
        Some(&self.group_id)
    }

    fn refuse(self, error: ErrorCode) -> describe_groups_response::DescribedGroup {
        let (group_id, error_code) = (self.group_id, error.code());
        describe_groups_response::DescribedGroup { group_id, error_code, ..Default::default() }
    }
}

impl Serve for DescribeGroup {
    fn serve(self, step: &mut Step<'_>, ticket: Ticket, caller: &Caller) {
        let described = describe_group(step.groups, caller, self.group_id);
        step.ctx.reply(ticket, Response::DescribeGroup(described));
    }
}

impl GroupRequest for ConsumerGroupDescribe {
    type Response = consumer_group_describe_response::DescribedGroup;

    const READS_ONLY: bool = true;

    fn group(&self) -> Option<&Str> {
        Some(&self.group_id)
    }

    fn refuse(self, error: ErrorCode) -> consumer_group_describe_response::DescribedGroup {
        let (group_id, error_code) = (self.group_id, error.code());
        consumer_group_describe_response::DescribedGroup { group_id, error_code, ..Default::default() }
    }
}

impl Serve for ConsumerGroupDescribe {
    fn serve(self, step: &mut Step<'_>, ticket: Ticket, _caller: &Caller) {
        let described = match step.groups.get_as::<ConsumerGroup>(&self.group_id) {
            Some(group) => group.describe(step.ctx.config, step.ctx.topics),
            None => no_consumer_group(step.groups, self.group_id),
        };
        step.ctx.reply(ticket, Response::ConsumerGroupDescribe(described));
    }
}

impl GroupRequest for DeleteGroup {
    type Response = delete_groups_response::DeletableGroupResult;

    const NEEDS_NAME: bool = false;

    fn group(&self) -> Option<&Str> {
        Some(&self.group_id)
    }

    fn refuse(self, error: ErrorCode) -> delete_groups_response::DeletableGroupResult {
        delete_groups_response::DeletableGroupResult { group_id: self.group_id, error_code: error.code() }
    }
}

impl Serve for DeleteGroup {
    fn serve(self, step: &mut Step<'_>, ticket: Ticket, _caller: &Caller) {
        let error = delete_group(step, &self.group_id).err().unwrap_or(ErrorCode::None);
        step.ctx.reply(ticket, Response::DeleteGroup(self.refuse(error)));
    }
}

impl GroupRequest for History {
    type Response = Vec<Rebalance>;

    const READS_ONLY: bool = true;
    const NEEDS_NAME: bool = false;

    fn group(&self) -> Option<&Str> {
        Some(&self.group_id)
    }

    fn refuse(self, _error: ErrorCode) -> Vec<Rebalance> {
        Vec::new()
    }
}

impl Serve for History {
    fn serve(self, step: &mut Step<'_>, ticket: Ticket, _caller: &Caller) {
        let rebalances = step.ctx.histories.rebalances(&self.group_id);
        step.ctx.reply(ticket, Response::History(rebalances));
    }
}

/// The groups of this partition that pass the filters (KIP-518, KIP-848), which are not case sensitive.
fn list_groups(groups: &Groups, request: &ListGroupsRequest) -> ListGroupsResponse {
    let passes = |filter: &[Str], value: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
    };
    let shown = |group: &ListedGroup| {
        passes(&request.states_filter, &group.group_state) && passes(&request.types_filter, &group.group_type)
    };
    let listed = groups.iter().map(|(_, group)| group.listed()).filter(shown);
    ListGroupsResponse { groups: listed.collect(), ..Default::default() }
}

/// A group of another type is none here.
fn describe_group(groups: &Groups, caller: &Caller, id: Str) -> describe_groups_response::DescribedGroup {
    if let Some(group) = groups.get_as::<ClassicGroup>(&id) {
        return group.describe();
    }
    let state = Str::from_static("Dead");
    let mut described = describe_groups_response::DescribedGroup { group_state: state, ..Default::default() };
    if caller.version >= DESCRIBE_GROUPS_TELLS_ABSENCE_FROM {
        described.error_code = ErrorCode::GroupIdNotFound.code();
        let what = if groups.get(&id).is_some() { "is not a classic group" } else { "not found" };
        described.error_message = Some(format!("Group {id} {what}.").into());
    }
    described.group_id = id;
    described
}

fn no_consumer_group(groups: &Groups, id: Str) -> consumer_group_describe_response::DescribedGroup {
    let what = if groups.get(&id).is_some() { "is not a consumer group" } else { "not found" };
    consumer_group_describe_response::DescribedGroup {
        error_code: ErrorCode::GroupIdNotFound.code(),
        error_message: Some(format!("Group {id} {what}.").into()),
        group_id: id,
        ..Default::default()
    }
}

/// A group goes with its offsets, if it is empty.
fn delete_group(step: &mut Step<'_>, id: &Str) -> Result<(), ErrorCode> {
    step.groups.get(id).ok_or(ErrorCode::GroupIdNotFound).and_then(<dyn Group>::validate_delete)?;
    step.offsets.remove_group(&mut step.ctx, id);
    step.groups.delete(&mut step.ctx, id);
    Ok(())
}
