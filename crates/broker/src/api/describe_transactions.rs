//! DescribeTransactions (key 65): where transactional ids stand, and which partitions they write to. KIP-664.

use ottla_txn::{Request, Response};
use ottla_wire::messages::describe_transactions_response::TransactionState;
use ottla_wire::messages::{DescribeTransactionsRequest, DescribeTransactionsResponse};
use ottla_wire::primitives::Str;

use super::Call;
use crate::coordinator::transactions;

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
    let asked = transactions::call(call.version, Request::DescribeTransaction(id.clone()));
    match transactions::ask(call.ctx, &id, asked).await {
        Ok(Response::DescribeTransaction(state)) => state,
        Ok(_) => unreachable!("a coordinator answers what it was asked"),
        Err(code) => TransactionState { transactional_id: id, error_code: code.code(), ..Default::default() },
    }
}
