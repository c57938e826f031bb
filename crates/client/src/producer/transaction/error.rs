//! Why a call of a transactional producer failed, and what to do about it.

use std::time::Duration;

use super::super::record::ProduceError;
use crate::error::Error;

/// Why a call of a transactional producer did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TransactionError {
    /// The call has no place here, as `commit` without `begin`. Nothing was done; the transaction goes on as
    /// it was.
    #[error("{call} has no place here: {state}")]
    Misuse { call: &'static str, state: &'static str },
    /// The transaction cannot be committed any more: abort it, and begin anew.
    #[error("the transaction can only be aborted: {0}")]
    Abortable(Cause),
    /// This producer cannot go on, in most cases because another one with its transactional id has begun:
    /// close it.
    #[error("the producer cannot go on: {0}")]
    Fatal(Cause),
    /// The call did not end within `max.block.ms`, and its outcome is not known. Make the same call again.
    #[error("{call} has not ended within max.block.ms={}, ask again{}", .after.as_millis(), Last(.last))]
    Unfinished { call: &'static str, after: Duration, last: Option<Box<Error>> },
}

impl TransactionError {
    /// Whether the producer is of no use any more.
    pub fn is_fatal(&self) -> bool {
        matches!(self, TransactionError::Fatal(_))
    }

    /// Whether to abort, and then to begin anew.
    pub fn asks_to_abort(&self) -> bool {
        matches!(self, TransactionError::Abortable(_))
    }
}

/// What went wrong.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Cause {
    /// A coordinator refused.
    #[error("{0}")]
    Request(Box<Error>),
    /// A record was not, or perhaps not, stored.
    #[error("a record: {0}")]
    Record(Box<ProduceError>),
    /// Whoever sent offsets did not wait for the outcome, so that nobody knows it.
    #[error("offsets were sent, and their outcome was not waited for")]
    OffsetsUnsettled,
}

impl From<Error> for Cause {
    fn from(error: Error) -> Cause {
        Cause::Request(Box::new(error))
    }
}

impl From<ProduceError> for Cause {
    fn from(error: ProduceError) -> Cause {
        Cause::Record(Box::new(error))
    }
}

/// The last thing that went wrong, for a message.
struct Last<'a>(&'a Option<Box<Error>>);

impl std::fmt::Display for Last<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(error) => write!(f, " (last: {error})"),
            None => Ok(()),
        }
    }
}
