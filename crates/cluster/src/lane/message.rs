//! What a lane and its leader tell each other.

use bytes::Bytes;
use ottla_replica::FetchRequest;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{LeaderEpoch, Offset};

use crate::id::PartitionId;

/// Counts the requests of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestNumber(pub u64);

/// A Fetch of a follower.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneRequest {
    /// Comes back with the answer.
    pub number: RequestNumber,
    /// 0 opens a session.
    pub session_id: i32,
    pub session_epoch: i32,
    /// What is new, or all of a new session.
    pub wanted: Vec<(PartitionId, FetchRequest)>,
    pub forgotten: Vec<PartitionId>,
}

/// The answer to a [`LaneRequest`].
#[derive(Clone, Debug)]
pub struct LaneAnswer {
    /// The session, 0 for none; or why nothing was served.
    pub outcome: Result<i32, ErrorCode>,
    pub partitions: Vec<PartitionAnswer>,
}

#[derive(Clone, Debug)]
pub struct PartitionAnswer {
    pub partition: PartitionId,
    pub outcome: PartitionOutcome,
}

/// What the leader says of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartitionOutcome {
    /// A run of batches, which may be empty or end in a cut batch.
    Records {
        records: Bytes,
        high_watermark: Offset,
        log_start: Offset,
    },
    /// The leader's `epoch` ends at `end`; the follower's last epoch is another or ends later.
    Diverged {
        epoch: LeaderEpoch,
        end: Offset,
    },
    Failed(ErrorCode),
}
