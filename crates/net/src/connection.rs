//! The loop of one connection: frames in, the service, responses out.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::admission::READ_BUFFER_BYTES;
use crate::close::CloseReason;
use crate::control::Control;
use crate::frame::Frame;
use crate::limits::ConnectionPlace;
use crate::link::Link;
use crate::peer::Peer;
use crate::service::Service;
use crate::shared::{Phase, Shared};
use crate::stream::Stream;
use crate::transport::Transport;

/// How long, and for how many bytes, this side still reads after it has ended a connection. Closing a socket
/// with unread bytes resets it, and the peer would lose the last response.
const LINGER_MAX: Duration = Duration::from_millis(500);
const LINGER_BYTES_MAX: u64 = 1 << 20;

/// Runs an accepted connection until it ends.
pub(crate) async fn run<S: Service, T: Transport>(open: Open<S>, socket: TcpStream, transport: Arc<T>) {
    // In this order, so that even a panic drops the pending futures of the service before its session.
    let mut open = open;
    let stream = match open.bring_up(&*transport, socket).await {
        Ok(stream) => stream,
        Err(reason) => return open.close(&reason),
    };
    let mut link = Link::new(stream, open.shared.clone(), open.control.clone(), open.place.address());
    let reason = open.serve(&mut link).await;
    let stream = link.into_stream();
    open.close(&reason);
    if open.lingers(&reason) {
        Box::pin(linger(stream)).await;
    }
}

/// An open connection. However its task ends, the service is informed and the place is free again.
pub(crate) struct Open<S: Service> {
    service: Arc<S>,
    shared: Arc<Shared>,
    control: Arc<Control>,
    peer: Peer,
    /// `None` before the peer is known, and after the service has taken it back.
    session: Option<S::Session>,
    frames: VecDeque<Frame>,
    place: ConnectionPlace,
}

impl<S: Service> Open<S> {
    /// Makes the connection known to the server.
    pub(crate) fn new(service: Arc<S>, shared: Arc<Shared>, peer: Peer, place: ConnectionPlace) -> Open<S> {
        let control = Arc::new(Control::new(shared.settings.connection_queued_bytes_max));
        shared.register(peer.connection, control.clone());
        Open { service, shared, control, peer, session: None, frames: VecDeque::new(), place }
    }

    /// Brings the transport up and opens the session. A stopping server does not wait for unknown peers.
    async fn bring_up<T: Transport>(
        &mut self,
        transport: &T,
        socket: TcpStream,
    ) -> Result<T::Stream, CloseReason> {
        let limit = self.shared.settings.handshake_max;
        let (stream, principal) = {
            let mut coming_up = pin!(timeout(limit, transport.bring_up(socket)));
            poll_fn(|cx| {
                self.control.set_waker(cx.waker());
                if self.shared.phase() > Phase::Serving {
                    return Poll::Ready(Err(CloseReason::Shutdown));
                }
                coming_up.as_mut().poll(cx).map(|up| match up {
                    Ok(up) => up.map_err(CloseReason::Io),
                    Err(_) => Err(CloseReason::refused(format!("the handshake took longer than {limit:?}"))),
                })
            })
            .await?
        };
        self.peer.principal = principal;
        self.session = Some(self.service.open(&self.peer));
        Ok(stream)
    }

    /// Serves until the connection ends.
    async fn serve<T: Stream>(&mut self, link: &mut Link<T>) -> CloseReason {
        let Some(session) = &mut self.session else { return CloseReason::Shutdown };
        loop {
            if let Err(reason) = poll_fn(|cx| link.poll_frames(cx, &mut self.frames)).await {
                return reason;
            }
            while !self.frames.is_empty() {
                if let Err(reason) = poll_fn(|cx| link.poll_room(cx)).await {
                    return reason;
                }
                let before = self.frames.len();
                let large = self.frames.front().is_some_and(|frame| frame.bytes.len() > READ_BUFFER_BYTES);
                let served = {
                    let mut serving = pin!(self.service.serve(session, &mut self.frames));
                    poll_fn(|cx| match serving.as_mut().poll(cx) {
                        Poll::Ready(responses) => Poll::Ready(Ok(responses)),
                        Poll::Pending => link.poll_beside(cx).map(Err),
                    })
                    .await
                };
                match served {
                    Ok(_) if self.frames.len() >= before => {
                        link.push(Err(CloseReason::refused("request was not taken")), 0)
                    }
                    Ok(responses) => link.push(responses, before - self.frames.len()),
                    Err(reason) => return reason,
                }
                if link.is_finishing() {
                    self.frames.clear();
                }
                if large {
                    // Waiting work gets its turn before more is read: its bytes are still in the processor's
                    // cache, and their buffer is free sooner.
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

impl<S: Service> Open<S> {
    /// Records the end of the connection.
    fn close(&mut self, reason: &CloseReason) {
        self.shared.metrics.count_closed(reason);
        let peer = &self.peer;
        let (connection, listener, addr) = (peer.connection, &peer.listener, peer.addr);
        if reason.is_fault() && self.shared.fault_log.allows() {
            tracing::warn!(%connection, %listener, %addr, %reason, "connection closed");
        } else {
            tracing::debug!(%connection, %listener, %addr, %reason, "connection closed");
        }
        if let Some(session) = self.session.take() {
            self.service.closed(session);
        }
    }

    /// Whether the peer may still be reading.
    fn lingers(&self, reason: &CloseReason) -> bool {
        match reason {
            CloseReason::Eof
            | CloseReason::Idle
            | CloseReason::Stalled(_)
            | CloseReason::SlowRequest { .. }
            | CloseReason::OtherProtocol(_)
            | CloseReason::Io(_) => false,
            CloseReason::RequestTooLarge { .. }
            | CloseReason::NegativeLength(_)
            | CloseReason::ResponseTooLarge(_)
            | CloseReason::Responded
            | CloseReason::Refused(_)
            | CloseReason::Shutdown => self.shared.phase() < Phase::Cut,
        }
    }
}

impl<S: Service> Drop for Open<S> {
    fn drop(&mut self) {
        self.shared.unregister(self.peer.connection);
        // Still here only if the task panicked or ended with its runtime.
        if let Some(session) = self.session.take() {
            self.service.closed(session);
        }
    }
}

/// Ends this side, and waits a little for the peer to end its own.
async fn linger<T: Stream>(mut stream: T) {
    if stream.shutdown().await.is_ok() {
        // Incoming bytes are dropped. An error or the timeout ends the wait, as the end of the stream does.
        let drain =
            async { tokio::io::copy(&mut stream.take(LINGER_BYTES_MAX), &mut tokio::io::sink()).await };
        let _ = timeout(LINGER_MAX, drain).await;
    }
}
