//! Producer ids, from blocks that the controller gives to this broker alone.

use ottla_wire::messages::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerEpoch, BrokerId, ProducerId};
use tokio::sync::Mutex;

use crate::controllers::ControllerHandle;

/// The remaining ids of the current block.
#[derive(Default)]
pub struct ProducerIds {
    left: Mutex<std::ops::Range<i64>>,
}

impl ProducerIds {
    /// An id that is unique in the cluster, now and later.
    pub async fn next(
        &self,
        controller: &ControllerHandle,
        broker: BrokerId,
        epoch: BrokerEpoch,
    ) -> Result<ProducerId, ErrorCode> {
        let mut left = self.left.lock().await;
        if left.is_empty() {
            *left = ask_for_block(controller, broker, epoch).await?;
        }
        left.next().map(ProducerId).ok_or(ErrorCode::UnknownServerError)
    }
}

async fn ask_for_block(
    controller: &ControllerHandle,
    broker: BrokerId,
    epoch: BrokerEpoch,
) -> Result<std::ops::Range<i64>, ErrorCode> {
    let request = AllocateProducerIdsRequest { broker_id: broker.0, broker_epoch: epoch.0 };
    // Failures of the controller are temporary. After this code a client asks again.
    let response: AllocateProducerIdsResponse =
        controller.ask(request).await.map_err(|_| ErrorCode::CoordinatorNotAvailable)?;
    match ErrorCode::from_code(response.error_code) {
        Some(ErrorCode::None) => {}
        _ => return Err(ErrorCode::CoordinatorNotAvailable),
    }
    Ok(response.producer_id_start..response.producer_id_start + i64::from(response.producer_id_len))
}
