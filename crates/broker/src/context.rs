//! What every request handler is given.

use std::borrow::Cow;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ottla_controller::image::ConfigResource;
use ottla_log::DataDir;
use ottla_settings::BrokerSettings;
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ApiKey;
use ottla_wire::{BrokerId, Uuid};

use crate::clock::Clock;
use crate::cold_reads::ColdReads;
use crate::controllers::ControllerHandle;
use crate::coordinator::Coordinators;
use crate::door::Door;
use crate::fetch::Sessions;
use crate::metrics::Metrics;
use crate::published::Published;

/// The broker, as request handlers see it. Nothing in it is locked on the data path.
pub struct Context {
    pub node: BrokerId,
    /// Names this process among those that have been this broker.
    pub incarnation: Uuid,
    pub cluster_id: Str,
    /// The APIs that clients are told of.
    pub served: &'static [ApiKey],
    /// The settings of the command line and its file; dynamic ones are above them: see [`Context::settings`].
    pub started_with: Arc<BrokerSettings>,
    pub limits: Limits,
    /// Who may do what, and who has to wait.
    pub door: Door,
    /// `fetch.max.bytes`, which stays what it is while the broker runs.
    pub fetch_bytes_max: i64,
    pub clock: Clock,
    /// The metadata image and the partitions held here.
    pub published: Arc<ArcSwap<Published>>,
    /// Where changes of the cluster are decided.
    pub controller: ControllerHandle,
    pub fetch_sessions: Sessions,
    pub cold_reads: ColdReads,
    /// Searches by time.
    pub searches: ColdReads,
    /// Where coordinators are asked.
    pub coordinators: Arc<Coordinators>,
    pub data_dirs: Arc<[DataDir]>,
    pub metrics: Arc<Metrics>,
}

impl Context {
    /// The settings that hold now: those of the start with the dynamic ones above them.
    pub fn settings(&self) -> Cow<'_, BrokerSettings> {
        let published = self.published.load();
        let image = &published.image;
        let dynamic =
            |resource: ConfigResource| image.config(&resource).is_some_and(|config| !config.is_empty());
        if dynamic(ConfigResource::all_brokers()) || dynamic(ConfigResource::broker(self.node)) {
            return Cow::Owned(self.started_with.with_dynamic(image));
        }
        Cow::Borrowed(&self.started_with)
    }

    /// Whom clients are told to be the controller: any broker that is alive will do, because each passes
    /// requests on.
    pub fn controller_id(&self, published: &Published) -> BrokerId {
        let alive = published.image.alive_brokers().next();
        if published.image.is_active(self.node) {
            self.node
        } else {
            alive.map_or(BrokerId::NONE, |one| one.id)
        }
    }
}

/// Limits that are not settings of Kafka's.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes that one batch may unpack to. Kafka has no such limit; a batch that packs a thousandfold is an
    /// attack.
    pub decompressed_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { decompressed_bytes_max: 128 << 20 }
    }
}
