//! OffsetCommit (key 8): a group says how far it has read.
//! Version 1 and up know members; 2 to 4 may say when the offsets expire; 6 the leader epoch (KIP-320); 7 static members
//! (KIP-345); 9 epochs of consumer groups (KIP-848); 10 topic ids.

use ottla_coordinator::{Producer, Ticket};
use ottla_wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use ottla_wire::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use ottla_wire::messages::{OffsetCommitKey, OffsetCommitRequest, OffsetCommitResponse, OffsetCommitValue};
use ottla_wire::primitives::Str;
use ottla_wire::{ErrorCode, LeaderEpoch, PartitionIndex, Timestamp, Uuid};

use super::{Offsets, Place};
use crate::config::ID_BYTES_MAX;
use crate::context::Context;
use crate::group::Committer;
use crate::groups::Groups;
use crate::request::{Caller, Response};

/// `retention_time_ms` of a commit that leaves it to the broker.
const DEFAULT_RETENTION: i64 = -1;

/// From this version on, a commit for a group that does not exist is told so.
const TELLS_UNKNOWN_GROUP_FROM: i16 = 9;

impl Offsets {
    /// Commits what the group agrees to. Somebody who is no member may commit to a group that does not exist: it is made.
    pub fn commit(
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

    /// A commit was served: the group exists if it has offsets, and hears of its member.
    pub(super) fn committed(
        &self,
        ctx: &mut Context<'_>,
        groups: &mut Groups,
        group: &Str,
        by: &Committer<'_>,
    ) {
        match groups.get_mut(group) {
            // As in Kafka, a commit in a transaction is no sign of life.
            Some(_) if by.transactional => {}
            Some(group) => group.committed(ctx, by),
            None if self.has_offsets(group) => {
                groups.get_or_create(group);
            }
            None => {}
        }
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

    /// Whether an offset can be kept for one place, or in a transaction of `producer`. What takes no more room than what was
    /// there before always can.
    pub(super) fn check_place(
        &self,
        ctx: &Context<'_>,
        producer: Option<Producer>,
        key: &OffsetCommitKey,
        metadata: Option<&Str>,
    ) -> Result<(), ErrorCode> {
        if key.topic.len() > ID_BYTES_MAX {
            return Err(ErrorCode::InvalidTopicException);
        }
        if !fits(ctx, metadata) {
            return Err(ErrorCode::OffsetMetadataTooLarge);
        }
        let committed = self.store.get(&key.group, &key.topic, PartitionIndex(key.partition));
        let len = self.store.len() + self.pending.len();
        if committed.is_none() && len >= ctx.config.limits.offsets_max {
            return Err(ErrorCode::PolicyViolation);
        }
        let before = match producer {
            Some(producer) => self.pending.get(producer.id, &Place::of(key)),
            None => committed,
        };
        let metadata_len = metadata.map_or(0, |metadata| metadata.len());
        let grows = before.is_none_or(|before| before.committed.metadata.len() < metadata_len);
        let has_room = match committed {
            Some(_) => !ctx.memory.is_overfull(),
            None => !ctx.memory.is_full(),
        };
        if grows && !has_room { Err(ErrorCode::CoordinatorNotAvailable) } else { Ok(()) }
    }
}

/// The answer that gives every partition the same error.
pub fn refuse_commit(request: &OffsetCommitRequest, error: ErrorCode) -> OffsetCommitResponse {
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

/// Whether a commit's metadata may be kept. As in Kafka, the setting counts UTF-16 units.
pub(super) fn fits(ctx: &Context<'_>, metadata: Option<&Str>) -> bool {
    let Some(metadata) = metadata else { return true };
    let max = ctx.config.offset_metadata_bytes_max;
    metadata.len() <= ID_BYTES_MAX && (metadata.len() <= max || metadata.encode_utf16().count() <= max)
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
