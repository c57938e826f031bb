//! The controller: every decision about the cluster's metadata.
//!
//! A request comes with the image it is decided on; the answer comes with the records that make it true. The
//! driver proposes the records to the metadata log, cut into [`Entries`], and gives the response away when
//! they are applied. Decisions are taken one after the other: the image of the next call MUST hold the
//! records of the one before (applied, or as [`Image::apply_all`] foresees it).
//!
//! All state that must survive is in the image. [`Controller`] itself only remembers when it last heard of
//! each broker. It is made anew for each leadership of the metadata quorum, and whenever it is unknown what
//! became of a decision: what was only half logged it then makes whole.

mod allocate_producer_ids;
mod alter_configs;
mod alter_partition;
mod alter_partition_reassignments;
mod alters_configs;
mod assign_replicas_to_dirs;
mod bootstrap;
mod broker_heartbeat;
mod broker_registration;
mod change;
mod config_change;
mod create_partitions;
mod create_topics;
mod delete_topics;
mod describe_configs;
mod elect_leaders;
mod entries;
mod incremental_alter_configs;
mod leadership;
mod list_config_resources;
mod list_partition_reassignments;
mod placement;
mod requests;
mod sessions;
mod tick;
mod topic_names;
mod unregister_broker;
mod update_features;

use ottla_wire::messages::MetadataRecord;
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{Instant, Timestamp, Uuid};

use crate::image::Image;
use ottla_settings::BrokerSettings;

pub use allocate_producer_ids::PRODUCER_ID_BLOCK_LEN;
pub use alters_configs::{Altered, AltersConfigs};
pub use bootstrap::bootstrap_records;
pub use describe_configs::describe_configs;
pub use entries::{Cuts, ENTRY_BYTES_MAX, Entries, Entry, EntryError, UNIT_BYTES_MAX};
pub use list_config_resources::list_config_resources;
pub use list_partition_reassignments::list_partition_reassignments;
pub use requests::{Request, Response};
pub use topic_names::is_topic_name;

/// Takes decisions. One at a time is in charge: the one of the node that leads the metadata quorum.
#[derive(Debug, Default)]
pub struct Controller {
    sessions: sessions::Sessions,
    /// What another controller began has not been looked at yet.
    repair_due: bool,
}

/// What a decision is based on.
pub struct Call<'a> {
    pub now: Instant,
    pub wall: Timestamp,
    pub image: &'a Image,
    /// What this node was started with; dynamic settings are taken from the image.
    pub settings: &'a BrokerSettings,
    pub cluster_id: &'a str,
    /// Partitions that this node can keep open. Counts while it is the only broker: the others do not say.
    pub open_max: usize,
    /// The metadata-log offset that the first record of the decision will have at least. It becomes the epoch
    /// of a broker that registers.
    pub next_offset: i64,
    /// The metadata-log offset of the newest record that `image` holds.
    pub image_offset: i64,
    pub ids: &'a mut dyn IdSource,
}

/// Where randomness comes from.
pub trait IdSource {
    /// An id that nothing else has: random, never zero.
    fn uuid(&mut self) -> Uuid;
    /// Any number.
    fn random(&mut self) -> u64;
}

/// The answer to a request and the records that make it true (none if nothing changes).
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome<R> {
    pub records: Vec<MetadataRecord>,
    /// Where the records may be cut into several entries of the metadata log.
    pub cuts: Cuts,
    pub response: R,
}

/// Why a part of a request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
}

impl<R> Outcome<R> {
    /// A decision that is made whole or not at all.
    fn new(records: Vec<MetadataRecord>, response: R) -> Outcome<R> {
        Outcome { records, cuts: Cuts::Nowhere, response }
    }

    /// A decision whose records are each good by themselves, in their order.
    fn cut(records: Vec<MetadataRecord>, response: R) -> Outcome<R> {
        Outcome { records, cuts: Cuts::Anywhere, response }
    }

    /// An answer that changes nothing.
    fn only(response: R) -> Outcome<R> {
        Outcome::new(Vec::new(), response)
    }

    fn map<S>(self, to: impl FnOnce(R) -> S) -> Outcome<S> {
        Outcome { records: self.records, cuts: self.cuts, response: to(self.response) }
    }
}

impl Failure {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into() }
    }

    /// Error code and message as responses carry them.
    pub(crate) fn parts(self) -> (i16, Option<Str>) {
        (self.code.code(), Some(self.message.into()))
    }
}

/// Error code and message of a result as responses carry them.
fn parts(result: Result<(), Failure>) -> (i16, Option<Str>) {
    match result {
        Ok(()) => (ErrorCode::None.code(), None),
        Err(failure) => failure.parts(),
    }
}

/// The image that the records of a decision lead to. If they contradict `image`, whoever logs them finds out.
fn foreseen(image: &Image, records: &[MetadataRecord]) -> Image {
    image.apply_all(records).map_or_else(|_| image.clone(), |(next, _)| next)
}

impl Controller {
    /// A controller that comes into charge at `now`: every broker that is not fenced gets a whole session to
    /// be heard of. What is due ([`Controller::tick`], until there are no records) MUST come before the first
    /// request: that is decided on partitions as they should be.
    pub fn new(now: Instant, image: &Image) -> Controller {
        Controller { sessions: sessions::Sessions::new(now, image), repair_due: true }
    }
}
