//! Binding an address and accepting connections from it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::connection;
use crate::peer::{Peer, Principal, SecurityProtocol};
use crate::service::Service;
use crate::shared::Shared;
use crate::transport::Transport;

/// After a failed accept: long enough not to spin while the process is out of file descriptors.
const ACCEPT_RETRY_AFTER: Duration = Duration::from_millis(100);

/// A bound address. Connections queue up (to its backlog) until a [`Server`](crate::Server) serves it.
#[derive(Debug)]
pub struct Listener {
    name: Arc<str>,
    protocol: SecurityProtocol,
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
    /// Binds `addr` (port 0: any free port). `protocol` is what peers are told that it speaks; `backlog` is
    /// `socket.listen.backlog.size`. MUST be called within a tokio runtime.
    pub fn bind(
        name: &str,
        protocol: SecurityProtocol,
        addr: SocketAddr,
        backlog: u32,
    ) -> Result<Listener, BindError> {
        let failed = |source| BindError { name: name.to_owned(), addr, source };
        let inner = listen(addr, backlog).map_err(failed)?;
        let local = inner.local_addr().map_err(failed)?;
        Ok(Listener { name: name.into(), protocol, local, inner })
    }

    /// The name it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it speaks.
    pub fn security_protocol(&self) -> SecurityProtocol {
        self.protocol
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
pub(crate) async fn accept<S: Service, T: Transport>(
    listener: Listener,
    service: Arc<S>,
    transport: Arc<T>,
    shared: Arc<Shared>,
) {
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
        let peer = Peer {
            addr,
            local,
            listener: listener.name.clone(),
            security_protocol: listener.protocol,
            principal: Principal::ANONYMOUS,
            connection: shared.next_connection(),
        };
        let open = connection::Open::new(service.clone(), shared.clone(), peer, place);
        shared.tasks.errand("connection", connection::run(open, stream, transport.clone()));
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
