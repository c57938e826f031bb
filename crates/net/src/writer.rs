//! Responses on their way out.
//!
//! Everything that is ready leaves in as few calls as possible. Length prefixes and small parts are copied
//! together, which is cheaper than a slice for each. Large parts are sent from where they are, and files by
//! the kernel where the stream allows. Around such a file the socket is corked, so that the bytes before and
//! after it share its packets.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::close::CloseReason;
use crate::file_part::FileSlice;
use crate::service::{Part, Response};
use crate::shared::Shared;
use crate::stream::Stream;

/// Parts up to this size are copied, in bytes.
const COPY_BYTES_MAX: usize = 2 << 10;
/// Slices in one send. Far below IOV_MAX (1024): with parts above [`COPY_BYTES_MAX`] that fills any socket
/// buffer.
const SLICES_MAX: usize = 64;
/// The bytes to send before other connections get their turn.
const TURN_BYTES: usize = 1 << 20;

/// The responses of one connection that have not left yet.
pub(crate) struct ResponseWriter {
    shared: Arc<Shared>,
    segments: VecDeque<Segment>,
    /// Small parts, behind the segments.
    tail: BytesMut,
    /// Bytes ever queued, and ever sent.
    queued: u64,
    sent: u64,
    marks: VecDeque<Mark>,
    /// Set when nothing more may be queued. The connection closes once everything has left.
    closing: Option<CloseReason>,
    /// The kernel holds back an incomplete packet.
    corked: bool,
    /// The stream may still hold sent bytes.
    unflushed: bool,
}

enum Segment {
    Bytes(Bytes),
    File(FileSlice),
}

/// What happens once `sent` has reached a position.
struct Mark {
    at: u64,
    mute: Duration,
}

impl ResponseWriter {
    pub(crate) fn new(shared: Arc<Shared>) -> ResponseWriter {
        ResponseWriter {
            shared,
            segments: VecDeque::new(),
            tail: BytesMut::new(),
            queued: 0,
            sent: 0,
            marks: VecDeque::new(),
            closing: None,
            corked: false,
            unflushed: false,
        }
    }

    /// Queues a group of responses. Those behind one that closes are dropped.
    pub(crate) fn push_all(&mut self, responses: Vec<Response>) {
        let count: u64 = responses.iter().map(|response| u64::from(response.framed.unwrap_or(1))).sum();
        self.shared.metrics.responses.fetch_add(count, Relaxed);
        for response in responses {
            if self.closing.is_some() {
                return;
            }
            if let Err(reason) = self.push(response) {
                self.close(reason);
            }
        }
    }

    fn push(&mut self, response: Response) -> Result<(), CloseReason> {
        let len: u64 = response.parts.iter().map(|part| part.len() as u64).sum();
        if response.framed.is_none() {
            self.tail.put_i32(i32::try_from(len).map_err(|_| CloseReason::ResponseTooLarge(len))?);
            self.queued += size_of::<i32>() as u64;
        }
        for part in response.parts {
            self.push_part(part);
        }
        self.queued += len;
        if !response.mute.is_zero() {
            self.shared.metrics.mutes.fetch_add(1, Relaxed);
            self.marks.push_back(Mark { at: self.queued, mute: response.mute });
        }
        if response.close { Err(CloseReason::Responded) } else { Ok(()) }
    }

    fn push_part(&mut self, part: Part) {
        match part {
            part if part.is_empty() => {}
            Part::Bytes(bytes) if bytes.len() <= COPY_BYTES_MAX => self.tail.extend_from_slice(&bytes),
            Part::Bytes(bytes) => self.push_segment(Segment::Bytes(bytes)),
            Part::File { file, position, len } => {
                self.push_segment(Segment::File(FileSlice::new(file, position, len)));
            }
        }
    }

    fn push_segment(&mut self, segment: Segment) {
        if !self.tail.is_empty() {
            self.segments.push_back(Segment::Bytes(self.tail.split().freeze()));
        }
        self.segments.push_back(segment);
    }

    /// Nothing more is queued; [`ResponseWriter::closed`] gives the reason once all has left.
    pub(crate) fn close(&mut self, reason: CloseReason) {
        self.closing.get_or_insert(reason);
    }

    /// Whether nothing more is queued.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// The reason to close now, if there is one and all has left.
    pub(crate) fn closed(&mut self) -> Option<CloseReason> {
        if self.is_empty() { self.closing.take() } else { None }
    }

    /// Bytes that have not left.
    pub(crate) fn pending(&self) -> u64 {
        self.queued - self.sent
    }

    /// Bytes ever sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether all has left, and the stream holds none of it.
    pub(crate) fn is_empty(&self) -> bool {
        self.pending() == 0 && !self.unflushed
    }

    /// Whether more may be queued.
    pub(crate) fn has_room(&self) -> bool {
        self.closing.is_none()
            && self.pending() < self.shared.settings.response_bytes_pending_max.max(1) as u64
    }

    /// Whether a response that mutes is in the queue.
    pub(crate) fn mutes(&self) -> bool {
        !self.marks.is_empty()
    }

    /// The longest mute of the responses that have left since the last call.
    pub(crate) fn take_mute(&mut self) -> Option<Duration> {
        let mut longest = None;
        while let Some(mark) = self.marks.front()
            && mark.at <= self.sent
        {
            longest = longest.max(Some(mark.mute));
            self.marks.pop_front();
        }
        longest
    }

    /// Sends what the stream takes. Ready: all has left.
    pub(crate) fn poll_flush<T: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut T,
    ) -> Poll<io::Result<()>> {
        let turn_end = self.sent + TURN_BYTES as u64;
        while self.pending() > 0 {
            if self.sent >= turn_end {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let n = match self.segments.front_mut() {
                Some(Segment::File(slice)) => ready!(slice.poll_send(cx, stream, &self.shared))?,
                Some(Segment::Bytes(_)) | None => ready!(self.poll_send(cx, stream))?,
            };
            self.unflushed = true;
            self.shared.count_write(n);
            self.advance(n);
        }
        if self.unflushed {
            ready!(Pin::new(&mut *stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        if std::mem::take(&mut self.corked)
            && let Some(socket) = stream.plain()
        {
            rustix::net::sockopt::set_tcp_cork(socket, false)?;
        }
        Poll::Ready(Ok(()))
    }

    /// One send of the bytes up to the next file.
    fn poll_send<T: Stream>(&mut self, cx: &mut Context<'_>, stream: &mut T) -> Poll<io::Result<usize>> {
        if !self.corked
            && self.segments.iter().any(|segment| matches!(segment, Segment::File(_)))
            && let Some(socket) = stream.plain()
        {
            rustix::net::sockopt::set_tcp_cork(socket, true)?;
            self.corked = true;
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        stream.poll_send(cx, self.gather(&mut slices))
    }

    /// The bytes up to the next file.
    fn gather<'a, 's>(&'a self, slices: &'s mut [IoSlice<'a>]) -> &'s [IoSlice<'a>] {
        let mut count = 0;
        let bytes = self.segments.iter().map_while(|segment| match segment {
            Segment::Bytes(bytes) => Some(&bytes[..]),
            Segment::File(_) => None,
        });
        for (slot, bytes) in slices.iter_mut().zip(bytes) {
            *slot = IoSlice::new(bytes);
            count += 1;
        }
        if count == self.segments.len() && count < slices.len() && !self.tail.is_empty() {
            slices[count] = IoSlice::new(&self.tail);
            count += 1;
        }
        &slices[..count]
    }

    /// Drops `n` sent bytes.
    fn advance(&mut self, n: usize) {
        self.sent += n as u64;
        let mut left = n;
        while let Some(front) = self.segments.front_mut() {
            match front {
                // The slice has counted its own bytes.
                Segment::File(slice) if slice.is_empty() => left = 0,
                Segment::File(_) => return,
                Segment::Bytes(bytes) if bytes.len() <= left => left -= bytes.len(),
                Segment::Bytes(bytes) => return bytes.advance(left),
            }
            self.segments.pop_front();
            if left == 0 {
                return;
            }
        }
        self.tail.advance(left);
    }

    /// Whether memory is held that [`ResponseWriter::release`] would give back.
    pub(crate) fn holds_memory(&self) -> bool {
        self.is_empty() && self.tail.capacity() > 0
    }

    /// Gives buffers back if nothing is in them.
    pub(crate) fn release(&mut self) {
        if self.is_empty() {
            (self.tail, self.segments, self.marks) = (BytesMut::new(), VecDeque::new(), VecDeque::new());
        }
    }
}
