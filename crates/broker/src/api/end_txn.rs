//! EndTxn (key 26): a producer commits or aborts its transaction. KIP-98.
//!
//! - 2: INVALID_PRODUCER_EPOCH became PRODUCER_FENCED (KIP-588).
//! - 3: flexible.
//! - 4: TRANSACTION_ABORTABLE (KIP-890).
//! - 5: transaction version 2: the answer has the producer's next epoch (KIP-890).

use ottla_wire::messages::{EndTxnRequest, EndTxnResponse};

use super::call::Call;
use crate::coordinator::transactions::EndTxn;
use crate::door::Operation;

pub async fn handle(call: &mut Call<'_>, request: EndTxnRequest) -> EndTxnResponse {
    let id = request.transactional_id.clone();
    let answer = call.ask_transaction(Operation::Write, &id, EndTxn(request)).await;
    answer.unwrap_or_else(|code| EndTxnResponse { error_code: code.code(), ..Default::default() })
}
