//! What happens to a replica.

use bytes::Bytes;
use ottla_wire::batch::{Origin, ValidatedBatch};
use ottla_wire::{
    BrokerEpoch, BrokerId, Instant, LeaderEpoch, Offset, PartitionEpoch, ProducerEpoch, ProducerId,
};

use crate::config::ReplicaConfig;
use crate::producer::{ProducerTable, VerificationGuard};

/// Names the caller of a request; comes back in exactly one [`crate::Effect::Reply`] or
/// [`crate::Effect::DeleteReplied`]. Chosen by the shard; the replica never looks inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplyId(pub u64);

/// Something that happened. Events come in the order in which they happened.
#[derive(Debug)]
pub enum Event {
    /// The metadata image says this of the partition. Feed it on every change of the partition, and also when
    /// the registration of one of its replicas' brokers changed; older states than the one held are ignored.
    Assigned(PartitionState),
    /// The topic's or broker's settings changed.
    Configured(ReplicaConfig),
    /// A producer (or a coordinator) wants a batch appended.
    Append(Append),
    /// A transaction coordinator wants an end-transaction marker appended.
    WriteMarker(WriteMarker),
    /// A follower has fetched from this leader: the read succeeded from this offset, so it holds all before
    /// it.
    FollowerFetched(FollowerFetch),
    /// The answer to this follower's [`crate::Effect::Fetch`].
    LeaderAnswered(LeaderAnswer),
    /// Everything before `end` is on stable storage. `epoch` is that of the [`crate::Effect::Flush`] it
    /// completes; a flush that nobody asked for carries the current [`crate::View::leader_epoch`].
    Flushed { epoch: LeaderEpoch, end: Offset },
    /// [`crate::Effect::Truncate`] is done: the log now ends at `end`, and `producers` was rebuilt from what
    /// is left (newest usable snapshot, then a [`crate::Restorer`] over the batches after it).
    Truncated { end: Offset, producers: ProducerTable },
    /// What was to be written last was not, because the disk is full: the log ends at `end`, before it.
    /// Nobody has seen or heard anything of it. `producers` as for [`Event::Truncated`].
    Unwritten { end: Offset, producers: ProducerTable },
    /// The controller answered [`crate::Effect::ProposeIsr`].
    IsrAnswered(IsrAnswer),
    /// An admin wants records deleted from the front of the partition.
    DeleteRecords(DeleteRecords),
    /// Retention has moved the start of the log. Never above the high watermark.
    LogStartMoved(Offset),
    /// Time has passed. Feed it a few times a second (deadlines) while anything is under way, and at least
    /// every half of `replica.lag.time.max.ms` on a leader with followers.
    Tick,
    /// The log directory failed: nothing here can be promised any more. Final.
    StorageFailed,
    /// The partition is deleted, moved away, or the broker stops: whoever waits is told to look elsewhere.
    /// Final.
    Retired,
}

/// What the metadata log says of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// `None` while no replica may lead.
    pub leader: Option<BrokerId>,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: PartitionEpoch,
    /// The in-sync replicas.
    pub isr: Vec<BrokerId>,
    /// Replicas out of the ISR that hold everything committed while the ISR was below `min.insync.replicas`
    /// (KIP-966). Kept by the controller; carried here for those who describe the partition.
    pub elr: Vec<BrokerId>,
    /// Members of an ELR that has been given up by an unclean shutdown (KIP-966).
    pub last_known_elr: Vec<BrokerId>,
    /// Every replica with what is known of its broker. Replicas being added are among them.
    pub replicas: Vec<ReplicaBroker>,
    /// Whether the leader was elected without being in sync.
    pub recovery: RecoveryState,
}

/// A replica's broker as the metadata image knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaBroker {
    pub broker: BrokerId,
    /// Epoch of its registration; `None` if it is not registered.
    pub epoch: Option<BrokerEpoch>,
    pub standing: Standing,
}

/// Whether a broker may be counted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Active,
    /// In controlled shutdown: still serves, may not join an ISR.
    ShuttingDown,
    /// Silent or not registered.
    Fenced,
}

/// `LeaderRecoveryState` of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryState {
    Recovered,
    /// The leader came from an unclean election.
    Recovering,
}

/// A batch to be appended by the leader.
#[derive(Debug)]
pub struct Append {
    pub batch: ValidatedBatch,
    pub acks: Acks,
    /// When the caller stops waiting: it then gets [`crate::AppendError::TimedOut`] (unknown, not failed).
    pub deadline: Instant,
    pub reply: ReplyId,
    /// Refuse unless this is the current leader epoch (coordinators); `None`: any.
    pub expected: Option<LeaderEpoch>,
    /// Whose batch it is: of a client's, sequences and transaction membership are checked; coordinators
    /// number no sequences, so only their producer epochs are.
    pub origin: Origin,
    /// From [`crate::Replica::begin_verification`], when the coordinator has confirmed that the partition is
    /// part of the producer's transaction.
    pub verified: Option<VerificationGuard>,
}

/// How far an acknowledgement waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// acks=0: nothing is waited for. The reply comes with the write: the client hears none of it, but the
    /// broker closes the connection of one whose batch was refused.
    None,
    /// acks=1: the leader has it ([`crate::Durability`] says what that means).
    Leader,
    /// acks=-1: every in-sync replica has it.
    InSync,
}

/// An end-transaction marker to be appended; acknowledged like acks=all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteMarker {
    pub producer: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub coordinator_epoch: i32,
    /// Commit, or abort.
    pub commit: bool,
    /// Of the transaction (WriteTxnMarkers v2+). From 2 on, a marker's epoch must be above the producer's
    /// (KIP-890).
    pub transaction_version: i8,
    pub deadline: Instant,
    pub reply: ReplyId,
}

/// A follower's successful fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerFetch {
    pub broker: BrokerId,
    /// The incarnation of the broker, from the fetch request (KIP-903). Counts only if it is the one that is
    /// registered.
    pub broker_epoch: BrokerEpoch,
    /// The leader epoch under which the read was served; other epochs are ignored.
    pub epoch: LeaderEpoch,
    /// The follower asked for records from here on.
    pub offset: Offset,
    /// Where the follower's own log starts.
    pub log_start: Offset,
}

/// What came of a [`crate::Effect::Fetch`].
#[derive(Clone, Debug)]
pub struct LeaderAnswer {
    /// The epoch that the fetch was asked under.
    pub epoch: LeaderEpoch,
    /// The offset that was asked for; an answer to anything but the newest request is ignored.
    pub offset: Offset,
    pub reply: LeaderReply,
}

/// What the leader said.
#[derive(Clone, Debug)]
pub enum LeaderReply {
    /// A run of batches from `offset` on (may be empty, may end in a cut batch).
    Records { records: Bytes, high_watermark: Offset, log_start: Offset },
    /// The logs diverge: the leader's `epoch` ends at `end` (`diverging_epoch` of the fetch response).
    Diverged { epoch: LeaderEpoch, end: Offset },
    /// OFFSET_OUT_OF_RANGE, after which the driver has asked the leader where its log starts and ends.
    OutOfRange { start: Offset, end: Offset },
    /// No answer, or an error that may pass: ask again after a pause.
    Failed,
}

/// The controller's answer to a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsrAnswer {
    /// From the [`crate::IsrProposal`] that is answered.
    pub epoch: LeaderEpoch,
    /// From the [`crate::IsrProposal`] that is answered.
    pub partition_epoch: PartitionEpoch,
    /// The ISR and partition epoch that now hold, or why not.
    pub outcome: Result<(Vec<BrokerId>, PartitionEpoch), IsrRefusal>,
}

/// Why an ISR proposal did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsrRefusal {
    /// It was surely not applied (OPERATION_NOT_ATTEMPTED, INELIGIBLE_REPLICA, INVALID_REQUEST, ...): the
    /// committed ISR holds.
    Refused,
    /// This leader's knowledge is old (FENCED_LEADER_EPOCH, INVALID_UPDATE_VERSION, NEW_LEADER_ELECTED,
    /// UNKNOWN_TOPIC_ID, ...): wait for the metadata log.
    Stale,
    /// No answer: it may have been applied. The same proposal is made again at the next tick.
    Unknown,
}

/// A DeleteRecords request for this partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeleteRecords {
    pub before: DeleteTo,
    pub deadline: Instant,
    pub reply: ReplyId,
}

/// Up to where records are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteTo {
    /// Everything that is committed (-1 on the wire).
    HighWatermark,
    /// Everything before this offset.
    Offset(Offset),
}
