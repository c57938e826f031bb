//! Heartbeat (key 12): a member of a classic group says that it lives. KIP-345 (static members).

use ottla_wire::messages::{HeartbeatRequest, HeartbeatResponse};

use super::call::Call;

pub async fn handle(call: &mut Call<'_>, request: HeartbeatRequest) -> HeartbeatResponse {
    call.ctx
        .coordinators
        .groups()
        .ask(call.caller(), request)
        .await
        .unwrap_or_else(|code| HeartbeatResponse { error_code: code.code(), ..Default::default() })
}
