//! What a producer has on its way: which batch leaves when and with what number, and what answers mean for
//! it. Pure.
//!
//! The sender calls [`Outbox::turn`] whenever something may have changed, and tells what has come back
//! ([`Outbox::answered`] and so on). Each of these looks at a [`World`] and leaves [`Effect`]s there, which
//! the sender MUST carry out in order. A request is put into bytes by [`Outbox::request`], which needs
//! nothing of the world: packing takes long, and callers who add records do not wait for it.
//!
//! - `world`: what it sees, and what it wants done.
//! - `encode`: requests for batches.
//! - `answers`: what an answer to Produce means for each of its batches.
//! - `outcome`: how batches end.
//! - `transactional`: what a transaction has to do with it.

mod answers;
mod encode;
#[cfg(test)]
mod laws;
mod outcome;
mod transactional;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_wire::primitives::Str;
use ottla_wire::{BrokerId, ProducerEpoch, ProducerId};

use super::accumulator::Front;
use super::batch::{Attempt, Batch, Packing};
use super::config::Acks;
use super::record::ProduceError;
use super::sequences::{Sequences, Stamp};
use crate::cluster::{Metadata, TopicPartition};
use crate::error::Error;
use crate::seam::Instant;
pub(in crate::producer) use encode::PRODUCE_V1_MAX;
pub(in crate::producer) use world::{Effect, RequestId, World};

/// How long the sender sleeps at most; only a bound for what no event announces.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// What the core needs of the settings.
#[derive(Clone, Debug)]
pub(in crate::producer) struct Rules {
    pub(in crate::producer) acks: Acks,
    pub(in crate::producer) idempotent: bool,
    pub(in crate::producer) transactional_id: Option<Str>,
    pub(in crate::producer) max_in_flight: usize,
    pub(in crate::producer) max_request_size: usize,
    pub(in crate::producer) retries: u32,
    pub(in crate::producer) delivery_timeout: Duration,
    pub(in crate::producer) request_timeout: Duration,
    pub(in crate::producer) retry_backoff: Duration,
    pub(in crate::producer) reconnect_backoff: Duration,
    pub(in crate::producer) packing: Packing,
}

pub(in crate::producer) struct Outbox {
    rules: Rules,
    /// None without idempotence.
    sequences: Option<Sequences>,
    brokers: BTreeMap<BrokerId, Channel>,
    requests: BTreeMap<RequestId, InFlight>,
    next_request: RequestId,
    question: Question,
}

/// What goes to one broker.
#[derive(Default)]
struct Channel {
    in_flight: usize,
    state: ChannelState,
    /// The partition that was served last, so that the next request begins behind it.
    last_served: Option<TopicPartition>,
}

#[derive(Clone, Copy, Default)]
enum ChannelState {
    #[default]
    Usable,
    Connecting,
    /// Connecting failed.
    NotBefore(Instant),
}

/// A request that is not answered.
struct InFlight {
    broker: BrokerId,
    batches: Vec<Sent>,
}

/// A batch in a request, with what it carried there.
struct Sent {
    batch: Batch,
    stamp: Option<Stamp>,
}

/// What a broker is asked besides Produce, one thing at a time: for an id, or to hear of partitions.
#[derive(Clone, Copy)]
enum Question {
    UnderWay { failures: u32 },
    Idle { failures: u32, not_before: Option<Instant> },
}

impl Question {
    const NEW: Question = Question::Idle { failures: 0, not_before: None };

    /// Whether it may be asked now; if not, when to look again.
    fn may_be_asked(self, now: Instant) -> Result<u32, Instant> {
        match self {
            Question::UnderWay { .. } => Err(now + SLEEP_MAX),
            Question::Idle { not_before: Some(not_before), .. } if not_before > now => Err(not_before),
            Question::Idle { failures, .. } => Ok(failures),
        }
    }

    /// How often it has failed, this time included.
    fn failed(self) -> u32 {
        match self {
            Question::UnderWay { failures } | Question::Idle { failures, .. } => failures.saturating_add(1),
        }
    }
}

/// What came of serving a broker.
enum Served {
    Sent,
    /// Nothing can be sent until something comes back.
    Busy,
    NotBefore(Instant),
}

impl Outbox {
    pub(in crate::producer) fn new(rules: Rules) -> Outbox {
        Outbox {
            sequences: rules.idempotent.then(|| Sequences::new(rules.transactional_id.is_some())),
            rules,
            brokers: BTreeMap::new(),
            requests: BTreeMap::new(),
            next_request: RequestId::FIRST,
            question: Question::NEW,
        }
    }

    /// Does what can be done now; gives the time to look again.
    pub(in crate::producer) fn turn(&mut self, world: &mut World<'_>) -> Instant {
        let mut wake_at = world.now + SLEEP_MAX;
        wake_at = wake_at.min(self.expire(world));
        wake_at = wake_at.min(self.see_to_transaction(world));
        if let Some(sequences) = &mut self.sequences {
            sequences.settle();
            if sequences.needs_id() {
                // That of a transactional producer comes from its coordinator, when its owner asks.
                if world.transaction.is_some() {
                    return wake_at;
                }
                return wake_at.min(self.ask_identity(world));
            }
        }
        loop {
            let (brokers, next_look) = self.ready_brokers(world);
            wake_at = wake_at.min(next_look);
            let mut any_sent = false;
            for broker in brokers {
                match self.serve(broker, world) {
                    Served::Sent => any_sent = true,
                    Served::NotBefore(at) => wake_at = wake_at.min(at),
                    Served::Busy => {}
                }
            }
            // One batch a partition goes into a request; what lingers is not sent for the sake of filling the
            // next.
            if !any_sent {
                return wake_at;
            }
        }
    }

    /// [`Effect::Connect`] is done.
    pub(in crate::producer) fn connected(&mut self, broker: BrokerId, failed: bool, now: Instant) {
        self.brokers.entry(broker).or_default().state = if failed {
            ChannelState::NotBefore(now + self.rules.reconnect_backoff)
        } else {
            ChannelState::Usable
        };
    }

    /// Asks for a producer id, unless that is under way; gives the time to look again.
    fn ask_identity(&mut self, world: &mut World<'_>) -> Instant {
        let later = world.now + SLEEP_MAX;
        if world.accumulator.is_empty() {
            return later;
        }
        match self.question.may_be_asked(world.now) {
            Ok(failures) => {
                self.question = Question::UnderWay { failures };
                world.effects.push(Effect::AskIdentity);
                later
            }
            Err(look_again) => look_again,
        }
    }

    /// [`Effect::AskIdentity`] is done; an error that trying again cannot mend ends the producer.
    pub(in crate::producer) fn identified(
        &mut self,
        outcome: Result<(ProducerId, ProducerEpoch), Error>,
        world: &mut World<'_>,
    ) {
        match (outcome, &mut self.sequences) {
            (Ok((id, epoch)), Some(sequences)) => {
                self.question = Question::NEW;
                sequences.identify(id, epoch);
            }
            (Err(error), _) if error.is_retriable() => {
                self.ask_again((world.pause)(self.question.failed()), world)
            }
            (Err(error), _) => world.effects.push(Effect::Fail(error)),
            (Ok(_), None) => unreachable!("only an idempotent producer asks for an id"),
        }
    }

    fn ask_again(&mut self, pause: Duration, world: &World<'_>) {
        let failures = self.question.failed();
        self.question = Question::Idle { failures, not_before: Some(world.now + pause) };
    }

    /// Gives up batches that are older than the delivery timeout, queued or on their way. Gives the time of
    /// the next.
    fn expire(&mut self, world: &mut World<'_>) -> Instant {
        let (now, timeout) = (world.now, self.rules.delivery_timeout);
        if let Some(limit) = now.checked_sub(timeout) {
            for batch in world.accumulator.take_older(limit) {
                let expired = ProduceError::Expired { after: timeout, last: batch.last_error.clone() };
                let (error, maybe_stored) = (batch.given_up(expired), batch.maybe_stored);
                self.fail(&batch, error, maybe_stored, world);
            }
        }
        let mut oldest = world.accumulator.oldest();
        for sent in self.requests.values_mut().flat_map(|request| &mut request.batches) {
            let batch = &mut sent.batch;
            if batch.created + timeout > now {
                oldest = oldest.into_iter().chain([batch.created]).min();
            } else if !batch.is_told {
                // What is on its way may be stored. Its numbers stay in flight until the answer comes.
                batch.is_told = true;
                world.effects.push(Effect::Settle(batch.settlement.clone(), batch.unknown()));
            }
        }
        oldest.map_or(now + SLEEP_MAX, |oldest| oldest + timeout)
    }

    /// The leaders of partitions that have a batch ready, and when to look at the others.
    fn ready_brokers(&self, world: &mut World<'_>) -> (BTreeSet<BrokerId>, Instant) {
        let (now, metadata) = (world.now, world.metadata);
        let mut next_look = now + SLEEP_MAX;
        let mut brokers = BTreeSet::new();
        let mut leaderless = false;
        for front in world.accumulator.fronts(world.urgent, |batch| backoff(batch, metadata)) {
            match front {
                Front::NotBefore(due, _) if due > now => next_look = next_look.min(due),
                Front::Ready(batch) | Front::NotBefore(_, batch) => match metadata.leader(&batch.partition) {
                    Some((leader, _)) => drop(brokers.insert(leader)),
                    None => {
                        world.effects.push(Effect::Want(batch.partition.topic.clone()));
                        leaderless = true;
                    }
                },
            }
        }
        if leaderless {
            world.effects.push(Effect::Refresh);
            next_look = next_look.min(now + self.rules.retry_backoff);
        }
        (brokers, next_look)
    }

    /// Sends one request to a broker if it may take another.
    fn serve(&mut self, broker: BrokerId, world: &mut World<'_>) -> Served {
        let channel = self.brokers.entry(broker).or_default();
        match channel.state {
            ChannelState::NotBefore(at) if at > world.now => return Served::NotBefore(at),
            ChannelState::Connecting => return Served::Busy,
            ChannelState::NotBefore(_) | ChannelState::Usable => channel.state = ChannelState::Usable,
        }
        if channel.in_flight >= self.rules.max_in_flight {
            return Served::Busy;
        }
        if !(world.is_connected)(broker) {
            channel.state = ChannelState::Connecting;
            world.effects.push(Effect::Connect(broker));
            return Served::Busy;
        }
        let batches = self.drain(broker, world);
        if batches.is_empty() {
            return Served::Busy;
        }
        let request = self.next_request;
        self.next_request = request.next();
        self.brokers.entry(broker).or_default().in_flight += 1;
        self.requests.insert(request, InFlight { broker, batches });
        world.effects.push(Effect::Send { request, broker });
        Served::Sent
    }

    /// Takes the first batch of each partition that `broker` leads, up to the size of a request, beginning
    /// behind the partition that was served last.
    fn drain(&mut self, broker: BrokerId, world: &mut World<'_>) -> Vec<Sent> {
        let (mut batches, mut size) = (Vec::new(), 0);
        for partition in self.candidates(broker, world) {
            let Some(front) = world.accumulator.front(&partition) else { continue };
            if !batches.is_empty() && size + front.len() > self.rules.max_request_size {
                break;
            }
            if !self.may_send(front, world) {
                continue;
            }
            let Some(mut batch) = world.accumulator.take(&partition) else { continue };
            size += batch.len();
            batch.attempts += 1;
            let leader_epoch = world.metadata.leader(&partition).map(|(_, epoch)| epoch).unwrap_or_default();
            let pause = (world.pause)(batch.attempts);
            batch.last_attempt = Some(Attempt { at: world.now, pause, leader_epoch });
            let stamp = self.stamp(&batch, world);
            batches.push(Sent { batch, stamp });
        }
        if let (Some(channel), Some(last)) = (self.brokers.get_mut(&broker), batches.last()) {
            channel.last_served = Some(last.batch.partition.clone());
        }
        batches
    }

    /// Partitions of a broker whose first batch is due, in the order in which they are served.
    fn candidates(&self, broker: BrokerId, world: &World<'_>) -> Vec<TopicPartition> {
        let (now, metadata) = (world.now, world.metadata);
        let mut candidates: Vec<TopicPartition> = world
            .accumulator
            .fronts(true, |batch| backoff(batch, metadata))
            .filter_map(|front| match front {
                Front::NotBefore(due, _) if due > now => None,
                Front::Ready(batch) | Front::NotBefore(_, batch) => Some(batch.partition.clone()),
            })
            .filter(|partition| metadata.leader(partition).is_some_and(|(leader, _)| leader == broker))
            .collect();
        if let Some(last) = self.brokers.get(&broker).and_then(|channel| channel.last_served.as_ref()) {
            let behind = candidates.partition_point(|partition| partition <= last);
            candidates.rotate_left(behind);
        }
        candidates
    }

    fn may_send(&self, batch: &Batch, world: &World<'_>) -> bool {
        match &self.sequences {
            Some(sequences)
                if batch.attempts > 0 || sequences.stamp(&batch.partition, batch.id).is_some() =>
            {
                sequences.may_resend(&batch.partition, batch.id)
            }
            Some(sequences) => {
                let transaction = world.transaction.as_deref();
                transaction.is_none_or(|of| of.may_leave(&batch.partition, sequences.identity()))
                    && sequences.may_start(&batch.partition)
            }
            // One in flight promises order: also when the partition has moved to another broker meanwhile.
            None if self.rules.max_in_flight == 1 => !self.is_in_flight(&batch.partition),
            None => true,
        }
    }

    fn is_in_flight(&self, partition: &TopicPartition) -> bool {
        self.requests.values().flat_map(|r| &r.batches).any(|sent| sent.batch.partition == *partition)
    }

    fn stamp(&mut self, batch: &Batch, world: &mut World<'_>) -> Option<Stamp> {
        let sequences = self.sequences.as_mut()?;
        if sequences.stamp(&batch.partition, batch.id).is_none() {
            sequences.assign(&batch.partition, batch.id, batch.record_count());
            if let Some(transaction) = &mut world.transaction {
                transaction.leaves();
            }
        }
        sequences.stamp(&batch.partition, batch.id)
    }
}

/// How long after its last attempt a batch waits; not at all when a new leader has been found since
/// (KIP-951).
fn backoff(batch: &Batch, metadata: &Metadata) -> Duration {
    let Some(attempt) = batch.last_attempt else { return Duration::ZERO };
    let known = metadata.leader(&batch.partition).map(|(_, epoch)| epoch);
    if known.is_some_and(|epoch| epoch > attempt.leader_epoch) { Duration::ZERO } else { attempt.pause }
}
