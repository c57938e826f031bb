//! Cuts the bytes of a connection into frames.
//!
//! Small requests are read many at a time into one buffer and sliced off it without a copy. A request that
//! does not fit [`READ_BUFFER_BYTES`] gets a buffer of its own, and the stream is read straight into it. That
//! is a used buffer, or a new one that grows as bytes arrive, so a length alone takes no memory. While large
//! requests follow each other the shared buffer is kept small, so that little of the next one is read into it
//! and copied.
//!
//! A large request is admitted as it arrives. The pool gives the bytes of each read in advance, and gets back
//! those that did not come. So a request that is sent without a pause costs no extra copy or call. A peer
//! that announces much and sends little holds only what it sent.

use std::collections::VecDeque;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::AsyncReadExt;

use crate::admission::{Permit, READ_BUFFER_BYTES};
use crate::buffers::{KEPT_BUFFER_BYTES_MAX, LargeBuffer};
use crate::close::CloseReason;
use crate::control::Control;
use crate::foreign;
use crate::frame::Frame;
use crate::pool::{AddressUse, Share, Turn};
use crate::relief;
use crate::shared::Shared;
use crate::stream::Stream;

/// The initial size of a read buffer, and its size while large requests pass. In bytes.
const READ_BUFFER_BYTES_MIN: usize = 4 << 10;
/// The most memory that the announced length of a large request takes before its bytes arrive. Later its
/// buffer may be twice what has arrived.
const LARGE_FIRST_BYTES: usize = 256 << 10;
/// A connection that has sent a large request in full is trusted with the same size again, up to this. That
/// saves moving each request while its buffer grows.
const LARGE_TRUSTED_BYTES_MAX: usize = KEPT_BUFFER_BYTES_MAX;
/// The bytes of a large request that must arrive before it gets a buffer, unless its connection is trusted.
const LARGE_START_BYTES: usize = READ_BUFFER_BYTES_MIN;
/// The bytes of a large request that are waited for at a time when the pool is full.
const STEP_BYTES: usize = 128 << 10;
/// The smallest read that is worth it, unless the request ends before. In bytes.
const STEP_BYTES_MIN: usize = 4 << 10;
/// The bytes that are read of the request after a large one.
const NEXT_BYTES_MAX: usize = 1 << 10;
const PREFIX_BYTES: usize = 4;

/// Reads frames off one connection.
pub(crate) struct FrameReader {
    shared: Arc<Shared>,
    control: Arc<Control>,
    address: Arc<AddressUse>,
    buffer: BytesMut,
    /// The size that the buffer is brought to before a read.
    buffer_bytes: usize,
    body: Option<Body>,
    /// The size of large requests that is allocated at once.
    trusted_bytes: usize,
    waiting: Option<AdmissionWait>,
    /// Bytes ever received.
    received: u64,
}

/// A large request that is coming in.
struct Body {
    buffer: LargeBuffer,
    len: usize,
    /// The pool's share: bytes that have arrived, and bytes that may arrive with the next read.
    share: Share,
}

impl Body {
    /// What may be read now.
    fn may_read(&self) -> usize {
        self.share.bytes().saturating_sub(self.buffer.len())
    }

    /// Takes the pool's bytes for `wanted` more, or at least some of them. False if nothing may be read.
    fn take(&mut self, wanted: usize) -> bool {
        let target = self.buffer.len() + wanted;
        let missing = target.saturating_sub(self.share.bytes());
        // What has arrived with the length is not counted yet.
        let owed = self.buffer.len().saturating_sub(self.share.bytes());
        missing == 0
            || self.share.try_grow(missing, owed + wanted.min(STEP_BYTES_MIN))
            || self.may_read() >= wanted.min(STEP_BYTES_MIN)
    }

    /// The bytes to wait for when nothing may be read.
    fn step(&self, wanted: usize) -> usize {
        (self.buffer.len() + wanted.min(STEP_BYTES)).saturating_sub(self.share.bytes())
    }
}

/// A wait for the pool.
struct AdmissionWait {
    turn: Turn,
    what: Admitting,
}

impl AdmissionWait {
    /// What the pool gives, or nothing where it need not be asked any more.
    fn poll(&mut self, cx: &mut Context<'_>, control: &Control) -> Poll<Option<Share>> {
        match self.turn.poll(cx) {
            Poll::Ready(share) => Poll::Ready(Some(share)),
            Poll::Pending if self.what.is_small() && control.holds_none_or_wake() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[derive(Clone, Copy)]
enum Admitting {
    /// Complete frames at the front of the buffer, so many bytes with their prefixes.
    Frames { total: usize, count: usize },
    /// More of the large request.
    Step,
}

impl Admitting {
    /// Whether it lies in the read buffer, which is the connection's own.
    fn is_small(self) -> bool {
        match self {
            Admitting::Frames { .. } => true,
            Admitting::Step => false,
        }
    }
}

/// What stands at the front of the buffer.
enum Front {
    /// Complete frames, so many bytes with their prefixes.
    Frames { total: usize, count: usize },
    /// The beginning of a large one.
    Large { len: usize },
    /// Not enough to say, or to begin with: `total` bytes are needed.
    Incomplete { total: usize },
}

impl FrameReader {
    pub(crate) fn new(shared: Arc<Shared>, control: Arc<Control>, address: Arc<AddressUse>) -> FrameReader {
        FrameReader {
            shared,
            control,
            address,
            buffer: BytesMut::new(),
            buffer_bytes: READ_BUFFER_BYTES_MIN,
            body: None,
            trusted_bytes: LARGE_FIRST_BYTES,
            waiting: None,
            received: 0,
        }
    }

    /// Reads until there is at least one frame, and appends all of them to `inbox`. Ready(Ok(0)) means that
    /// the peer has closed its side.
    pub(crate) fn poll_frames<T: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut T,
        inbox: &mut VecDeque<Frame>,
    ) -> Poll<Result<usize, CloseReason>> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                let share = ready!(waiting.poll(cx, &self.control));
                let what = waiting.what;
                self.waiting = None;
                match what {
                    Admitting::Frames { total, count } => {
                        self.cut(total, share, inbox);
                        return Poll::Ready(Ok(count));
                    }
                    Admitting::Step => {
                        if let (Some(body), Some(share)) = (&mut self.body, share) {
                            body.share.join(share);
                        }
                    }
                }
            } else if self.body.is_some() {
                if let Some(count) = ready!(self.poll_body(cx, stream, inbox))? {
                    return Poll::Ready(Ok(count));
                }
            } else {
                match self.front()? {
                    Front::Frames { total, count } => {
                        if let Some(share) = self.admit(total, count) {
                            self.cut(total, share, inbox);
                            return Poll::Ready(Ok(count));
                        }
                    }
                    Front::Large { len } => self.start_body(len),
                    Front::Incomplete { total } => {
                        if ready!(self.poll_fill(cx, stream, total))? == 0 {
                            return Poll::Ready(Ok(0));
                        }
                    }
                }
            }
        }
    }

    /// Looks at the front of the buffer, and refuses impossible lengths.
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
                let is_begun = self.trusted_bytes > LARGE_FIRST_BYTES || rest.len() >= LARGE_START_BYTES;
                return Ok(if is_begun {
                    Front::Large { len }
                } else {
                    Front::Incomplete { total: LARGE_START_BYTES }
                });
            } else {
                return Ok(Front::Incomplete { total: PREFIX_BYTES + len });
            }
        }
        Ok(Front::Frames { total, count })
    }

    fn length(&self, bytes: &[u8]) -> Result<Option<usize>, CloseReason> {
        let Some(prefix) = bytes.first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
        let len = i32::from_be_bytes(*prefix);
        let max = self.shared.settings.request_bytes_max;
        match usize::try_from(len) {
            Ok(len) if len > max => Err(foreign::name(*prefix)
                .map_or(CloseReason::RequestTooLarge { len, max }, CloseReason::OtherProtocol)),
            Ok(len) => Ok(Some(len)),
            Err(_) => Err(CloseReason::NegativeLength(len)),
        }
    }

    /// The pool's share for complete frames. `None` if the connection must wait.
    fn admit(&mut self, total: usize, count: usize) -> Option<Option<Share>> {
        if let Some(share) = self.address.try_take(total) {
            return Some(Some(share));
        }
        if self.control.held() == 0 {
            return Some(None);
        }
        self.wait(total, Admitting::Frames { total, count });
        None
    }

    fn wait(&mut self, bytes: usize, what: Admitting) {
        self.shared.metrics.admission_waits.fetch_add(1, Relaxed);
        self.waiting = Some(AdmissionWait { turn: self.address.wait(bytes), what });
        relief::call(&self.shared);
    }

    /// Cuts the complete frames, which are the first `total` bytes of the buffer.
    fn cut(&mut self, total: usize, share: Option<Share>, inbox: &mut VecDeque<Frame>) {
        let permit = Permit::grant(total, share, &self.control);
        let mut bytes = self.buffer.split_to(total).freeze();
        while bytes.len() >= PREFIX_BYTES {
            let len = bytes.get_u32() as usize;
            let frame = if len == bytes.len() { std::mem::take(&mut bytes) } else { bytes.split_to(len) };
            inbox.push_back(Frame::new(frame, permit.clone()));
        }
    }

    fn start_body(&mut self, len: usize) {
        self.buffer.advance(PREFIX_BYTES);
        let mut buffer = self.shared.buffers.lend(len, self.buffer.len(), self.trusted_bytes);
        // It does not fit the read buffer, so this is all of it so far.
        while buffer.room() < self.buffer.len() {
            buffer.grow(buffer.room());
        }
        buffer.rest()[..self.buffer.len()].copy_from_slice(&self.buffer);
        buffer.fill(self.buffer.len());
        self.buffer.clear();
        self.buffer_bytes = READ_BUFFER_BYTES_MIN;
        if self.buffer.capacity() > READ_BUFFER_BYTES_MIN {
            self.buffer = BytesMut::new();
        }
        let share = Share::none(&self.address);
        self.body = Some(Body { buffer, len, share });
    }

    /// Reads into the large request. Ready with the number of whole requests, 0 if the peer closed its side,
    /// or nothing if it has begun to wait for the pool.
    fn poll_body<T: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut T,
        inbox: &mut VecDeque<Frame>,
    ) -> Poll<Result<Option<usize>, CloseReason>> {
        let Some(body) = &mut self.body else { return Poll::Ready(Ok(None)) };
        while body.buffer.len() < body.len {
            let missing = body.len - body.buffer.len();
            if body.buffer.len() == body.buffer.room() {
                body.buffer.grow(missing.min(body.buffer.len()));
            }
            let room = body.buffer.room() - body.buffer.len();
            if !body.take(missing.min(room)) {
                // Only a connection with something to read stands in line.
                ready!(stream.poll_read_ready(cx))?;
                let step = body.step(missing.min(room));
                self.wait(step, Admitting::Step);
                return Poll::Ready(Ok(None));
            }
            let wanted = missing.min(room).min(body.may_read());
            let mut next = [0; NEXT_BYTES_MAX];
            // The next request must not overtake this one.
            let next = if wanted == missing { &mut next[..] } else { &mut [] };
            let Poll::Ready(n) = stream.poll_read_both(cx, &mut body.buffer.rest()[..wanted], next) else {
                body.share.shrink_to(body.buffer.len());
                return Poll::Pending;
            };
            let n = n?;
            if n == 0 {
                return Poll::Ready(Ok(Some(0)));
            }
            body.buffer.fill(n.min(wanted));
            self.buffer.extend_from_slice(&next[..n.saturating_sub(wanted)]);
            self.received += n as u64;
            self.shared.count_read(n);
        }
        if let Some(mut body) = self.body.take() {
            self.trusted_bytes = self.trusted_bytes.max(body.len.min(LARGE_TRUSTED_BYTES_MAX));
            body.share.shrink_to(body.len);
            let permit = Permit::grant(body.len, Some(body.share), &self.control);
            inbox.push_back(Frame::new(body.buffer.freeze(), permit));
        }
        Poll::Ready(Ok(Some(1)))
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
                // No buffer is held, and it is worth having one only when there is something to read.
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

    /// What has arrived of the large request that is coming in, and its length.
    pub(crate) fn body(&self) -> Option<(usize, usize)> {
        self.body.as_ref().map(|body| (body.buffer.len(), body.len))
    }

    /// Whether a large request is coming in.
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
    // A read keeps no state between polls, so a new future each time is the same read.
    pin!(stream.read_buf(buffer)).poll(cx)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::Ipv4Addr;

    use ottla_tasks::Tasks;
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
        let shared = Arc::new(Shared::new(NetSettings::default(), Tasks::default()));
        let address = Arc::new(AddressUse::new(Ipv4Addr::LOCALHOST.into(), shared.pool.clone()));
        let mut reader = FrameReader::new(shared.clone(), Arc::new(Control::new(1)), address);
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
                assert_eq!(shared.pool.used(), body.buffer.len(), "taken is what has arrived");
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
