//! SyncGroup (key 14): the leader of a classic group hands out the assignment, the others wait for theirs.
//! KIP-345 (static members), KIP-559 (protocol type and name).

use ottla_wire::messages::{SyncGroupRequest, SyncGroupResponse};

use super::call::Call;

pub async fn handle(call: &mut Call<'_>, request: SyncGroupRequest) -> SyncGroupResponse {
    call.ctx
        .coordinators
        .groups()
        .ask_with_others(call.caller(), request)
        .await
        .unwrap_or_else(|code| SyncGroupResponse { error_code: code.code(), ..Default::default() })
}
