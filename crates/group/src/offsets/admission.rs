//! Which commits are accepted, and their effect on the group. The same for OffsetCommit and TxnOffsetCommit.

use ottla_coordinator::Producer;
use ottla_wire::messages::OffsetCommitKey;
use ottla_wire::primitives::Str;
use ottla_wire::{ErrorCode, PartitionIndex};

use super::committed::Offsets;
use super::store::GroupTopicPartition;
use crate::classic::get_or_create;
use crate::config::ID_BYTES_MAX;
use crate::context::Context;
use crate::group::Committer;
use crate::groups::{Groups, HasOffsets};

impl Offsets {
    /// A commit was served. The group exists if it has offsets, and its member lives.
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
                get_or_create(groups, group);
            }
            None => {}
        }
    }

    /// Whether an offset can be kept for one partition, or in a transaction of `producer`. One that takes no
    /// more room than the offset before it always can.
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
            Some(producer) => self.pending.get(producer.id, &GroupTopicPartition::of(key)),
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

/// Whether a commit's metadata may be kept. As in Kafka, the setting counts UTF-16 units.
pub(super) fn fits(ctx: &Context<'_>, metadata: Option<&Str>) -> bool {
    let Some(metadata) = metadata else { return true };
    let max = ctx.config.offset_metadata_bytes_max;
    metadata.len() <= ID_BYTES_MAX && (metadata.len() <= max || metadata.encode_utf16().count() <= max)
}
