//! EndTxn (key 26): a producer commits or aborts its transaction. KIP-98, KIP-890 (the next epoch in the answer).

use ottla_wire::messages::{EndTxnRequest, EndTxnResponse};

use super::call::Call;
use crate::coordinator::transactions::EndTxn;

pub async fn handle(call: &mut Call<'_>, request: EndTxnRequest) -> EndTxnResponse {
    let id = request.transactional_id.clone();
    let answer = call.ctx.coordinators.transactions().ask(call.version, &id, EndTxn(request)).await;
    answer.unwrap_or_else(|code| EndTxnResponse { error_code: code.code(), ..Default::default() })
}
