//! DescribeTransactions (key 65): the state of transactional ids, and the partitions they write to. KIP-664.

use ottla_wire::messages::describe_transactions_response::TransactionState;
use ottla_wire::messages::{DescribeTransactionsRequest, DescribeTransactionsResponse};
use ottla_wire::primitives::Str;

use super::call::Call;
use crate::coordinator::transactions::DescribeTransaction;
use crate::door::{Operation, Resource};

pub async fn handle(
    call: &mut Call<'_>,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let mut response = DescribeTransactionsResponse::default();
    for id in request.transactional_ids {
        response.transaction_states.push(describe(call, id).await);
    }
    response
}

async fn describe(call: &Call<'_>, id: Str) -> TransactionState {
    match call.ask_transaction(Operation::Describe, DescribeTransaction(id.clone())).await {
        Ok(mut state) => {
            // Topics that the client may not see are left out.
            state.topics.retain(|topic| call.may(Operation::Describe, Resource::Topic(&topic.topic)));
            state
        }
        Err(code) => TransactionState { transactional_id: id, error_code: code.code(), ..Default::default() },
    }
}
