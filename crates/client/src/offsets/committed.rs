//! Offsets that groups have committed, and who commits them.

use std::collections::BTreeMap;

use ottla_wire::primitives::Str;
use ottla_wire::{LeaderEpoch, Offset};

use crate::cluster::TopicPartition;
use crate::error::ApiError;

/// Where a group is to go on in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetAndMetadata {
    /// Of the next record to be read.
    pub offset: Offset,
    /// Of the last record that was read, so that whoever goes on there notices when it was lost since
    /// (KIP-320).
    pub leader_epoch: LeaderEpoch,
    /// Words for people; the broker limits their length.
    pub metadata: String,
}

impl From<Offset> for OffsetAndMetadata {
    fn from(offset: Offset) -> OffsetAndMetadata {
        OffsetAndMetadata { offset, leader_epoch: LeaderEpoch::NONE, metadata: String::new() }
    }
}

/// Offsets to commit, or committed ones.
pub type Offsets = BTreeMap<TopicPartition, OffsetAndMetadata>;

/// What one group has committed; none where it has not. Errors of partitions are kept apart, and those of
/// which nothing was said are left out.
pub type Committed = BTreeMap<TopicPartition, Result<Option<OffsetAndMetadata>, ApiError>>;

/// Who commits, and who sends offsets in a transaction: a member of a group in one of its generations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMetadata {
    pub group_id: Str,
    /// The generation of a classic group, the member's epoch in a group of the consumer protocol; -1 outside
    /// of both.
    pub generation: i32,
    /// Empty outside of a group.
    pub member_id: Str,
    pub group_instance_id: Option<Str>,
}

impl GroupMetadata {
    /// Someone who commits for a group without being its member: allowed while it has none.
    pub fn outside(group_id: impl Into<Str>) -> GroupMetadata {
        GroupMetadata {
            group_id: group_id.into(),
            generation: -1,
            member_id: Str::default(),
            group_instance_id: None,
        }
    }
}
