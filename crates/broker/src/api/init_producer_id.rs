//! InitProducerId (key 22): an id and an epoch for a producer. KIP-98.
//!
//! - 2: flexible.
//! - 3: the producer's id and epoch as it knows them, to get the next epoch (KIP-360).
//! - 4: INVALID_PRODUCER_EPOCH became PRODUCER_FENCED (KIP-588).
//! - 5: TRANSACTION_ABORTABLE (KIP-890).
//! - 6: two-phase commit (KIP-939). Not advertised: it is not stable.

use ottla_wire::messages::{InitProducerIdRequest, InitProducerIdResponse};
use ottla_wire::protocol::ErrorCode;

use super::call::Call;
use crate::coordinator::transactions::InitProducerId;
use crate::door::{Operation, Resource};

pub async fn handle(call: &mut Call<'_>, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let answer = match &request.transactional_id {
        // Such a request is refused in any case, without looking for the coordinator.
        Some(id) if id.is_empty() => Err(ErrorCode::InvalidRequest),
        Some(_) => call.ask_transaction(Operation::Write, InitProducerId(request)).await,
        None => without_transactions(call).await,
    };
    answer.unwrap_or_else(refuse)
}

/// A producer without a transactional id gets a new id, whatever epoch it had: the id is unique. It needs
/// permission for idempotent writes, or for writes to any topic (KIP-679).
async fn without_transactions(call: &Call<'_>) -> Result<InitProducerIdResponse, ErrorCode> {
    let writes_somewhere = || {
        let published = call.ctx.published.load();
        published.image.topics().any(|topic| call.may(Operation::Write, Resource::Topic(&topic.name)))
    };
    if !call.may(Operation::IdempotentWrite, Resource::Cluster) && !writes_somewhere() {
        return Err(Resource::Cluster.refusal());
    }
    let id = call.ctx.coordinators.next_producer_id().await?;
    Ok(InitProducerIdResponse { producer_id: id.0, producer_epoch: 0, ..Default::default() })
}

fn refuse(code: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse { error_code: code.code(), producer_epoch: -1, ..Default::default() }
}
