//! EndTxn (key 26): a producer commits or aborts its transaction. KIP-98, KIP-890 (the next epoch in the answer).

use ottla_txn::{Request, Response};
use ottla_wire::messages::{EndTxnRequest, EndTxnResponse};

use super::Call;
use crate::coordinator::transactions;

pub async fn handle(call: &mut Call<'_>, request: EndTxnRequest) -> EndTxnResponse {
    let id = request.transactional_id.clone();
    let asked = transactions::call(call.version, Request::EndTxn(request));
    match transactions::ask(call.ctx, &id, asked).await {
        Ok(Response::EndTxn(response)) => response,
        Ok(_) => unreachable!("a coordinator answers what it was asked"),
        Err(code) => EndTxnResponse { error_code: code.code(), ..Default::default() },
    }
}
