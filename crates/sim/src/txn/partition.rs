//! A partition that transactions write to, and what has come to lie in its log.

use std::time::Duration;

use ottla_coordinator::Producer;
use ottla_partition::{AppendOutcome, AppendRequest, Claim, MarkerRequest, Turn};
use ottla_replica::{Acks, AppendError, VerificationGuard};
use ottla_wire::batch::{BatchView, ControlRecord};
use ottla_wire::{ProducerEpoch, ProducerId, Sequence};

use super::TxnMutation;
use crate::client::batch::{Numbered, Value, build};
use crate::leader::groups::Groups;
use crate::leader::{Leader, Rules};
use crate::rng::Rng;

const RECORDS_BYTES_MAX: usize = 1 << 20;

/// Only one of the partitions has a coordinator: that of groups.
pub type Home = Groups<Option<TxnMutation>>;

/// What lies in the log.
#[derive(Clone, Copy, Debug)]
pub enum Entry {
    Record { producer: ProducerId, epoch: ProducerEpoch, sequence: Sequence, value: Value },
    Marker { producer: ProducerId, commit: bool },
}

pub struct Partition {
    pub leader: Leader<Home>,
    verifies: bool,
}

impl Partition {
    /// A partition that nobody leads yet.
    pub fn new(topic: &'static str, mutation: Option<TxnMutation>, uuids: Rng) -> Partition {
        let verifies = mutation != Some(TxnMutation::SkipVerification);
        let rules = Rules { topic, verify_transactions: verifies, hasty: false };
        Partition { leader: Leader::new(rules, uuids), verifies }
    }

    /// Whether readers of what is committed are held up by a transaction.
    pub fn is_undecided(&self) -> bool {
        let view = self.leader.partition().map(|partition| partition.view().replica);
        view.is_none_or(|view| view.last_stable != view.log_end)
    }

    /// The guard of a write that is yet to be confirmed; `None` if it need not be.
    pub fn begin_verification(
        &mut self,
        turn: Turn,
        claim: &Claim,
    ) -> Result<Option<VerificationGuard>, AppendError> {
        let partition = self.leader.partition_mut().ok_or(AppendError::NotLeader)?;
        Ok(partition.begin_verification(turn, claim).filter(|_| self.verifies))
    }

    /// Whether a coordinator may write for this producer.
    pub fn check_claim(
        &self,
        producer: Producer,
        shown: Option<VerificationGuard>,
    ) -> Result<(), AppendError> {
        let claim = Claim { producer, sequence: Sequence::NONE, bumps_epochs: false };
        let partition = self.leader.partition().ok_or(AppendError::NotLeader)?;
        partition.check_claim(&claim, shown, self.verifies)
    }

    /// Appends one record of a client.
    pub fn append(
        &mut self,
        turn: Turn,
        numbered: Numbered,
        value: Value,
        verified: Option<VerificationGuard>,
    ) -> Result<AppendOutcome, String> {
        let batch = build(&[value], Some(numbered), turn.wall).ok_or("a record that cannot be built")?;
        let deadline = turn.now + Duration::from_secs(60);
        let request = AppendRequest { batch, acks: Acks::InSync, deadline, verified };
        if let Some(partition) = self.leader.partition_mut() {
            partition.append(turn, request, ());
            partition.touch();
        }
        self.settle(turn)
    }

    pub fn write_marker(&mut self, turn: Turn, marker: &MarkerRequest) -> Result<AppendOutcome, String> {
        let _at = self.leader.write_marker(turn, marker);
        self.settle(turn)
    }

    /// What is written is committed at once: the outcome is there when the turn is over.
    fn settle(&mut self, turn: Turn) -> Result<AppendOutcome, String> {
        if !self.leader.is_led() {
            return Ok(Err(AppendError::NotLeader));
        }
        self.leader.settle(turn)?;
        self.leader.take_outcome().ok_or_else(|| "an append that comes to nothing".to_owned())
    }

    /// Records of clients, and markers.
    pub fn entries(&self) -> Result<Vec<Entry>, String> {
        let batches = self.leader.batches()?;
        batches.iter().map(|batch| read(batch).ok_or_else(|| format!("{batch:?} cannot be read"))).collect()
    }
}

/// Each batch has one record.
fn read(batch: &BatchView) -> Option<Entry> {
    let header = batch.header();
    let record = batch.records(RECORDS_BYTES_MAX).ok()?.next()?.ok()?;
    if header.is_control() {
        let control = ControlRecord::parse(record.key.as_ref(), record.value.as_ref()).ok()??;
        let commit = matches!(control, ControlRecord::Commit { .. });
        return Some(Entry::Marker { producer: header.producer_id, commit });
    }
    let value = Value::decode(&record.value?)?;
    let (producer, epoch, sequence) = (header.producer_id, header.producer_epoch, header.base_sequence);
    Some(Entry::Record { producer, epoch, sequence, value })
}
