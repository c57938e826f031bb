//! The partition that keeps the offsets of groups, with its coordinator.
//!
//! What is appended is committed at once; what members do to a coordinator is the simulator of groups' matter
//! ([`crate::group`]). Here its broker fails between any two messages.

use ottla_coordinator::{Coordinator, Moment, Output, Producer, Ticket};
use ottla_group::offsets::GroupTopicPartition;
use ottla_group::{Call, Caller, FetchOfGroup, GroupConfig, GroupCoordinator, Reply, Request, Response};
use ottla_partition::Turn;
use ottla_replica::{AppendError, VerificationGuard};
use ottla_wire::messages::TxnOffsetCommitRequest;
use ottla_wire::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use ottla_wire::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_wire::{ErrorCode, PartitionIndex, ProducerEpoch, ProducerId, Str};

use super::TxnMutation;
use super::partition::{Home, Partition};
use crate::group::topics::SimTopics;
use crate::leader::groups::{Groups, TOPIC};
use crate::leader::resident::Bend;
use crate::rng::Rng;

/// What transactions read.
const INPUT: Str = Str::from_static("input");

pub struct GroupLeader {
    pub partition: Partition,
    home: Home,
    tickets: u64,
}

impl GroupLeader {
    pub fn new(mutation: Option<TxnMutation>, uuids: Rng) -> GroupLeader {
        let mut topics = SimTopics::default();
        topics.set(&INPUT, 1);
        let home = Groups { config: GroupConfig::default(), topics, bend: mutation };
        GroupLeader { partition: Partition::new(TOPIC, mutation, uuids), home, tickets: 0 }
    }

    /// The broker fails. All that it has written is committed.
    pub fn fail(&mut self, rng: &mut Rng) -> Result<(), String> {
        self.partition.leader.crash(rng, 0)
    }

    /// Another broker takes over with what is in the log, unless one has.
    pub fn take_over(&mut self, turn: Turn) -> Result<(), String> {
        let leader = &mut self.partition.leader;
        if leader.is_led() { Ok(()) } else { leader.start(turn, Some(self.home.clone())) }
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
    ) -> Result<Result<(), ErrorCode>, String> {
        let partition = TxnOffsetCommitRequestPartition { committed_offset: offset, ..Default::default() };
        let request = TxnOffsetCommitRequest {
            transactional_id: group.into(),
            group_id: group.into(),
            producer_id: producer.id.0,
            producer_epoch: producer.epoch.0,
            topics: vec![TxnOffsetCommitRequestTopic { name: INPUT, partitions: vec![partition] }],
            ..Default::default()
        };
        let claim = self.partition.check_claim(producer, guard);
        let answer = self.ask(at, 5, Request::TxnOffsetCommit(request), claim)?;
        Ok(answer.and_then(|answer| match answer {
            Response::TxnOffsetCommit(answer) => known(answer.topics[0].partitions[0].error_code),
            other => unreachable!("{other:?}"),
        }))
    }

    /// OffsetFetch of what is stable; 0 if nothing was committed yet.
    pub fn fetch(&mut self, at: &Moment, group: &str) -> Result<Result<i64, ErrorCode>, String> {
        let topic =
            OffsetFetchRequestTopics { name: INPUT, partition_indexes: vec![0], ..Default::default() };
        let group = OffsetFetchRequestGroup {
            group_id: group.into(),
            topics: Some(vec![topic]),
            ..Default::default()
        };
        let request = Request::OffsetFetch(FetchOfGroup { group, require_stable: true });
        let answer = self.ask(at, 9, request, Ok(()))?;
        Ok(answer.and_then(|answer| match answer {
            Response::OffsetFetch(answer) => {
                known(answer.error_code)?;
                let partition = &answer.topics[0].partitions[0];
                known(partition.error_code)?;
                Ok(partition.committed_offset.max(0))
            }
            other => unreachable!("{other:?}"),
        }))
    }

    fn ask(
        &mut self,
        at: &Moment,
        version: i16,
        request: Request,
        claim: Result<(), AppendError>,
    ) -> Result<Result<Response, ErrorCode>, String> {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let call = Call { caller: Caller { version, ..Caller::default() }, request };
        let leader = &mut self.partition.leader;
        if let Err(refusal) = leader.ask(at, ticket, call, claim) {
            return Ok(Err(ErrorCode::from(refusal)));
        }
        leader.settle(Turn { now: at.now, wall: at.wall })?;
        let reply = leader.take_released().into_iter().find(|Reply { to, .. }| *to == ticket);
        reply.map(|reply| Ok(reply.response)).ok_or_else(|| "nobody answers for the groups".to_owned())
    }

    /// What is committed for a group.
    pub fn committed(&self, group: &str) -> i64 {
        let place = GroupTopicPartition { group: group.into(), topic: INPUT, partition: PartitionIndex(0) };
        let found = self.partition.leader.core().and_then(|core| core.inner.offsets().get(&place));
        found.map_or(0, |committed| committed.offset.0)
    }

    /// What is wrong when everything has come to rest, if anything is.
    pub fn check_rest(&self) -> Result<(), String> {
        if self.partition.is_undecided() {
            return Err("the offsets' partition: a transaction is open".to_owned());
        }
        let leader = &self.partition.leader;
        let Some(core) = leader.core() else { return Err("nobody coordinates the groups".to_owned()) };
        let pending = core.inner.offsets().pending_len();
        if pending > 0 {
            return Err(format!("{pending} offsets wait for the end of a transaction"));
        }
        if leader.load(&self.home)?.core().inner.records() != core.inner.records() {
            return Err("the offsets are not what the log says".to_owned());
        }
        Ok(())
    }
}

impl Bend<GroupCoordinator> for Option<TxnMutation> {
    fn hears(&self, commit: bool, _: bool) -> bool {
        commit || *self == Some(TxnMutation::TakeAbortedOffsets)
    }

    /// One that forgets offsets takes every transaction that is open for aborted.
    fn start(&self, core: &mut GroupCoordinator, at: &Moment, out: &mut Output<Reply>) {
        if *self == Some(TxnMutation::ForgetPendingOffsets) {
            let pending: Vec<ProducerId> = core.offsets().pending().map(|(id, ..)| id).collect();
            for id in pending {
                core.end_transaction(Producer { id, epoch: ProducerEpoch(0) }, false);
            }
        }
        core.start(at, out);
    }
}

fn known(code: i16) -> Result<(), ErrorCode> {
    match ErrorCode::from_code(code) {
        Some(ErrorCode::None) => Ok(()),
        code => Err(code.unwrap_or(ErrorCode::UnknownServerError)),
    }
}
