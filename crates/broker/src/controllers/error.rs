//! Why the controller did not answer.

use ottla_controller::controller::EntryError;
use ottla_quorum::ProposeError;
use ottla_wire::BrokerId;
use ottla_wire::protocol::ErrorCode;

/// Why the controller did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    #[error("this node does not lead the metadata log now{}; try again", leader.map(|id| format!(", node {id} does")).unwrap_or_default())]
    NotController { leader: Option<BrokerId> },
    #[error("{0}")]
    TooLarge(String),
    #[error("it is unknown whether the change will be made: {0}")]
    Unknown(String),
    #[error("the change was not made within the timeout of the request; it may be made yet")]
    TimedOut,
    #[error("the controller contradicts itself, and has changed nothing: {0}")]
    Contradiction(String),
    #[error("the broker is stopping")]
    Stopping,
}

impl From<AskError> for ErrorCode {
    fn from(error: AskError) -> ErrorCode {
        match error {
            AskError::NotController { .. } => ErrorCode::NotController,
            AskError::TooLarge(_) => ErrorCode::PolicyViolation,
            AskError::Unknown(_) | AskError::TimedOut => ErrorCode::RequestTimedOut,
            AskError::Contradiction(_) => ErrorCode::UnknownServerError,
            AskError::Stopping => ErrorCode::BrokerNotAvailable,
        }
    }
}

impl From<EntryError> for AskError {
    fn from(error: EntryError) -> AskError {
        match error {
            EntryError::TooLarge { .. } => AskError::TooLarge(error.to_string()),
            EntryError::Record(_) => AskError::Contradiction(error.to_string()),
        }
    }
}

impl From<ProposeError> for AskError {
    fn from(error: ProposeError) -> AskError {
        match error {
            ProposeError::NotLeader { leader } => AskError::NotController { leader },
            ProposeError::TooLarge { .. } => AskError::TooLarge(error.to_string()),
            ProposeError::Unavailable | ProposeError::Storage(_) => AskError::Unknown(error.to_string()),
            ProposeError::ShuttingDown => AskError::Stopping,
        }
    }
}
