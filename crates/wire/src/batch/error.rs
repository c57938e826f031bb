//! What can be wrong with a batch, and the error code that says so to a client.

use std::fmt;

use crate::compress::CodecError;
use crate::ids::Timestamp;
use crate::protocol::ErrorCode;

/// What is wrong with a batch.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BatchError {
    /// The bytes end before the batch does.
    #[error("batch of {need} bytes is cut off after {have}")]
    Truncated { need: usize, have: usize },
    /// No batch can be of this length.
    #[error("batch length {0} is impossible")]
    Length(i32),
    /// Another format than 2. Formats 0 and 1 are those of clients before Kafka 0.11.
    #[error("batch has magic {0}, only 2 is supported")]
    Magic(i8),
    #[error("batch has CRC {computed:#010x} but says {stored:#010x}")]
    Crc { stored: u32, computed: u32 },
    /// The batch as it is, or unpacked, is larger than is allowed.
    #[error("batch of {len} bytes is larger than the {max} bytes that are allowed")]
    TooLarge { len: usize, max: usize },
    /// More bytes after the one batch that there may be.
    #[error("{0} bytes follow the one batch that is allowed")]
    NotAlone(usize),
    #[error("compression type {0} is unknown")]
    UnknownCodec(u8),
    /// The records do not unpack.
    #[error("records cannot be unpacked: {0}")]
    Codec(#[from] CodecError),
    /// The header contradicts itself or asks for what its sender may not have.
    #[error("batch header: {0}")]
    Header(HeaderFault),
    /// A record is malformed. The records after it cannot be read.
    #[error("record {index}: {fault}")]
    Record { index: i32, fault: RecordFault },
    /// Bytes remain after the last record.
    #[error("{0} bytes follow the last record")]
    BytesAfterRecords(usize),
    /// Well-formed records that the topic does not take: the first
    /// [`RECORD_ERRORS_MAX`](super::RECORD_ERRORS_MAX).
    #[error("{} records rejected, the first: {}", .0.len(), FirstOf(.0))]
    Rejected(Vec<RecordError>),
    /// A control record is malformed.
    #[error("control record: {0}")]
    Control(&'static str),
    /// A builder was given records that a batch cannot hold together.
    #[error("cannot build batch: {0}")]
    Build(&'static str),
}

/// What is wrong with a batch's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HeaderFault {
    #[error("record count {0} is not positive")]
    RecordCount(i32),
    #[error("{records} records but last offset delta {last_offset_delta}")]
    OffsetRange { records: i32, last_offset_delta: i32 },
    #[error("clients may not write control records")]
    Control,
    #[error("clients may not set a delete horizon")]
    DeleteHorizon,
    #[error("a control batch may not be compressed")]
    CompressedControl,
    #[error("producer id {0} is not valid")]
    ProducerId(i64),
    #[error("producer epoch {0} is not valid with a producer id")]
    ProducerEpoch(i16),
    #[error("base sequence {0} is not valid with a producer id")]
    Sequence(i32),
    #[error("transactional without a producer id")]
    TransactionalWithoutProducer,
}

/// A record that the topic does not take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordError {
    /// The record's number in its batch, from 0: the `BatchIndex` of a Produce response.
    pub index: i32,
    pub fault: RecordFault,
}

/// What is wrong with a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordFault {
    #[error("is cut off")]
    Truncated,
    #[error("has a length or number that is not valid")]
    Number,
    #[error("has fields that do not add up to its length")]
    Length,
    #[error("has a header that is not valid")]
    Header,
    #[error("has offset delta {found} where {expected} is next")]
    OffsetDelta { found: i32, expected: i32 },
    #[error("has no key, which a compacted topic requires")]
    MissingKey,
    #[error("has timestamp {timestamp}, which is not between {earliest} and {latest}")]
    Timestamp { timestamp: Timestamp, earliest: Timestamp, latest: Timestamp },
}

impl BatchError {
    /// The code for a Produce response. Only [`ErrorCode::CorruptMessage`] makes a client send the same batch
    /// again, so it is kept for what may be damage on the way; what a client built wrongly stays wrong.
    pub fn code(&self) -> ErrorCode {
        match self {
            BatchError::Length(_) | BatchError::Crc { .. } => ErrorCode::CorruptMessage,
            BatchError::Magic(0 | 1) => ErrorCode::UnsupportedForMessageFormat,
            BatchError::Magic(_) => ErrorCode::CorruptMessage,
            BatchError::TooLarge { .. } | BatchError::Codec(CodecError::TooLarge { .. }) => {
                ErrorCode::MessageTooLarge
            }
            BatchError::UnknownCodec(_) => ErrorCode::UnsupportedCompressionType,
            BatchError::Rejected(errors) if errors.iter().any(|e| e.fault.is_timestamp()) => {
                ErrorCode::InvalidTimestamp
            }
            // Not the client's doing.
            BatchError::Codec(CodecError::Failed { .. } | CodecError::Level { .. })
            | BatchError::Build(_) => ErrorCode::UnknownServerError,
            // Kafka takes a batch that is cut off for no batch at all.
            BatchError::Truncated { .. }
            | BatchError::NotAlone(_)
            | BatchError::Codec(CodecError::Corrupt { .. })
            | BatchError::Header(_)
            | BatchError::Record { .. }
            | BatchError::BytesAfterRecords(_)
            | BatchError::Rejected(_)
            | BatchError::Control(_) => ErrorCode::InvalidRecord,
        }
    }

    /// The records at fault, for the `RecordErrors` of a Produce response; none if the batch as a whole is.
    pub fn record_errors(&self) -> &[RecordError] {
        match self {
            BatchError::Rejected(errors) => errors,
            _ => &[],
        }
    }
}

impl RecordFault {
    fn is_timestamp(self) -> bool {
        matches!(self, RecordFault::Timestamp { .. })
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {} {}", self.index, self.fault)
    }
}

struct FirstOf<'a>(&'a [RecordError]);

impl fmt::Display for FirstOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.first().map_or(Ok(()), |first| fmt::Display::fmt(first, f))
    }
}
