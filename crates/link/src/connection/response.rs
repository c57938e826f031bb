//! Requests that are on their way, as those see them who wait.

use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use ottla_wire::messages::ResponseHeader;
use ottla_wire::primitives::{Message, Reader, Request};
use ottla_wire::protocol::response_header_version;
use tokio::sync::oneshot;

use super::end::{End, Ending};
use super::in_flight::{Departure, Lost};
use crate::error::LinkError;
use crate::seam::{self, Instant};

/// When a request was made and how long its answer may take.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) began: Instant,
    /// Until when the caller waits.
    pub(super) deadline: Instant,
    /// When the connection is given up if there is no answer: not before the deadline.
    pub(super) late_at: Instant,
}

/// A request that is on its way; its answer comes by [`PendingResponse::wait`]. Dropping it does not take the
/// request back.
pub struct PendingResponse<R> {
    pub(super) name: Arc<str>,
    pub(super) ending: Arc<Ending>,
    pub(super) answer: oneshot::Receiver<Result<Bytes, Lost>>,
    pub(super) departure: Arc<Departure>,
    pub(super) version: i16,
    pub(super) times: Times,
    pub(super) request: PhantomData<fn() -> R>,
}

impl<R: Request> PendingResponse<R> {
    /// Waits until the answer is there or the deadline has passed. A request that has not left by then never
    /// does.
    pub async fn wait(mut self) -> Result<R::Response, LinkError> {
        let frame = self.frame().await?;
        let response = read_response::<R>(&self.name, frame, self.version);
        if let Err(error) = &response {
            self.ending.ask(End::Garbled(error.to_string()));
        }
        response
    }

    /// The answer as it came.
    pub(super) async fn frame(&mut self) -> Result<Bytes, LinkError> {
        match tokio::time::timeout_at(self.times.deadline, &mut self.answer).await {
            Ok(Ok(Ok(frame))) => Ok(frame),
            Ok(Ok(Err(Lost { late: true }))) => Err(self.timeout(true)),
            Ok(Ok(Err(Lost { late: false }))) => Err(self.disconnected(true)),
            // Dropped in the queue: the connection ended before this request was written.
            Ok(Err(_)) => Err(self.disconnected(false)),
            Err(_) => {
                let sent = !self.departure.withdraw();
                if self.times.late_at <= seam::now() {
                    self.ending.ask(End::Late);
                }
                Err(self.timeout(sent))
            }
        }
    }

    fn timeout(&self, sent: bool) -> LinkError {
        let Times { began, deadline, .. } = self.times;
        LinkError::Timeout { api: R::KEY, after: deadline.saturating_duration_since(began), sent }
    }

    fn disconnected(&self, sent: bool) -> LinkError {
        disconnected::<R>(&self.name, &self.ending, sent)
    }
}

/// A request that is on its way and will not be answered.
pub struct Unanswered<R> {
    pub(super) name: Arc<str>,
    pub(super) ending: Arc<Ending>,
    pub(super) written: oneshot::Receiver<()>,
    pub(super) request: PhantomData<fn() -> R>,
}

impl<R: Request> Unanswered<R> {
    /// Waits until the operating system has taken the request.
    pub async fn wait(self) -> Result<(), LinkError> {
        self.written.await.map_err(|_| disconnected::<R>(&self.name, &self.ending, true))
    }
}

pub(super) fn disconnected<R: Request>(name: &str, ending: &Ending, sent: bool) -> LinkError {
    let end = ending.reason().unwrap_or(End::Unused);
    LinkError::Disconnected { api: R::KEY, address: name.to_owned(), end, sent }
}

pub(super) fn read_response<R: Request>(
    name: &str,
    frame: Bytes,
    version: i16,
) -> Result<R::Response, LinkError> {
    let malformed = |error| LinkError::malformed(R::KEY, name, error);
    let mut reader = Reader::new(frame);
    ResponseHeader::decode(&mut reader, response_header_version(R::KEY, version)).map_err(malformed)?;
    let response = R::Response::decode(&mut reader, version).map_err(malformed)?;
    reader.finish(<R::Response as Message>::NAME).map_err(malformed)?;
    Ok(response)
}
