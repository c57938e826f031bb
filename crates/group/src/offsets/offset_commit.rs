//! OffsetCommit (key 8): a group says how far it has read. Version 1 and up know members; 2 to 4 may say when
//! the offsets expire; 6 the leader epoch (KIP-320); 7 static members (KIP-345); 9 epochs of consumer groups
//! (KIP-848); 10 topic ids.

use ottla_coordinator::Ticket;
use ottla_wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use ottla_wire::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use ottla_wire::messages::{OffsetCommitKey, OffsetCommitRequest, OffsetCommitResponse, OffsetCommitValue};
use ottla_wire::primitives::Str;
use ottla_wire::{ErrorCode, LeaderEpoch, PartitionIndex, Timestamp, Uuid};

use super::admission::fits;
use super::committed::Offsets;
use crate::context::Context;
use crate::group::{Committer, Next};
use crate::groups::Groups;
use crate::request::{Caller, GroupRequest, Response};
use crate::step::{Serve, Step};

/// `retention_time_ms` of a commit that leaves it to the broker.
const DEFAULT_RETENTION: i64 = -1;

/// From this version on, a commit for a group that does not exist gets GROUP_ID_NOT_FOUND.
const TELLS_UNKNOWN_GROUP_FROM: i16 = 9;

impl GroupRequest for OffsetCommitRequest {
    type Response = OffsetCommitResponse;

    const MAY_CREATE: bool = true;
    const NEEDS_NAME: bool = false;

    fn group(&self) -> Option<&Str> {
        Some(&self.group_id)
    }

    /// Every partition gets the same error.
    fn refuse(self, error: ErrorCode) -> OffsetCommitResponse {
        refuse_commit(&self, error)
    }
}

impl Serve for OffsetCommitRequest {
    fn serve(self, step: &mut Step<'_>, ticket: Ticket, caller: &Caller) {
        let Step { ctx, groups, offsets } = step;
        let id = self.group_id.clone();
        offsets.commit(ctx, groups, ticket, caller, self);
        step.settle(&id, Next::Stays);
    }
}

impl Offsets {
    /// Commits if the group agrees. A client that is not a member may commit to a group that does not exist,
    /// which creates it.
    fn commit(
        &mut self,
        ctx: &mut Context<'_>,
        groups: &mut Groups,
        ticket: Ticket,
        caller: &Caller,
        request: OffsetCommitRequest,
    ) {
        let by = committer(caller, &request);
        let response = match check_commit(ctx, groups, &by, &request) {
            Err(error) => refuse_commit(&request, error),
            Ok(()) => {
                let commit = |topic| self.commit_topic(ctx, &request, topic);
                let topics = request.topics.iter().map(commit).collect();
                self.committed(ctx, groups, &request.group_id, &by);
                OffsetCommitResponse { topics, ..Default::default() }
            }
        };
        ctx.reply(ticket, Response::OffsetCommit(response));
    }

    fn commit_topic(
        &mut self,
        ctx: &mut Context<'_>,
        request: &OffsetCommitRequest,
        topic: &OffsetCommitRequestTopic,
    ) -> OffsetCommitResponseTopic {
        let id = topic_id(ctx, topic);
        let commit = |partition: &OffsetCommitRequestPartition| {
            let key = OffsetCommitKey {
                group: request.group_id.clone(),
                topic: topic.name.clone(),
                partition: partition.partition_index,
            };
            let done = self.check_place(ctx, None, &key, partition.committed_metadata.as_ref());
            if done.is_ok() {
                let value = value(ctx, request.retention_time_ms, id, partition);
                self.write(ctx, None, key, Some(value));
            }
            OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: done.err().unwrap_or(ErrorCode::None).code(),
            }
        };
        OffsetCommitResponseTopic {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: topic.partitions.iter().map(commit).collect(),
        }
    }
}

/// The answer that gives every partition the same error.
fn refuse_commit(request: &OffsetCommitRequest, error: ErrorCode) -> OffsetCommitResponse {
    let refuse = |partition: &OffsetCommitRequestPartition| OffsetCommitResponsePartition {
        partition_index: partition.partition_index,
        error_code: error.code(),
    };
    let topics = request.topics.iter().map(|topic| OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic.partitions.iter().map(refuse).collect(),
    });
    OffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}

fn committer<'a>(caller: &Caller, request: &'a OffsetCommitRequest) -> Committer<'a> {
    Committer {
        member: &request.member_id,
        instance: request.group_instance_id.as_deref(),
        generation_or_epoch: request.generation_id_or_member_epoch,
        transactional: false,
        version: caller.version,
    }
}

/// Whether all of the request may be served. A partition that the member may not commit refuses all of them.
fn check_commit(
    ctx: &Context<'_>,
    groups: &Groups,
    by: &Committer<'_>,
    request: &OffsetCommitRequest,
) -> Result<(), ErrorCode> {
    let Some(group) = groups.get(&request.group_id) else { return check_without_group(by) };
    group.validate_commit(by)?;
    for topic in &request.topics {
        let id = topic_id(ctx, topic);
        for partition in topic.partitions.iter().filter(|p| fits(ctx, p.committed_metadata.as_ref())) {
            group.validate_commit_of(by, id, PartitionIndex(partition.partition_index))?;
        }
    }
    Ok(())
}

fn check_without_group(by: &Committer<'_>) -> Result<(), ErrorCode> {
    if by.generation_or_epoch < 0 {
        Ok(())
    } else if by.version >= TELLS_UNKNOWN_GROUP_FROM {
        Err(ErrorCode::GroupIdNotFound)
    } else {
        Err(ErrorCode::IllegalGeneration)
    }
}

/// The id that clients without topic ids mean.
fn topic_id(ctx: &Context<'_>, topic: &OffsetCommitRequestTopic) -> Uuid {
    if topic.topic_id.is_zero() {
        ctx.topics.by_name(&topic.name).map_or(Uuid::ZERO, |facts| facts.id)
    } else {
        topic.topic_id
    }
}

fn value(
    ctx: &Context<'_>,
    retention_time_ms: i64,
    topic_id: Uuid,
    partition: &OffsetCommitRequestPartition,
) -> OffsetCommitValue {
    let value = OffsetCommitValue {
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata.clone().unwrap_or_default(),
        commit_timestamp: ctx.at.wall.0,
        expire_timestamp: Timestamp::NONE.0,
        topic_id,
    };
    if retention_time_ms == DEFAULT_RETENTION {
        return value;
    }
    // Only version 1 of the record has the time, and it has neither the epoch nor the id.
    OffsetCommitValue {
        expire_timestamp: ctx.at.wall.0.saturating_add(retention_time_ms).max(0),
        leader_epoch: LeaderEpoch::NONE.0,
        topic_id: Uuid::ZERO,
        ..value
    }
}
