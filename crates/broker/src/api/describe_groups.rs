//! DescribeGroups (key 15): classic groups with their members.
//!
//! - 1: the time of throttling.
//! - 3: authorized operations (KIP-430).
//! - 4: static members by their instance (KIP-345).
//! - 5: flexible.
//! - 6: a group that is not there is GROUP_ID_NOT_FOUND, with a message (KIP-1043).

use ottla_group::request::DescribeGroup;
use ottla_wire::messages::describe_groups_response::DescribedGroup;
use ottla_wire::messages::{DescribeGroupsRequest, DescribeGroupsResponse};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::call::Call;
use crate::door::{Operation, Resource};

pub async fn handle(call: &mut Call<'_>, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let with_operations = request.include_authorized_operations;
    let mut response = DescribeGroupsResponse::default();
    for id in request.groups {
        response.groups.push(describe(call, id, with_operations).await);
    }
    response
}

async fn describe(call: &Call<'_>, id: Str, with_operations: bool) -> DescribedGroup {
    match call.ask_group(Operation::Describe, DescribeGroup::from(id.clone())).await {
        Ok(group) if group.error_code == 0 => DescribedGroup {
            authorized_operations: call.authorized_operations(with_operations, Resource::Group(&id)),
            ..group
        },
        Ok(group) => group,
        Err(code) => refuse(id, code),
    }
}

fn refuse(group_id: Str, code: ErrorCode) -> DescribedGroup {
    DescribedGroup { group_id, error_code: code.code(), ..Default::default() }
}
