//! What a run of records changed.

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::primitives::Str;
use ottla_wire::{BrokerId, PartitionIndex, TopicId};

use super::ConfigResource;

/// What changed between two images. The values are in the newer image; what is gone is in the older one.
///
/// A topic that was created and deleted by the same records appears nowhere.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delta {
    pub topics_created: BTreeSet<TopicId>,
    /// Id and name: the newer image no longer has them.
    pub topics_deleted: BTreeMap<TopicId, Str>,
    /// Every partition that is new or not as before, of created topics too.
    pub partitions_changed: BTreeMap<TopicId, BTreeSet<PartitionIndex>>,
    /// Registered, fenced, unfenced, unregistered or otherwise changed.
    pub brokers_changed: BTreeSet<BrokerId>,
    pub configs_changed: BTreeSet<ConfigResource>,
    pub features_changed: bool,
    pub producer_ids_changed: bool,
    pub quotas_changed: bool,
    pub acls_changed: bool,
    /// SCRAM credentials or delegation tokens.
    pub credentials_changed: bool,
}

impl Delta {
    pub fn is_empty(&self) -> bool {
        *self == Delta::default()
    }

    /// Every changed partition, topic by topic.
    pub fn partitions(&self) -> impl Iterator<Item = (TopicId, PartitionIndex)> {
        self.partitions_changed.iter().flat_map(|(id, topic)| topic.iter().map(|index| (*id, *index)))
    }

    pub(super) fn partition(&mut self, topic: TopicId, index: PartitionIndex) {
        self.partitions_changed.entry(topic).or_default().insert(index);
    }

    pub(super) fn topic_deleted(&mut self, id: TopicId, name: Str) {
        self.partitions_changed.remove(&id);
        if !self.topics_created.remove(&id) {
            self.topics_deleted.insert(id, name);
        }
    }
}
