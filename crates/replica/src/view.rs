//! The immutable picture of a replica that readers use.

use std::sync::Arc;

use ottla_wire::{BrokerId, LeaderEpoch, Offset, PartitionEpoch};

use crate::epochs::Epochs;

/// What a Fetch, ListOffsets or OffsetForLeaderEpoch needs to know, taken after a turn. Cheap to make and to
/// clone.
#[derive(Clone, Debug)]
pub struct View {
    pub role: ViewRole,
    /// Who leads, as far as the metadata says.
    pub leader: Option<BrokerId>,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: PartitionEpoch,
    pub log_start: Offset,
    /// Consumers read up to here.
    pub high_watermark: Offset,
    /// `read_committed` consumers read up to here: no transaction before it is undecided.
    pub last_stable: Offset,
    /// Followers read up to here.
    pub log_end: Offset,
    /// Everything before it is on stable storage.
    pub durable_end: Offset,
    /// Committed in-sync replicas (as the leader or the metadata says).
    pub isr: Arc<[BrokerId]>,
    /// Fewer in-sync replicas than `min.insync.replicas` asks for: acks=all is refused.
    pub under_min_isr: bool,
    /// For OffsetForLeaderEpoch and for telling a follower where it diverged.
    pub epochs: Arc<Epochs>,
}

/// What the replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViewRole {
    Leader,
    Follower,
    /// No leader is known, or this broker holds no replica.
    Idle,
    /// The log directory failed.
    Offline,
    /// Deleted or stopped.
    Retired,
}
