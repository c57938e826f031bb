//! Where committed offsets are kept: by group, topic and partition.

use std::collections::BTreeMap;

use ottla_wire::messages::{OffsetCommitKey, OffsetCommitValue};
use ottla_wire::primitives::Str;
use ottla_wire::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};

use crate::memory::{of_map, of_one_more, of_text};

/// How far a group has read a partition, as it was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    pub offset: Offset,
    /// Epoch of the last record that was read; [`LeaderEpoch::NONE`] if the client did not say.
    pub leader_epoch: LeaderEpoch,
    pub metadata: Str,
    pub committed_at: Timestamp,
    /// When the commit itself said that it expires (OffsetCommit v2 to v4); [`Timestamp::NONE`] otherwise.
    pub expires_at: Timestamp,
    /// Zero if it was not known.
    pub topic_id: TopicId,
}

/// What an offset is committed for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupTopicPartition {
    pub group: Str,
    pub topic: Str,
    pub partition: PartitionIndex,
}

/// A committed offset and its rank in the log. Of two commits for one place the one of the higher rank
/// counts, whichever of them comes into force later.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub rank: u64,
    pub committed: CommittedOffset,
}

pub(super) type Partitions = BTreeMap<PartitionIndex, Entry>;
pub(super) type Topics = BTreeMap<Str, Partitions>;

/// Committed offsets. No map in it is empty.
#[derive(Debug, Default)]
pub(super) struct Store {
    groups: BTreeMap<Str, Topics>,
    len: usize,
    /// Bytes of all but the outermost map.
    bytes: usize,
}

impl CommittedOffset {
    /// Keeps nothing of the frame or batch that `value` was read from.
    pub(super) fn of(value: &OffsetCommitValue) -> CommittedOffset {
        CommittedOffset {
            offset: Offset(value.offset),
            leader_epoch: LeaderEpoch(value.leader_epoch),
            metadata: if value.metadata.is_empty() { Str::default() } else { value.metadata.detached() },
            committed_at: Timestamp(value.commit_timestamp),
            expires_at: Timestamp(value.expire_timestamp),
            topic_id: value.topic_id,
        }
    }

    /// As it is recorded.
    pub(super) fn to_value(&self) -> OffsetCommitValue {
        OffsetCommitValue {
            offset: self.offset.0,
            leader_epoch: self.leader_epoch.0,
            metadata: self.metadata.clone(),
            commit_timestamp: self.committed_at.0,
            expire_timestamp: self.expires_at.0,
            topic_id: self.topic_id,
        }
    }

    /// Whether the offset was committed for a topic of another id than `asked`. A zero on either side says
    /// nothing.
    pub(super) fn is_of_another_topic(&self, asked: TopicId) -> bool {
        !self.topic_id.is_zero() && !asked.is_zero() && self.topic_id != asked
    }
}

impl GroupTopicPartition {
    pub(super) fn of(key: &OffsetCommitKey) -> GroupTopicPartition {
        GroupTopicPartition {
            group: key.group.clone(),
            topic: key.topic.clone(),
            partition: PartitionIndex(key.partition),
        }
    }

    pub(super) fn into_key(self) -> OffsetCommitKey {
        OffsetCommitKey { group: self.group, topic: self.topic, partition: self.partition.0 }
    }

    /// The first place that `group` can have.
    pub(super) fn first_of(group: &Str) -> GroupTopicPartition {
        GroupTopicPartition::first_in(group, &Str::default())
    }

    /// The first place that a topic can have in `group`.
    pub(super) fn first_in(group: &Str, topic: &Str) -> GroupTopicPartition {
        GroupTopicPartition {
            group: group.clone(),
            topic: topic.clone(),
            partition: PartitionIndex(i32::MIN),
        }
    }

    /// The same place, without the frames that its names were read from.
    pub(super) fn detached(&self) -> GroupTopicPartition {
        GroupTopicPartition {
            group: self.group.detached(),
            topic: self.topic.detached(),
            partition: self.partition,
        }
    }
}

impl Store {
    /// How many offsets there are.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn get(&self, group: &Str, topic: &Str, partition: PartitionIndex) -> Option<&Entry> {
        self.groups.get(group)?.get(topic)?.get(&partition)
    }

    pub fn group(&self, group: &Str) -> Option<&Topics> {
        self.groups.get(group)
    }

    pub fn groups(&self) -> impl Iterator<Item = (&Str, &Topics)> {
        self.groups.iter()
    }

    pub fn put(&mut self, group: &Str, topic: &Str, partition: PartitionIndex, entry: Entry) {
        let topics = match self.groups.get_mut(group) {
            Some(topics) => topics,
            None => {
                self.bytes += of_text(group);
                self.groups.entry(group.detached()).or_default()
            }
        };
        let partitions = match topics.get_mut(topic) {
            Some(partitions) => partitions,
            None => {
                self.bytes += of_text(topic) + of_one_more::<Str, Partitions>(topics.len());
                topics.entry(topic.detached()).or_default()
            }
        };
        self.bytes += of_text(&entry.committed.metadata);
        let len = partitions.len();
        match partitions.insert(partition, entry) {
            Some(before) => self.bytes -= of_text(&before.committed.metadata),
            None => {
                self.len += 1;
                self.bytes += of_one_more::<PartitionIndex, Entry>(len);
            }
        }
    }

    pub fn remove(&mut self, group: &Str, topic: &Str, partition: PartitionIndex) {
        let Some(topics) = self.groups.get_mut(group) else { return };
        let Some(partitions) = topics.get_mut(topic) else { return };
        let Some(removed) = partitions.remove(&partition) else { return };
        self.len -= 1;
        self.bytes -= of_text(&removed.committed.metadata);
        self.bytes -= of_one_more::<PartitionIndex, Entry>(partitions.len());
        if partitions.is_empty() {
            topics.remove(topic);
            self.bytes -= of_text(topic) + of_one_more::<Str, Partitions>(topics.len());
        }
        if topics.is_empty() {
            self.groups.remove(group);
            self.bytes -= of_text(group);
        }
    }

    /// Bytes that the offsets take in memory.
    pub fn bytes(&self) -> usize {
        self.bytes + of_map::<Str, Topics>(self.groups.len())
    }

    /// The same, counted from scratch.
    pub fn count_bytes(&self) -> usize {
        let groups = self.groups.iter().map(|(group, topics)| {
            let topics_bytes: usize =
                topics.iter().map(|(topic, of)| of_text(topic) + partitions_bytes(of)).sum();
            of_text(group) + of_map::<Str, Partitions>(topics.len()) + topics_bytes
        });
        groups.sum::<usize>() + of_map::<Str, Topics>(self.groups.len())
    }
}

fn partitions_bytes(partitions: &Partitions) -> usize {
    let metadata: usize = partitions.values().map(|entry| of_text(&entry.committed.metadata)).sum();
    of_map::<PartitionIndex, Entry>(partitions.len()) + metadata
}
