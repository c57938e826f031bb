//! Idempotence (KIP-98, KIP-360): the sequence number of each batch, and what an answer means for those that
//! follow. Pure.
//!
//! A batch gets its number when it is first sent and keeps it over retries, so that the broker knows a
//! repeat. When a number is lost (a batch failed for good, the broker forgot the producer), the epoch is
//! raised and numbering starts again from 0 for the partitions concerned; the others move to the new epoch
//! when nothing of theirs is in flight.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ottla_wire::protocol::ErrorCode;
use ottla_wire::{Offset, ProducerEpoch, ProducerId, Sequence};

use super::batch_id::BatchId;
use crate::cluster::TopicPartition;

/// What a batch carries of its producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) id: ProducerId,
    pub(super) epoch: ProducerEpoch,
    pub(super) sequence: Sequence,
}

/// One incarnation of this producer.
pub(super) type Identity = (ProducerId, ProducerEpoch);

#[derive(Debug, Default)]
pub(super) struct Sequences {
    /// None until the broker has given an id, and again when the epochs of one are used up.
    identity: Option<Identity>,
    streams: BTreeMap<TopicPartition, Stream>,
    /// Partitions whose numbering must start again in a new epoch.
    restart: BTreeSet<TopicPartition>,
    /// A coordinator gives the epochs, and nothing that was sent is numbered anew: a gap ends the transaction
    /// instead.
    transactional: bool,
}

/// The numbering of one partition.
#[derive(Debug)]
struct Stream {
    identity: Identity,
    next: Sequence,
    last_acked: Option<Sequence>,
    /// Sent and not settled (also those that wait for a retry), in the order of their numbers.
    in_flight: VecDeque<InFlight>,
    /// A batch was given up although the broker may have it; the number after its last. Nothing new is sent
    /// until what is in flight has shown whether it was stored.
    unresolved: Option<Sequence>,
    /// A number is lost behind so many of those in flight. They may be stored already, and keep their
    /// numbers, for under new ones the broker would store them again; when they are settled, those behind
    /// them get new ones.
    gap: Option<usize>,
}

#[derive(Clone, Debug)]
struct InFlight {
    batch: BatchId,
    first: Sequence,
    records: i32,
}

impl InFlight {
    fn last(&self) -> Sequence {
        self.first.plus(self.records - 1)
    }
}

/// What an error answer to a batch means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Retry,
    Fail,
}

impl Sequences {
    pub(super) fn new(transactional: bool) -> Sequences {
        Sequences { transactional, ..Sequences::default() }
    }

    pub(super) fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// Whether an id must be asked for before anything can be sent.
    pub(super) fn needs_id(&self) -> bool {
        self.identity.is_none()
    }

    /// The broker gave an id.
    pub(super) fn identify(&mut self, id: ProducerId, epoch: ProducerEpoch) {
        self.identity = Some((id, epoch));
        self.start_again();
    }

    /// Whether a batch that was never sent may be sent now.
    pub(super) fn may_start(&self, partition: &TopicPartition) -> bool {
        let Some(identity) = self.identity else { return false };
        let Some(stream) = self.streams.get(partition) else { return true };
        if stream.gap.is_some() {
            return false;
        }
        if stream.in_flight.is_empty() {
            return stream.unresolved.is_none();
        }
        // Number 0 of a new epoch must not reach the broker before what is in flight from the old one. And
        // the first batch goes alone: a broker without state takes any number from a producer, so that with a
        // second one in flight a first that is refused and sent again would be taken for a repeat, and lost.
        stream.unresolved.is_none() && stream.identity == identity && stream.last_acked.is_some()
    }

    /// Whether a batch that was sent before may be sent again now: the first in line only, so that order is
    /// kept.
    pub(super) fn may_resend(&self, partition: &TopicPartition, batch: BatchId) -> bool {
        let first = self.streams.get(partition).and_then(|stream| stream.in_flight.front());
        self.identity.is_some() && first.is_some_and(|first| first.batch == batch)
    }

    /// Numbers a batch that is sent for the first time. MUST be allowed by [`Sequences::may_start`].
    pub(super) fn assign(&mut self, partition: &TopicPartition, batch: BatchId, records: i32) {
        let Some(identity) = self.identity else { unreachable!("may_start needs an id") };
        let fresh = || Stream {
            identity,
            next: Sequence(0),
            last_acked: None,
            in_flight: VecDeque::new(),
            unresolved: None,
            gap: None,
        };
        let stream = self.streams.entry(partition.clone()).or_insert_with(fresh);
        if stream.identity != identity {
            assert!(stream.in_flight.is_empty(), "batches of two epochs in flight for {partition}");
            *stream = fresh();
        }
        let first = stream.next;
        stream.next = first.plus(records);
        stream.in_flight.push_back(InFlight { batch, first, records });
    }

    /// What the batch carries now; changes when the epoch is raised. None if it is not in flight.
    pub(super) fn stamp(&self, partition: &TopicPartition, batch: BatchId) -> Option<Stamp> {
        let stream = self.streams.get(partition)?;
        let found = stream.in_flight.iter().find(|in_flight| in_flight.batch == batch)?;
        Some(Stamp { id: stream.identity.0, epoch: stream.identity.1, sequence: found.first })
    }

    /// The batch is stored, with what it carried when it was `sent`.
    pub(super) fn acked(&mut self, partition: &TopicPartition, batch: BatchId, sent: Stamp) {
        let is_current = self.stamp(partition, batch) == Some(sent);
        let Some(stream) = self.streams.get_mut(partition) else { return };
        let Some((at, acked)) = stream.remove(batch) else { return };
        if !is_current {
            // It was stored under numbers of an epoch that has passed, so its new ones will never come: a
            // gap.
            stream.lose(at);
        } else if !follows_or_equals(stream.last_acked, acked.last()) {
            stream.last_acked = Some(acked.last());
        }
    }

    /// Judges an error answer; may ask for a new epoch. `sent` is what the batch carried when it was sent.
    pub(super) fn judge(
        &mut self,
        partition: &TopicPartition,
        batch: BatchId,
        sent: Stamp,
        error: ErrorCode,
        log_start: Option<Offset>,
    ) -> Verdict {
        if self.stamp(partition, batch) != Some(sent) && is_of_producer_state(error) {
            // An answer to the numbers of an epoch that has passed.
            return Verdict::Retry;
        }
        let Some(stream) = self.streams.get_mut(partition) else { return Verdict::Fail };
        let Some(at) = stream.in_flight.iter().position(|in_flight| in_flight.batch == batch) else {
            return Verdict::Fail;
        };
        let first = stream.in_flight[at].first;
        match error {
            // The broker does not know this producer: its records were deleted, or its state expired. An old
            // broker does not say where the log begins, and is asked again.
            ErrorCode::UnknownProducerId if self.transactional => Verdict::Fail,
            ErrorCode::UnknownProducerId => {
                if log_start.is_some() {
                    stream.lose(at);
                }
                Verdict::Retry
            }
            ErrorCode::OutOfOrderSequenceNumber => {
                let proves_a_gap = match stream.unresolved {
                    // If it is not the next one, one before it has failed and is itself on the way again.
                    None => stream.is_next(first),
                    // Only the one right after the batch that was given up does.
                    Some(after) => first == after,
                };
                if proves_a_gap && self.transactional {
                    return Verdict::Fail;
                }
                if proves_a_gap {
                    stream.lose(at);
                }
                Verdict::Retry
            }
            error if error.is_retriable() => Verdict::Retry,
            _ => Verdict::Fail,
        }
    }

    /// The batch failed for good. If `maybe_stored`, the broker may have it all the same; if not, its numbers
    /// are a gap that those after it must close.
    pub(super) fn failed(&mut self, partition: &TopicPartition, batch: BatchId, maybe_stored: bool) {
        let Some(stream) = self.streams.get_mut(partition) else { return };
        let Some((at, failed)) = stream.remove(batch) else { return };
        if maybe_stored {
            stream.unresolved = Some(failed.last().plus(1));
        } else {
            stream.lose(at);
        }
    }

    /// The batch was too large and is sent as two: the first `records` keep its id.
    pub(super) fn split(
        &mut self,
        partition: &TopicPartition,
        batch: BatchId,
        records: i32,
        second: BatchId,
    ) {
        let Some(stream) = self.streams.get_mut(partition) else { return };
        let Some(at) = stream.in_flight.iter().position(|in_flight| in_flight.batch == batch) else { return };
        let whole = &mut stream.in_flight[at];
        let mut rest = whole.clone();
        whole.records = records;
        rest.batch = second;
        rest.first = whole.first.plus(records);
        rest.records -= records;
        stream.in_flight.insert(at + 1, rest);
        if let Some(before) = stream.gap.as_mut().filter(|before| at < **before) {
            *before += 1;
        }
    }

    /// Settles what can be settled between two sends: partitions with a batch of unknown fate and nothing in
    /// flight go on if nothing is missing; where something is, the epoch is raised.
    pub(super) fn settle(&mut self) {
        if self.transactional {
            self.streams.values_mut().for_each(|stream| (stream.unresolved, stream.gap) = (None, None));
            return;
        }
        for (partition, stream) in &mut self.streams {
            if stream.unresolved.is_some() && stream.in_flight.is_empty() {
                stream.unresolved = None;
                if !stream.is_next(stream.next) {
                    stream.lose(0);
                }
            }
            if stream.gap == Some(0) {
                self.restart.insert(partition.clone());
            }
        }
        if self.restart.is_empty() {
            return;
        }
        // The client raises the epoch by itself; the broker takes a higher one that starts at 0 (KIP-360).
        self.identity = match self.identity {
            Some((id, ProducerEpoch(epoch))) if epoch < i16::MAX => Some((id, ProducerEpoch(epoch + 1))),
            _ => None,
        };
        if self.identity.is_some() {
            self.start_again();
        }
    }

    /// Numbers what is in flight for the partitions that must restart anew, in the present epoch.
    fn start_again(&mut self) {
        let Some(identity) = self.identity else { return };
        for partition in std::mem::take(&mut self.restart) {
            let Some(stream) = self.streams.get_mut(&partition) else { continue };
            let mut next = Sequence(0);
            for in_flight in &mut stream.in_flight {
                in_flight.first = next;
                next = next.plus(in_flight.records);
            }
            (stream.identity, stream.next) = (identity, next);
            (stream.last_acked, stream.unresolved, stream.gap) = (None, None, None);
        }
    }
}

impl Stream {
    /// Takes a batch out of the line; gives where it stood.
    fn remove(&mut self, batch: BatchId) -> Option<(usize, InFlight)> {
        let at = self.in_flight.iter().position(|in_flight| in_flight.batch == batch)?;
        if let Some(before) = self.gap.as_mut().filter(|before| at < **before) {
            *before -= 1;
        }
        Some((at, self.in_flight.remove(at)?))
    }

    /// The number behind so many in line is lost.
    fn lose(&mut self, before: usize) {
        self.gap = Some(self.gap.map_or(before, |known| known.min(before)));
    }

    /// Whether `sequence` comes right after the last one that was acknowledged.
    fn is_next(&self, sequence: Sequence) -> bool {
        sequence == self.last_acked.map_or(Sequence(0), |last| last.plus(1))
    }
}

/// Whether `known` is at or after `sequence`, where numbers wrap.
fn follows_or_equals(known: Option<Sequence>, sequence: Sequence) -> bool {
    const HALF: i64 = 1 << 30;
    known.is_some_and(|known| (i64::from(known.0) - i64::from(sequence.0)).rem_euclid(2 * HALF) < HALF)
}

/// Errors that speak of the numbers a batch carried.
fn is_of_producer_state(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::OutOfOrderSequenceNumber | ErrorCode::UnknownProducerId | ErrorCode::InvalidProducerEpoch
    )
}

#[cfg(test)]
mod tests;
