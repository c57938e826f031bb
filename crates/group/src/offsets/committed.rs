//! The committed offsets of a coordinator, and those in transactions.

use std::collections::BTreeSet;

use ottla_coordinator::Producer;
use ottla_wire::messages::{OffsetCommitKey, OffsetCommitValue};
use ottla_wire::primitives::Str;
use ottla_wire::{PartitionIndex, ProducerId};

use super::pending::Pending;
use super::store::{CommittedOffset, Entry, GroupTopicPartition, Store};
use super::sweep::Sweep;
use crate::context::Context;
use crate::groups::HasOffsets;
use crate::record::GroupRecord;

/// The committed offsets of all groups of a coordinator.
#[derive(Debug, Default)]
pub struct Offsets {
    pub(super) store: Store,
    pub(super) pending: Pending,
    /// Rank of the last offset that was applied; see [`Entry::rank`].
    pub(super) rank: u64,
    pub(super) sweep: Sweep,
}

impl HasOffsets for Offsets {
    fn has_offsets(&self, group: &Str) -> bool {
        self.store.group(group).is_some() || self.pending.concerns(group)
    }
}

impl Offsets {
    /// Takes in a record, from the log or just written. One of a transaction waits for its end; a tombstone
    /// does not, and also drops what transactions would commit.
    pub fn apply(
        &mut self,
        producer: Option<Producer>,
        key: &OffsetCommitKey,
        value: Option<&OffsetCommitValue>,
    ) {
        let partition = PartitionIndex(key.partition);
        let Some(value) = value else {
            self.store.remove(&key.group, &key.topic, partition);
            if !self.pending.is_empty() {
                self.pending.remove(&GroupTopicPartition::of(key));
            }
            return;
        };
        self.rank += 1;
        let entry = Entry { rank: self.rank, committed: CommittedOffset::of(value) };
        match producer {
            Some(producer) => self.pending.put(producer.id, &GroupTopicPartition::of(key), entry),
            None => self.store.put(&key.group, &key.topic, partition, entry),
        }
    }

    /// Ends a transaction. Its offsets take effect, except where a later commit has overtaken them. Returns
    /// the affected groups, which may have no offsets left.
    pub fn end_transaction(&mut self, producer: Producer, commit: bool) -> BTreeSet<Str> {
        let ended = self.pending.take(producer.id);
        let groups = ended.keys().map(|place| place.group.clone()).collect();
        for (place, entry) in ended {
            let before = self.store.get(&place.group, &place.topic, place.partition);
            if commit && before.is_none_or(|before| before.rank < entry.rank) {
                self.store.put(&place.group, &place.topic, place.partition, entry);
            }
        }
        groups
    }

    /// How many offsets are committed.
    pub fn len(&self) -> usize {
        self.store.len()
    }

    pub fn is_empty(&self) -> bool {
        self.store.len() == 0
    }

    /// How many offsets wait for the end of a transaction.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// Bytes that the offsets take in memory, committed ones and those in transactions.
    pub fn bytes(&self) -> usize {
        self.store.bytes() + self.pending.bytes()
    }

    pub fn get(&self, place: &GroupTopicPartition) -> Option<&CommittedOffset> {
        self.store.get(&place.group, &place.topic, place.partition).map(|entry| &entry.committed)
    }

    /// Every committed offset with its group, topic and partition, in order: what lags are measured from.
    pub fn iter(&self) -> impl Iterator<Item = (&Str, &Str, PartitionIndex, &CommittedOffset)> {
        self.store.groups().flat_map(|(group, topics)| {
            topics.iter().flat_map(move |(topic, partitions)| {
                partitions.iter().map(move |(partition, entry)| (group, topic, *partition, &entry.committed))
            })
        })
    }

    /// The committed offsets of one group, in order.
    pub fn of_group(&self, group: &Str) -> impl Iterator<Item = (&Str, PartitionIndex, &CommittedOffset)> {
        self.store.group(group).into_iter().flatten().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(partition, entry)| (topic, *partition, &entry.committed))
        })
    }

    /// The records that stand for the committed offsets, without pending ones.
    pub fn records(&self) -> Vec<GroupRecord> {
        let record = |(group, topic, partition, committed): (&Str, &Str, _, &CommittedOffset)| {
            let place = GroupTopicPartition { group: group.clone(), topic: topic.clone(), partition };
            GroupRecord::Offset { key: place.into_key(), value: Some(committed.to_value()) }
        };
        self.iter().map(record).collect()
    }

    /// Every offset that waits for the end of a transaction, in order.
    pub fn pending(&self) -> impl Iterator<Item = (ProducerId, &GroupTopicPartition, &CommittedOffset)> {
        self.pending.iter().map(|(producer, place, entry)| (producer, place, &entry.committed))
    }

    /// Writes a record and applies it.
    pub(super) fn write(
        &mut self,
        ctx: &mut Context,
        producer: Option<Producer>,
        key: OffsetCommitKey,
        value: Option<OffsetCommitValue>,
    ) {
        self.apply(producer, &key, value.as_ref());
        let record = GroupRecord::Offset { key, value };
        match producer {
            Some(producer) => ctx.write_in(producer, &record),
            None => ctx.write(&record),
        }
    }

    /// Writes the deletion of the offset for `place`.
    pub(super) fn write_tombstone(&mut self, ctx: &mut Context, place: GroupTopicPartition) {
        self.write(ctx, None, place.into_key(), None);
    }
}
