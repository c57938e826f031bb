//! A partition: the slot that brokers run, on a simulated disk, and a list of what has come to lie in its
//! log.

use std::sync::Arc;
use std::time::Duration;

use ottla_coordinator::{Moment, Producer, Record};
use ottla_log::{DataDir, DirOptions, Identity, LogConfig, MemDisk};
use ottla_partition::{
    AppendOutcome, AppendRequest, Claim, Generation, Lodger, LodgerAppend, MarkerRequest, NewUuid, Seen,
    Slot, Turn,
};
use ottla_replica::{
    Acks, AppendError, Durability, Event, PartitionState, RecoveryState, Replica, ReplicaBroker,
    ReplicaConfig, Standing, VerificationGuard, WriteMarker,
};
use ottla_wire::batch::ValidatedBatch;
use ottla_wire::{
    BrokerEpoch, BrokerId, Instant, LeaderEpoch, PartitionEpoch, PartitionIndex, ProducerEpoch, ProducerId,
    Sequence, Timestamp, Uuid,
};

use crate::client::batch::{Numbered, Value, build};

const BROKER: BrokerId = BrokerId(0);
const EPOCH: LeaderEpoch = LeaderEpoch(0);

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
    machine: Slot<(), (), Pen>,
    pub log: Vec<Entry>,
}

/// Writes what a coordinator has to say.
#[derive(Debug, Default)]
struct Pen {
    batch: Option<ValidatedBatch>,
    outcome: Option<AppendOutcome>,
}

impl Partition {
    pub fn new(now: Instant, wall: Timestamp, verify_transactions: bool) -> Result<Partition, String> {
        let config = ReplicaConfig {
            durability: Durability::PageCache,
            verify_transactions,
            ..ReplicaConfig::new(BROKER)
        };
        let identity = Identity { node_id: Some(BROKER.0), cluster_id: Some("sim".to_owned()) };
        let disk = Arc::new(MemDisk::new());
        let options = DirOptions { disk, background: false, ..DirOptions::default() };
        let dir = DataDir::open_with("/data", &identity, options).map_err(|error| error.to_string())?;
        let (topic, topic_id, index) = ("t", Uuid([1; 16]), PartitionIndex(0));
        let identity = ottla_partition::Identity { topic, topic_id, index };
        let found = ottla_partition::create(&dir, identity, &config, LogConfig::default())
            .map_err(|error| error.to_string())?;
        let mut partition = ottla_partition::Partition::new(Replica::new(config, found.restored), found.log);
        let state = PartitionState {
            leader: Some(BROKER),
            leader_epoch: EPOCH,
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
        partition.step(Turn { now, wall }, Event::Assigned(state));
        Ok(Partition { machine: Slot::new(partition, vec![Pen::default()]), log: Vec::new() })
    }

    /// Whether readers of what is committed are held up by a transaction.
    pub fn is_undecided(&self) -> bool {
        let view = self.machine.partition().view().replica;
        view.last_stable != view.log_end
    }

    pub fn begin_verification(
        &mut self,
        turn: Turn,
        producer: Producer,
        sequence: Sequence,
        bumps_epochs: bool,
    ) -> Option<VerificationGuard> {
        let claim = Claim { producer, sequence, bumps_epochs };
        self.machine.partition_mut().begin_verification(turn, &claim)
    }

    /// Whether a coordinator may write for this producer.
    pub fn check_claim(
        &self,
        producer: Producer,
        shown: Option<VerificationGuard>,
        verify: bool,
    ) -> Result<(), AppendError> {
        let claim = Claim { producer, sequence: Sequence::NONE, bumps_epochs: false };
        self.machine.partition().check_claim(&claim, shown, verify)
    }

    /// Appends one record of a client.
    pub fn append(
        &mut self,
        turn: Turn,
        numbered: Numbered,
        value: Value,
        verified: Option<VerificationGuard>,
    ) -> Result<(), AppendError> {
        let Some(batch) = build(&[value], Some(numbered), turn.wall) else {
            return Err(AppendError::Storage);
        };
        let Numbered { producer, epoch, first: sequence, .. } = numbered;
        let deadline = turn.now + Duration::from_secs(60);
        let request = AppendRequest { batch, acks: Acks::InSync, deadline, verified };
        self.machine.partition_mut().append(turn, request, ());
        self.machine.partition_mut().touch();
        self.end_turn(turn, Entry::Record { producer, epoch, sequence, value })
    }

    /// Appends what a coordinator has to say.
    pub fn append_offsets(
        &mut self,
        turn: Turn,
        batch: ValidatedBatch,
        entry: Entry,
    ) -> Result<(), AppendError> {
        self.machine.lodgers_mut().0[0].batch = Some(batch);
        self.end_turn(turn, entry)
    }

    pub fn write_marker(&mut self, turn: Turn, marker: &WriteMarker) -> Result<(), AppendError> {
        let producer = Producer { id: marker.producer, epoch: marker.producer_epoch };
        let request = MarkerRequest {
            producer,
            commit: marker.commit,
            coordinator_epoch: marker.coordinator_epoch,
            transaction_version: marker.transaction_version,
            deadline: turn.now + Duration::from_secs(60),
        };
        self.machine.write_marker(turn, &request, ());
        self.end_turn(turn, Entry::Marker { producer, commit: marker.commit })
    }

    /// One replica commits what it has at once: the answer is there when the turn is over.
    fn end_turn(&mut self, turn: Turn, entry: Entry) -> Result<(), AppendError> {
        let before = self.machine.partition().log().written_end();
        let answered: Option<AppendOutcome> = {
            let ended = self.machine.end_turn(turn, &mut || Uuid([0; 16])).partition;
            ended.and_then(|mut ended| ended.appends.next_back()).map(|((), outcome)| outcome)
        };
        if self.machine.partition().log().written_end() > before {
            self.log.push(entry);
        }
        let outcome = self.machine.lodgers_mut().0[0].outcome.take().or(answered);
        outcome.unwrap_or(Err(AppendError::TimedOut)).map(|_| ())
    }
}

impl Lodger for Pen {
    fn next_batch(&mut self, _: Turn) -> Option<LodgerAppend> {
        let batch = self.batch.take()?;
        Some(LodgerAppend { batch, generation: Generation(0), epoch: EPOCH })
    }

    fn appended(&mut self, _: Generation, outcome: AppendOutcome) {
        self.outcome = Some(outcome);
    }

    fn settle(&mut self, _: Turn, _: &mut NewUuid<'_>, _: &Seen<'_>) -> bool {
        false
    }

    fn tick(&mut self, _: &Moment) {}

    fn next_deadline(&self) -> Option<Instant> {
        None
    }

    fn resign(&mut self) {}
}
