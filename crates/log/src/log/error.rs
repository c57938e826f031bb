//! What can go wrong with a log.

use std::io;
use std::path::PathBuf;

use ottla_wire::{Offset, TopicId};

/// Why an operation on a log failed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// KAFKA_STORAGE_ERROR. Nothing but a restart brings the directory back.
    #[error("data directory is offline: {0}")]
    Offline(String),
    /// It failed just now; if the disk is to blame, the directory is offline from here on.
    #[error("cannot {doing}: {error}")]
    Io { doing: String, error: io::Error },
    /// There is no room on the disk. What is there is whole, and the same can be tried again.
    #[error("cannot {doing}: {error}")]
    Full { doing: String, error: io::Error },
    /// A flush failed: what of the log is on stable storage is unknown.
    #[error("cannot flush: {0}")]
    Flush(String),
    /// A batch that does not follow what is there. The owner assigns offsets, so this is its mistake.
    #[error("batch starts at {base_offset}, the log ends at {log_end}")]
    OutOfOrder { base_offset: Offset, log_end: Offset },
    /// The batch does not fit: the owner MUST roll when `roll_due` says so.
    #[error("batch at {base_offset} does not fit into the segment that starts at {segment}")]
    SegmentFull { base_offset: Offset, segment: Offset },
    /// The folder is another topic's of the same name.
    #[error("{folder} belongs to topic {found}, expected {expected}")]
    OtherTopic { folder: PathBuf, found: TopicId, expected: TopicId },
    /// Kafka stopped in the middle of a compaction.
    #[error("{path} is left of a compaction that was not finished: start and stop Kafka once to finish it")]
    UnfinishedCompaction { path: PathBuf },
    /// A trusted part of the log does not hold batches.
    #[error("{path} at position {position}: {what}")]
    Corrupt { path: PathBuf, position: u64, what: String },
    /// `close` with a flush under way.
    #[error("a flush is under way")]
    FlushUnderWay,
}
