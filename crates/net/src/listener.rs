//! Binding an address and accepting connections from it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::connection;
use crate::server::Shared;
use crate::service::{Peer, Service};

/// After a failed accept: long enough not to spin while the process is out of file descriptors.
const ACCEPT_RETRY_AFTER: Duration = Duration::from_millis(100);

/// A bound address. Connections queue up (to its backlog) until a [`Server`](crate::Server) is started on it.
#[derive(Debug)]
pub struct Listener {
    name: Arc<str>,
    local: SocketAddr,
    inner: TcpListener,
}

/// An address cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error(
    "listener {name} cannot use {addr}: {source}; see that the address belongs to this host and no other process listens there"
)]
pub struct BindError {
    /// The listener's name.
    pub name: String,
    /// The address asked for.
    pub addr: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

impl Listener {
    /// Binds `addr` (port 0: any free port). `backlog` is `socket.listen.backlog.size`. MUST be called within a tokio runtime.
    pub fn bind(name: &str, addr: SocketAddr, backlog: u32) -> Result<Listener, BindError> {
        let failed = |source| BindError { name: name.to_owned(), addr, source };
        let inner = listen(addr, backlog).map_err(failed)?;
        let local = inner.local_addr().map_err(failed)?;
        Ok(Listener { name: name.into(), local, inner })
    }

    /// The name it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address it is bound to, with the port that was found.
    pub fn addr(&self) -> SocketAddr {
        self.local
    }
}

fn listen(addr: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // A restarted broker must not wait for the old one's connections to time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

/// Accepts connections and starts a task for each; runs until it is dropped.
pub(crate) async fn accept<S: Service>(listener: Listener, service: Arc<S>, shared: Arc<Shared>) {
    loop {
        shared.limiter.room().await;
        shared.limiter.turn().await;
        let (stream, addr) = match listener.inner.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                shared.metrics.accept_errors.fetch_add(1, Relaxed);
                tracing::warn!(listener = %listener.name, %error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_RETRY_AFTER).await;
                continue;
            }
        };
        let place = match shared.limiter.enter(addr.ip()).await {
            Ok(place) => place,
            Err(refused) => {
                shared.metrics.connections_refused_per_ip.fetch_add(1, Relaxed);
                tracing::debug!(listener = %listener.name, %addr, max = refused.max, "connection refused by max.connections.per.ip");
                continue;
            }
        };
        let local = match prepare(&stream, &shared) {
            Ok(local) => local,
            Err(error) => {
                tracing::debug!(listener = %listener.name, %addr, %error, "connection was gone before it was served");
                continue;
            }
        };
        let peer =
            Peer { addr, local, listener: listener.name.clone(), connection: shared.next_connection() };
        connection::start(stream, peer, place, service.clone(), shared.clone());
    }
}

fn prepare(stream: &TcpStream, shared: &Shared) -> io::Result<SocketAddr> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_keepalive(true)?;
    if let Some(bytes) = shared.settings.send_buffer_bytes {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = shared.settings.receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    stream.local_addr()
}
