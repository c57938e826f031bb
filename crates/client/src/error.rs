//! What can go wrong, and what to do about it. What goes wrong on a connection is in [`LinkError`].

use std::time::Duration;

pub use ottla_link::{Advice, ApiError, LinkError};
use ottla_wire::protocol::{ApiKey, ErrorCode};

/// Why a request did not give its answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A setting cannot be used.
    #[error("setting {name} cannot be {value}: {reason}")]
    Config { name: &'static str, value: String, reason: &'static str },
    /// The connection to a broker failed, or could not be made, or carries no such request.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// No broker could be reached, neither a known one nor a bootstrap server.
    #[error(
        "no broker is reachable, last tried {address}: {reason}; check bootstrap.servers and that a broker listens there"
    )]
    Unreachable { address: String, reason: String },
    /// What was waited for (`what`) did not come in time; no request was left unanswered.
    #[error("timed out after {after:?} waiting for {what}")]
    Waited { what: &'static str, after: Duration },
    /// The broker answered with an error.
    #[error("{0}")]
    Api(#[from] ApiError),
    /// The topic has no such partition.
    #[error("topic {topic} has {partitions} partitions, there is no partition {partition}")]
    NoSuchPartition { topic: String, partition: i32, partitions: usize },
    /// The partition has no leader now.
    #[error("partition {topic}-{partition} has no leader")]
    NoLeader { topic: String, partition: i32 },
    /// A fetched batch is corrupt.
    #[error("batch at offset {offset} of {topic}-{partition} is corrupt: {reason}")]
    CorruptBatch { topic: String, partition: i32, offset: i64, reason: String },
    /// The consumer's position is outside of the log and `auto.offset.reset` is `none`.
    #[error("offset {offset} is out of range for {topic}-{partition}: seek, or set auto.offset.reset")]
    OffsetOutOfRange { topic: String, partition: i32, offset: i64 },
    /// The group has committed nothing for the partition and `auto.offset.reset` is `none`.
    #[error("partition {0} has no committed offset: seek, or set auto.offset.reset")]
    NoOffset(String),
    /// The consumer was asked about a partition that is not assigned to it.
    #[error("partition {0} is not assigned to this consumer")]
    NotAssigned(String),
}

impl Error {
    /// What to do about it.
    pub fn advice(&self) -> Advice {
        match self {
            Error::Unreachable { .. }
            | Error::Waited { .. }
            | Error::NoLeader { .. }
            | Error::CorruptBatch { .. } => Advice::Retry,
            Error::Config { .. }
            | Error::NoSuchPartition { .. }
            | Error::NotAssigned(_)
            | Error::NoOffset(_)
            | Error::OffsetOutOfRange { .. } => Advice::FixInput,
            Error::Link(error) => error.advice(),
            Error::Api(error) => error.advice(),
        }
    }

    /// Whether trying again may succeed (what was asked may then happen twice if [`Error::outcome_unknown`]).
    pub fn is_retriable(&self) -> bool {
        match self {
            Error::Api(error) => error.is_retriable(),
            _ => matches!(self.advice(), Advice::Retry | Advice::OutcomeUnknown),
        }
    }

    /// Whether the request may have taken effect although this error came back.
    pub fn outcome_unknown(&self) -> bool {
        self.advice() == Advice::OutcomeUnknown
    }

    /// The broker's error code, when it is one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Error::Api(error) => Some(error.code),
            Error::Link(LinkError::Refused { code, .. }) => Some(*code),
            _ => None,
        }
    }

    /// An answer of the broker at `address` that says something else than what was asked.
    pub(crate) fn malformed(api: ApiKey, address: &str, reason: String) -> Error {
        Error::Link(LinkError::Malformed { api, address: address.to_owned(), reason })
    }

    pub(crate) fn unsupported(api: ApiKey, address: &str) -> Error {
        Error::Link(LinkError::UnsupportedVersion { api, address: address.to_owned() })
    }
}
