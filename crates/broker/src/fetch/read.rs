//! Reads one partition for one fetch: a plan of bytes in a file, up to the reader's bound.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use ottla_log::{Cold, ReadError, ReadPlan};
use ottla_partition::{PartitionView, ReadLimit};
use ottla_replica::EpochEnd;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{AbortedTxn, BrokerEpoch, BrokerId, LeaderEpoch, Offset};

use crate::partition::{PartitionError, PartitionHandle};

/// What a fetch asks of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionFetch {
    pub offset: Offset,
    pub max_bytes: i32,
    /// The leader epoch that the reader knows (KIP-320).
    pub current_epoch: Option<LeaderEpoch>,
    /// The epoch of the reader's last record. With it the leader finds where the two logs diverge.
    pub last_fetched_epoch: Option<LeaderEpoch>,
    /// The start of a follower's own log.
    pub log_start: Offset,
}

/// The reader, which decides how far the read goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    Consumer {
        committed_only: bool,
    },
    /// One incarnation of a broker (KIP-903). If the request names none, its epoch is below every registered
    /// one.
    Follower {
        broker: BrokerId,
        epoch: BrokerEpoch,
    },
}

impl Reader {
    pub fn limit(self) -> ReadLimit {
        match self {
            Reader::Consumer { committed_only: false } => ReadLimit::HighWatermark,
            Reader::Consumer { committed_only: true } => ReadLimit::LastStable,
            Reader::Follower { .. } => ReadLimit::LogEnd,
        }
    }
}

/// What a partition has for a fetch.
#[derive(Clone)]
pub struct Found {
    pub view: Arc<PartitionView>,
    /// The bytes to send. Empty at the end of what the reader may see.
    pub plan: ReadPlan,
    /// The point where the reader's log diverges from this one. It then gets no records.
    pub diverging: Option<EpochEnd>,
}

/// Why a partition has nothing for a fetch.
#[derive(Debug, thiserror::Error)]
pub enum ReadFailure {
    #[error(transparent)]
    Partition(#[from] PartitionError),
    #[error("the offset is not in the log")]
    OutOfRange(Arc<PartitionView>),
    #[error("broker {0} holds no replica of the partition")]
    NotAReplica(BrokerId),
    #[error("broker {broker} is not registered with epoch {epoch}, as far as is known here")]
    NotRegistered { broker: BrokerId, epoch: BrokerEpoch },
    #[error("the client may not read the topic")]
    NotAuthorized,
    #[error("the log cannot be read: {0}")]
    Storage(ReadError),
}

impl From<io::Error> for ReadFailure {
    fn from(error: io::Error) -> ReadFailure {
        ReadFailure::Storage(error.into())
    }
}

impl From<&ReadFailure> for ErrorCode {
    fn from(failure: &ReadFailure) -> ErrorCode {
        match failure {
            ReadFailure::Partition(error) => (*error).into(),
            ReadFailure::OutOfRange(_) => ErrorCode::OffsetOutOfRange,
            // Kafka's code for a stale incarnation, too. The follower asks again until both sides agree.
            ReadFailure::NotAReplica(_) | ReadFailure::NotRegistered { .. } => ErrorCode::NotLeaderOrFollower,
            ReadFailure::NotAuthorized => ErrorCode::TopicAuthorizationFailed,
            ReadFailure::Storage(error) => unreadable(error),
        }
    }
}

/// The code for a log that cannot be read. Clients must learn of damage, but may wait for a failed disk to
/// come back.
pub fn unreadable(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::Corrupt { .. } => ErrorCode::CorruptMessage,
        ReadError::OutOfRange { .. } | ReadError::WouldBlock | ReadError::Io(_) => {
            ErrorCode::KafkaStorageError
        }
    }
}

/// Plans the read for `reader`: at most `max_bytes`, but with `whole_batch` at least one batch if there is
/// one. With [`Cold::Refuse`] it fails with [`ReadError::WouldBlock`] if the needed index or header is not in
/// memory.
pub fn plan(
    partition: &PartitionHandle,
    asked: &PartitionFetch,
    reader: Reader,
    max_bytes: usize,
    whole_batch: bool,
    cold: Cold,
) -> Result<Found, ReadFailure> {
    let view = partition.leader_view(asked.current_epoch)?;
    let view = Arc::clone(&view);
    let replica = &view.replica;
    if let Some(last) = asked.last_fetched_epoch
        && let Some(end) = replica.epochs.divergence(last, asked.offset, replica.log_end)
    {
        return Ok(Found { view, plan: ReadPlan::empty(), diverging: Some(end) });
    }
    // Beyond its own bound a reader waits. Beyond the end of the log it is lost.
    if asked.offset < replica.log_start || asked.offset > replica.log_end {
        return Err(ReadFailure::OutOfRange(view));
    }
    let bound = view.bound(reader.limit());
    if asked.offset >= bound.offset || (max_bytes == 0 && !whole_batch) {
        return Ok(Found { view, plan: ReadPlan::empty(), diverging: None });
    }
    match partition.reader.read(asked.offset, max_bytes, bound, whole_batch, cold) {
        Ok(plan) => Ok(Found { view, plan, diverging: None }),
        // Retention has overtaken this reader.
        Err(ReadError::OutOfRange { .. }) => Err(ReadFailure::OutOfRange(view)),
        Err(error) => Err(ReadFailure::Storage(error)),
    }
}

/// Pieces up to this size are copied into the response. For these an extra system call costs more than the
/// copy.
const COPIED_BYTES_MAX: usize = 32 * 1024;

/// The parts of a plan that are read before the response is made.
pub struct Content {
    /// The aborted transactions that a reader of committed data skips.
    pub aborted: Vec<AbortedTxn>,
    /// The bytes, or `None` if they are so many that they stay in their file.
    pub bytes: Option<Bytes>,
}

impl Found {
    /// Reads the content for the plan of a fetch from `from`.
    pub fn content(
        &self,
        partition: &PartitionHandle,
        from: Offset,
        reader: Reader,
        cold: Cold,
    ) -> Result<Content, ReadError> {
        let aborted = match reader {
            Reader::Consumer { committed_only: true } => {
                partition.reader.aborted_transactions(from, self.view.last_stable.offset, cold)?
            }
            Reader::Consumer { .. } | Reader::Follower { .. } => Vec::new(),
        };
        let copied = self.plan.len() <= COPIED_BYTES_MAX || self.plan.file().is_none();
        let bytes = if copied { Some(self.plan.read(cold)?) } else { None };
        Ok(Content { aborted, bytes })
    }
}
