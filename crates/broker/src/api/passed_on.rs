//! APIs that are passed on to the coordinator of a group or a transactional id as they are.

use ottla_wire::messages::*;

use super::call::Call;
use crate::coordinator::transactions::EndTxn;
use crate::door::Operation;

/// Makes a handler for each row: who is asked, what the client must be allowed to do with whom the request is
/// for, and what the coordinator calls the question if it has a name of its own.
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
    /// Heartbeat (key 12): a member of a classic group says that it lives.
    ///
    /// - 1: the time of throttling.
    /// - 3: static members (KIP-345).
    /// - 4: flexible.
    heartbeat: HeartbeatRequest => HeartbeatResponse by ask_group(Read);

    /// LeaveGroup (key 13): members leave a classic group, or are removed from it. The group itself knows the
    /// versions that name one member at the top of the request, and answers in kind.
    ///
    /// - 1: the time of throttling.
    /// - 3: several members, static ones by their instance (KIP-345).
    /// - 4: flexible.
    /// - 5: the reason (KIP-800).
    leave_group: LeaveGroupRequest => LeaveGroupResponse by ask_group(Read);

    /// SyncGroup (key 14): the leader of a classic group hands out the assignment, the others wait for
    /// theirs.
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
    /// - 5: transaction version 2: the answer brings the producer's next epoch (KIP-890).
    end_txn: EndTxnRequest => EndTxnResponse by ask_transaction(Write) as EndTxn;
}
