//! The way to the controller, with one face for everything in this broker.
//!
//! The controller is an office ([`Office`]): it moves from node to node, and between two holders there is
//! none. Callers need not know. A request that was refused because its node is not the controller has changed
//! nothing, and is sent again while its time lasts. So far every [`Way`] leads to the task of this process,
//! because no other node can be the controller.

use std::time::Duration;

use ottla_controller::controller::{Request, Response};
use ottla_link::seam::{Dice, Instant, now};
use ottla_link::{Backoff, Office};
#[cfg(test)]
use ottla_wire::BrokerId;
use tokio::sync::{mpsc, oneshot};

use super::error::AskError;

/// The most requests in the controller's queue. Callers wait for room.
const QUEUE_LEN: usize = 256;

/// How long an answer is waited for if the request does not say so. Clients wait longer by default, so they
/// hear the reason.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// How long to wait before a refused request is sent again, at first and at most.
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_millis(200);

/// The way to the controller. Cheap to clone.
#[derive(Clone)]
pub struct ControllerHandle {
    here: mpsc::Sender<QueuedRequest>,
    backoff: Backoff,
}

/// The way to the node that is the controller now.
pub enum Way {
    /// To the task of this process, which says by itself if it is not in charge.
    Here(mpsc::Sender<QueuedRequest>),
}

/// A request and the waiter for its answer.
pub struct QueuedRequest {
    pub(super) request: Request,
    pub(super) answer: Waiter,
}

/// Receives an answer.
pub(super) type Waiter = oneshot::Sender<Result<Response, AskError>>;

impl ControllerHandle {
    pub fn new() -> (ControllerHandle, mpsc::Receiver<QueuedRequest>) {
        let (here, asked) = mpsc::channel(QUEUE_LEN);
        let backoff = Backoff::new(RETRY_FIRST, RETRY_MAX, Dice::new(None));
        (ControllerHandle { here, backoff }, asked)
    }

    /// Of a controller that is another node. Nobody asks it twice.
    #[cfg(test)]
    pub fn elsewhere() -> ControllerHandle {
        const NEVER: Duration = Duration::from_secs(1 << 30);
        let (handle, mut asked) = ControllerHandle::new();
        tokio::spawn(async move {
            while let Some(asked) = asked.recv().await {
                asked.refuse(AskError::NotController { leader: Some(BrokerId(2)) });
            }
        });
        ControllerHandle { backoff: Backoff::new(NEVER, NEVER, Dice::new(None)), ..handle }
    }

    /// Sends a request and waits until its answer is true on this broker, up to [`ANSWER_MAX`].
    pub async fn ask<R: TryFrom<Response>>(&self, request: impl Into<Request>) -> Result<R, AskError> {
        self.ask_by(now() + ANSWER_MAX, request.into()).await
    }

    /// Like [`ControllerHandle::ask`], but gives up after the `timeout_ms` of a request. The change may still
    /// be made.
    pub async fn ask_within<R: TryFrom<Response>>(
        &self,
        timeout_ms: i32,
        request: impl Into<Request>,
    ) -> Result<R, AskError> {
        let timeout = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
        self.ask_by(now() + timeout, request.into()).await
    }

    /// Sends a request if there is room, and does not wait for the answer. Returns false if there was no
    /// room.
    pub fn offer(&self, request: impl Into<Request>) -> bool {
        self.here.try_send(QueuedRequest { request: request.into(), answer: oneshot::channel().0 }).is_ok()
    }

    async fn ask_by<R: TryFrom<Response>>(&self, deadline: Instant, request: Request) -> Result<R, AskError> {
        // After any other error the change may have been made.
        let may_repeat = |error: &AskError| self.has_moved(error);
        let attempt = |way: Way| way.ask(request.clone(), deadline);
        let response = Office::ask(self, deadline, may_repeat, attempt).await?;
        R::try_from(response).map_err(|_| AskError::Unknown("the controller answered something else".into()))
    }
}

impl Office for ControllerHandle {
    type Holder = Way;
    type Error = AskError;

    async fn find(&self) -> Result<Way, AskError> {
        Ok(Way::Here(self.here.clone()))
    }

    fn has_moved(&self, error: &AskError) -> bool {
        matches!(error, AskError::NotController { .. })
    }

    fn may_be_found(&self, error: &AskError) -> bool {
        self.has_moved(error)
    }

    /// Nothing is remembered.
    fn forget(&self) {}

    fn pause(&self, _: &AskError, failures: u32) -> Duration {
        self.backoff.after(failures)
    }

    fn late(&self, _: Duration) -> AskError {
        AskError::TimedOut
    }
}

impl Way {
    /// Sends a request once, and waits for its answer until `deadline`.
    pub(super) async fn ask(self, request: Request, deadline: Instant) -> Result<Response, AskError> {
        match self {
            Way::Here(queue) => {
                let answered = async {
                    let (answer, answered) = oneshot::channel();
                    let asked = QueuedRequest { request, answer };
                    queue.send(asked).await.map_err(|_| AskError::Stopping)?;
                    answered.await.map_err(|_| AskError::Stopping)?
                };
                tokio::time::timeout_at(deadline, answered).await.unwrap_or(Err(AskError::TimedOut))
            }
        }
    }
}

impl QueuedRequest {
    pub(super) fn refuse(self, error: AskError) {
        // An error means that the caller has stopped waiting.
        let _gone = self.answer.send(Err(error));
    }
}
