//! What can go wrong, and what to do about it.

use std::time::Duration;

use ottla_wire::primitives::{DecodeError, EncodeError};
use ottla_wire::protocol::{ApiKey, ErrorCode};

/// What the caller should do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Nothing has happened on the broker: trying again is safe and may succeed.
    Retry,
    /// The request may or may not have taken effect. Trying again is safe only for what may happen twice.
    OutcomeUnknown,
    /// The request or the configuration is wrong: trying the same again fails again.
    FixInput,
    /// This client cannot go on (fenced, not authorized, closed): make another or call a person.
    GiveUp,
}

/// Why a request did not give its answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A setting cannot be used.
    #[error("setting {name} cannot be {value}: {reason}")]
    Config { name: &'static str, value: String, reason: &'static str },
    /// No connection could be made; nothing was sent.
    #[error("cannot connect to {address}: {reason}")]
    Connect { address: String, reason: String },
    /// No broker could be reached, neither a known one nor a bootstrap server.
    #[error(
        "no broker is reachable, last tried {address}: {reason}; check bootstrap.servers and that a broker listens there"
    )]
    Unreachable { address: String, reason: String },
    /// The connection ended before the answer came. `sent` tells whether the request may have reached the broker.
    #[error("connection to {address} ended before {api} was answered ({reason})")]
    Disconnected { api: ApiKey, address: String, reason: String, sent: bool },
    /// The answer did not come in time. `sent` tells whether the request may have reached the broker.
    #[error("{api} was not answered within {after:?}{}", if *.sent { "; whether it took effect is unknown" } else { "; it was never sent" })]
    Timeout { api: ApiKey, after: Duration, sent: bool },
    /// What was waited for (`what`) did not come in time; no request was left unanswered.
    #[error("timed out after {after:?} waiting for {what}")]
    Waited { what: &'static str, after: Duration },
    /// The broker does not speak any version of the request that this client speaks.
    #[error("broker {address} serves no version of {api} that this client speaks")]
    UnsupportedVersion { api: ApiKey, address: String },
    /// The request cannot be written in the version that the broker speaks.
    #[error("{api} cannot be sent: {source}")]
    Encode { api: ApiKey, source: EncodeError },
    /// The broker's answer cannot be read; the connection is closed.
    #[error("answer to {api} from {address} is malformed: {reason}")]
    Malformed { api: ApiKey, address: String, reason: String },
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

/// An error code that a broker answered, with its message when it gave one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}{}", .code.name(), if .message.is_some() { ": " } else { "" }, .message.as_deref().unwrap_or(""))]
pub struct ApiError {
    pub code: ErrorCode,
    pub message: Option<String>,
}

impl ApiError {
    /// The outcome that `code` on the wire stands for; codes this client does not know count as UNKNOWN_SERVER_ERROR.
    pub fn check(code: i16, message: Option<&str>) -> Result<(), ApiError> {
        match ErrorCode::from_code(code) {
            Some(ErrorCode::None) => Ok(()),
            Some(code) => Err(ApiError { code, message: message.map(str::to_owned) }),
            None => {
                let message = format!("error code {code}, which this client does not know");
                Err(ApiError { code: ErrorCode::UnknownServerError, message: Some(message) })
            }
        }
    }

    pub fn is_retriable(&self) -> bool {
        self.code.is_retriable()
    }

    /// What to do about it.
    pub fn advice(&self) -> Advice {
        match self.code {
            // The broker appended (or started to) and then could not say whether it holds.
            ErrorCode::RequestTimedOut
            | ErrorCode::NotEnoughReplicasAfterAppend
            | ErrorCode::UnknownServerError => Advice::OutcomeUnknown,
            ErrorCode::TopicAuthorizationFailed
            | ErrorCode::GroupAuthorizationFailed
            | ErrorCode::ClusterAuthorizationFailed
            | ErrorCode::TransactionalIdAuthorizationFailed
            | ErrorCode::SaslAuthenticationFailed
            | ErrorCode::ProducerFenced
            | ErrorCode::FencedInstanceId
            | ErrorCode::UnreleasedInstanceId
            | ErrorCode::InvalidProducerEpoch => Advice::GiveUp,
            code if code.is_retriable() => Advice::Retry,
            _ => Advice::FixInput,
        }
    }
}

impl Error {
    /// What to do about it.
    pub fn advice(&self) -> Advice {
        match self {
            Error::Connect { .. }
            | Error::Unreachable { .. }
            | Error::Waited { .. }
            | Error::NoLeader { .. }
            | Error::CorruptBatch { .. } => Advice::Retry,
            Error::Disconnected { sent, .. } | Error::Timeout { sent, .. } => {
                if *sent {
                    Advice::OutcomeUnknown
                } else {
                    Advice::Retry
                }
            }
            Error::Malformed { .. } => Advice::OutcomeUnknown,
            Error::Config { .. }
            | Error::Encode { .. }
            | Error::NoSuchPartition { .. }
            | Error::NotAssigned(_)
            | Error::NoOffset(_)
            | Error::OffsetOutOfRange { .. } => Advice::FixInput,
            Error::UnsupportedVersion { .. } => Advice::GiveUp,
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
            _ => None,
        }
    }

    pub(crate) fn malformed(api: ApiKey, address: &str, error: DecodeError) -> Error {
        Error::Malformed { api, address: address.to_owned(), reason: error.to_string() }
    }
}
