//! What every request handler gets.

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

/// The broker from the viewpoint of request handlers. Nothing in it is locked on the data path.
pub struct Context {
    pub node: BrokerId,
    /// Identifies this process among all processes with this broker id.
    pub incarnation: Uuid,
    pub cluster_id: Str,
    /// The APIs that the broker advertises.
    pub served: &'static [ApiKey],
    /// The settings from the command line and its file. Dynamic ones override them: see
    /// [`Context::settings`].
    pub started_with: Arc<BrokerSettings>,
    pub limits: Limits,
    /// Who may do what, and who must wait.
    pub door: Door,
    /// `fetch.max.bytes`, which is fixed while the broker runs.
    pub fetch_bytes_max: i64,
    pub clock: Clock,
    /// The metadata image and the partitions held here.
    pub published: Arc<ArcSwap<Published>>,
    /// The way to the controller, which decides changes of the cluster.
    pub controller: ControllerHandle,
    pub fetch_sessions: Sessions,
    pub cold_reads: ColdReads,
    /// Runs searches by time.
    pub searches: ColdReads,
    /// The way to coordinators.
    pub coordinators: Arc<Coordinators>,
    pub data_dirs: Arc<[DataDir]>,
    pub metrics: Arc<Metrics>,
}

impl Context {
    /// The current settings: those of the start, overridden by the dynamic ones.
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

    /// The broker that clients get as the controller. Any live one will do, because each has a way to the
    /// controller.
    pub fn controller_id(&self, published: &Published) -> BrokerId {
        let alive = published.image.alive_brokers().next();
        if published.image.is_active(self.node) {
            self.node
        } else {
            alive.map_or(BrokerId::NONE, |one| one.id)
        }
    }
}

/// Limits that Kafka has no settings for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most bytes that one batch may unpack to. Kafka has no such limit. A batch that packs a
    /// thousandfold is an attack.
    pub decompressed_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { decompressed_bytes_max: 128 << 20 }
    }
}
