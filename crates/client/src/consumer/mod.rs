//! The consumer by assignment: reads the partitions it is told to, from where it is told to.
//!
//! - `config`: its settings.
//! - `fetched`: records out of what a broker sent.
//! - `fetch`: requests to the brokers and what their answers mean.
//! - `locate`: finds the offsets of places like the beginning or the end.

mod config;
mod fetch;
mod fetched;
mod locate;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use ottla_wire::batch::Record;
use ottla_wire::messages::FetchResponse;
use ottla_wire::{BrokerId, LeaderEpoch, Offset, Timestamp};
use tokio::sync::mpsc;

use crate::cluster::{Cluster, Lane, TopicPartition};
use crate::config::ClientConfig;
use crate::error::Error;
use crate::offsets::{self, IsolationLevel, Listed, OffsetSpec};
use crate::seam::{self, Instant};
pub use config::{ConsumerConfig, OffsetReset};
use fetch::FetchTarget;
use fetched::{Fetched, Reading};
use locate::Located;

/// Answers that wait for the consumer. There is at most one fetch a broker under way, and one search for
/// offsets.
const EVENTS_MAX: usize = 64;

/// Reads records of the partitions assigned to it. Not cloneable: one owner.
///
/// Fetches go on in the background only between and during calls of [`Consumer::poll`]: what a broker has
/// answered waits, one answer a partition, and nothing more is fetched for a partition before that is taken.
pub struct Consumer {
    cluster: Cluster,
    config: ConsumerConfig,
    lane: Lane,
    assigned: BTreeMap<TopicPartition, Assigned>,
    /// Brokers with a fetch under way.
    fetching: BTreeSet<BrokerId>,
    /// Brokers that are not asked before a time, because they could not be reached.
    unreachable: BTreeMap<BrokerId, (u32, Instant)>,
    /// Partitions with records to give, in the order these came.
    filled: VecDeque<TopicPartition>,
    /// Errors that the next poll gives.
    errors: VecDeque<Error>,
    /// Numbers positions, so that the answer to an old question is known as such.
    next_generation: u64,
    /// A search for offsets is under way.
    locating: bool,
    events: mpsc::Receiver<Event>,
    sender: mpsc::Sender<Event>,
}

/// What comes back from a task.
enum Event {
    Fetched { broker: BrokerId, asked: Vec<FetchTarget>, answer: Result<FetchResponse, Error> },
    Located(Vec<Located>),
}

struct Assigned {
    position: Position,
    /// Of the last record before the position; none when that is not known.
    leader_epoch: LeaderEpoch,
    /// Changes when the position is moved other than by reading.
    generation: u64,
    paused: bool,
    in_flight: bool,
    fetched: Option<Fetched>,
    high_watermark: Option<Offset>,
    last_stable: Option<Offset>,
    /// Fetch from this replica until then rather than from the leader (KIP-392).
    preferred: Option<(BrokerId, Instant)>,
    failures: u32,
    not_before: Option<Instant>,
    /// The coordinator of the group says that the partition exists: metadata that lacks it is old.
    vouched: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    At {
        offset: Offset,
    },
    /// To be asked for.
    Wanted(Seek),
    /// Whoever assigned the partition says later where to begin.
    Unplaced,
}

/// Where to go in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    Beginning,
    End,
    Offset(Offset),
    /// The first record at or after this time; the end if there is none.
    Timestamp(Timestamp),
}

/// Records of one partition, in order.
#[derive(Clone, Debug)]
pub struct PartitionRecords {
    pub partition: TopicPartition,
    pub records: Vec<Record>,
    /// Where the log ended (high watermark) when they were fetched.
    pub high_watermark: Offset,
    /// Of the last batch among them.
    pub leader_epoch: LeaderEpoch,
}

impl Consumer {
    /// A consumer with a cluster of its own. MUST be called in a tokio runtime.
    pub fn new(client: ClientConfig, config: ConsumerConfig) -> Result<Consumer, Error> {
        Ok(Consumer::on(Cluster::new(client)?, config))
    }

    /// A consumer on a cluster that others may use, too.
    pub fn on(cluster: Cluster, config: ConsumerConfig) -> Consumer {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        Consumer {
            lane: cluster.new_lane(),
            cluster,
            config,
            assigned: BTreeMap::new(),
            fetching: BTreeSet::new(),
            unreachable: BTreeMap::new(),
            filled: VecDeque::new(),
            errors: VecDeque::new(),
            next_generation: 0,
            locating: false,
            events,
            sender,
        }
    }

    /// Reads these partitions from now on and no others. Those that were assigned before keep their position;
    /// new ones begin where `auto.offset.reset` says, unless [`Consumer::seek`] comes first.
    pub fn assign(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        let begin = self.reset_position();
        self.assign_at(partitions, begin);
    }

    /// [`Consumer::assign`]; new ones are not read before [`Consumer::place`] or [`Consumer::seek`].
    pub(crate) fn assign_unplaced(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        self.assign_at(partitions, Position::Unplaced);
    }

    fn assign_at(&mut self, partitions: impl IntoIterator<Item = TopicPartition>, begin: Position) {
        let mut before = std::mem::take(&mut self.assigned);
        for partition in partitions {
            self.cluster.want(&partition.topic);
            let assigned = before.remove(&partition).unwrap_or_else(|| self.fresh(begin));
            self.assigned.insert(partition, assigned);
        }
        self.filled.retain(|partition| self.assigned.contains_key(partition));
    }

    pub fn assignment(&self) -> impl Iterator<Item = &TopicPartition> {
        self.assigned.keys()
    }

    /// Goes elsewhere in a partition, which MUST be assigned. What was fetched and not given is dropped.
    pub fn seek(&mut self, partition: &TopicPartition, to: Seek) -> Result<(), Error> {
        let generation = self.generation();
        let assigned = self.assigned_mut(partition)?;
        assigned.position = match to {
            Seek::Offset(offset) => Position::At { offset },
            other => Position::Wanted(other),
        };
        (assigned.generation, assigned.leader_epoch) = (generation, LeaderEpoch::NONE);
        (assigned.fetched, assigned.not_before) = (None, None);
        self.filled.retain(|filled| filled != partition);
        Ok(())
    }

    /// The offset of the next record that [`Consumer::poll`] gives of a partition; none while that is not
    /// known.
    pub fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        match self.assigned.get(partition)?.position {
            Position::At { offset } => Some(offset),
            Position::Wanted(_) | Position::Unplaced => None,
        }
    }

    /// Every position that is known, with the leader epoch of the record before it.
    pub(crate) fn positions(&self) -> impl Iterator<Item = (&TopicPartition, Offset, LeaderEpoch)> {
        self.assigned.iter().filter_map(|(of, assigned)| match assigned.position {
            Position::At { offset } if offset >= Offset::ZERO => Some((of, offset, assigned.leader_epoch)),
            Position::At { .. } | Position::Wanted(_) | Position::Unplaced => None,
        })
    }

    /// Partitions that wait for [`Consumer::place`], each with a number that it is to be given.
    pub(crate) fn unplaced(&self) -> impl Iterator<Item = (&TopicPartition, u64)> {
        let unplaced = |assigned: &Assigned| assigned.position == Position::Unplaced;
        self.assigned.iter().filter(move |(_, a)| unplaced(a)).map(|(of, a)| (of, a.generation))
    }

    /// Where a partition begins: at an offset that was committed, or where `auto.offset.reset` says. Ignored
    /// if it has been told otherwise since.
    pub(crate) fn place(
        &mut self,
        partition: &TopicPartition,
        number: u64,
        committed: Option<(Offset, LeaderEpoch)>,
    ) -> Result<(), Error> {
        let reset = reset_of(self.config.auto_offset_reset);
        let Some(assigned) = self.assigned.get_mut(partition) else { return Ok(()) };
        if (assigned.generation, assigned.position) != (number, Position::Unplaced) {
            return Ok(());
        }
        assigned.position = match (committed, reset) {
            (Some((offset, leader_epoch)), _) => {
                assigned.leader_epoch = leader_epoch;
                Position::At { offset }
            }
            (None, Some(reset)) => Position::Wanted(reset),
            (None, None) => return Err(Error::NoOffset(partition.to_string())),
        };
        Ok(())
    }

    /// Where the log of a partition ended at the last fetch.
    pub fn high_watermark(&self, partition: &TopicPartition) -> Option<Offset> {
        self.assigned.get(partition)?.high_watermark
    }

    /// Where the partition ends for this consumer, as of its last fetch: with read_committed, before the
    /// first transaction that is open.
    pub fn readable_end(&self, partition: &TopicPartition) -> Option<Offset> {
        let assigned = self.assigned.get(partition)?;
        match self.config.isolation_level {
            IsolationLevel::ReadUncommitted => assigned.high_watermark,
            IsolationLevel::ReadCommitted => assigned.last_stable,
        }
    }

    /// Gives no records of a partition, and fetches none, until [`Consumer::resume`].
    pub fn pause(&mut self, partition: &TopicPartition) -> Result<(), Error> {
        self.assigned_mut(partition)?.paused = true;
        Ok(())
    }

    pub fn resume(&mut self, partition: &TopicPartition) -> Result<(), Error> {
        self.assigned_mut(partition)?.paused = false;
        Ok(())
    }

    /// Up to `max.poll.records` records, or none after `timeout`. An error is about one partition or request;
    /// polling again goes on with the others. Cancel safe: records that were not given are given next time.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Vec<PartitionRecords>, Error> {
        let deadline = seam::now() + timeout;
        loop {
            while let Ok(event) = self.events.try_recv() {
                self.handle(event);
            }
            if let Some(error) = self.errors.pop_front() {
                return Err(error);
            }
            let records = self.collect();
            // Asked for before the records are given, so that the answer comes while these are worked on.
            let look_again = self.start_fetches().min(self.start_locating());
            if !records.is_empty() || seam::now() >= deadline {
                return Ok(records);
            }
            if !self.errors.is_empty() {
                continue;
            }
            let mut changes = self.cluster.watch();
            tokio::select! {
                Some(event) = self.events.recv() => self.handle(event),
                Ok(()) = changes.changed() => {}
                () = tokio::time::sleep_until(deadline.min(look_again)) => {}
            }
        }
    }

    /// Offsets by place or time, of any partitions. Tries again for up to `default.api.timeout.ms`.
    pub async fn list_offsets(&self, asked: &BTreeMap<TopicPartition, OffsetSpec>) -> Listed {
        let timeout = self.cluster.config().default_api_timeout;
        offsets::list(&self.cluster, self.config.isolation_level, asked, timeout).await
    }

    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Takes records out of what was fetched, in the order it came.
    fn collect(&mut self) -> Vec<PartitionRecords> {
        let mut room = self.config.max_poll_records;
        let mut collected = Vec::new();
        for _ in 0..self.filled.len() {
            let Some(partition) = self.filled.pop_front() else { break };
            let Some(assigned) = self.assigned.get_mut(&partition) else { continue };
            if assigned.paused || room == 0 {
                self.filled.push_back(partition);
                continue;
            }
            match assigned.take_records(&partition, room) {
                Ok(taken) if taken.records.is_empty() => {}
                Ok(taken) => {
                    room -= taken.records.len();
                    collected.push(taken);
                }
                Err(error) => self.errors.push_back(error),
            }
            if assigned.fetched.is_some() {
                self.filled.push_front(partition);
            }
        }
        collected
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Fetched { broker, asked, answer } => self.fetched(broker, asked, answer),
            Event::Located(located) => self.located(located),
        }
    }

    fn reset_position(&self) -> Position {
        match reset_of(self.config.auto_offset_reset) {
            Some(reset) => Position::Wanted(reset),
            // The broker will say that it is out of range, unless someone seeks first.
            None => Position::At { offset: Offset(-1) },
        }
    }

    fn fresh(&mut self, position: Position) -> Assigned {
        Assigned {
            position,
            leader_epoch: LeaderEpoch::NONE,
            generation: self.generation(),
            paused: false,
            in_flight: false,
            fetched: None,
            high_watermark: None,
            last_stable: None,
            preferred: None,
            failures: 0,
            not_before: None,
            vouched: position == Position::Unplaced,
        }
    }

    fn generation(&mut self) -> u64 {
        self.next_generation += 1;
        self.next_generation
    }

    fn assigned_mut(&mut self, partition: &TopicPartition) -> Result<&mut Assigned, Error> {
        self.assigned.get_mut(partition).ok_or_else(|| Error::NotAssigned(partition.to_string()))
    }

    fn reading(&self) -> Reading {
        Reading {
            check_crcs: self.config.check_crcs,
            committed_only: self.config.isolation_level == IsolationLevel::ReadCommitted,
            decompressed_bytes_max: self.config.decompressed_bytes_max,
        }
    }
}

/// Where to go when there is no position; nowhere if the owner wants to know instead.
fn reset_of(reset: OffsetReset) -> Option<Seek> {
    match reset {
        OffsetReset::Earliest => Some(Seek::Beginning),
        OffsetReset::Latest => Some(Seek::End),
        OffsetReset::ByDuration(ago) => {
            let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
            Some(Seek::Timestamp(Timestamp(seam::wall_clock().0.saturating_sub(ago).max(0))))
        }
        OffsetReset::None => None,
    }
}

impl Assigned {
    /// Up to `max` records; moves the position behind them. After an error what was fetched is dropped, to be
    /// fetched again.
    fn take_records(&mut self, of: &TopicPartition, max: usize) -> Result<PartitionRecords, Error> {
        let mut taken = PartitionRecords {
            partition: of.clone(),
            records: Vec::new(),
            high_watermark: self.high_watermark.unwrap_or(Offset::ZERO),
            leader_epoch: LeaderEpoch::NONE,
        };
        let Some(mut fetched) = self.fetched.take() else { return Ok(taken) };
        let mut at_end = false;
        while taken.records.len() < max && !at_end {
            match fetched.next() {
                Ok(Some(record)) => taken.records.push(record),
                Ok(None) => at_end = true,
                // The good ones first; the error comes again with the next fetch.
                Err(_) if !taken.records.is_empty() => at_end = true,
                Err(error) => {
                    return Err(Error::CorruptBatch {
                        topic: of.topic.to_string(),
                        partition: of.partition,
                        offset: fetched.position().0,
                        reason: error.to_string(),
                    });
                }
            }
        }
        taken.leader_epoch = fetched.epoch();
        if !taken.records.is_empty() {
            self.leader_epoch = taken.leader_epoch;
        }
        self.position = Position::At { offset: fetched.position() };
        self.fetched = (!at_end).then_some(fetched);
        Ok(taken)
    }
}
