//! The partition that keeps the offsets of groups: its leader and its group coordinator are the real ones.
//!
//! What is appended is committed at once; what a coordinator does meanwhile is the simulator of groups'
//! matter ([`crate::group`]). Here the coordinator is loaded anew between any two messages.

use std::sync::Arc;

use ottla_coordinator::{Batch, Coordinator, Frame, Moment, Producer, Ticket};
use ottla_group::offsets::GroupTopicPartition;
use ottla_group::{Call, Caller, FetchOfGroup, GroupConfig, GroupCoordinator, Request, Response};
use ottla_partition::Turn;
use ottla_replica::{AppendError, VerificationGuard, WriteMarker};
use ottla_wire::batch::{BatchBuilder, BatchLimits, Origin, Scratch, ValidatedBatch, validate};
use ottla_wire::messages::TxnOffsetCommitRequest;
use ottla_wire::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use ottla_wire::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_wire::{
    ErrorCode, Instant, Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, Str, Timestamp,
};

use super::TxnMutation;
use super::partition::{Entry, Partition};
use crate::group::topics::SimTopics;

/// What transactions read.
const INPUT: Str = Str::from_static("input");

pub struct GroupLeader {
    pub partition: Partition,
    /// `None` while nobody coordinates.
    frame: Option<Frame<GroupCoordinator>>,
    verify: bool,
    mutation: Option<TxnMutation>,
    tickets: u64,
}

impl GroupLeader {
    pub fn new(now: Instant, wall: Timestamp, mutation: Option<TxnMutation>) -> Result<GroupLeader, String> {
        let verify = mutation != Some(TxnMutation::SkipVerification);
        let partition = Partition::new(now, wall, verify)?;
        Ok(GroupLeader { partition, frame: None, verify, mutation, tickets: 0 })
    }

    /// The coordinator fails.
    pub fn fail(&mut self) {
        self.frame = None;
    }

    /// A coordinator takes over with what is in the log.
    pub fn take_over(&mut self, at: &Moment) -> Result<(), String> {
        let mut core = self.load()?;
        if self.mutation == Some(TxnMutation::ForgetPendingOffsets) {
            let pending: Vec<ProducerId> = core.offsets().pending().map(|(id, ..)| id).collect();
            for id in pending {
                core.end_transaction(Producer { id, epoch: ProducerEpoch(0) }, false);
            }
        }
        let mut frame = Frame::loading(core);
        frame.loaded(at);
        self.frame = Some(frame);
        Ok(())
    }

    fn load(&self) -> Result<GroupCoordinator, String> {
        let mut topics = SimTopics::default();
        topics.set(&INPUT, 1);
        let mut core = GroupCoordinator::new(GroupConfig::default(), Arc::new(topics));
        for (offset, entry) in self.partition.log.iter().enumerate() {
            match entry {
                Entry::Record { .. } => return Err("a client's record among the offsets".to_owned()),
                Entry::Offsets { producer, records } => {
                    for record in records {
                        let replayed = core.replay(Offset(offset as i64), Some(*producer), record.clone());
                        replayed.map_err(|why| format!("offset {offset} cannot be replayed: {why}"))?;
                    }
                }
                Entry::Marker { producer, commit } => core.end_transaction(*producer, self.heard(*commit)),
            }
        }
        Ok(core)
    }

    /// TxnOffsetCommit. The producer's claim is held against the partition when the coordinator takes the
    /// request.
    pub fn commit(
        &mut self,
        at: &Moment,
        group: &str,
        producer: Producer,
        offset: i64,
        guard: Option<VerificationGuard>,
    ) -> Result<(), ErrorCode> {
        if self.frame.is_none() {
            return Err(ErrorCode::NotCoordinator);
        }
        self.partition.check_claim(producer, guard, self.verify).map_err(ErrorCode::from)?;
        let partition = TxnOffsetCommitRequestPartition { committed_offset: offset, ..Default::default() };
        let request = TxnOffsetCommitRequest {
            transactional_id: group.into(),
            group_id: group.into(),
            producer_id: producer.id.0,
            producer_epoch: producer.epoch.0,
            topics: vec![TxnOffsetCommitRequestTopic { name: INPUT, partitions: vec![partition] }],
            ..Default::default()
        };
        match self.ask(at, 5, Request::TxnOffsetCommit(request))? {
            Response::TxnOffsetCommit(answer) => known(answer.topics[0].partitions[0].error_code),
            other => unreachable!("{other:?}"),
        }
    }

    /// OffsetFetch of what is stable; 0 if nothing was committed yet.
    pub fn fetch(&mut self, at: &Moment, group: &str) -> Result<i64, ErrorCode> {
        let topic =
            OffsetFetchRequestTopics { name: INPUT, partition_indexes: vec![0], ..Default::default() };
        let group = OffsetFetchRequestGroup {
            group_id: group.into(),
            topics: Some(vec![topic]),
            ..Default::default()
        };
        match self.ask(at, 9, Request::OffsetFetch(FetchOfGroup { group, require_stable: true }))? {
            Response::OffsetFetch(answer) => {
                known(answer.error_code)?;
                let partition = &answer.topics[0].partitions[0];
                known(partition.error_code)?;
                Ok(partition.committed_offset.max(0))
            }
            other => unreachable!("{other:?}"),
        }
    }

    /// A marker; the coordinator is told of it once it is committed.
    pub fn write_marker(&mut self, turn: Turn, marker: &WriteMarker) -> Result<(), AppendError> {
        let before = self.partition.log.len();
        let written = self.partition.write_marker(turn, marker);
        let commit = self.heard(marker.commit);
        if self.partition.log.len() > before
            && let Some(frame) = &mut self.frame
        {
            let producer = Producer { id: marker.producer, epoch: marker.producer_epoch };
            frame.end_transaction(producer, commit);
        }
        written
    }

    /// What the coordinator makes of a marker.
    fn heard(&self, commit: bool) -> bool {
        commit || self.mutation == Some(TxnMutation::TakeAbortedOffsets)
    }

    fn ask(&mut self, at: &Moment, version: i16, request: Request) -> Result<Response, ErrorCode> {
        let frame = self.frame.as_mut().ok_or(ErrorCode::NotCoordinator)?;
        self.tickets += 1;
        let call = Call { caller: Caller { version, ..Caller::default() }, request };
        frame.handle(at, Ticket(self.tickets), call).map_err(|_| ErrorCode::CoordinatorNotAvailable)?;
        while let Some(batch) = self.frame.as_mut().and_then(Frame::next_batch) {
            let sealed = seal(&batch, at.wall).ok_or(ErrorCode::UnknownServerError)?;
            let producer = batch.producer.ok_or(ErrorCode::UnknownServerError)?;
            let entry = Entry::Offsets { producer, records: batch.records };
            let turn = Turn { now: at.now, wall: at.wall };
            let appended = self.partition.append_offsets(turn, sealed, entry);
            match (&mut self.frame, appended) {
                (Some(frame), Ok(())) => frame.committed(),
                (_, Ok(()) | Err(_)) => return Err(ErrorCode::NotCoordinator),
            }
        }
        let released = self.frame.as_mut().map(Frame::take_released).unwrap_or_default();
        let reply = released.into_iter().find(|reply| reply.to == Ticket(self.tickets));
        reply.map(|reply| reply.response).ok_or(ErrorCode::UnknownServerError)
    }

    /// What is committed for a group.
    pub fn committed(&self, group: &str) -> i64 {
        let place = GroupTopicPartition { group: group.into(), topic: INPUT, partition: PartitionIndex(0) };
        let found = self.frame.as_ref().and_then(|frame| frame.core().offsets().get(&place));
        found.map_or(0, |committed| committed.offset.0)
    }

    /// What is wrong when everything has come to rest, if anything is.
    pub fn check_rest(&self) -> Result<(), String> {
        if self.partition.is_undecided() {
            return Err("the offsets' partition: a transaction is open".to_owned());
        }
        let Some(frame) = &self.frame else { return Err("nobody coordinates the groups".to_owned()) };
        let pending = frame.core().offsets().pending_len();
        if pending > 0 {
            return Err(format!("{pending} offsets wait for the end of a transaction"));
        }
        if self.load()?.records() != frame.core().records() {
            return Err("the offsets are not what the log says".to_owned());
        }
        Ok(())
    }
}

fn known(code: i16) -> Result<(), ErrorCode> {
    match ErrorCode::from_code(code) {
        Some(ErrorCode::None) => Ok(()),
        code => Err(code.unwrap_or(ErrorCode::UnknownServerError)),
    }
}

/// The batch of a coordinator, as the broker makes it.
fn seal(batch: &Batch, wall: Timestamp) -> Option<ValidatedBatch> {
    let mut builder = BatchBuilder::new();
    if let Some(producer) = batch.producer {
        builder = builder.producer(producer.id, producer.epoch, Sequence::NONE).transactional();
    }
    for record in &batch.records {
        builder.push(wall, Some(&record.key), record.value.as_deref());
    }
    let limits = BatchLimits { origin: Origin::Broker, ..BatchLimits::default() };
    validate(builder.build().ok()?, &limits, &mut Scratch::default()).ok()
}
