//! Sends a range of a file without letting a cold page block a runtime thread: with `sendfile` on a plain
//! stream, otherwise by reading and writing.
//!
//! Before a chunk is sent, some of its pages are checked with `RWF_NOWAIT`. If one is missing, a blocking
//! thread first reads the next part of the file. The first page of a range is not checked: the service has
//! looked at it, and the kernel reads ahead. A page that is dropped in between is read while it is sent,
//! which is rare and correct.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use rustix::io::{Errno, ReadWriteFlags};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::shared::Shared;
use crate::stream::Stream;

/// The most bytes for one `sendfile` call.
const CHUNK_BYTES: usize = 256 << 10;
/// The most bytes of a file in memory, for a stream without `sendfile`.
const COPY_BYTES: usize = 64 << 10;
/// The distance between checked pages, in bytes. The kernel reads ahead in larger steps.
const PROBE_STEP_BYTES: usize = 64 << 10;
/// The bytes of a cold file that are read at once.
const WARM_BYTES: usize = 1 << 20;
const WARM_BUFFER_BYTES: usize = 64 << 10;

/// A range of a file on its way out.
pub(crate) struct FileSlice {
    file: Arc<File>,
    position: u64,
    left: usize,
    /// The position up to which the pages were seen in memory.
    warm_to: u64,
    warming: Option<Warming>,
    /// Bytes that were read and not written yet. Not used with `sendfile`.
    copied: Bytes,
}

/// Ends with the position up to which the pages are in memory.
type Warming = Pin<Box<dyn Future<Output = io::Result<u64>> + Send>>;

impl FileSlice {
    pub(crate) fn new(file: Arc<File>, position: u64, len: usize) -> FileSlice {
        FileSlice { file, position, left: len, warm_to: position, warming: None, copied: Bytes::new() }
    }

    /// Whether all has been sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// Sends as much of the next chunk as the stream takes, and returns the number of bytes. Never called
    /// when empty.
    pub(crate) fn poll_send<T: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut T,
        shared: &Arc<Shared>,
    ) -> Poll<io::Result<usize>> {
        match stream.plain() {
            Some(socket) => self.poll_sendfile(cx, socket, shared),
            None => self.poll_copy(cx, stream, shared),
        }
    }

    fn poll_sendfile(
        &mut self,
        cx: &mut Context<'_>,
        socket: &TcpStream,
        shared: &Arc<Shared>,
    ) -> Poll<io::Result<usize>> {
        loop {
            // Only bytes that the socket has room for are worth having in memory.
            ready!(socket.poll_write_ready(cx))?;
            let chunk = self.left.min(CHUNK_BYTES);
            ready!(self.poll_warm(cx, shared, chunk))?;
            let mut offset = self.position;
            let sent = socket.try_io(Interest::WRITABLE, || {
                Ok(rustix::fs::sendfile(socket, &*self.file, Some(&mut offset), chunk)?)
            });
            match sent {
                Ok(0) => return Poll::Ready(Err(shorter(self.position))),
                Ok(n) => {
                    self.advance(n);
                    shared.metrics.file_bytes_out.fetch_add(n as u64, Relaxed);
                    return Poll::Ready(Ok(n));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_copy<T: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut T,
        shared: &Arc<Shared>,
    ) -> Poll<io::Result<usize>> {
        if self.copied.is_empty() {
            let chunk = self.left.min(COPY_BYTES);
            ready!(self.poll_warm(cx, shared, chunk))?;
            let mut bytes = vec![0; chunk];
            self.file.read_exact_at(&mut bytes, self.position).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => shorter(self.position),
                _ => error,
            })?;
            self.copied = bytes.into();
        }
        let n = ready!(stream.poll_send(cx, &[IoSlice::new(&self.copied)]))?;
        self.copied.advance(n);
        self.advance(n);
        Poll::Ready(Ok(n))
    }

    fn advance(&mut self, n: usize) {
        self.position += n as u64;
        self.left -= n;
    }

    /// Makes sure that the next chunk is in memory.
    fn poll_warm(
        &mut self,
        cx: &mut Context<'_>,
        shared: &Arc<Shared>,
        chunk: usize,
    ) -> Poll<io::Result<()>> {
        let end = self.position + chunk as u64;
        if self.warming.is_none() {
            if self.warm_to >= end || is_resident(&self.file, self.position, end)? {
                self.warm_to = self.warm_to.max(end);
                return Poll::Ready(Ok(()));
            }
            shared.metrics.cold_reads.fetch_add(1, Relaxed);
            self.warming =
                Some(warm(shared.clone(), self.file.clone(), self.position, self.left.min(WARM_BYTES)));
        }
        if let Some(warming) = &mut self.warming {
            let warm_to = ready!(warming.as_mut().poll(cx));
            self.warming = None;
            self.warm_to = warm_to?;
        }
        Poll::Ready(Ok(()))
    }
}

/// Whether the range seems to be in memory, apart from its first page. False if the file system cannot tell.
fn is_resident(file: &File, position: u64, end: u64) -> io::Result<bool> {
    let last = end.saturating_sub(1);
    let steps = (position..last).step_by(PROBE_STEP_BYTES).skip(1);
    for at in steps.chain([last]) {
        match rustix::io::preadv2(file, &mut [IoSliceMut::new(&mut [0])], at, ReadWriteFlags::NOWAIT) {
            Ok(0) => return Err(shorter(at)),
            Ok(_) => {}
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(false),
            Err(Errno::INTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

/// Reads the range on a blocking thread, so that its pages are in memory.
fn warm(shared: Arc<Shared>, file: Arc<File>, position: u64, len: usize) -> Warming {
    Box::pin(async move {
        let _turn = shared.cold_reads.acquire().await.map_err(io::Error::other)?;
        let read = move || {
            let mut buffer = vec![0; WARM_BUFFER_BYTES];
            let (mut at, end) = (position, position + len as u64);
            while at < end {
                let want = buffer.len().min((end - at) as usize);
                match file.read_at(&mut buffer[..want], at) {
                    Ok(0) => return Err(shorter(at)),
                    Ok(n) => at += n as u64,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(end)
        };
        tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
    })
}

fn shorter(at: u64) -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        format!("the file of a response ends at {at}, before its promised length"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that was just written is in memory, and a range behind its end is an error, not a short answer.
    #[test]
    fn residency_of_a_fresh_file() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[7; 200_000], 0).unwrap();
        // A file system without RWF_NOWAIT answers false, which only costs a thread hop.
        is_resident(&file, 0, 200_000).unwrap();
        assert_eq!(is_resident(&file, 0, 300_000).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
