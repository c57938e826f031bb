//! InitProducerId (key 22): an id for an idempotent producer. KIP-98, KIP-360 (the next epoch of an id).
//!
//! Transactional ids need the transaction coordinator, which is not served yet: they are refused.

use ottla_wire::messages::{InitProducerIdRequest, InitProducerIdResponse};
use ottla_wire::protocol::ErrorCode;

use super::Call;

pub async fn handle(call: &mut Call<'_>, request: InitProducerIdRequest) -> InitProducerIdResponse {
    match init(call, &request).await {
        Ok(producer_id) => InitProducerIdResponse { producer_id, producer_epoch: 0, ..Default::default() },
        Err(code) => {
            InitProducerIdResponse { error_code: code.code(), producer_epoch: -1, ..Default::default() }
        }
    }
}

async fn init(call: &Call<'_>, request: &InitProducerIdRequest) -> Result<i64, ErrorCode> {
    match &request.transactional_id {
        Some(id) if id.is_empty() => return Err(ErrorCode::InvalidRequest),
        // A producer fails for good with this code, instead of asking again for ever.
        Some(_) => return Err(ErrorCode::UnsupportedVersion),
        None => {}
    }
    // A producer without a transactional id gets a new id whatever epoch it had: nobody else can have it.
    let epoch = call.ctx.broker_epoch().ok_or(ErrorCode::CoordinatorNotAvailable)?;
    let id = call.ctx.producer_ids.next(&call.ctx.controller, call.ctx.node, epoch).await?;
    Ok(id.0)
}
