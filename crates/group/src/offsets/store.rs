//! Where committed offsets are kept: by group, topic and partition.

use ottla_wire::messages::{OffsetCommitKey, OffsetCommitValue};
use ottla_wire::primitives::Str;
use ottla_wire::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};

use crate::counted::{Counted, CountedMap};
use crate::memory::of_text;

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

/// The key of a committed offset.
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

pub(super) type Partitions = CountedMap<PartitionIndex, Entry>;
pub(super) type Topics = CountedMap<Str, Partitions>;

/// Committed offsets. No map in it is empty.
#[derive(Debug, Default)]
pub(super) struct Store {
    groups: CountedMap<Str, Topics>,
    len: usize,
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
        if !self.groups.contains_key(group) {
            self.groups.insert(group.detached(), Topics::default());
        }
        let before = self.groups.change(group, |topics| {
            if !topics.contains_key(topic) {
                topics.insert(topic.detached(), Partitions::default());
            }
            topics.change(topic, |partitions| partitions.insert(partition, entry))
        });
        self.len += usize::from(before.flatten().flatten().is_none());
    }

    pub fn remove(&mut self, group: &Str, topic: &Str, partition: PartitionIndex) {
        let removed = self.groups.change(group, |topics| {
            let removed = topics.change(topic, |partitions| partitions.remove(&partition));
            if topics.get(topic).is_some_and(|partitions| partitions.is_empty()) {
                topics.remove(topic);
            }
            removed.flatten()
        });
        self.len -= usize::from(removed.flatten().is_some());
        if self.groups.get(group).is_some_and(|topics| topics.is_empty()) {
            self.groups.remove(group);
        }
    }

    /// Bytes that the offsets take in memory.
    pub fn bytes(&self) -> usize {
        self.groups.bytes()
    }
}

impl Counted<Str> for Topics {
    fn bytes(&self, group: &Str) -> usize {
        of_text(group) + self.bytes()
    }
}

impl Counted<Str> for Partitions {
    fn bytes(&self, topic: &Str) -> usize {
        of_text(topic) + self.bytes()
    }
}

impl Counted<PartitionIndex> for Entry {
    fn bytes(&self, _partition: &PartitionIndex) -> usize {
        of_text(&self.committed.metadata)
    }
}
