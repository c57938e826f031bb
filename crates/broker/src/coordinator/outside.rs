//! What coordinators have done for them outside of their shards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerId, ProducerId};

use crate::clock::Clock;
use crate::controllers::ControllerHandle;
use crate::producer_ids::ProducerIds;
use crate::published::Published;

/// The broker, as the tasks see it that work for coordinators.
pub struct Outside {
    pub node: BrokerId,
    pub clock: Clock,
    pub published: Arc<ArcSwap<Published>>,
    pub controller: ControllerHandle,
    pub producer_ids: ProducerIds,
    caught_up: AtomicBool,
}

impl Outside {
    pub fn new(
        node: BrokerId,
        clock: Clock,
        published: Arc<ArcSwap<Published>>,
        controller: ControllerHandle,
    ) -> Outside {
        let (producer_ids, caught_up) = (ProducerIds::default(), AtomicBool::new(false));
        Outside { node, clock, published, controller, producer_ids, caught_up }
    }

    /// What was in the metadata log when this broker started is published.
    pub fn set_caught_up(&self) {
        self.caught_up.store(true, Ordering::Release);
    }

    /// Before this, a topic that the image lacks is not known to be gone: partitions open before their image is published.
    pub fn is_caught_up(&self) -> bool {
        self.caught_up.load(Ordering::Acquire)
    }

    /// An id that no other producer has or will have.
    pub async fn next_producer_id(&self) -> Result<ProducerId, ErrorCode> {
        let epoch = self.published.load().image.broker_epoch(self.node);
        let epoch = epoch.ok_or(ErrorCode::CoordinatorNotAvailable)?;
        self.producer_ids.next(&self.controller, self.node, epoch).await
    }
}
