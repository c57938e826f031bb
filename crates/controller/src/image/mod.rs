//! The metadata image: what all records of the metadata log up to some point add up to.
//!
//! An [`Image`] never changes. Applying records gives a new one that shares all that stayed the same, and a
//! [`Delta`] that says what did not. [`Image::to_records`] writes it back as records (a snapshot): applied to
//! an empty image they give an equal one.

mod apply;
mod broker;
mod delta;
mod features;
mod resource;
mod snapshot;
mod topic;

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;
use ottla_settings::{ConfigMap, Dynamic};
use ottla_wire::messages::{AccessControlEntryRecord, DelegationTokenRecord, UserScramCredentialRecord};
use ottla_wire::primitives::Str;
use ottla_wire::{BrokerEpoch, BrokerId, PartitionIndex, ProducerId, TopicId, Uuid};

pub use apply::{ApplyError, ImageBuilder};
pub(crate) use apply::{changed_partition, moved_directories};
pub use broker::{ControllerRegistration, Endpoint, Registration, SupportedFeature};
pub use delta::Delta;
pub use features::{ELIGIBLE_LEADER_REPLICAS, Feature, Features, METADATA_VERSION, MetadataVersion};
pub use resource::{ConfigResource, ResourceKind};
pub(crate) use snapshot::{numbers, partition_record};
pub use topic::{DIRECTORY_UNASSIGNED, LeaderRecovery, Partition, Topic};

/// The truth of the cluster at one point of the metadata log. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Image {
    /// The finalized level of each feature, `metadata.version` among them.
    pub features: Features,
    pub brokers: OrdMap<BrokerId, Arc<Registration>>,
    pub controllers: OrdMap<BrokerId, Arc<ControllerRegistration>>,
    topics: OrdMap<TopicId, Arc<Topic>>,
    topic_ids: OrdMap<Str, TopicId>,
    pub configs: OrdMap<ConfigResource, Arc<ConfigMap>>,
    /// The first producer id that no block has been handed out for.
    pub next_producer_id: ProducerId,
    pub quotas: OrdMap<QuotaEntity, Arc<BTreeMap<Str, f64>>>,
    pub acls: OrdMap<Uuid, Arc<AccessControlEntryRecord>>,
    /// By user name and mechanism.
    pub scram: OrdMap<(Str, i8), Arc<UserScramCredentialRecord>>,
    /// By token id.
    pub delegation_tokens: OrdMap<Str, Arc<DelegationTokenRecord>>,
}

/// Whom a client quota is for: (entity type, name), where no name means the default of the type. Sorted by
/// type.
pub type QuotaEntity = Vec<(Str, Option<Str>)>;

impl Image {
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(self.topic_ids.get(name)?)
    }

    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.topics.get(&id)
    }

    pub fn topic_id(&self, name: &str) -> Option<TopicId> {
        self.topic_ids.get(name).copied()
    }

    /// All topics in the order of their names.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.topic_ids.values().filter_map(|id| self.topics.get(id))
    }

    /// All topic names in order, from `from` on (that included): for lists that are read page by page.
    pub fn topic_names_from(&self, from: &str) -> impl Iterator<Item = &Str> {
        self.topic_ids.range(Str::from(from)..).map(|(name, _)| name)
    }

    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    pub fn partition(&self, id: TopicId, index: PartitionIndex) -> Option<&Arc<Partition>> {
        self.topics.get(&id)?.partition(index)
    }

    /// Partitions of all topics together.
    pub fn partition_count(&self) -> usize {
        self.topics.values().map(|topic| topic.partitions.len()).sum()
    }

    pub fn broker(&self, id: BrokerId) -> Option<&Arc<Registration>> {
        self.brokers.get(&id)
    }

    /// Brokers that clients may be told of.
    pub fn alive_brokers(&self) -> impl Iterator<Item = &Arc<Registration>> {
        self.brokers.values().filter(|broker| !broker.fenced)
    }

    /// May `broker` lead partitions now?
    pub fn is_active(&self, broker: BrokerId) -> bool {
        self.brokers.get(&broker).is_some_and(|registration| registration.is_active())
    }

    /// Whether `broker` is registered and has a replica of `partition` in a directory that is online
    /// (KIP-858).
    pub fn has_online_replica(&self, partition: &Partition, broker: BrokerId) -> bool {
        let directory = partition.directory_of(broker);
        partition.is_replica(broker)
            && self.brokers.get(&broker).is_some_and(|one| directory.is_none_or(|id| one.has_online_dir(id)))
    }

    /// The epoch of `broker`'s registration, if there is one.
    pub fn broker_epoch(&self, broker: BrokerId) -> Option<BrokerEpoch> {
        self.brokers.get(&broker).map(|registration| registration.epoch)
    }

    /// The dynamic settings of `resource`; none set is `None`.
    pub fn config(&self, resource: &ConfigResource) -> Option<&ConfigMap> {
        self.configs.get(resource).map(|map| &**map)
    }

    /// The dynamic value of one setting of a resource.
    pub fn config_value(&self, resource: &ConfigResource, name: &str) -> Option<&Str> {
        self.config(resource)?.get(name)
    }
}

impl Dynamic for Image {
    fn of_all_brokers(&self) -> Option<&ConfigMap> {
        self.config(&ConfigResource::all_brokers())
    }

    fn of_broker(&self, id: BrokerId) -> Option<&ConfigMap> {
        self.config(&ConfigResource::broker(id))
    }

    fn of_topic(&self, name: &str) -> Option<&ConfigMap> {
        self.config(&ConfigResource::topic(name))
    }
}
