//! ConsumerGroupHeartbeat (key 68): a member of a consumer group joins, lives, says what it owns, and leaves. KIP-848.

use ottla_group::{Request, Response};
use ottla_wire::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use ottla_wire::protocol::ErrorCode;

use super::Call;
use crate::coordinator::groups::ask;

pub async fn handle(
    call: &mut Call<'_>,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    if !call.ctx.coordinators.world().groups.consumer_protocol {
        return refuse(ErrorCode::UnsupportedVersion);
    }
    let group = request.group_id.clone();
    match ask(call, &group, Request::ConsumerGroupHeartbeat(request)).await {
        Ok(Response::ConsumerGroupHeartbeat(response)) => response,
        Ok(_) => unreachable!("a coordinator answers what it was asked"),
        Err(code) => refuse(code),
    }
}

fn refuse(code: ErrorCode) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse { error_code: code.code(), ..Default::default() }
}
