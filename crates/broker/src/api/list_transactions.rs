//! ListTransactions (key 66): the transactional ids that this broker coordinates. KIP-664, KIP-994 (by duration), KIP-1152
//! (by pattern).

use ottla_txn::{Request, Response, TxnCoordinator};
use ottla_wire::messages::{ListTransactionsRequest, ListTransactionsResponse};
use ottla_wire::protocol::ErrorCode;

use super::Call;
use crate::coordinator::ask::led_here;
use crate::coordinator::transactions;

pub async fn handle(call: &mut Call<'_>, request: ListTransactionsRequest) -> ListTransactionsResponse {
    let mut response = ListTransactionsResponse::default();
    for index in led_here::<TxnCoordinator>(call.ctx) {
        let asked = transactions::call(call.version, Request::ListTransactions(request.clone()));
        let listed = match transactions::ask_partition(call.ctx, index, asked).await {
            Ok(Response::ListTransactions(listed)) => listed,
            Ok(_) => unreachable!("a coordinator answers what it was asked"),
            // The leadership has just gone: its ids are somebody else's.
            Err(ErrorCode::NotCoordinator) => continue,
            Err(code) => ListTransactionsResponse { error_code: code.code(), ..Default::default() },
        };
        // A list that lacks some must not look like one that has all.
        if listed.error_code != 0 {
            return ListTransactionsResponse { error_code: listed.error_code, ..Default::default() };
        }
        // Which names of states are unknown is the same everywhere.
        response.unknown_state_filters = listed.unknown_state_filters;
        response.transaction_states.extend(listed.transaction_states);
    }
    response
}
