//! What can go wrong between two ends of a connection, and what to do about it.

use std::time::Duration;

use ottla_wire::primitives::{DecodeError, EncodeError};
use ottla_wire::protocol::{ApiKey, ErrorCode};

use crate::connection::End;

/// What the caller should do about an error.
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
pub enum LinkError {
    /// No connection could be made; nothing was sent.
    #[error("cannot connect to {address}: {reason}")]
    Connect { address: String, cause: ConnectCause, reason: String },
    /// The broker would not agree on versions.
    #[error("broker {address} refused the connection: {}", .code.name())]
    Refused { address: String, code: ErrorCode },
    /// The connection ended before the answer came. `sent` tells whether the request may have reached the
    /// broker.
    #[error("connection to {address} ended before {api} was answered ({end})")]
    Disconnected { api: ApiKey, address: String, end: End, sent: bool },
    /// The answer did not come in time. `sent` tells whether the request may have reached the broker.
    #[error("{api} was not answered within {after:?}{}", if *.sent { "; whether it took effect is unknown" } else { "; it was never sent" })]
    Timeout { api: ApiKey, after: Duration, sent: bool },
    /// The broker does not speak any version of the request that this side speaks.
    #[error("broker {address} serves no version of {api} that this client speaks")]
    UnsupportedVersion { api: ApiKey, address: String },
    /// The request cannot be written in the version that the broker speaks.
    #[error("{api} cannot be sent: {source}")]
    Encode { api: ApiKey, source: EncodeError },
    /// The broker's answer cannot be read; the connection is closed.
    #[error("answer to {api} from {address} is malformed: {reason}")]
    Malformed { api: ApiKey, address: String, reason: String },
}

/// Why there is no connection: what the system said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectCause {
    /// The name has no address.
    Unresolved,
    /// The host is there, and nobody listens at the port: the process is gone, or not there yet.
    Refused,
    /// Nothing came back in time.
    Silent,
    /// Anything else, as no route to the host.
    Other,
}

impl LinkError {
    /// Nobody listens where the broker should: it is not running.
    pub fn is_refused(&self) -> bool {
        matches!(self, LinkError::Connect { cause: ConnectCause::Refused, .. })
    }

    /// This error of a request that changes nothing on the broker: it may as well never have been sent.
    pub(crate) fn into_not_sent(mut self) -> LinkError {
        if let LinkError::Disconnected { sent, .. } | LinkError::Timeout { sent, .. } = &mut self {
            *sent = false;
        }
        self
    }

    pub(crate) fn malformed(api: ApiKey, address: &str, error: DecodeError) -> LinkError {
        LinkError::Malformed { api, address: address.to_owned(), reason: error.to_string() }
    }

    /// Whether trying again may succeed (what was asked may then happen twice if
    /// [`LinkError::outcome_unknown`]).
    pub fn is_retriable(&self) -> bool {
        matches!(self.advice(), Advice::Retry | Advice::OutcomeUnknown)
    }

    /// Whether the request may have taken effect although this error came back.
    pub fn outcome_unknown(&self) -> bool {
        self.advice() == Advice::OutcomeUnknown
    }

    /// What to do about it.
    pub fn advice(&self) -> Advice {
        match self {
            LinkError::Connect { .. }
            | LinkError::Disconnected { sent: false, .. }
            | LinkError::Timeout { sent: false, .. } => Advice::Retry,
            LinkError::Disconnected { sent: true, .. }
            | LinkError::Timeout { sent: true, .. }
            | LinkError::Malformed { .. } => Advice::OutcomeUnknown,
            LinkError::Encode { .. } => Advice::FixInput,
            LinkError::UnsupportedVersion { .. } => Advice::GiveUp,
            LinkError::Refused { code, .. } => advice_on(*code),
        }
    }
}

/// An error code that a broker answered, with its message when it gave one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}{}", .code.name(), if .message.is_some() { ": " } else { "" }, .message.as_deref().unwrap_or(""))]
pub struct ApiError {
    pub code: ErrorCode,
    pub message: Option<String>,
}

impl ApiError {
    /// The outcome that `code` on the wire stands for; codes this client does not know count as
    /// UNKNOWN_SERVER_ERROR.
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

    /// Whether trying again may succeed, as Kafka has it for each code.
    pub fn is_retriable(&self) -> bool {
        self.code.is_retriable()
    }

    /// What to do about it.
    pub fn advice(&self) -> Advice {
        advice_on(self.code)
    }
}

fn advice_on(code: ErrorCode) -> Advice {
    match code {
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
