//! What all clones of a connection share, and how a request is put on its way.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use ottla_wire::messages::RequestHeader;
use ottla_wire::primitives::{Request, Str, encode_frame};
use ottla_wire::protocol::request_header_version;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::end::Ending;
use super::in_flight::Departure;
use super::io::{Expect, Heard, Outgoing};
use super::response::{PendingResponse, Times, Unanswered, disconnected};
use crate::config::LinkConfig;
use crate::error::LinkError;
use crate::seam;

pub(super) struct Shared {
    pub(super) name: Arc<str>,
    pub(super) request_timeout: Duration,
    pub(super) in_flight: Arc<Semaphore>,
    pub(super) ending: Arc<Ending>,
    pub(super) heard: Arc<Heard>,
    client_id: Option<Str>,
    out: mpsc::Sender<Outgoing>,
    correlation: AtomicI32,
}

impl Shared {
    /// What requests go into, and where they come out.
    pub(super) fn new(address: &str, config: &LinkConfig) -> (Arc<Shared>, mpsc::Receiver<Outgoing>) {
        // The channel holds as many as there are permits, so it is never full.
        let (out, outgoing) = mpsc::channel(config.requests_in_flight_max);
        let shared = Shared {
            name: address.into(),
            request_timeout: config.request_timeout,
            in_flight: Arc::new(Semaphore::new(config.requests_in_flight_max)),
            ending: Arc::default(),
            heard: Arc::new(Heard::new(seam::now())),
            client_id: Some(Str::from(config.client_id.as_str())),
            out,
            correlation: AtomicI32::new(0),
        };
        (Arc::new(shared), outgoing)
    }

    /// Queues a request whose answer is waited for.
    pub(super) fn submit<R: Request>(
        &self,
        request: &R,
        version: i16,
        times: Times,
        permit: OwnedSemaphorePermit,
    ) -> Result<PendingResponse<R>, LinkError> {
        let (reply, answer) = oneshot::channel();
        let departure = Arc::new(Departure::default());
        let expect = Expect::Answer { reply, departure: departure.clone(), late_at: times.late_at };
        self.queue(request, version, expect, permit)?;
        let (name, ending) = (self.name.clone(), self.ending.clone());
        Ok(PendingResponse { name, ending, answer, departure, version, times, request: PhantomData })
    }

    /// Queues a request that is not answered.
    pub(super) fn submit_unanswered<R: Request>(
        &self,
        request: &R,
        version: i16,
        permit: OwnedSemaphorePermit,
    ) -> Result<Unanswered<R>, LinkError> {
        let (done, written) = oneshot::channel();
        self.queue(request, version, Expect::Written(done), permit)?;
        let (name, ending) = (self.name.clone(), self.ending.clone());
        Ok(Unanswered { name, ending, written, request: PhantomData })
    }

    fn queue<R: Request>(
        &self,
        request: &R,
        version: i16,
        expect: Expect,
        permit: OwnedSemaphorePermit,
    ) -> Result<(), LinkError> {
        if self.ending.has_come() {
            return Err(self.disconnected::<R>());
        }
        let correlation = self.correlation.fetch_add(1, Ordering::Relaxed);
        let header = RequestHeader {
            request_api_key: R::KEY.code(),
            request_api_version: version,
            correlation_id: correlation,
            client_id: self.client_id.clone(),
        };
        let header_version = request_header_version(R::KEY, version);
        let frame = encode_frame((&header, header_version), (request, version))
            .map_err(|source| LinkError::Encode { api: R::KEY, source })?;
        self.out
            .try_send(Outgoing { frame, correlation, expect, permit })
            .map_err(|_| self.disconnected::<R>())
    }

    /// The connection has ended, and this request was never sent.
    pub(super) fn disconnected<R: Request>(&self) -> LinkError {
        disconnected::<R>(&self.name, &self.ending, false)
    }
}
