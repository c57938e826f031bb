//! All producers of one partition, and which transactions are open or undecided.

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, DefaultHasher, Hasher};
use std::time::Duration;

use ottla_wire::batch::{BatchHeader, ControlRecord};
use ottla_wire::{AbortedTxn, Instant, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use super::entry::{Entry, RememberedBatch};
use super::verification::Verifications;
use crate::config::ReplicaConfig;

/// What DescribeProducers tells of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerState {
    pub producer_id: ProducerId,
    pub epoch: ProducerEpoch,
    /// [`Sequence::NONE`] when nothing of this epoch is known.
    pub last_sequence: Sequence,
    pub last_timestamp: Timestamp,
    /// -1 when no transaction of it has ended here.
    pub coordinator_epoch: i32,
    /// Where its open transaction began.
    pub txn_first: Option<Offset>,
}

/// What a partition knows of its producers. Look-up is O(1); open transactions are kept in order of their
/// first offset.
#[derive(Clone, Debug)]
pub struct ProducerTable {
    pub(super) entries: HashMap<ProducerId, Entry, Seed>,
    /// First offset of each transaction without a marker, and whose it is.
    pub(super) open: BTreeMap<Offset, ProducerId>,
    /// Transactions whose marker is not yet below the high watermark: first offset, and offset of the marker.
    pub(super) undecided: BTreeMap<Offset, Offset>,
    pub(super) verifications: Verifications,
    limit: usize,
}

impl ProducerTable {
    /// An empty table with the limits of this configuration.
    pub fn new(config: &ReplicaConfig) -> ProducerTable {
        ProducerTable {
            entries: HashMap::with_hasher(Seed(config.hash_seed)),
            open: BTreeMap::new(),
            undecided: BTreeMap::new(),
            verifications: Verifications::default(),
            limit: config.producers_max,
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Every producer, by id. Those whose transactions have ended are listed too, until they expire.
    pub fn list(&self) -> Vec<ProducerState> {
        let mut all: Vec<ProducerState> =
            self.entries.iter().map(|(&id, entry)| describe(id, entry)).collect();
        all.sort_unstable_by_key(|state| state.producer_id);
        all
    }

    /// The batches that this producer is remembered by, oldest first.
    pub fn remembered(&self, producer: ProducerId) -> &[RememberedBatch] {
        self.entries.get(&producer).map_or(&[], Entry::batches)
    }

    /// Where the first transaction begins that readers of committed data may not pass.
    pub fn first_unstable(&self) -> Option<Offset> {
        let open = self.open.keys().next();
        let undecided = self.undecided.keys().next();
        open.into_iter().chain(undecided).min().copied()
    }

    /// A batch with its offsets assigned is in the log: the one way in for leaders, followers and recovery.
    /// `control` is its control record, if it has one; `at` is when it was appended, if that is known. Tells
    /// of a transaction that this aborts.
    pub fn appended(
        &mut self,
        header: &BatchHeader,
        control: Option<&ControlRecord>,
        at: Option<Instant>,
    ) -> Option<AbortedTxn> {
        if !header.has_producer() {
            return None;
        }
        if !header.is_control() {
            self.data(header, at);
            return None;
        }
        match control {
            Some(&ControlRecord::Commit { coordinator_epoch }) => {
                self.ended(header, coordinator_epoch, at);
                None
            }
            Some(&ControlRecord::Abort { coordinator_epoch }) => self.ended(header, coordinator_epoch, at),
            // Compaction leaves the batch of a marker empty once all of its transaction is gone.
            Some(_) | None => None,
        }
    }

    /// Everything before `high_watermark` is committed: markers below it are final.
    pub fn committed(&mut self, high_watermark: Offset) {
        if !self.undecided.is_empty() {
            self.undecided.retain(|_, marker| *marker >= high_watermark);
        }
    }

    /// The log starts at `start` now. Producers are kept (KIP-360): their idempotence must survive retention.
    pub fn log_started(&mut self, start: Offset) {
        self.undecided.retain(|_, marker| *marker >= start);
    }

    /// Forgets producers that have been silent for `expiry` and have no transaction open. It counts when they
    /// were heard, not what their records say: who copies records of last year is alive (Kafka forgets him).
    /// Of a producer that was read from the log nobody knows when that was: it counts from now.
    pub fn expire(&mut self, now: Instant, expiry: Duration) {
        let silent = |since: Instant| now.since(since) >= expiry;
        self.entries.retain(|_, entry| {
            let heard = *entry.heard.get_or_insert(now);
            entry.txn_first.is_some() || !silent(heard)
        });
        self.verifications.expire(silent);
    }

    /// Takes from an older table of the same log what the log does not say: when producers were heard, and
    /// who is under verification.
    pub(crate) fn take_over(&mut self, old: &mut ProducerTable) {
        for (id, entry) in &mut self.entries {
            entry.heard = old.entries.get(id).and_then(|old| old.heard);
        }
        self.verifications = std::mem::take(&mut old.verifications);
    }

    /// The log was dropped.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.open.clear();
        self.undecided.clear();
        self.verifications.clear();
    }

    pub(crate) fn limit_to(&mut self, producers_max: usize) {
        self.limit = producers_max;
    }

    /// Whether there is, or can be made, room for one more producer.
    pub(super) fn has_room(&self) -> bool {
        self.entries.len() < self.limit || self.open.len() < self.entries.len()
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    fn data(&mut self, header: &BatchHeader, at: Option<Instant>) {
        let entry = self.entry(header.producer_id, header.producer_epoch);
        entry.heard = at;
        entry.appended(header.producer_epoch, RememberedBatch::of(header));
        if header.is_transactional() && entry.txn_first.is_none() {
            entry.txn_first = Some(header.base_offset);
            self.open.insert(header.base_offset, header.producer_id);
            self.verifications.forget(header.producer_id);
        }
    }

    fn ended(
        &mut self,
        header: &BatchHeader,
        coordinator_epoch: i32,
        at: Option<Instant>,
    ) -> Option<AbortedTxn> {
        let entry = self.entry(header.producer_id, header.producer_epoch);
        entry.heard = at;
        let first = entry.ended(header.producer_epoch, coordinator_epoch, header.max_timestamp);
        // Also if nothing was open here: what was confirmed before the marker must not be written after it.
        self.verifications.forget(header.producer_id);
        let first = first?;
        self.open.remove(&first);
        self.undecided.insert(first, header.base_offset);
        // As Kafka writes it to the transaction index: transactions that ended but are not yet committed do
        // not count.
        let last_stable_offset = self.open.keys().next().copied().unwrap_or_else(|| header.next_offset());
        Some(AbortedTxn {
            producer_id: header.producer_id,
            first_offset: first,
            last_offset: header.base_offset,
            last_stable_offset,
        })
    }

    fn entry(&mut self, producer: ProducerId, epoch: ProducerEpoch) -> &mut Entry {
        if self.entries.len() >= self.limit && !self.entries.contains_key(&producer) {
            self.make_room();
        }
        match self.entries.entry(producer) {
            Slot::Occupied(slot) => slot.into_mut(),
            Slot::Vacant(slot) => slot.insert(Entry::new(epoch)),
        }
    }

    /// Forgets the eighth part of the producers that has been silent longest: rarely enough to cost little
    /// each time.
    fn make_room(&mut self) {
        let idle = self.entries.iter().filter(|(_, entry)| entry.txn_first.is_none());
        // What was only read from the log was heard before anything else.
        let mut idle: Vec<(Option<Instant>, Timestamp, ProducerId)> =
            idle.map(|(&id, entry)| (entry.heard, entry.last_timestamp, id)).collect();
        idle.sort_unstable();
        for (.., producer) in idle.iter().take(self.limit.div_ceil(8)) {
            self.entries.remove(producer);
        }
    }
}

pub(super) fn describe(producer_id: ProducerId, entry: &Entry) -> ProducerState {
    ProducerState {
        producer_id,
        epoch: entry.epoch,
        last_sequence: entry.last_sequence(),
        last_timestamp: entry.last_timestamp,
        coordinator_epoch: entry.coordinator_epoch,
        txn_first: entry.txn_first,
    }
}

/// Hashes with a seed that is given, not drawn: the table behaves the same in every run of a simulation, and
/// in production clients cannot choose ids that collide.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seed(u64);

impl BuildHasher for Seed {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}
