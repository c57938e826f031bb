//! From `host:port` to an open socket: every address that the name has is tried, none at the cost of the
//! others.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpSocket, TcpStream};

use crate::config::LinkConfig;
use crate::error::{ConnectCause, LinkError};
use crate::seam::{self, Instant};

/// Addresses of one name that are tried; a name may have any number.
const ADDRESSES_MAX: usize = 16;

/// Connects to the first address of a name that takes the connection, within
/// `socket.connection.setup.timeout.ms`.
pub(crate) async fn dial(address: &str, config: &LinkConfig) -> Result<TcpStream, LinkError> {
    let deadline = seam::now() + config.connection_setup_timeout;
    let attempt = async {
        let addresses = resolve(address, deadline).await?;
        connect_to_any(&addresses, deadline, config).await
    };
    attempt.await.map_err(|(cause, reason)| LinkError::Connect { address: address.to_owned(), cause, reason })
}

type Failure = (ConnectCause, String);

async fn resolve(address: &str, deadline: Instant) -> Result<Vec<SocketAddr>, Failure> {
    match tokio::time::timeout_at(deadline, tokio::net::lookup_host(address)).await {
        Ok(Ok(found)) => Ok(found.take(ADDRESSES_MAX).collect()),
        Ok(Err(error)) => Err((ConnectCause::Unresolved, error.to_string())),
        Err(_) => Err((ConnectCause::Unresolved, "its name was not resolved in time".to_owned())),
    }
}

/// Each address may take its share of the time that is left, so that one that swallows packets does not hide
/// the next.
async fn connect_to_any(
    addresses: &[SocketAddr],
    deadline: Instant,
    config: &LinkConfig,
) -> Result<TcpStream, Failure> {
    let mut last = (ConnectCause::Unresolved, "its name has no address".to_owned());
    for (tried, &address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(seam::now()) / left;
        last = match tokio::time::timeout(share, connect(address, config)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => (cause_of(&error), error.to_string()),
            Err(_) => (ConnectCause::Silent, format!("no answer within {share:?}")),
        };
    }
    Err(last)
}

async fn connect(address: SocketAddr, config: &LinkConfig) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(bytes) = config.receive_buffer_bytes {
        // Before the connection is made: the window is agreed on then.
        socket.set_recv_buffer_size(bytes)?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn cause_of(error: &io::Error) -> ConnectCause {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ConnectCause::Refused,
        io::ErrorKind::TimedOut => ConnectCause::Silent,
        _ => ConnectCause::Other,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use socket2::SockRef;
    use tokio::net::TcpListener;

    use super::*;

    /// An address that takes no connection: its queue is full, and packets to it are dropped.
    async fn deaf() -> (SocketAddr, Vec<TcpStream>, TcpListener) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) = tokio::time::timeout(Duration::from_secs(1), TcpStream::connect(address)).await
        {
            queued.push(stream.unwrap());
        }
        (address, queued, listener)
    }

    /// An address at which nobody listens.
    fn refusing() -> (SocketAddr, TcpSocket) {
        let taken = TcpSocket::new_v4().unwrap();
        taken.bind(([127, 0, 0, 1], 0).into()).unwrap();
        (taken.local_addr().unwrap(), taken)
    }

    #[tokio::test]
    async fn an_address_that_swallows_packets_does_not_hide_the_next() {
        let (deaf, _queued, _listener) = deaf().await;
        let (refusing, _taken) = refusing();
        let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good_address = good.local_addr().unwrap();
        let deadline = seam::now() + Duration::from_secs(60);
        let config = LinkConfig::default();
        let addresses = [refusing, good_address, deaf];
        let stream = connect_to_any(&addresses, deadline, &config).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good_address);

        // Only half of a short time is given to the first, so that the second has its turn.
        let deadline = seam::now() + Duration::from_secs(2);
        let error = connect_to_any(&[deaf, refusing], deadline, &config).await.unwrap_err();
        assert_eq!(error.0, ConnectCause::Refused, "{error:?}");
        let deadline = seam::now() + Duration::from_millis(300);
        let error = connect_to_any(&[refusing, deaf], deadline, &config).await.unwrap_err();
        assert_eq!(error.0, ConnectCause::Silent, "{error:?}");
    }

    #[tokio::test]
    async fn names_and_both_families_are_understood() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        dial(&format!("localhost:{port}"), &LinkConfig::default()).await.unwrap();
        if let Ok(listener) = TcpListener::bind("[::1]:0").await {
            let address = listener.local_addr().unwrap().to_string();
            assert!(dial(&address, &LinkConfig::default()).await.unwrap().peer_addr().unwrap().is_ipv6());
        }
        for unresolved in ["no port", ""] {
            let error = dial(unresolved, &LinkConfig::default()).await.unwrap_err();
            let is_unresolved = matches!(error, LinkError::Connect { cause: ConnectCause::Unresolved, .. });
            assert!(is_unresolved, "{unresolved:?}: {error:?}");
        }
    }

    #[tokio::test]
    async fn the_receive_buffer_is_as_large_as_set() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let config = LinkConfig { receive_buffer_bytes: Some(40_000), ..LinkConfig::default() };
        let stream = dial(&address, &config).await.unwrap();
        // The kernel doubles what is asked for.
        assert_eq!(SockRef::from(&stream).recv_buffer_size().unwrap(), 80_000);
    }
}
