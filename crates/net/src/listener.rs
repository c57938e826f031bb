//! Binding an address and accepting connections from it.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::connection;
use crate::limits::Refused;
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

    /// Binds every address of the host, of both families; only those of IPv4 where there is no IPv6. Else as
    /// [`Listener::bind`].
    pub fn bind_everywhere(
        name: &str,
        protocol: SecurityProtocol,
        port: u16,
        backlog: u32,
    ) -> Result<Listener, BindError> {
        let (v6, v4) = (Ipv6Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED);
        match Listener::bind(name, protocol, (v6, port).into(), backlog) {
            Err(error) if is_without_ipv6(&error.source) => {
                tracing::info!(listener = name, error = %error.source, "no IPv6 on this host: listening on IPv4 only");
                Listener::bind(name, protocol, (v4, port).into(), backlog)
            }
            bound => bound,
        }
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

/// The kernel has no IPv6, or it is turned off.
fn is_without_ipv6(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

fn listen(addr: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() && addr.ip().is_unspecified() {
        // Every address, whatever the system's own default (net.ipv6.bindv6only) is.
        socket.set_only_v6(false)?;
    }
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
            // A listener for both families shows peers of IPv4 in the form of IPv6.
            Ok((stream, addr)) => (stream, canonical(addr)),
            Err(error) => {
                shared.metrics.accept_errors.fetch_add(1, Relaxed);
                if shared.accept_log.allows() {
                    tracing::warn!(listener = %listener.name, %error, "accepting a connection failed");
                }
                tokio::time::sleep(ACCEPT_RETRY_AFTER).await;
                continue;
            }
        };
        let place = match shared.limiter.enter(addr.ip()).await {
            Ok(place) => place,
            Err(Refused::FromIp { max }) => {
                shared.metrics.connections_refused_per_ip.fetch_add(1, Relaxed);
                tracing::debug!(listener = %listener.name, %addr, max, "connection refused by max.connections.per.ip");
                continue;
            }
            Err(Refused::Descriptors { max }) => {
                shared.metrics.connections_refused_descriptors.fetch_add(1, Relaxed);
                if shared.accept_log.allows() {
                    tracing::warn!(
                        listener = %listener.name, %addr, max,
                        "connection refused: the descriptors that are left are for files; raise ulimit -n and restart"
                    );
                }
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
    Ok(canonical(stream.local_addr()?))
}

fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_without_ipv6_does_without() {
        let without = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL].map(|errno| is_without_ipv6(&errno.into()));
        assert_eq!(without, [true, true]);
        let others =
            [Errno::ADDRINUSE, Errno::ACCESS, Errno::MFILE].map(|errno| is_without_ipv6(&errno.into()));
        assert_eq!(others, [false, false, false]);
    }

    #[tokio::test]
    async fn every_address_is_one_of_each_family() {
        let listener = Listener::bind_everywhere("L", SecurityProtocol::Plaintext, 0, 50).unwrap();
        let port = listener.addr().port();
        let v4 = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let (_, peer) = listener.inner.accept().await.unwrap();
        assert_eq!(canonical(peer), v4.local_addr().unwrap());
        if listener.addr().is_ipv6() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.unwrap();
        }
    }
}
