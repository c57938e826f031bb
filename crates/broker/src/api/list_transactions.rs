//! ListTransactions (key 66): the transactional ids that this broker coordinates. KIP-664.
//!
//! - 1: filter by running time (KIP-994).
//! - 2: filter by a pattern of ids (KIP-1152).

use ottla_txn::StateFilter;
use ottla_wire::messages::{ListTransactionsRequest, ListTransactionsResponse};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::call::Call;
use crate::coordinator::transactions::ListTransactions;
use crate::door::{Operation, Resource};

pub async fn handle(call: &mut Call<'_>, request: ListTransactionsRequest) -> ListTransactionsResponse {
    let unknown = request.state_filters.iter().filter(|name| StateFilter::parse(name).is_none());
    let mut response =
        ListTransactionsResponse { unknown_state_filters: unknown.cloned().collect(), ..Default::default() };
    let transactions = call.ctx.coordinators.transactions();
    for index in transactions.led_here() {
        let asked = ListTransactions(request.clone());
        let listed = match transactions.ask_at(index, call.version, asked).await {
            Ok(listed) => listed,
            // The leadership has just ended, so its ids belong to another broker.
            Err(ErrorCode::NotCoordinator) => continue,
            Err(code) => ListTransactionsResponse { error_code: code.code(), ..Default::default() },
        };
        // An incomplete list must not look complete.
        if listed.error_code != 0 {
            return ListTransactionsResponse { error_code: listed.error_code, ..Default::default() };
        }
        response.transaction_states.extend(listed.transaction_states);
    }
    let may_see = |id: &Str| call.may(Operation::Describe, Resource::TransactionalId(id));
    response.transaction_states.retain(|listed| may_see(&listed.transactional_id));
    response
}
