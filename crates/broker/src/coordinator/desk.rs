//! The desk: the entry for requests to coordinators, and the services that coordinators need outside of their
//! shards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, Guard};
use ottla_controller::Image;
use ottla_settings::BrokerSettings;
use ottla_tasks::Tasks;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerId, Instant, ProducerId};
use tokio::sync::Mutex;

use super::kit::{Counts, Kit};
use super::world::World;
use crate::clock::Clock;
use crate::controllers::ControllerHandle;
use crate::producer_ids::ProducerIds;
use crate::published::Published;

/// The coordinators of the cluster, from the viewpoint of this broker. [`Coordinators::groups`] reaches
/// groups, [`Coordinators::transactions`] transactional ids, and [`Coordinators::verify`] confirms
/// transactional writes.
pub struct Coordinators {
    node: BrokerId,
    /// The settings of the start. The dynamic ones are in the image.
    settings: Arc<BrokerSettings>,
    pub(super) clock: Clock,
    pub(super) published: Arc<ArcSwap<Published>>,
    pub(super) controller: ControllerHandle,
    pub(super) tasks: Tasks,
    producer_ids: ProducerIds,
    caught_up: AtomicBool,
    /// Held while an internal topic is created. The time is that of the last failure.
    pub(super) creation: Mutex<Option<Instant>>,
    kit: Arc<Kit>,
}

impl Coordinators {
    pub fn new(
        node: BrokerId,
        settings: Arc<BrokerSettings>,
        clock: Clock,
        published: Arc<ArcSwap<Published>>,
        controller: ControllerHandle,
        tasks: Tasks,
    ) -> Coordinators {
        let kit = Arc::new(Kit::new(World::new(&settings, &Image::default())));
        Coordinators {
            node,
            settings,
            clock,
            published,
            controller,
            tasks,
            producer_ids: ProducerIds::default(),
            caught_up: AtomicBool::new(false),
            creation: Mutex::new(None),
            kit,
        }
    }

    /// The state that all coordinators in the shards of this broker share.
    pub fn kit(&self) -> &Arc<Kit> {
        &self.kit
    }

    /// The current view of the cluster for coordinators.
    pub fn world(&self) -> Guard<Arc<World>> {
        self.kit.world()
    }

    pub fn set_world(&self, world: World) {
        self.kit.set_world(Arc::new(world));
    }

    pub fn counts(&self) -> &Counts {
        &self.kit.counts
    }

    /// The current settings: those of the start, overridden by the dynamic ones.
    pub(super) fn settings(&self) -> BrokerSettings {
        self.settings.with_dynamic(&self.published.load().image)
    }

    /// Notes that the metadata log is published up to its end at the start of this broker.
    pub fn set_caught_up(&self) {
        self.caught_up.store(true, Ordering::Release);
    }

    /// Before this, a topic that the image lacks may still exist: partitions open before their image is
    /// published.
    pub fn is_caught_up(&self) -> bool {
        self.caught_up.load(Ordering::Acquire)
    }

    /// A producer id that is unique in the cluster.
    pub async fn next_producer_id(&self) -> Result<ProducerId, ErrorCode> {
        let epoch = self.published.load().image.broker_epoch(self.node);
        let epoch = epoch.ok_or(ErrorCode::CoordinatorNotAvailable)?;
        self.producer_ids.next(&self.controller, self.node, epoch).await
    }
}
