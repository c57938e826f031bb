//! LeaveGroup (key 13): members leave a classic group, or are removed from it. KIP-345 (several at once), KIP-800 (reasons).

use ottla_wire::messages::{LeaveGroupRequest, LeaveGroupResponse};

use super::call::Call;

/// The group itself knows the versions that name one member at the top of the request, and answers in kind.
pub async fn handle(call: &mut Call<'_>, request: LeaveGroupRequest) -> LeaveGroupResponse {
    call.ctx
        .coordinators
        .groups()
        .ask(call.caller(), request)
        .await
        .unwrap_or_else(|code| LeaveGroupResponse { error_code: code.code(), ..Default::default() })
}
