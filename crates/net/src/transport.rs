//! From an accepted socket to the stream of its requests.

use std::future::Future;
use std::io;

use tokio::net::TcpStream;

use crate::peer::Principal;
use crate::stream::Stream;

/// Makes the streams of a listener's connections.
pub trait Transport: Send + Sync + 'static {
    /// What requests come through.
    type Stream: Stream;

    /// Brings a connection up, and determines the peer's principal. Runs in the task of the connection,
    /// within [`NetSettings::handshake_max`](crate::NetSettings::handshake_max).
    fn bring_up(
        &self,
        socket: TcpStream,
    ) -> impl Future<Output = io::Result<(Self::Stream, Principal)>> + Send;
}

/// Bare TCP. There is nothing to do, and anyone may connect.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl Transport for Plain {
    type Stream = TcpStream;

    async fn bring_up(&self, socket: TcpStream) -> io::Result<(TcpStream, Principal)> {
        Ok((socket, Principal::ANONYMOUS))
    }
}
