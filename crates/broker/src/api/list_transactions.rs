//! ListTransactions (key 66): the transactional ids that this broker coordinates. KIP-664, KIP-994 (by duration), KIP-1152
//! (by pattern).

use ottla_txn::{StateFilter, TxnCoordinator};
use ottla_wire::messages::{ListTransactionsRequest, ListTransactionsResponse};
use ottla_wire::protocol::ErrorCode;

use super::call::Call;
use crate::coordinator::ask::led_here;
use crate::coordinator::transactions::{ListTransactions, ask_partition};

pub async fn handle(call: &mut Call<'_>, request: ListTransactionsRequest) -> ListTransactionsResponse {
    let unknown = request.state_filters.iter().filter(|name| StateFilter::parse(name).is_none());
    let mut response =
        ListTransactionsResponse { unknown_state_filters: unknown.cloned().collect(), ..Default::default() };
    for index in led_here::<TxnCoordinator>(call.ctx) {
        let asked = ListTransactions(request.clone());
        let listed = match ask_partition(call.ctx, index, call.version, asked).await {
            Ok(listed) => listed,
            // The leadership has just gone: its ids are somebody else's.
            Err(ErrorCode::NotCoordinator) => continue,
            Err(code) => ListTransactionsResponse { error_code: code.code(), ..Default::default() },
        };
        // A list that lacks some must not look like one that has all.
        if listed.error_code != 0 {
            return ListTransactionsResponse { error_code: listed.error_code, ..Default::default() };
        }
        response.transaction_states.extend(listed.transaction_states);
    }
    response
}
