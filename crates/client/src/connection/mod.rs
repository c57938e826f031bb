//! One TCP connection to a broker: requests out, answers back in the same order.
//!
//! - `io`: the task that owns the socket.
//! - `frame`: cuts answers out of what arrives, with a cap on their length.
//! - `versions`: which version of each request both sides speak.

mod frame;
mod io;
mod versions;

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ottla_wire::messages::{ApiVersionsRequest, ApiVersionsResponse, RequestHeader, ResponseHeader};
use ottla_wire::primitives::{Message, Reader, Request, Str, decode_from, encode_frame};
use ottla_wire::protocol::{ErrorCode, request_header_version, response_header_version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::config::ClientConfig;
use crate::error::{ApiError, Error};
use crate::seam::{self, Instant};
use io::{Ending, Lost, Outgoing};
pub use versions::Versions;

/// A connection that has agreed on versions. Clones are the same connection.
///
/// Any number of requests may be under way at once (up to the configured bound, then callers wait); the broker answers
/// them in the order sent, so a long poll delays what is sent after it. The connection closes when the last clone is
/// dropped, when it has been idle for long, when an answer is late or malformed, or when the broker closes it; it does
/// not come back: make another.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
    versions: Arc<Versions>,
}

struct Shared {
    address: String,
    client_id: Option<Str>,
    request_timeout: Duration,
    out: mpsc::Sender<Outgoing>,
    in_flight: Arc<Semaphore>,
    correlation: AtomicI32,
    ending: Arc<Ending>,
}

impl Connection {
    /// Connects to `host:port` (every address that the name resolves to is tried) and agrees on versions.
    pub async fn connect(address: &str, config: &ClientConfig) -> Result<Connection, Error> {
        let failed = |reason: String| Error::Connect { address: address.to_owned(), reason };
        let dial = async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok::<_, std::io::Error>(stream)
        };
        match tokio::time::timeout(config.connection_setup_timeout, dial).await {
            Ok(Ok(stream)) => Connection::over(stream, address, config).await,
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed(format!("no answer within {:?}", config.connection_setup_timeout))),
        }
    }

    /// Speaks over a stream that is already open; `address` is its name in errors.
    pub async fn over<S>(stream: S, address: &str, config: &ClientConfig) -> Result<Connection, Error>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (out, outgoing) = mpsc::channel(config.requests_in_flight_max);
        let ending = Arc::new(Ending::default());
        let limits =
            io::Limits { idle: config.connections_max_idle, response_bytes: config.response_bytes_max };
        tokio::spawn(io::run(stream, outgoing, ending.clone(), limits));
        let shared = Arc::new(Shared {
            address: address.to_owned(),
            client_id: Some(Str::from(config.client_id.as_str())),
            request_timeout: config.request_timeout,
            out,
            in_flight: Arc::new(Semaphore::new(config.requests_in_flight_max)),
            correlation: AtomicI32::new(0),
            ending,
        });
        let versions = Arc::new(negotiate(&shared).await?);
        Ok(Connection { shared, versions })
    }

    /// Sends `request` at the newest version both sides speak and waits for the answer.
    ///
    /// Dropping the future does not take the request back; its answer is thrown away.
    pub async fn call<R: Request>(&self, request: &R) -> Result<R::Response, Error> {
        self.call_up_to(request, i16::MAX).await
    }

    /// [`Connection::call`] with a version of at most `version_max`.
    pub async fn call_up_to<R: Request>(&self, request: &R, version_max: i16) -> Result<R::Response, Error> {
        self.call_by(request, version_max, self.shared.request_timeout).await
    }

    /// [`Connection::call`] for what the broker may answer later than `request.timeout.ms`.
    pub async fn call_within<R: Request>(
        &self,
        request: &R,
        patience: Duration,
    ) -> Result<R::Response, Error> {
        self.call_by(request, i16::MAX, patience).await
    }

    async fn call_by<R: Request>(
        &self,
        request: &R,
        version_max: i16,
        patience: Duration,
    ) -> Result<R::Response, Error> {
        let version = self.version_up_to::<R>(version_max)?;
        let deadline = seam::now() + patience;
        let permit =
            match tokio::time::timeout_at(deadline, self.shared.in_flight.clone().acquire_owned()).await {
                Ok(Ok(permit)) => permit,
                Ok(Err(_)) => return Err(self.shared.disconnected::<R>(false)),
                Err(_) => return Err(self.shared.timeout::<R>(false)),
            };
        self.shared.submit(request, version, deadline, permit)?.wait().await
    }

    /// Queues `request` without waiting: requests leave in the order of these calls. The answer is waited for with
    /// [`Answer::wait`]. `None` when the bound of requests in flight is reached.
    pub fn submit<R: Request>(&self, request: &R, version_max: i16) -> Result<Option<Answer<R>>, Error> {
        let version = self.version_up_to::<R>(version_max)?;
        let Ok(permit) = self.shared.in_flight.clone().try_acquire_owned() else { return Ok(None) };
        let deadline = seam::now() + self.shared.request_timeout;
        self.shared.submit(request, version, deadline, permit).map(Some)
    }

    /// [`Connection::submit`] for a request that the broker does not answer (Produce with acks=0).
    pub fn submit_unanswered<R: Request>(
        &self,
        request: &R,
        version_max: i16,
    ) -> Result<Option<Unanswered<R>>, Error> {
        let version = self.version_up_to::<R>(version_max)?;
        let Ok(permit) = self.shared.in_flight.clone().try_acquire_owned() else { return Ok(None) };
        let (done, written) = oneshot::channel();
        self.shared.queue(request, version, io::Expect::Written(done), permit)?;
        Ok(Some(Unanswered { shared: self.shared.clone(), written, request: PhantomData }))
    }

    /// The version that [`Connection::call`] uses for `R`, if there is one.
    pub fn version_of<R: Request>(&self) -> Result<i16, Error> {
        self.version_up_to::<R>(i16::MAX)
    }

    /// What the broker said of its versions.
    pub fn versions(&self) -> &Versions {
        &self.versions
    }

    /// `host:port` as it was connected to.
    pub fn address(&self) -> &str {
        &self.shared.address
    }

    /// Whether the connection has ended: nothing more can be sent.
    pub fn is_closed(&self) -> bool {
        self.shared.ending.has_come()
    }

    fn version_up_to<R: Request>(&self, version_max: i16) -> Result<i16, Error> {
        let common = self.versions.best(R::KEY, version_max);
        common.ok_or_else(|| Error::UnsupportedVersion { api: R::KEY, address: self.shared.address.clone() })
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("address", &self.shared.address).finish_non_exhaustive()
    }
}

/// A request that is on its way; its answer comes by [`Answer::wait`].
pub struct Answer<R> {
    shared: Arc<Shared>,
    reply: oneshot::Receiver<Result<Bytes, Lost>>,
    version: i16,
    deadline: Instant,
    request: PhantomData<fn() -> R>,
}

impl<R: Request> Answer<R> {
    /// Waits until the answer is there or the request's time (counted from when it was queued) is over. A late answer
    /// closes the connection, as in Kafka: what comes after it would be late, too.
    pub async fn wait(mut self) -> Result<R::Response, Error> {
        match tokio::time::timeout_at(self.deadline, &mut self.reply).await {
            Ok(reply) => self.read(reply),
            Err(_) => {
                self.shared.ending.ask("an answer was late");
                match self.reply.await {
                    Ok(Ok(frame)) => read_response::<R>(&self.shared.address, frame, self.version),
                    Ok(Err(Lost)) => Err(self.shared.timeout::<R>(true)),
                    Err(_) => Err(self.shared.timeout::<R>(false)),
                }
            }
        }
    }

    fn read(
        &self,
        reply: Result<Result<Bytes, Lost>, oneshot::error::RecvError>,
    ) -> Result<R::Response, Error> {
        match reply {
            Ok(Ok(frame)) => {
                let response = read_response::<R>(&self.shared.address, frame, self.version);
                if response.is_err() {
                    self.shared.ending.ask("an answer was malformed");
                }
                response
            }
            Ok(Err(Lost)) => Err(self.shared.disconnected::<R>(true)),
            // Dropped in the queue: the connection ended before this request was written.
            Err(_) => Err(self.shared.disconnected::<R>(false)),
        }
    }
}

/// A request that is on its way and will not be answered.
pub struct Unanswered<R> {
    shared: Arc<Shared>,
    written: oneshot::Receiver<()>,
    request: PhantomData<fn() -> R>,
}

impl<R: Request> Unanswered<R> {
    /// Waits until the operating system has taken the request.
    pub async fn wait(self) -> Result<(), Error> {
        self.written.await.map_err(|_| self.shared.disconnected::<R>(true))
    }
}

impl Shared {
    fn submit<R: Request>(
        self: &Arc<Self>,
        request: &R,
        version: i16,
        deadline: Instant,
        permit: OwnedSemaphorePermit,
    ) -> Result<Answer<R>, Error> {
        let (answer, reply) = oneshot::channel();
        self.queue(request, version, io::Expect::Answer(answer), permit)?;
        Ok(Answer { shared: self.clone(), reply, version, deadline, request: PhantomData })
    }

    fn queue<R: Request>(
        &self,
        request: &R,
        version: i16,
        expect: io::Expect,
        permit: OwnedSemaphorePermit,
    ) -> Result<(), Error> {
        if self.ending.has_come() {
            return Err(self.disconnected::<R>(false));
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
            .map_err(|source| Error::Encode { api: R::KEY, source })?;
        // The channel holds as many as there are permits, so it is never full.
        self.out
            .try_send(Outgoing { frame, correlation, expect, permit })
            .map_err(|_| self.disconnected::<R>(false))
    }

    fn disconnected<R: Request>(&self, sent: bool) -> Error {
        let reason = self.ending.reason();
        Error::Disconnected { api: R::KEY, address: self.address.clone(), reason, sent }
    }

    fn timeout<R: Request>(&self, sent: bool) -> Error {
        Error::Timeout { api: R::KEY, after: self.request_timeout, sent }
    }
}

fn read_response<R: Request>(address: &str, frame: Bytes, version: i16) -> Result<R::Response, Error> {
    let malformed = |error| Error::malformed(R::KEY, address, error);
    let mut reader = Reader::new(frame);
    ResponseHeader::decode(&mut reader, response_header_version(R::KEY, version)).map_err(malformed)?;
    let response = R::Response::decode(&mut reader, version).map_err(malformed)?;
    reader.finish(<R::Response as Message>::NAME).map_err(malformed)?;
    Ok(response)
}

/// Asks for the broker's versions with our newest ApiVersions; a broker that does not know it answers a version 0 body
/// with UNSUPPORTED_VERSION and the versions it knows, and is asked again (KIP-511).
async fn negotiate(shared: &Arc<Shared>) -> Result<Versions, Error> {
    let newest = *<ApiVersionsRequest as Request>::KEY.versions().end();
    let mut version = newest;
    loop {
        let response = ask_versions(shared, version).await?;
        match ErrorCode::from_code(response.error_code) {
            Some(ErrorCode::None) => return Ok(Versions::of(&response)),
            Some(ErrorCode::UnsupportedVersion) if version == newest => {
                let theirs = Versions::of(&response).best(ApiVersionsRequest::KEY, newest);
                version = theirs.filter(|&v| v < newest).unwrap_or(0);
            }
            _ => ApiError::check(response.error_code, None)?,
        }
    }
}

async fn ask_versions(shared: &Arc<Shared>, version: i16) -> Result<ApiVersionsResponse, Error> {
    let request = ApiVersionsRequest {
        client_software_name: Str::from_static("ottla"),
        client_software_version: Str::from_static(env!("CARGO_PKG_VERSION")),
    };
    let deadline = seam::now() + shared.request_timeout;
    let permit = shared.in_flight.clone().try_acquire_owned();
    let permit = permit.map_err(|_| shared.disconnected::<ApiVersionsRequest>(false))?;
    let mut answer = shared.submit(&request, version, deadline, permit)?;
    let frame = match tokio::time::timeout_at(deadline, &mut answer.reply).await {
        Ok(Ok(Ok(frame))) => frame,
        Ok(_) => return Err(shared.disconnected::<ApiVersionsRequest>(false)),
        Err(_) => return Err(shared.timeout::<ApiVersionsRequest>(false)),
    };
    // The body begins with the error code at every version; it decides how the rest is to be read.
    const BODY: usize = size_of::<i32>();
    let unsupported = ErrorCode::UnsupportedVersion.code().to_be_bytes();
    if frame.get(BODY..BODY + 2) == Some(&unsupported[..]) {
        let body = frame.slice(BODY..);
        return decode_from(body, 0)
            .map_err(|error| Error::malformed(ApiVersionsRequest::KEY, &shared.address, error));
    }
    read_response::<ApiVersionsRequest>(&shared.address, frame, version)
}
