//! APIs that only pass a request to the coordinator of a group.

use ottla_wire::messages::*;

use super::call::Call;
use crate::door::Operation;

/// Makes a handler for each row: the coordinator to ask, and the permission that the client needs.
macro_rules! passed_on {
    ($($(#[$doc:meta])* $name:ident: $request:ident => $response:ident by $ask:ident($operation:ident);)+) => {$(
        $(#[$doc])*
        pub async fn $name(call: &mut Call<'_>, request: $request) -> $response {
            let answer = call.$ask(Operation::$operation, request).await;
            answer.unwrap_or_else(|code| $response { error_code: code.code(), ..Default::default() })
        }
    )+};
}

passed_on! {
    /// Heartbeat (key 12): a member of a classic group shows that it is alive.
    ///
    /// - 1: the time of throttling.
    /// - 3: static members (KIP-345).
    /// - 4: flexible.
    heartbeat: HeartbeatRequest => HeartbeatResponse by ask_group(Read);

    /// LeaveGroup (key 13): members leave a classic group, or are removed from it. The group handles the
    /// versions that name one member at the top of the request, and answers in the same form.
    ///
    /// - 1: the time of throttling.
    /// - 3: several members, static ones by their instance (KIP-345).
    /// - 4: flexible.
    /// - 5: the reason (KIP-800).
    leave_group: LeaveGroupRequest => LeaveGroupResponse by ask_group(Read);

    /// SyncGroup (key 14): the leader of a classic group sends the assignment, the others wait for theirs.
    ///
    /// - 1: the time of throttling.
    /// - 3: static members (KIP-345).
    /// - 4: flexible.
    /// - 5: type and name of the protocol, in both directions (KIP-559).
    sync_group: SyncGroupRequest => SyncGroupResponse by ask_group_with_others(Read);
}
