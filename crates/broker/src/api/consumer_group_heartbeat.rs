//! ConsumerGroupHeartbeat (key 68): a member of a consumer group joins, lives, says what it owns, and leaves. KIP-848.

use ottla_wire::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use ottla_wire::protocol::ErrorCode;

use super::call::Call;

pub async fn handle(
    call: &mut Call<'_>,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    if !call.ctx.coordinators.world().groups.consumer_protocol {
        return refuse(ErrorCode::UnsupportedVersion);
    }
    call.ctx.coordinators.groups().ask(call.caller(), request).await.unwrap_or_else(refuse)
}

fn refuse(code: ErrorCode) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse { error_code: code.code(), ..Default::default() }
}
