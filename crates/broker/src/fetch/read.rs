//! What one partition has for one fetch: a plan of bytes in a file, bounded by what the reader may see.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use ottla_log::{Cold, ReadError, ReadPlan};
use ottla_partition::{PartitionView, ReadLimit};
use ottla_replica::EpochEnd;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{AbortedTxn, BrokerEpoch, BrokerId, LeaderEpoch, Offset};

use crate::partition::{PartitionError, PartitionHandle};

/// What a fetch wants of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    pub offset: Offset,
    pub max_bytes: i32,
    /// The leader epoch that the reader believes in (KIP-320).
    pub current_epoch: Option<LeaderEpoch>,
    /// The epoch of the last record that the reader has; a leader tells it where its log parts from this one.
    pub last_fetched_epoch: Option<LeaderEpoch>,
    /// Where a follower's own log starts.
    pub log_start: Offset,
}

/// Who reads, and so how far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    Consumer {
        committed_only: bool,
    },
    /// One incarnation of a broker (KIP-903); below every registered one if the request names none.
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
    /// The bytes to send; empty at the end of what the reader may see.
    pub plan: ReadPlan,
    /// The reader's log and this one part here; it gets no records.
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
            // Kafka's code for a stale incarnation, too: the follower asks again until both know the same.
            ReadFailure::NotAReplica(_) | ReadFailure::NotRegistered { .. } => ErrorCode::NotLeaderOrFollower,
            ReadFailure::NotAuthorized => ErrorCode::TopicAuthorizationFailed,
            ReadFailure::Storage(error) => unreadable(error),
        }
    }
}

/// What a client is told of a log that cannot be read: of damage it must hear, while it waits for a disk to
/// come back.
pub fn unreadable(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::Corrupt { .. } => ErrorCode::CorruptMessage,
        ReadError::OutOfRange { .. } | ReadError::WouldBlock | ReadError::Io(_) => {
            ErrorCode::KafkaStorageError
        }
    }
}

/// Plans what `reader` gets: at most `max_bytes`, but with `whole_batch` at least one batch if there is one.
/// With [`Cold::Refuse`] the failure is [`ReadError::WouldBlock`] if the files that say so are not in memory.
pub fn plan(
    partition: &PartitionHandle,
    asked: &Asked,
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
    // Beyond its own limit a reader waits; beyond the log it has lost its way.
    if asked.offset < replica.log_start || asked.offset > replica.log_end {
        return Err(ReadFailure::OutOfRange(view));
    }
    let bound = view.bound(reader.limit());
    if asked.offset >= bound.offset || (max_bytes == 0 && !whole_batch) {
        return Ok(Found { view, plan: ReadPlan::empty(), diverging: None });
    }
    match partition.reader.read(asked.offset, max_bytes, bound, whole_batch, cold) {
        Ok(plan) => Ok(Found { view, plan, diverging: None }),
        // Retention was faster than this reader.
        Err(ReadError::OutOfRange { .. }) => Err(ReadFailure::OutOfRange(view)),
        Err(error) => Err(ReadFailure::Storage(error)),
    }
}

/// Pieces up to this size are copied into the response: below it a system call more costs more than the copy.
const COPIED_BYTES_MAX: usize = 32 * 1024;

/// What is read of a plan before the response is made.
pub struct Content {
    /// The transactions that a reader of committed data leaves out.
    pub aborted: Vec<AbortedTxn>,
    /// The bytes; `None` if there are so many that they are left in their file.
    pub bytes: Option<Bytes>,
}

impl Found {
    /// Reads what goes with the plan of a fetch from `from`.
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
