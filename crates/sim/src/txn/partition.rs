//! A partition: its leader is the real one, its log a list.

use std::time::Duration;

use ottla_coordinator::{Producer, Record};
use ottla_replica::{
    Acks, Append, AppendError, Durability, Effect, Event, PartitionState, RecoveryState, Replica,
    ReplicaBroker, ReplicaConfig, ReplyId, Restored, Standing, VerificationGuard, WriteMarker,
};
use ottla_wire::batch::{Origin, ValidatedBatch};
use ottla_wire::{
    BrokerEpoch, BrokerId, Instant, LeaderEpoch, PartitionEpoch, ProducerEpoch, ProducerId, Sequence,
    Timestamp,
};

use crate::client::batch::{Numbered, Value, build};

const BROKER: BrokerId = BrokerId(0);

/// What lies in the log.
#[derive(Clone, Debug)]
pub enum Entry {
    Record {
        producer: ProducerId,
        epoch: ProducerEpoch,
        sequence: Sequence,
        value: Value,
    },
    /// Of a group coordinator: offsets that a producer commits with its transaction.
    Offsets {
        producer: Producer,
        records: Vec<Record>,
    },
    Marker {
        producer: Producer,
        commit: bool,
    },
}

#[derive(Debug)]
pub struct Partition {
    replica: Replica,
    pub log: Vec<Entry>,
    replies: u64,
}

impl Partition {
    pub fn new(now: Instant, wall: Timestamp, verify_transactions: bool) -> Partition {
        let config = ReplicaConfig {
            durability: Durability::PageCache,
            verify_transactions,
            ..ReplicaConfig::new(BROKER)
        };
        let restored = Restored::empty(&config);
        let mut partition =
            Partition { replica: Replica::new(config, restored), log: Vec::new(), replies: 0 };
        let state = PartitionState {
            leader: Some(BROKER),
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
            isr: vec![BROKER],
            elr: Vec::new(),
            last_known_elr: Vec::new(),
            replicas: vec![ReplicaBroker {
                broker: BROKER,
                epoch: Some(BrokerEpoch(1)),
                standing: Standing::Active,
            }],
            recovery: RecoveryState::Recovered,
        };
        partition.replica.step(now, wall, Event::Assigned(state), &mut Vec::new());
        partition
    }

    /// Whether readers of what is committed are held up by a transaction.
    pub fn is_undecided(&self) -> bool {
        let view = self.replica.view();
        view.last_stable != view.log_end
    }

    pub fn begin_verification(
        &mut self,
        wall: Timestamp,
        producer: Producer,
        first: Sequence,
        bumps_epochs: bool,
    ) -> Option<VerificationGuard> {
        self.replica.begin_verification(wall, producer.id, producer.epoch, first, bumps_epochs)
    }

    /// Whether a coordinator may write for this producer.
    pub fn check_claim(
        &self,
        producer: Producer,
        shown: Option<VerificationGuard>,
        verify: bool,
    ) -> Result<(), AppendError> {
        self.replica.check_claim(producer.id, producer.epoch, shown, verify)
    }

    /// Appends one record.
    pub fn append(
        &mut self,
        now: Instant,
        wall: Timestamp,
        numbered: Numbered,
        value: Value,
        verified: Option<VerificationGuard>,
    ) -> Result<(), AppendError> {
        let Some(batch) = build(&[value], Some(numbered), wall) else { return Err(AppendError::Storage) };
        let Numbered { producer, epoch, first: sequence, .. } = numbered;
        let entry = Entry::Record { producer, epoch, sequence, value };
        self.append_batch((now, wall), batch, entry, Origin::Client, verified)
    }

    pub fn append_batch(
        &mut self,
        (now, wall): (Instant, Timestamp),
        batch: ValidatedBatch,
        entry: Entry,
        origin: Origin,
        verified: Option<VerificationGuard>,
    ) -> Result<(), AppendError> {
        let append = Append {
            batch,
            acks: Acks::InSync,
            deadline: now + Duration::from_secs(60),
            reply: self.next_reply(),
            expected: None,
            origin,
            verified,
        };
        self.step(now, wall, Event::Append(append), entry)
    }

    pub fn write_marker(
        &mut self,
        now: Instant,
        wall: Timestamp,
        marker: &WriteMarker,
    ) -> Result<(), AppendError> {
        let producer = Producer { id: marker.producer, epoch: marker.producer_epoch };
        let entry = Entry::Marker { producer, commit: marker.commit };
        let reply = self.next_reply();
        let deadline = now + Duration::from_secs(60);
        self.step(now, wall, Event::WriteMarker(WriteMarker { deadline, reply, ..*marker }), entry)
    }

    fn next_reply(&mut self) -> ReplyId {
        self.replies += 1;
        ReplyId(self.replies)
    }

    /// One replica commits what it has at once: the answer is there when the step is done.
    fn step(&mut self, now: Instant, wall: Timestamp, event: Event, entry: Entry) -> Result<(), AppendError> {
        let mut effects = Vec::new();
        self.replica.step(now, wall, event, &mut effects);
        let mut answer = Err(AppendError::TimedOut);
        for effect in effects {
            match effect {
                Effect::Write(_) => self.log.push(entry.clone()),
                Effect::Reply { outcome, .. } => answer = outcome.map(|_| ()),
                Effect::Aborted(_) | Effect::EpochsChanged | Effect::Flush { .. } => {}
                other => unreachable!("a lone leader does not ask for {other:?}"),
            }
        }
        answer
    }
}
