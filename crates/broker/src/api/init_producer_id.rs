//! InitProducerId (key 22): an id and an epoch for a producer.
//! KIP-98, KIP-360 (the next epoch of an id), KIP-890 (retried errors).

use ottla_wire::messages::{InitProducerIdRequest, InitProducerIdResponse};
use ottla_wire::protocol::ErrorCode;

use super::call::Call;
use crate::coordinator::transactions::InitProducerId;

pub async fn handle(call: &mut Call<'_>, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let coordinators = &call.ctx.coordinators;
    match request.transactional_id.clone() {
        // The coordinator refuses it; it need not be found for that.
        Some(id) if id.is_empty() => refuse(ErrorCode::InvalidRequest),
        Some(id) => coordinators
            .transactions()
            .ask(call.version, &id, InitProducerId(request))
            .await
            .unwrap_or_else(refuse),
        // A producer without a transactional id gets a new id whatever epoch it had: nobody else can have it.
        None => match coordinators.next_producer_id().await {
            Ok(id) => InitProducerIdResponse { producer_id: id.0, producer_epoch: 0, ..Default::default() },
            Err(code) => refuse(code),
        },
    }
}

fn refuse(code: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse { error_code: code.code(), producer_epoch: -1, ..Default::default() }
}
