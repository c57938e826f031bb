//! APIs that only pass a request to the coordinator of a group or a transactional id.

use ottla_wire::messages::*;

use super::call::Call;
use crate::coordinator::transactions::EndTxn;
use crate::door::Operation;

/// Makes a handler for each row: the coordinator to ask, the permission that the client needs, and the name
/// of the question if it is not the request itself.
macro_rules! passed_on {
    ($(
        $(#[$doc:meta])*
        $name:ident: $request:ident => $response:ident by $ask:ident($operation:ident) $(as $question:ident)?;
    )+) => {$(
        $(#[$doc])*
        pub async fn $name(call: &mut Call<'_>, request: $request) -> $response {
            let answer = call.$ask(Operation::$operation, $($question)? (request)).await;
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

    /// EndTxn (key 26): a producer commits or aborts its transaction. KIP-98.
    ///
    /// - 2: INVALID_PRODUCER_EPOCH became PRODUCER_FENCED (KIP-588).
    /// - 3: flexible.
    /// - 4: TRANSACTION_ABORTABLE (KIP-890).
    /// - 5: transaction version 2: the answer has the producer's next epoch (KIP-890).
    end_txn: EndTxnRequest => EndTxnResponse by ask_transaction(Write) as EndTxn;
}
