//! The controller at work: takes requests from a queue, has the pure core decide them, and logs the
//! decisions.
//!
//! - [`ControllerHandle`]: the way to the controller, for everything in this broker.
//! - [`ControllerTask`]: serves the queue while this node leads the metadata log, and refuses requests while
//!   it does not.
//! - `round`: decisions that are logged together, and who waits for them.

mod round;
mod task;
#[cfg(test)]
mod tests;

use std::time::Duration;

use ottla_controller::controller::{EntryError, IdSource, Request, Response};
use ottla_quorum::ProposeError;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerId, Uuid};
use tokio::sync::{mpsc, oneshot};

pub use round::Reached;
pub use task::ControllerTask;

/// The most requests in the controller's queue. Callers wait for room.
const QUEUE_LEN: usize = 256;

/// The way to the controller. Cheap to clone.
#[derive(Clone)]
pub struct ControllerHandle {
    queue: mpsc::Sender<QueuedRequest>,
}

/// A request and the waiter for its answer.
pub struct QueuedRequest {
    request: Request,
    answer: Waiter,
}

/// Receives an answer.
type Waiter = oneshot::Sender<Result<Response, AskError>>;

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

impl ControllerHandle {
    pub fn new() -> (ControllerHandle, mpsc::Receiver<QueuedRequest>) {
        let (queue, asked) = mpsc::channel(QUEUE_LEN);
        (ControllerHandle { queue }, asked)
    }

    /// Of a controller that is another node.
    #[cfg(test)]
    pub fn elsewhere() -> ControllerHandle {
        let (handle, mut asked) = ControllerHandle::new();
        tokio::spawn(async move {
            while let Some(asked) = asked.recv().await {
                asked.refuse(AskError::NotController { leader: Some(BrokerId(2)) });
            }
        });
        handle
    }

    /// Sends a request and waits until its answer is true on this broker.
    pub async fn ask<R: TryFrom<Response>>(&self, request: impl Into<Request>) -> Result<R, AskError> {
        let (answer, answered) = oneshot::channel();
        let asked = QueuedRequest { request: request.into(), answer };
        self.queue.send(asked).await.map_err(|_| AskError::Stopping)?;
        let response = answered.await.map_err(|_| AskError::Stopping)??;
        R::try_from(response).map_err(|_| AskError::Unknown("the controller answered something else".into()))
    }

    /// Sends a request if there is room, and does not wait for the answer. Returns false if there was no
    /// room.
    pub fn offer(&self, request: impl Into<Request>) -> bool {
        self.queue.try_send(QueuedRequest { request: request.into(), answer: oneshot::channel().0 }).is_ok()
    }

    /// Like [`ControllerHandle::ask`], but gives up after the `timeout_ms` of a request. The change may still
    /// be made.
    pub async fn ask_within<R: TryFrom<Response>>(
        &self,
        timeout_ms: i32,
        request: impl Into<Request>,
    ) -> Result<R, AskError> {
        let timeout = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
        tokio::time::timeout(timeout, self.ask(request)).await.unwrap_or(Err(AskError::TimedOut))
    }
}

impl QueuedRequest {
    fn refuse(self, error: AskError) {
        // An error means that the caller has stopped waiting.
        let _gone = self.answer.send(Err(error));
    }
}

/// Randomness for the controller's decisions.
pub struct Random;

impl IdSource for Random {
    fn uuid(&mut self) -> Uuid {
        loop {
            let id = Uuid(rand::random());
            // Kafka reserves the ids near zero, and a leading dash is a nuisance on command lines.
            if !id.is_zero() && id.0[0] >> 2 != 62 {
                return id;
            }
        }
    }

    fn random(&mut self) -> u64 {
        rand::random()
    }
}
