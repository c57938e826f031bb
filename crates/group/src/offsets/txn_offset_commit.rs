//! TxnOffsetCommit (key 28): how far a group has read, as part of a producer's transaction (KIP-98).
//! Version 2 knows the leader epoch (KIP-320); 3 and up the member, whose claim is checked (KIP-447).

use ottla_coordinator::{Producer, Ticket};
use ottla_wire::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_wire::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use ottla_wire::messages::{
    OffsetCommitKey, OffsetCommitValue, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use ottla_wire::primitives::Str;
use ottla_wire::{ErrorCode, PartitionIndex, ProducerEpoch, ProducerId, Timestamp, Uuid};

use super::admission::fits;
use super::committed::Offsets;
use crate::context::Context;
use crate::group::{Committer, Group, Next};
use crate::groups::Groups;
use crate::request::{Caller, GroupRequest, Response};
use crate::step::{Serve, Step};

impl GroupRequest for TxnOffsetCommitRequest {
    type Response = TxnOffsetCommitResponse;

    const MAY_CREATE: bool = true;

    fn group(&self) -> Option<&Str> {
        Some(&self.group_id)
    }

    /// Every partition gets the same error.
    fn refuse(self, error: ErrorCode) -> TxnOffsetCommitResponse {
        refuse_txn_commit(&self, error)
    }
}

impl Serve for TxnOffsetCommitRequest {
    fn serve(self, step: &mut Step<'_>, ticket: Ticket, caller: &Caller) {
        let Step { ctx, groups, offsets } = step;
        let id = self.group_id.clone();
        offsets.commit_in_transaction(ctx, groups, ticket, caller, self);
        step.settle(&id, Next::Stays);
    }
}

impl Offsets {
    /// Writes what the group agrees to into the producer's transaction; it comes into force when the
    /// transaction commits. As with [`Offsets::commit`], a group may be made. That the producer may write to
    /// this partition is checked where the records are appended.
    fn commit_in_transaction(
        &mut self,
        ctx: &mut Context<'_>,
        groups: &mut Groups,
        ticket: Ticket,
        caller: &Caller,
        request: TxnOffsetCommitRequest,
    ) {
        let by = committer(caller, &request);
        let response = match check(ctx, groups, &by, &request) {
            Err(error) => refuse_txn_commit(&request, error),
            Ok(producer) => {
                let commit = |topic| self.txn_commit_topic(ctx, producer, &request, topic);
                let topics = request.topics.iter().map(commit).collect();
                self.committed(ctx, groups, &request.group_id, &by);
                TxnOffsetCommitResponse { topics, ..Default::default() }
            }
        };
        ctx.reply(ticket, Response::TxnOffsetCommit(response));
    }

    fn txn_commit_topic(
        &mut self,
        ctx: &mut Context<'_>,
        producer: Producer,
        request: &TxnOffsetCommitRequest,
        topic: &TxnOffsetCommitRequestTopic,
    ) -> TxnOffsetCommitResponseTopic {
        let commit = |partition: &TxnOffsetCommitRequestPartition| {
            let key = OffsetCommitKey {
                group: request.group_id.clone(),
                topic: topic.name.clone(),
                partition: partition.partition_index,
            };
            let done = self.check_place(ctx, Some(producer), &key, partition.committed_metadata.as_ref());
            if done.is_ok() {
                self.write(ctx, Some(producer), key, Some(value(ctx, partition)));
            }
            TxnOffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: done.err().unwrap_or(ErrorCode::None).code(),
            }
        };
        TxnOffsetCommitResponseTopic {
            name: topic.name.clone(),
            partitions: topic.partitions.iter().map(commit).collect(),
        }
    }
}

/// The answer that gives every partition the same error.
fn refuse_txn_commit(request: &TxnOffsetCommitRequest, error: ErrorCode) -> TxnOffsetCommitResponse {
    let refuse = |partition: &TxnOffsetCommitRequestPartition| TxnOffsetCommitResponsePartition {
        partition_index: partition.partition_index,
        error_code: error.code(),
    };
    let topics = request.topics.iter().map(|topic| TxnOffsetCommitResponseTopic {
        name: topic.name.clone(),
        partitions: topic.partitions.iter().map(refuse).collect(),
    });
    TxnOffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}

fn committer<'a>(caller: &Caller, request: &'a TxnOffsetCommitRequest) -> Committer<'a> {
    Committer {
        member: &request.member_id,
        instance: request.group_instance_id.as_deref(),
        generation_or_epoch: request.generation_id,
        transactional: true,
        version: caller.version,
    }
}

fn check(
    ctx: &Context<'_>,
    groups: &Groups,
    by: &Committer<'_>,
    request: &TxnOffsetCommitRequest,
) -> Result<Producer, ErrorCode> {
    if request.group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    if request.producer_id < 0 || request.producer_epoch < 0 {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    match groups.get(&request.group_id) {
        Some(group) => check_group(ctx, group, by, request)?,
        None if by.generation_or_epoch < 0 => {}
        None => return Err(ErrorCode::IllegalGeneration),
    }
    Ok(Producer { id: ProducerId(request.producer_id), epoch: ProducerEpoch(request.producer_epoch) })
}

fn check_group(
    ctx: &Context<'_>,
    group: &dyn Group,
    by: &Committer<'_>,
    request: &TxnOffsetCommitRequest,
) -> Result<(), ErrorCode> {
    // Producers know no member epochs: to them, the generation is wrong.
    let as_generation = |error| match error {
        ErrorCode::StaleMemberEpoch => ErrorCode::IllegalGeneration,
        other => other,
    };
    group.validate_commit(by).map_err(as_generation)?;
    for topic in &request.topics {
        let id = ctx.topics.by_name(&topic.name).map_or(Uuid::ZERO, |facts| facts.id);
        for partition in topic.partitions.iter().filter(|p| fits(ctx, p.committed_metadata.as_ref())) {
            let partition = PartitionIndex(partition.partition_index);
            group.validate_commit_of(by, id, partition).map_err(as_generation)?;
        }
    }
    Ok(())
}

/// As in Kafka, without the id of the topic.
fn value(ctx: &Context<'_>, partition: &TxnOffsetCommitRequestPartition) -> OffsetCommitValue {
    OffsetCommitValue {
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata.clone().unwrap_or_default(),
        commit_timestamp: ctx.at.wall.0,
        expire_timestamp: Timestamp::NONE.0,
        topic_id: Uuid::ZERO,
    }
}
