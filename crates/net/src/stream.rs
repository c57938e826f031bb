//! The stream of a connection's bytes.
//!
//! Everything above is generic over [`Stream`], so plain TCP pays nothing for other streams: no box, no
//! dynamic call. Another stream (TLS) implements tokio's two traits and says when it may have something to
//! read. The rest has defaults.

use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::{SendAncillaryBuffer, SendFlags};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// A connection's bytes. What is written MAY stay in the stream until it is flushed; how much stays MUST be
/// bounded.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Ready once a read may find something. A buffer is worth having only then.
    fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// One read that fills `first`, and may go on with `second`.
    fn poll_read_both(
        &mut self,
        cx: &mut Context<'_>,
        first: &mut [u8],
        second: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let _later = second;
        let mut buffer = ReadBuf::new(first);
        ready!(Pin::new(self).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// One write of the slices, from their start on. Ready with none of them is an error.
    fn poll_send(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match ready!(Pin::new(self).poll_write_vectored(cx, slices))? {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            n => Poll::Ready(Ok(n)),
        }
    }

    /// The socket, if bytes written to it are the bytes that the peer reads. It allows `sendfile`. Otherwise
    /// file content is read and written.
    fn plain(&self) -> Option<&TcpStream> {
        None
    }
}

impl Stream for TcpStream {
    fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        TcpStream::poll_read_ready(self, cx)
    }

    fn poll_read_both(
        &mut self,
        cx: &mut Context<'_>,
        first: &mut [u8],
        second: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let wanted = first.len() + second.len();
        loop {
            ready!(TcpStream::poll_read_ready(self, cx))?;
            let mut emptied = 0;
            let read = self.try_io(Interest::READABLE, || {
                match rustix::io::readv(&*self, &mut [IoSliceMut::new(first), IoSliceMut::new(second)])? {
                    // The socket is empty now. Saying so saves a read that would find nothing.
                    n if (1..wanted).contains(&n) => {
                        emptied = n;
                        Err(io::ErrorKind::WouldBlock.into())
                    }
                    n => Ok(n),
                }
            });
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && emptied > 0 => {
                    return Poll::Ready(Ok(emptied));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_write_ready(cx))?;
            let sent = self.try_io(Interest::WRITABLE, || {
                let mut control = SendAncillaryBuffer::default();
                Ok(rustix::net::sendmsg(&*self, slices, &mut control, SendFlags::NOSIGNAL)?)
            });
            match sent {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(n) => return Poll::Ready(Ok(n)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn plain(&self) -> Option<&TcpStream> {
        Some(self)
    }
}
