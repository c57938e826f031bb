//! One transactional id: its producer, its transaction, and their changes.
//!
//! Nothing here is written or sent. Each change is a new value, which the coordinator keeps once its record
//! is written.

use std::collections::{BTreeMap, BTreeSet};

use ottla_coordinator::Producer;
use ottla_wire::primitives::Str;
use ottla_wire::{ProducerEpoch, ProducerId, Timestamp};

use crate::state::{Outcome, TxnState};
use crate::version::TransactionVersion;

/// No epoch.
pub const NO_EPOCH: ProducerEpoch = ProducerEpoch(-1);

/// The last epoch that a client ever gets. One more is needed to fence it.
pub const EPOCH_MAX: ProducerEpoch = ProducerEpoch(i16::MAX - 1);

/// Timeout of a transaction that a two-phase commit decides: none (KIP-939).
pub const NO_TIMEOUT_MS: i32 = i32::MAX;

/// The state of a transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    pub producer_id: ProducerId,
    /// The producer id before the last change. The same as `producer_id` unless that change was of the id.
    pub previous_producer_id: ProducerId,
    /// The producer id after this transaction, because the epochs of the present one are used up.
    pub next_producer_id: ProducerId,
    pub epoch: ProducerEpoch,
    /// The epoch before the last bump, if its owner may continue: it may have missed the answer with the new
    /// one. Records of Kafka 4.3 lack it, so it is lost with the broker.
    pub last_epoch: ProducerEpoch,
    pub timeout_ms: i32,
    pub state: TxnState,
    pub partitions: Partitions,
    /// When its first partition was added; [`Timestamp::NONE`] if none was since the producer began.
    pub started: Timestamp,
    pub updated: Timestamp,
    /// The version of the client that last changed the transaction.
    pub client: TransactionVersion,
}

/// Partitions by topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partitions {
    topics: BTreeMap<Str, BTreeSet<i32>>,
}

impl Transaction {
    /// A new id with its first producer.
    pub fn new(producer_id: ProducerId, timeout_ms: i32, now: Timestamp) -> Transaction {
        Transaction {
            producer_id,
            previous_producer_id: producer_id,
            next_producer_id: ProducerId::NONE,
            epoch: ProducerEpoch(0),
            last_epoch: NO_EPOCH,
            timeout_ms,
            state: TxnState::Empty,
            partitions: Partitions::default(),
            started: Timestamp::NONE,
            updated: now,
            client: TransactionVersion::V0,
        }
    }

    pub fn producer(&self) -> Producer {
        Producer { id: self.producer_id, epoch: self.epoch }
    }

    /// Whether no further epoch of this producer id may be given to a client.
    pub fn is_epoch_exhausted(&self) -> bool {
        self.epoch >= EPOCH_MAX
    }

    /// When the transaction is aborted because of its age.
    pub fn deadline(&self) -> Option<Timestamp> {
        let expires = self.state == TxnState::Ongoing && self.timeout_ms != NO_TIMEOUT_MS;
        expires.then(|| Timestamp(self.started.0.saturating_add(i64::from(self.timeout_ms))))
    }

    /// A producer begins (again) with this id. The transaction MUST NOT be open.
    pub fn begun(
        &self,
        producer: Producer,
        last_epoch: ProducerEpoch,
        timeout_ms: i32,
        now: Timestamp,
    ) -> Transaction {
        Transaction {
            producer_id: producer.id,
            epoch: producer.epoch,
            last_epoch,
            timeout_ms,
            state: TxnState::Empty,
            partitions: Partitions::default(),
            started: Timestamp::NONE,
            ..self.changed(now)
        }
    }

    /// Adds partitions. The first ones open a transaction. MUST NOT be ending.
    pub fn with(&self, added: &Partitions, client: TransactionVersion, now: Timestamp) -> Transaction {
        let mut partitions = self.partitions.clone();
        partitions.add_all(added);
        let started = if self.state == TxnState::Ongoing { self.started } else { now };
        Transaction { state: TxnState::Ongoing, partitions, started, client, ..self.changed(now) }
    }

    /// Decides the outcome. `next` is the following producer id, if epochs are used up.
    pub fn ended(
        &self,
        outcome: Outcome,
        client: TransactionVersion,
        next: ProducerId,
        now: Timestamp,
    ) -> Transaction {
        let (epoch, last_epoch) =
            if client.bumps_epochs() { (self.bumped(), self.epoch) } else { (self.epoch, self.last_epoch) };
        // With version 2 a transaction without partitions can be aborted. It counts as begun now.
        let started = if self.state == TxnState::Ongoing { self.started } else { now };
        Transaction {
            next_producer_id: next,
            epoch,
            last_epoch,
            state: TxnState::Prepare(outcome),
            started,
            client,
            ..self.changed(now)
        }
    }

    /// The coordinator aborts an open transaction and fences its producer, by the rules of a version.
    pub fn fenced(&self, rules: TransactionVersion, next: ProducerId, now: Timestamp) -> Transaction {
        if rules.bumps_epochs() {
            // The end itself bumps the epoch, and once is enough (KAFKA-19367).
            return self.ended(Outcome::Abort, rules, next, now);
        }
        let fenced = Transaction { epoch: self.bumped(), last_epoch: NO_EPOCH, ..self.clone() };
        fenced.ended(Outcome::Abort, TransactionVersion::V0, ProducerId::NONE, now)
    }

    /// Every partition has its marker. `None` if the transaction was not ending.
    pub fn completed(&self, now: Timestamp) -> Option<Transaction> {
        let TxnState::Prepare(outcome) = self.state else { return None };
        let Producer { id, epoch } = self.producer_at_completion();
        Some(Transaction {
            producer_id: id,
            next_producer_id: ProducerId::NONE,
            epoch,
            state: TxnState::Complete(outcome),
            partitions: Partitions::default(),
            ..self.changed(now)
        })
    }

    /// The producer after the ending transaction has ended.
    pub fn producer_at_completion(&self) -> Producer {
        if self.client.bumps_epochs() && self.next_producer_id != ProducerId::NONE {
            return Producer { id: self.next_producer_id, epoch: ProducerEpoch(0) };
        }
        self.producer()
    }

    /// The next epoch. The very last one stays: it is only in use in a log that a faulty broker wrote
    /// (KAFKA-20090).
    fn bumped(&self) -> ProducerEpoch {
        ProducerEpoch(self.epoch.0.saturating_add(1))
    }

    fn changed(&self, now: Timestamp) -> Transaction {
        Transaction { previous_producer_id: self.producer_id, updated: now, ..self.clone() }
    }
}

impl Partitions {
    /// Adds a partition, unless it is there.
    pub fn add(&mut self, topic: &Str, partition: i32) {
        match self.topics.get_mut(topic.as_str()) {
            Some(partitions) => {
                partitions.insert(partition);
            }
            // It outlives its request.
            None => {
                self.topics.insert(topic.detached(), BTreeSet::from([partition]));
            }
        }
    }

    pub fn add_all(&mut self, added: &Partitions) {
        for (topic, partition) in added.iter() {
            self.add(topic, partition);
        }
    }

    pub fn remove(&mut self, topic: &str, partition: i32) {
        if let Some(partitions) = self.topics.get_mut(topic) {
            partitions.remove(&partition);
            if partitions.is_empty() {
                self.topics.remove(topic);
            }
        }
    }

    pub fn contains(&self, topic: &str, partition: i32) -> bool {
        self.topics.get(topic).is_some_and(|partitions| partitions.contains(&partition))
    }

    pub fn contains_all(&self, others: &Partitions) -> bool {
        others.iter().all(|(topic, partition)| self.contains(topic, partition))
    }

    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// The number of partitions.
    pub fn len(&self) -> usize {
        self.topics.values().map(BTreeSet::len).sum()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Str, i32)> {
        self.topics.iter().flat_map(|(topic, partitions)| partitions.iter().map(move |&p| (topic, p)))
    }

    /// Topics in order, each with its partitions in order.
    pub fn by_topic(&self) -> impl Iterator<Item = (&Str, Vec<i32>)> {
        self.topics.iter().map(|(topic, partitions)| (topic, partitions.iter().copied().collect()))
    }
}
