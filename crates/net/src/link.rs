//! One connection's stream, its pending answers, and its deadlines.
//!
//! The connection's one task polls all of it, so there are no locks and nothing is sent between tasks.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::close::CloseReason;
use crate::control::Control;
use crate::frame::Frame;
use crate::pool::AddressUse;
use crate::reader::FrameReader;
use crate::service::{LaterResponses, Response, Responses};
use crate::shared::{Phase, Shared};
use crate::stream::Stream;
use crate::timer::Timer;
use crate::writer::ResponseWriter;

/// How long requests that arrived before the end of the stream may take to be started.
const EOF_GRACE: Duration = Duration::from_secs(1);
/// Buffers of a connection that has been quiet for this long are released.
const RELEASE_AFTER: Duration = Duration::from_secs(1);
/// Without a deadline the timer still checks now and then.
const FAR: Duration = Duration::from_secs(3600);

/// The side of a connection that the service does not see.
pub(crate) struct Link<T> {
    stream: T,
    reader: FrameReader,
    writer: ResponseWriter,
    shared: Arc<Shared>,
    control: Arc<Control>,
    timer: Timer,
    /// Frames that were read while the service was busy.
    inbox: VecDeque<Frame>,
    groups: VecDeque<Group>,
    /// The requests of all groups.
    in_flight: usize,
    /// The number of groups, from the front, that have been polled.
    polled: usize,
    /// Nothing more is read or served. The last group has the reason.
    finishing: bool,
    muted_until: Option<Instant>,
    /// When the peer closed its side, or the socket failed for reading.
    ended: Option<(Instant, CloseReason)>,
    now: Instant,
    /// The last time a byte moved, and the last time one left.
    moved: Instant,
    sent: (Instant, u64),
}

/// The answers of one call of the service.
struct Group {
    /// The number of requests in the call.
    requests: usize,
    outcome: Outcome,
}

enum Outcome {
    Done(Result<Vec<Response>, CloseReason>),
    Later(LaterResponses),
}

/// The current work of the task.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Busy {
    No,
    Serving,
}

impl<T: Stream> Link<T> {
    pub(crate) fn new(
        stream: T,
        shared: Arc<Shared>,
        control: Arc<Control>,
        address: Arc<AddressUse>,
    ) -> Link<T> {
        let now = Instant::now();
        Link {
            stream,
            reader: FrameReader::new(shared.clone(), control.clone(), address),
            writer: ResponseWriter::new(shared.clone()),
            shared,
            control,
            timer: Timer::new(now),
            inbox: VecDeque::new(),
            groups: VecDeque::new(),
            in_flight: 0,
            polled: 0,
            finishing: false,
            muted_until: None,
            ended: None,
            now,
            moved: now,
            sent: (now, 0),
        }
    }

    pub(crate) fn into_stream(self) -> T {
        self.stream
    }

    /// Waits for frames and puts them into `frames`, which is empty. Answers leave meanwhile.
    pub(crate) fn poll_frames(
        &mut self,
        cx: &mut Context<'_>,
        frames: &mut VecDeque<Frame>,
    ) -> Poll<Result<(), CloseReason>> {
        self.control.set_waker(cx.waker());
        loop {
            self.progress(cx)?;
            if self.inbox.is_empty() {
                self.end_if_done()?;
            }
            let over = self.inbox.is_empty() && self.may_read() && self.read(cx, Busy::No);
            if !self.inbox.is_empty() && self.may_serve() {
                self.hand_over(frames);
                return Poll::Ready(Ok(()));
            }
            if !over {
                break;
            }
        }
        if self.release_due() {
            frames.shrink_to(0);
        }
        self.watch_time(cx, Busy::No).map(Err)
    }

    /// Waits until more may be served.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CloseReason>> {
        if self.may_serve() && self.shared.phase() < Phase::Cut {
            return Poll::Ready(Ok(()));
        }
        self.progress(cx)?;
        if self.may_serve() {
            return Poll::Ready(Ok(()));
        }
        self.watch_time(cx, Busy::Serving).map(Err)
    }

    /// Moves answers, and reads ahead once, while the service is at work. Ready when the connection is over.
    pub(crate) fn poll_beside(&mut self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        if let Err(reason) = self.progress(cx) {
            return Poll::Ready(reason);
        }
        if self.inbox.is_empty() && self.may_read() {
            self.read(cx, Busy::Serving);
        }
        self.watch_time(cx, Busy::Serving)
    }

    /// Takes the service's answer to this many requests.
    pub(crate) fn push(&mut self, answered: Result<Responses, CloseReason>, requests: usize) {
        if self.writer.is_empty() {
            self.sent.0 = self.now;
        }
        match answered {
            Ok(Responses::Ready(responses)) if self.groups.is_empty() => self.writer.push_all(responses),
            Ok(Responses::Ready(responses)) => self.wait_for(requests, Outcome::Done(Ok(responses))),
            Ok(Responses::Later(later)) => self.wait_for(requests, Outcome::Later(later)),
            Err(reason) => self.finish(reason),
        }
    }

    /// Whether no more frames are to be served.
    pub(crate) fn is_finishing(&self) -> bool {
        self.finishing || self.writer.is_closing()
    }

    /// The connection ends after the answers before.
    fn finish(&mut self, reason: CloseReason) {
        self.finishing = true;
        self.inbox.clear();
        self.wait_for(0, Outcome::Done(Err(reason)));
    }

    fn wait_for(&mut self, requests: usize, outcome: Outcome) {
        self.in_flight += requests;
        self.groups.push_back(Group { requests, outcome });
    }

    /// Moves read frames to `frames`, which is empty, up to the limit of requests in flight.
    fn hand_over(&mut self, frames: &mut VecDeque<Frame>) {
        let room = self.in_flight_max().saturating_sub(self.in_flight);
        if self.inbox.len() <= room {
            mem::swap(frames, &mut self.inbox);
        } else {
            frames.extend(self.inbox.drain(..room));
        }
    }

    fn in_flight_max(&self) -> usize {
        self.shared.settings.requests_in_flight_max.max(1)
    }

    fn may_serve(&self) -> bool {
        !self.is_finishing()
            && !self.is_muted()
            && self.in_flight < self.in_flight_max()
            && self.writer.has_room()
    }

    fn may_read(&self) -> bool {
        self.may_serve()
            && self.ended.is_none()
            && self.shared.phase() == Phase::Serving
            && (self.reader.is_in_body() || !self.control.is_full())
    }

    fn is_muted(&self) -> bool {
        self.muted_until.is_some() || self.writer.mutes()
    }

    /// Reads once. True if there will be no more to read.
    fn read(&mut self, cx: &mut Context<'_>, busy: Busy) -> bool {
        let before = self.reader.received();
        let read = self.reader.poll_frames(cx, &mut self.stream, &mut self.inbox);
        if self.reader.received() > before {
            self.moved = self.now;
        }
        match read {
            Poll::Pending => return false,
            Poll::Ready(Ok(0)) => self.ended = Some((self.now, CloseReason::Eof)),
            Poll::Ready(Ok(count)) => {
                self.shared.metrics.requests.fetch_add(count as u64, Relaxed);
                return false;
            }
            Poll::Ready(Err(CloseReason::Io(error))) => self.ended = Some((self.now, error.into())),
            // Pending answers come before the end. The bad bytes stay in front, and are found again.
            Poll::Ready(Err(_)) if busy == Busy::Serving => return false,
            Poll::Ready(Err(reason)) => self.finish(reason),
        }
        true
    }

    /// Ends if there is nothing left to serve. A peer that has gone gets no answers. A stopping server only
    /// waits for answers.
    fn end_if_done(&mut self) -> Result<(), CloseReason> {
        if let Some((_, reason)) = self.ended.take() {
            return Err(reason);
        }
        if self.shared.phase() == Phase::Stopping && self.groups.is_empty() && self.writer.is_empty() {
            return Err(CloseReason::Shutdown);
        }
        Ok(())
    }

    /// Moves ready answers to the socket, and handles the passing of time.
    fn progress(&mut self, cx: &mut Context<'_>) -> Result<(), CloseReason> {
        if self.shared.phase() == Phase::Cut {
            return Err(CloseReason::Shutdown);
        }
        self.now = Instant::now();
        self.muted_until = self.muted_until.filter(|until| *until > self.now);
        if self.writer.is_empty() {
            self.sent.0 = self.now;
        }
        loop {
            let waits_for_room = self.settle(cx);
            let flushed = self.writer.poll_flush(cx, &mut self.stream)?;
            if let Some(mute) = self.writer.take_mute() {
                self.muted_until = self.muted_until.max(Some(self.now + mute));
            }
            if let Some(reason) = self.writer.closed() {
                return Err(reason);
            }
            // Answers that waited for room may go now. Nothing else would wake the task for them.
            if flushed.is_pending() || !waits_for_room {
                break;
            }
        }
        if self.writer.sent() > self.sent.1 {
            self.moved = self.now;
            self.sent = (self.now, self.writer.sent());
        }
        Ok(())
    }

    /// Moves ready groups to the writer, in order. True if it stopped for lack of room.
    fn settle(&mut self, cx: &mut Context<'_>) -> bool {
        while self.writer.has_room() {
            let Some(front) = self.groups.front_mut() else { break };
            let responses = match &mut front.outcome {
                Outcome::Done(responses) => mem::replace(responses, Ok(Vec::new())),
                Outcome::Later(later) => match later.as_mut().poll(cx) {
                    Poll::Pending => break,
                    Poll::Ready(responses) => responses,
                },
            };
            self.in_flight -= front.requests;
            self.groups.pop_front();
            self.polled = self.polled.saturating_sub(1);
            match responses {
                Ok(responses) => self.writer.push_all(responses),
                Err(reason) => self.writer.close(reason),
            }
        }
        if self.writer.is_closing() {
            // Nothing behind the end of the connection will be sent.
            self.groups.clear();
            self.in_flight = 0;
            self.inbox.clear();
        }
        self.polled = self.polled.min(self.groups.len());
        for group in self.groups.iter_mut().skip(self.polled) {
            if let Outcome::Later(later) = &mut group.outcome
                && let Poll::Ready(responses) = later.as_mut().poll(cx)
            {
                group.outcome = Outcome::Done(responses);
            }
        }
        self.polled = self.groups.len();
        !self.groups.is_empty() && !self.writer.has_room()
    }

    /// Ready when a deadline has passed. Otherwise the task is woken at the next one.
    fn watch_time(&mut self, cx: &mut Context<'_>, busy: Busy) -> Poll<CloseReason> {
        let settings = &self.shared.settings;
        let mut next = self.now + FAR;
        if let Some(until) = self.muted_until {
            next = next.min(until);
        }
        if let Some((at, _)) = &self.ended {
            next = next.min(*at + EOF_GRACE);
            if *at + EOF_GRACE <= self.now {
                return Poll::Ready(self.ended.take().map_or(CloseReason::Eof, |(_, reason)| reason));
            }
        }
        if !self.writer.is_empty() {
            let stalled = self.sent.0 + settings.write_stall_max;
            next = next.min(stalled);
            if stalled <= self.now {
                return Poll::Ready(CloseReason::Stalled(settings.write_stall_max));
            }
        } else if let Some(idle_max) = settings.idle_max
            && busy == Busy::No
            && self.is_idle()
        {
            next = next.min(self.moved + idle_max);
            if self.moved + idle_max <= self.now {
                return Poll::Ready(CloseReason::Idle);
            }
        }
        if let Some(reason) = self.watch_body(busy) {
            return Poll::Ready(reason);
        }
        if self.release_due() {
            self.reader.release();
            self.writer.release();
            self.inbox.shrink_to(0);
            self.groups.shrink_to(0);
        } else if self.holds_memory() {
            next = next.min(self.moved + RELEASE_AFTER);
        }
        self.timer.wake_by(cx, next);
        Poll::Pending
    }

    /// Publishes the progress of a large request. Returns a reason to close once the request has been given
    /// up.
    fn watch_body(&mut self, busy: Busy) -> Option<CloseReason> {
        let body = self.reader.body();
        let is_read = self.may_read() && (busy == Busy::No || self.inbox.is_empty());
        let awaits_peer = is_read && !self.reader.is_waiting();
        let given_up = body.is_some() && self.control.is_given_up();
        let pending = if given_up { self.control.pending(self.now) } else { None };
        self.control.note_pace(body.map(|(arrived, _)| arrived), awaits_peer, self.now);
        let ((arrived, len), waited) = (body?, pending?.waited);
        // More may have arrived since the decision.
        self.control.is_given_up().then_some(CloseReason::SlowRequest { len, arrived, waited })
    }

    /// Whether nothing is in flight that would explain silence.
    fn is_idle(&self) -> bool {
        self.groups.is_empty() && self.inbox.is_empty() && !self.is_muted() && !self.reader.is_waiting()
    }

    fn holds_memory(&self) -> bool {
        self.reader.holds_memory() || self.writer.holds_memory()
    }

    fn release_due(&self) -> bool {
        self.holds_memory() && self.moved + RELEASE_AFTER <= self.now
    }
}
