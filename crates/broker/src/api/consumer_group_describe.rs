//! ConsumerGroupDescribe (key 69): consumer groups with their members and assignments. KIP-848, KIP-1099 (member types).

use ottla_group::request::ConsumerGroupDescribe;
use ottla_wire::messages::consumer_group_describe_response::DescribedGroup;
use ottla_wire::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::authorized;
use super::call::Call;

pub async fn handle(
    call: &mut Call<'_>,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let served = call.ctx.coordinators.world().groups.consumer_protocol;
    let operations = authorized::group(request.include_authorized_operations);
    let mut response = ConsumerGroupDescribeResponse::default();
    for id in request.group_ids {
        let group = match served {
            true if id.is_empty() => refuse(id, ErrorCode::InvalidGroupId),
            true => describe(call, id, operations).await,
            false => refuse(id, ErrorCode::UnsupportedVersion),
        };
        response.groups.push(group);
    }
    response
}

async fn describe(call: &Call<'_>, id: Str, operations: i32) -> DescribedGroup {
    let question = ConsumerGroupDescribe::from(id.clone());
    match call.ctx.coordinators.groups().ask(call.caller(), question).await {
        Ok(group) if group.error_code == 0 => DescribedGroup { authorized_operations: operations, ..group },
        Ok(group) => group,
        Err(code) => refuse(id, code),
    }
}

fn refuse(group_id: Str, code: ErrorCode) -> DescribedGroup {
    DescribedGroup { group_id, error_code: code.code(), ..Default::default() }
}
