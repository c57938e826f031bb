//! One connection to a broker: requests out, answers back in the same order.
//!
//! - `end`: how it ends, and who is told.
//! - `response`: requests that are on their way.
//! - `shared`: how they are put there.
//! - `negotiate`: which version of each request both sides speak.
//! - `io`: the task that owns the socket; `in_flight`: who waits for an answer; `frame`: cuts answers out of
//!   what arrives.

mod end;
mod frame;
mod in_flight;
mod io;
mod negotiate;
mod response;
mod shared;

use std::sync::Arc;
use std::time::Duration;

use ottla_wire::primitives::Request;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::config::LinkConfig;
use crate::dial::dial;
use crate::error::LinkError;
use crate::seam::{self, Instant};
use crate::versions::Versions;
pub use end::{End, EndWatch};
use response::Times;
pub use response::{PendingResponse, Unanswered};
use shared::Shared;

/// A connection that has agreed on versions. Clones are the same connection.
///
/// Any number of requests may be under way at once (up to the configured bound, then callers wait); the
/// broker answers them in the order sent, so a long poll delays what is sent after it. The connection closes
/// when the last clone is dropped, when it has been idle for long, when an answer is late or malformed, or
/// when the broker closes it; it does not come back: make another.
///
/// Two clocks run for each request. The *deadline* is the caller's: when it passes, the caller is told, and
/// the connection goes on. `request.timeout.ms` is the connection's: a request that is unanswered for so long
/// ends it, as in Kafka, even if nobody waits any more, for what comes after it would be late, too.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
    versions: Arc<Versions>,
}

/// What holds for one request.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The version is the newest that both sides speak up to this one.
    pub version_max: i16,
    /// The caller waits until then, if `request.timeout.ms` does not end before.
    pub deadline: Option<Instant>,
    /// The broker may take so long, whatever `request.timeout.ms` says.
    pub patience: Option<Duration>,
}

impl Default for Terms {
    /// The newest version that both sides speak, and `request.timeout.ms`.
    fn default() -> Terms {
        Terms { version_max: i16::MAX, deadline: None, patience: None }
    }
}

impl Terms {
    /// A version of at most `version_max`.
    pub fn up_to(version_max: i16) -> Terms {
        Terms { version_max, ..Terms::default() }
    }

    /// The answer is waited for until `deadline` at the longest.
    pub fn by(deadline: Instant) -> Terms {
        Terms { deadline: Some(deadline), ..Terms::default() }
    }

    /// The broker answers when it has something to say, which may take as long as this.
    pub fn patient(patience: Duration) -> Terms {
        Terms { patience: Some(patience), ..Terms::default() }
    }
}

impl Connection {
    /// Connects to `host:port` (addresses that the name resolves to are tried in turn) and agrees on
    /// versions.
    pub async fn connect(address: &str, config: &LinkConfig) -> Result<Connection, LinkError> {
        Connection::over(dial(address, config).await?, address, config).await
    }

    /// Speaks over a stream that is already open; `address` is its name in errors.
    pub async fn over<S>(stream: S, address: &str, config: &LinkConfig) -> Result<Connection, LinkError>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (shared, outgoing) = Shared::new(address, config);
        let limits = io::Limits {
            idle: config.connections_max_idle,
            stuck: config.request_timeout,
            response_bytes: config.response_bytes_max,
        };
        tokio::spawn(io::run(stream, outgoing, shared.ending.clone(), shared.heard.clone(), limits));
        let versions = Arc::new(negotiate::negotiate(&shared).await?);
        Ok(Connection { shared, versions })
    }

    /// Sends `request` at the newest version both sides speak and waits for the answer for
    /// `request.timeout.ms`.
    ///
    /// Dropping the future does not take the request back; its answer is thrown away.
    pub async fn call<R: Request>(&self, request: &R) -> Result<R::Response, LinkError> {
        self.call_on(request, Terms::default()).await
    }

    /// [`Connection::call`] on other terms.
    pub async fn call_on<R: Request>(&self, request: &R, terms: Terms) -> Result<R::Response, LinkError> {
        let version = self.version_up_to::<R>(terms.version_max)?;
        let times = self.times(terms);
        let acquire = self.shared.in_flight.clone().acquire_owned();
        let permit = match tokio::time::timeout_at(times.deadline, acquire).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(self.shared.disconnected::<R>()),
            Err(_) => {
                let after = times.deadline.saturating_duration_since(times.began);
                return Err(LinkError::Timeout { api: R::KEY, after, sent: false });
            }
        };
        self.shared.submit(request, version, times, permit)?.wait().await
    }

    /// Queues `request` without waiting: requests leave in the order of these calls. `None` when the bound of
    /// requests in flight is reached.
    pub fn submit<R: Request>(
        &self,
        request: &R,
        terms: Terms,
    ) -> Result<Option<PendingResponse<R>>, LinkError> {
        let version = self.version_up_to::<R>(terms.version_max)?;
        let Ok(permit) = self.shared.in_flight.clone().try_acquire_owned() else { return Ok(None) };
        self.shared.submit(request, version, self.times(terms), permit).map(Some)
    }

    /// [`Connection::submit`] for a request that the broker does not answer (Produce with acks=0).
    pub fn submit_unanswered<R: Request>(
        &self,
        request: &R,
        version_max: i16,
    ) -> Result<Option<Unanswered<R>>, LinkError> {
        let version = self.version_up_to::<R>(version_max)?;
        let Ok(permit) = self.shared.in_flight.clone().try_acquire_owned() else { return Ok(None) };
        self.shared.submit_unanswered(request, version, permit).map(Some)
    }

    /// The version that [`Connection::call`] uses for `R`, if there is one.
    pub fn version_of<R: Request>(&self) -> Result<i16, LinkError> {
        self.version_up_to::<R>(i16::MAX)
    }

    /// What the broker said of its versions.
    pub fn versions(&self) -> &Versions {
        &self.versions
    }

    /// `host:port` as it was connected to.
    pub fn address(&self) -> &str {
        &self.shared.name
    }

    /// Whether the connection has ended: nothing more can be sent.
    pub fn is_closed(&self) -> bool {
        self.shared.ending.has_come()
    }

    /// Tells of its end, without keeping it open.
    pub fn end_watch(&self) -> EndWatch {
        EndWatch::new(self.shared.ending.clone())
    }

    /// When an answer last came: how long the broker has been silent.
    pub fn heard_at(&self) -> Instant {
        self.shared.heard.at()
    }

    fn times(&self, terms: Terms) -> Times {
        let began = seam::now();
        let late_at = began + terms.patience.unwrap_or(self.shared.request_timeout);
        let deadline = terms.deadline.map_or(late_at, |deadline| deadline.min(late_at));
        Times { began, deadline, late_at }
    }

    fn version_up_to<R: Request>(&self, version_max: i16) -> Result<i16, LinkError> {
        let address = || self.shared.name.to_string();
        let common = self.versions.best(R::KEY, version_max);
        common.ok_or_else(|| LinkError::UnsupportedVersion { api: R::KEY, address: address() })
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("address", &self.shared.name).finish_non_exhaustive()
    }
}
