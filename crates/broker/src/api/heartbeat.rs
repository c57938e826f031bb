//! Heartbeat (key 12): a member of a classic group says that it lives. KIP-345 (static members).

use ottla_wire::messages::{HeartbeatRequest, HeartbeatResponse};

use super::call::Call;
use crate::coordinator::groups::Heartbeat;

pub async fn handle(call: &mut Call<'_>, request: HeartbeatRequest) -> HeartbeatResponse {
    let group = request.group_id.clone();
    call.ctx
        .coordinators
        .groups()
        .ask(call.caller(), &group, Heartbeat(request))
        .await
        .unwrap_or_else(|code| HeartbeatResponse { error_code: code.code(), ..Default::default() })
}
