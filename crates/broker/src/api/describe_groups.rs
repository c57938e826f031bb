//! DescribeGroups (key 15): classic groups with their members. KIP-430 (authorized operations), KIP-1043 (unknown groups).

use ottla_group::request::DescribeGroup;
use ottla_wire::messages::describe_groups_response::DescribedGroup;
use ottla_wire::messages::{DescribeGroupsRequest, DescribeGroupsResponse};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::authorized;
use super::call::Call;

pub async fn handle(call: &mut Call<'_>, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let operations = authorized::group(request.include_authorized_operations);
    let mut response = DescribeGroupsResponse::default();
    for id in request.groups {
        response.groups.push(describe(call, id, operations).await);
    }
    response
}

async fn describe(call: &Call<'_>, id: Str, operations: i32) -> DescribedGroup {
    match call.ctx.coordinators.groups().ask(call.caller(), DescribeGroup::from(id.clone())).await {
        Ok(group) if group.error_code == 0 => DescribedGroup { authorized_operations: operations, ..group },
        Ok(group) => group,
        Err(code) => refuse(id, code),
    }
}

fn refuse(group_id: Str, code: ErrorCode) -> DescribedGroup {
    DescribedGroup { group_id, error_code: code.code(), ..Default::default() }
}
