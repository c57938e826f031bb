//! A stream as TLS would be one: it begins with a handshake, changes every byte by where it stands, keeps
//! what is written until it is flushed, and cannot be given files.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ottla_net::{Principal, SecurityProtocol, Stream, Transport};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use crate::stage::Wire;

/// What the client begins with.
pub const HELLO: &[u8; 4] = b"veil";
/// What may be kept until it is flushed, in bytes: as much as a TLS record.
const HELD_BYTES_MAX: usize = 16 << 10;

#[derive(Default)]
pub struct Veil;

impl Transport for Veil {
    type Stream = Veiled;

    async fn bring_up(&self, mut socket: TcpStream) -> io::Result<(Veiled, Principal)> {
        let mut hello = [0; HELLO.len()];
        socket.read_exact(&mut hello).await?;
        if &hello != HELLO {
            return Err(io::Error::other("this is no veiled stream"));
        }
        let known = Principal { principal_type: "User".into(), name: "CN=veiled".into() };
        Ok((Veiled::new(socket), known))
    }
}

impl Wire for Veil {
    const PROTOCOL: SecurityProtocol = SecurityProtocol::Ssl;
    const SENDS_FILES: bool = false;

    async fn dial(mut socket: TcpStream) -> Veiled {
        // A server that refuses the connection shows by its end.
        let _refused = socket.write_all(HELLO).await;
        Veiled::new(socket)
    }
}

/// Either end of a veiled stream.
pub struct Veiled {
    socket: TcpStream,
    /// Bytes ever read, and ever written.
    read: usize,
    written: usize,
    /// Veiled, and not sent.
    held: Vec<u8>,
}

impl Veiled {
    fn new(socket: TcpStream) -> Veiled {
        Veiled { socket, read: 0, written: 0, held: Vec::new() }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let n = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.held))?;
            self.held.drain(..n);
        }
        Poll::Ready(Ok(()))
    }
}

/// Veils bytes, and unveils them.
fn veil(bytes: &mut [u8], from: usize) {
    for (byte, at) in bytes.iter_mut().zip(from..) {
        *byte ^= (at % 251) as u8 ^ 0x5a;
    }
}

impl AsyncRead for Veiled {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.socket).poll_read(cx, buffer))?;
        let new = &mut buffer.filled_mut()[before..];
        veil(new, this.read);
        this.read += new.len();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Veiled {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.held.len() >= HELD_BYTES_MAX {
            ready!(this.poll_drain(cx))?;
        }
        let from = this.held.len();
        let n = bytes.len().min(HELD_BYTES_MAX - from);
        this.held.extend_from_slice(&bytes[..n]);
        veil(&mut this.held[from..], this.written);
        this.written += n;
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_drain(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}

impl Stream for Veiled {
    fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_read_ready(cx).map_ok(drop)
    }
}
