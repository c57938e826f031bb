//! What a replica wants done.

use ottla_wire::batch::AppendBatch;
use ottla_wire::{AbortedTxn, BrokerEpoch, BrokerId, LeaderEpoch, Offset, PartitionEpoch, Timestamp};

use crate::error::{AppendError, DeleteError};
use crate::event::ReplyId;

/// Something to be done. Effects MUST be carried out in order.
///
/// A reply speaks for the writes before it: if a [`Effect::Write`] fails, every `Ok` reply that follows it in
/// the same turn becomes [`AppendError::Storage`], nothing of the turn is published, and the replica gets
/// [`crate::Event::StorageFailed`].
#[derive(Debug)]
pub enum Effect {
    /// Append to the log. Offsets and epochs are assigned; batches come in log order.
    Write(AppendBatch),
    /// Flush the log up to `end` or further (group commit), then feed [`crate::Event::Flushed`] with this
    /// epoch. At most one is outstanding for an epoch.
    Flush { epoch: LeaderEpoch, end: Offset },
    /// Cut the log back so that it ends at `to`, rebuild the producers, then feed
    /// [`crate::Event::Truncated`].
    Truncate { to: Offset },
    /// Drop the whole log and start it empty at this offset. Producers and epochs are empty afterwards. No
    /// completion event.
    RestartAt(Offset),
    /// The log starts here now: DeleteRecords, or the leader's log does. No completion event.
    MoveLogStart(Offset),
    /// Answer an [`crate::Append`] (whatever its acks) or a [`crate::WriteMarker`]: exactly once for each.
    Reply { to: ReplyId, outcome: Result<Appended, AppendError> },
    /// Answer a [`crate::DeleteRecords`]: the low watermark (lowest log start over the live replicas).
    DeleteReplied { to: ReplyId, outcome: Result<Offset, DeleteError> },
    /// Ask the controller for another ISR (AlterPartition; its `LeaderRecoveryState` is RECOVERED). At most
    /// one is outstanding.
    ProposeIsr(IsrProposal),
    /// Fetch from the leader; replaces any fetch under way. Answered by [`crate::Event::LeaderAnswered`].
    Fetch(FetchRequest),
    /// Drop the fetch under way, if any: this replica does not follow now.
    StopFetching,
    /// The leader epochs changed: store [`crate::Replica::epochs`] (`leader-epoch-checkpoint`).
    EpochsChanged,
    /// A transaction was aborted: add it to the transaction index of the segment that the marker before it
    /// went to.
    Aborted(AbortedTxn),
}

/// Where a batch has come to lie. For a repeated batch: where it lay the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub base_offset: Offset,
    pub last_offset: Offset,
    /// The leader's stamp with `LogAppendTime`; [`Timestamp::NONE`] with `CreateTime`.
    pub log_append_time: Timestamp,
    /// Where the log started when the batch was appended.
    pub log_start: Offset,
}

/// What a follower wants from its leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    pub leader: BrokerId,
    /// `current_leader_epoch` of the request.
    pub epoch: LeaderEpoch,
    /// From here on; everything before it is safe on this replica.
    pub offset: Offset,
    /// Epoch of the last record here, so that the leader can tell divergence; `None` for an empty log.
    pub last_fetched_epoch: Option<LeaderEpoch>,
    /// Where this replica's log starts.
    pub log_start: Offset,
    /// Wait `replica.fetch.backoff.ms` first: the last attempt failed.
    pub after_pause: bool,
}

/// The ISR that a leader asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsrProposal {
    pub epoch: LeaderEpoch,
    /// The partition epoch that the proposal is based on; comes back in [`crate::IsrAnswer`].
    pub partition_epoch: PartitionEpoch,
    pub isr: Vec<ProposedReplica>,
}

/// A member of a proposed ISR, with the incarnation that the leader has seen (KIP-903).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProposedReplica {
    pub broker: BrokerId,
    /// `None` if unknown (-1 on the wire).
    pub epoch: Option<BrokerEpoch>,
}
