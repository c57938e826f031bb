//! What goes into a producer and what comes out.

use std::time::Duration;

use bytes::Bytes;
use ottla_wire::batch::Header;
use ottla_wire::primitives::Str;
use ottla_wire::{Offset, Timestamp};

use crate::error::{Advice, ApiError, Error};

/// A record to be sent.
#[derive(Clone, Debug, Default)]
pub struct ProducerRecord {
    pub topic: Str,
    /// The partition to send to; none: the key decides, or without a key the producer.
    pub partition: Option<i32>,
    pub key: Option<Bytes>,
    /// None is a tombstone for compaction.
    pub value: Option<Bytes>,
    pub headers: Vec<Header>,
    /// None: the time of `send`.
    pub timestamp: Option<Timestamp>,
}

impl ProducerRecord {
    /// A record with a value and nothing else.
    pub fn new(topic: impl Into<Str>, value: impl Into<Bytes>) -> ProducerRecord {
        ProducerRecord { topic: topic.into(), value: Some(value.into()), ..ProducerRecord::default() }
    }

    pub fn key(self, key: impl Into<Bytes>) -> ProducerRecord {
        ProducerRecord { key: Some(key.into()), ..self }
    }

    pub fn partition(self, partition: i32) -> ProducerRecord {
        ProducerRecord { partition: Some(partition), ..self }
    }

    pub fn timestamp(self, timestamp: Timestamp) -> ProducerRecord {
        ProducerRecord { timestamp: Some(timestamp), ..self }
    }

    pub fn header(mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> ProducerRecord {
        self.headers.push(Header { key: key.into(), value: Some(value.into()) });
        self
    }

    /// The most bytes that the record can take in a batch, uncompressed.
    pub(super) fn size_max(&self) -> usize {
        let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let header = |header: &Header| 2 * LENGTH_BYTES_MAX + header.key.len() + len(&header.value);
        RECORD_OVERHEAD_MAX
            + len(&self.key)
            + len(&self.value)
            + self.headers.iter().map(header).sum::<usize>()
    }
}

/// A varint of 32 bits.
const LENGTH_BYTES_MAX: usize = 5;
/// Lengths of record, key and value, number of headers, offset delta (5 each), timestamp delta (10),
/// attributes (1).
const RECORD_OVERHEAD_MAX: usize = 5 * LENGTH_BYTES_MAX + 10 + 1;

/// Where a record was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordMetadata {
    pub topic: Str,
    pub partition: i32,
    /// None if the broker did not tell: with `acks=0`, and for a repeat so late that the broker only knows
    /// that it has the record.
    pub offset: Option<Offset>,
    /// The record's own, or the broker's if the topic uses `LogAppendTime`.
    pub timestamp: Timestamp,
}

/// Why a record was not (or perhaps not) stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProduceError {
    /// The record alone is too large for `limit`, a setting of the producer. Not stored.
    #[error("record takes up to {size} bytes, more than {limit}={max}")]
    TooLarge { size: usize, limit: &'static str, max: usize },
    /// `max.block.ms` passed before there was room in `buffer.memory`: sending is slower than producing. Not
    /// stored.
    #[error("no room in buffer.memory within max.block.ms={}", .after.as_millis())]
    BufferFull { after: Duration },
    /// The topic's metadata could not be had, or there is no such partition. Not stored.
    #[error("not sent: {0}")]
    NotSent(Error),
    /// `delivery.timeout.ms` passed and the record was never sent, or each time refused. Not stored.
    #[error("not stored within delivery.timeout.ms={}{}", .after.as_millis(), Because(.last))]
    Expired { after: Duration, last: Option<Box<Error>> },
    /// The broker refused the record. Not stored.
    #[error("refused: {0}")]
    Refused(ApiError),
    /// The broker refused the batch because of other records in it. Not stored; sending it without those may
    /// succeed.
    #[error("refused together with other records of its batch: {0}")]
    RefusedWithOthers(ApiError),
    /// The record was sent, and no answer says whether it was stored: it may be in the log, or not.
    #[error("outcome unknown, the record may have been stored{}", Because(.last))]
    OutcomeUnknown { last: Option<Box<Error>> },
    /// The transaction that the record belongs to is to be aborted, and it was not sent before that. Not
    /// stored.
    #[error("not sent: its transaction is aborted")]
    Aborted,
    /// The batch could not be built.
    #[error("cannot be put into a batch: {0}")]
    Unencodable(String),
    /// The producer cannot go on. Not stored.
    #[error("the producer has failed: {0}")]
    Failed(Box<Error>),
    /// The producer is closed. Not stored.
    #[error("the producer is closed")]
    Closed,
}

/// The last thing that went wrong, for a message.
struct Because<'a>(&'a Option<Box<Error>>);

impl std::fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(error) => write!(f, " (last: {error})"),
            None => Ok(()),
        }
    }
}

impl ProduceError {
    /// What to do about it.
    pub fn advice(&self) -> Advice {
        match self {
            ProduceError::TooLarge { .. } | ProduceError::Unencodable(_) => Advice::FixInput,
            ProduceError::BufferFull { .. }
            | ProduceError::Expired { .. }
            | ProduceError::Aborted
            | ProduceError::RefusedWithOthers(_) => Advice::Retry,
            ProduceError::NotSent(error) => match error.advice() {
                // What is unknown is the fate of a question, not of the record.
                Advice::OutcomeUnknown => Advice::Retry,
                advice => advice,
            },
            ProduceError::Refused(error) => match error.advice() {
                Advice::OutcomeUnknown => Advice::FixInput,
                advice => advice,
            },
            ProduceError::OutcomeUnknown { .. } => Advice::OutcomeUnknown,
            ProduceError::Failed(_) | ProduceError::Closed => Advice::GiveUp,
        }
    }

    /// Whether the record may be in the log all the same.
    pub fn outcome_unknown(&self) -> bool {
        self.advice() == Advice::OutcomeUnknown
    }
}
