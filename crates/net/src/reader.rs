//! Cuts the bytes of a connection into frames.
//!
//! Small requests are read many at a time into one buffer and sliced off it without a copy. A request that does not fit
//! [`READ_BUFFER_BYTES`] gets a buffer of its own that the socket is read straight into: one that was used before, or a new
//! one that grows as bytes arrive, so that a length alone takes no memory. While large requests follow each other the shared buffer is kept small, so that little of
//! the next one is read (and copied) with it.

use std::collections::VecDeque;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::admission::{Control, Permit, READ_BUFFER_BYTES, Wait};
use crate::buffers::{KEPT_BUFFER_BYTES_MAX, LargeBuffer};
use crate::close::CloseReason;
use crate::frame::Frame;
use crate::shared::Shared;
use crate::stream::Stream;

/// What a read buffer starts with, and what is left of it while large requests pass. In bytes.
const READ_BUFFER_BYTES_MIN: usize = 4 << 10;
/// The most memory that the announced length of a large request takes before its bytes arrive. After that its buffer may
/// be twice what has arrived.
const LARGE_FIRST_BYTES: usize = 256 << 10;
/// A connection that has sent a large request in full is trusted with the same size again, up to this, which saves moving
/// each request while its buffer grows.
const LARGE_TRUSTED_BYTES_MAX: usize = KEPT_BUFFER_BYTES_MAX;
/// How much is read of what follows a large request. In bytes.
const NEXT_BYTES_MAX: usize = 1 << 10;
const PREFIX_BYTES: usize = 4;

/// Reads frames off one connection.
pub(crate) struct FrameReader {
    shared: Arc<Shared>,
    control: Arc<Control>,
    buffer: BytesMut,
    /// The size that the buffer is brought to before a read.
    buffer_bytes: usize,
    body: Option<Body>,
    /// The size of large requests that is allocated at once.
    trusted_bytes: usize,
    waiting: Option<Waiting>,
    /// Bytes ever received.
    received: u64,
}

/// A large request that is coming in.
struct Body {
    buffer: LargeBuffer,
    len: usize,
    permit: Permit,
    since: Instant,
}

/// What waits for the pool: both stand at the front of the buffer.
struct Waiting {
    wait: Wait,
    what: Admitting,
}

impl Waiting {
    /// What the pool gives, or nothing where it need not be asked any more.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        control: &Control,
    ) -> Poll<Result<Option<OwnedSemaphorePermit>, CloseReason>> {
        match self.wait.as_mut().poll(cx) {
            Poll::Ready(share) => Poll::Ready(share.map(Some).ok_or(CloseReason::Shutdown)),
            Poll::Pending if self.what.is_small() && control.holds_none_or_wake() => Poll::Ready(Ok(None)),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[derive(Clone, Copy)]
enum Admitting {
    /// Complete frames, so many bytes with their prefixes.
    Frames { total: usize, count: usize },
    /// The beginning of a large one.
    Large { len: usize },
}

impl Admitting {
    /// The bytes that are admitted.
    fn bytes(self) -> usize {
        match self {
            Admitting::Frames { total, .. } => total,
            Admitting::Large { len } => len,
        }
    }

    /// Whether it lies in the read buffer, which is the connection's own.
    fn is_small(self) -> bool {
        match self {
            Admitting::Frames { .. } => true,
            Admitting::Large { .. } => false,
        }
    }
}

/// What stands at the front of the buffer.
enum Front {
    Admit(Admitting),
    /// Not enough to say, or a small frame that is incomplete: `total` bytes are needed.
    Incomplete {
        total: usize,
    },
}

impl FrameReader {
    pub(crate) fn new(shared: Arc<Shared>, control: Arc<Control>) -> FrameReader {
        FrameReader {
            shared,
            control,
            buffer: BytesMut::new(),
            buffer_bytes: READ_BUFFER_BYTES_MIN,
            body: None,
            trusted_bytes: LARGE_FIRST_BYTES,
            waiting: None,
            received: 0,
        }
    }

    /// Reads until there is at least one frame, and appends all there are to `inbox`. Ready(Ok(0)): the peer has closed its side.
    pub(crate) fn poll_frames<T: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut T,
        inbox: &mut VecDeque<Frame>,
    ) -> Poll<Result<usize, CloseReason>> {
        loop {
            let (what, share) = match &mut self.waiting {
                Some(waiting) => {
                    let share = ready!(waiting.poll(cx, &self.control))?;
                    let what = waiting.what;
                    self.waiting = None;
                    (what, share)
                }
                None if self.body.is_some() => {
                    if ready!(self.poll_body(cx, stream, inbox))? {
                        return Poll::Ready(Ok(1));
                    }
                    return Poll::Ready(Ok(0));
                }
                None => match self.front()? {
                    Front::Admit(what) => match self.admit(what) {
                        Some(share) => (what, share),
                        None => continue,
                    },
                    Front::Incomplete { total } => {
                        if ready!(self.poll_fill(cx, stream, total))? == 0 {
                            return Poll::Ready(Ok(0));
                        }
                        continue;
                    }
                },
            };
            match what {
                Admitting::Frames { total, count } => {
                    self.cut(total, share, inbox);
                    return Poll::Ready(Ok(count));
                }
                Admitting::Large { len } => self.start_body(len, share),
            }
        }
    }

    /// Looks at the front of the buffer, and refuses lengths that cannot be.
    fn front(&self) -> Result<Front, CloseReason> {
        let (mut total, mut count) = (0, 0);
        loop {
            let rest = self.buffer.get(total..).unwrap_or_default();
            let len = match self.length(rest) {
                Ok(Some(len)) => len,
                // What came before a bad length is served first.
                Ok(None) | Err(_) if count > 0 => break,
                Ok(None) => return Ok(Front::Incomplete { total: PREFIX_BYTES }),
                Err(reason) => return Err(reason),
            };
            if rest.len() >= PREFIX_BYTES + len {
                total += PREFIX_BYTES + len;
                count += 1;
            } else if count > 0 {
                break;
            } else if PREFIX_BYTES + len > READ_BUFFER_BYTES {
                return Ok(Front::Admit(Admitting::Large { len }));
            } else {
                return Ok(Front::Incomplete { total: PREFIX_BYTES + len });
            }
        }
        Ok(Front::Admit(Admitting::Frames { total, count }))
    }

    fn length(&self, bytes: &[u8]) -> Result<Option<usize>, CloseReason> {
        let Some(prefix) = bytes.first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
        let len = i32::from_be_bytes(*prefix);
        let max = self.shared.settings.request_bytes_max;
        match usize::try_from(len) {
            Ok(len) if len > max => Err(CloseReason::RequestTooLarge { len, max }),
            Ok(len) => Ok(Some(len)),
            Err(_) => Err(CloseReason::NegativeLength(len)),
        }
    }

    /// What the pool gives; None when it makes the connection wait.
    fn admit(&mut self, what: Admitting) -> Option<Option<OwnedSemaphorePermit>> {
        if let Some(share) = self.shared.pool.try_take(what.bytes()) {
            return Some(Some(share));
        }
        if what.is_small() && self.control.held() == 0 {
            return Some(None);
        }
        self.shared.metrics.admission_waits.fetch_add(1, Relaxed);
        self.waiting = Some(Waiting { wait: self.shared.pool.wait(what.bytes()), what });
        None
    }

    /// Cuts the complete frames, which are the first `total` bytes of the buffer.
    fn cut(&mut self, total: usize, share: Option<OwnedSemaphorePermit>, inbox: &mut VecDeque<Frame>) {
        let permit = Permit::grant(total, share, &self.control);
        let mut bytes = self.buffer.split_to(total).freeze();
        while bytes.len() >= PREFIX_BYTES {
            let len = bytes.get_u32() as usize;
            let frame = if len == bytes.len() { std::mem::take(&mut bytes) } else { bytes.split_to(len) };
            inbox.push_back(Frame::new(frame, permit.clone()));
        }
    }

    fn start_body(&mut self, len: usize, share: Option<OwnedSemaphorePermit>) {
        let permit = Permit::grant(len, share, &self.control);
        self.buffer.advance(PREFIX_BYTES);
        let mut buffer = self.shared.buffers.lend(len, self.trusted_bytes);
        // It does not fit the read buffer, so all that is there is of it, and less than any buffer has room for.
        buffer.rest()[..self.buffer.len()].copy_from_slice(&self.buffer);
        buffer.fill(self.buffer.len());
        self.buffer.clear();
        self.buffer_bytes = READ_BUFFER_BYTES_MIN;
        if self.buffer.capacity() > READ_BUFFER_BYTES_MIN {
            self.buffer = BytesMut::new();
        }
        self.body = Some(Body { buffer, len, permit, since: Instant::now() });
    }

    /// Reads into the large request. False: the peer closed its side.
    fn poll_body<T: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut T,
        inbox: &mut VecDeque<Frame>,
    ) -> Poll<Result<bool, CloseReason>> {
        let Some(body) = &mut self.body else { return Poll::Ready(Ok(false)) };
        while body.buffer.len() < body.len {
            let missing = body.len - body.buffer.len();
            if body.buffer.len() == body.buffer.room() {
                body.buffer.grow(missing.min(body.buffer.len()));
            }
            let rest = body.buffer.rest();
            let wanted = missing.min(rest.len());
            let mut next = [0; NEXT_BYTES_MAX];
            // The next request must not come before this one.
            let next = if wanted == missing { &mut next[..] } else { &mut [] };
            let n = ready!(stream.poll_read_both(cx, &mut rest[..wanted], next))?;
            if n == 0 {
                return Poll::Ready(Ok(false));
            }
            body.buffer.fill(n.min(wanted));
            self.buffer.extend_from_slice(&next[..n.saturating_sub(wanted)]);
            self.received += n as u64;
            self.shared.count_read(n);
        }
        if let Some(body) = self.body.take() {
            self.trusted_bytes = self.trusted_bytes.max(body.len.min(LARGE_TRUSTED_BYTES_MAX));
            inbox.push_back(Frame::new(body.buffer.freeze(), body.permit));
        }
        Poll::Ready(Ok(true))
    }

    /// One read into the buffer, after making room for `total` bytes at least.
    fn poll_fill<T: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut T,
        total: usize,
    ) -> Poll<Result<usize, CloseReason>> {
        self.buffer_bytes = self.buffer_bytes.max(total.next_power_of_two().min(READ_BUFFER_BYTES));
        let room = self.buffer.capacity() - self.buffer.len();
        if room < self.buffer_bytes / 2 || self.buffer.capacity() < total {
            if self.buffer.is_empty() && self.buffer.capacity() == 0 {
                // No buffer is held: it is worth having one only once there is something to read.
                ready!(stream.poll_read_ready(cx))?;
            }
            self.buffer.reserve(self.buffer_bytes.max(total) - self.buffer.len());
        }
        let room = self.buffer.capacity() - self.buffer.len();
        let n = ready!(poll_read(cx, stream, &mut self.buffer))?;
        if n > 0 {
            self.received += n as u64;
            self.shared.count_read(n);
        }
        if n == room && !self.is_large_next() {
            self.buffer_bytes = (self.buffer_bytes * 2).min(READ_BUFFER_BYTES);
        }
        Poll::Ready(Ok(n))
    }

    fn is_large_next(&self) -> bool {
        matches!(self.length(&self.buffer), Ok(Some(len)) if PREFIX_BYTES + len > READ_BUFFER_BYTES)
    }

    /// Bytes ever received.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// The length of the large request that is coming in, and for how long it has been.
    pub(crate) fn body_age(&self, now: Instant) -> Option<(usize, Duration)> {
        self.body.as_ref().map(|body| (body.len, now.saturating_duration_since(body.since)))
    }

    /// Whether a large request has been admitted and is coming in.
    pub(crate) fn is_in_body(&self) -> bool {
        self.body.is_some()
    }

    /// Whether it waits for the admission pool.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Whether memory is held that [`FrameReader::release`] would give back.
    pub(crate) fn holds_memory(&self) -> bool {
        self.buffer.is_empty() && self.buffer.capacity() > 0
    }

    /// Gives the buffer back if nothing is in it.
    pub(crate) fn release(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
            self.buffer_bytes = READ_BUFFER_BYTES_MIN;
            self.trusted_bytes = LARGE_FIRST_BYTES;
        }
    }
}

fn poll_read<T: Stream>(
    cx: &mut Context<'_>,
    stream: &mut T,
    buffer: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    // The future of a read keeps nothing between polls, so a new one each time is the same read.
    pin!(stream.read_buf(buffer)).poll(cx)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::settings::NetSettings;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    /// The length of a request is a claim; memory follows what has arrived.
    #[tokio::test]
    async fn a_length_alone_takes_little_memory() {
        let (mut client, mut server) = pair().await;
        let mut reader =
            FrameReader::new(Arc::new(Shared::new(NetSettings::default())), Arc::new(Control::new(1)));
        let mut inbox = VecDeque::new();
        let body = vec![7; 3_000_000];
        let sending = tokio::spawn(async move {
            client.write_all(&(body.len() as i32).to_be_bytes()).await.unwrap();
            client.write_all(&body).await.unwrap();
            client
        });
        let mut most = 0;
        poll_fn(|cx| {
            let read = reader.poll_frames(cx, &mut server, &mut inbox);
            if let Some(body) = &reader.body {
                assert!(body.buffer.room() <= LARGE_FIRST_BYTES.max(2 * body.buffer.len()));
                most = most.max(body.buffer.room());
            }
            read
        })
        .await
        .unwrap();
        assert!(most >= LARGE_FIRST_BYTES, "the request came through a buffer of its own");
        assert_eq!(inbox[0].bytes, vec![7; 3_000_000]);
        assert_eq!(reader.trusted_bytes, 3_000_000);
        drop(sending.await.unwrap());
    }
}
