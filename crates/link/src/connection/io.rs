//! The task that owns the socket: writes requests as they are queued, hands answers to those who wait.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes};
use ottla_wire::primitives::{Encoded, Part};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::end::{End, Ending};
use super::frame::FrameReader;
use super::in_flight::{Departure, InFlight, Mismatch, Reply, Unmet};
use crate::seam::{self, Instant};

/// Requests that are written together, at most.
const WRITE_TOGETHER_MAX: usize = 64;
/// Pieces of one `writev`; the kernel takes up to 1024.
const SLICES_MAX: usize = 256;

/// Files fill the gaps of what a server answers; nothing fills those of a request.
const GAP: &str = "a request had a gap, which only a server can fill";

/// A request that is to be written. Dropped without a word when it never is.
pub(super) struct Outgoing {
    pub(super) frame: Encoded,
    pub(super) correlation: i32,
    pub(super) expect: Expect,
    /// Held until the answer has come.
    pub(super) permit: OwnedSemaphorePermit,
}

/// What follows a request.
pub(super) enum Expect {
    Answer {
        reply: Reply,
        departure: Arc<Departure>,
        late_at: Instant,
    },
    /// No answer: tell when it is written.
    Written(oneshot::Sender<()>),
}

pub(super) struct Limits {
    pub(super) idle: Duration,
    /// How long the peer may take nothing while there is something to send.
    pub(super) stuck: Duration,
    pub(super) response_bytes: usize,
}

/// When the peer was last heard.
#[derive(Debug)]
pub(super) struct Heard {
    since: Instant,
    millis: AtomicU64,
}

impl Heard {
    /// Not heard since `since`.
    pub(super) fn new(since: Instant) -> Heard {
        Heard { since, millis: AtomicU64::new(0) }
    }

    pub(super) fn at(&self) -> Instant {
        self.since + Duration::from_millis(self.millis.load(Ordering::Relaxed))
    }

    fn now(&self) {
        let millis = seam::now().saturating_duration_since(self.since).as_millis();
        self.millis.store(u64::try_from(millis).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// Serves the connection until it ends; then everyone who waits has been told.
pub(super) async fn run<S>(
    stream: S,
    mut outgoing: mpsc::Receiver<Outgoing>,
    ending: Arc<Ending>,
    heard: Arc<Heard>,
    limits: Limits,
) where
    S: AsyncRead + AsyncWrite,
{
    let (mut read_half, mut write_half) = tokio::io::split(stream);
    let in_flight = InFlight::default();
    let end = tokio::select! {
        end = read(&mut read_half, &in_flight, &heard, limits.response_bytes) => end,
        end = write(&mut write_half, &mut outgoing, &in_flight, &limits) => end,
        () = in_flight.late() => End::Late,
        end = ending.come() => end,
    };
    ending.ask(end);
    // From here on nothing can be queued, so no one is left waiting in the channel or in flight.
    drop(outgoing);
    in_flight.lose_all();
}

async fn read<R: AsyncRead + Unpin>(
    from: &mut R,
    in_flight: &InFlight,
    heard: &Heard,
    response_bytes_max: usize,
) -> End {
    let mut frames = FrameReader::new(response_bytes_max);
    loop {
        let frame = match frames.next(from).await {
            Ok(Some(frame)) => frame,
            Ok(None) => return End::ClosedByPeer,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return End::Garbled(error.to_string());
            }
            Err(error) => return End::Broken(error.to_string()),
        };
        heard.now();
        match in_flight.answer(frame) {
            Ok(()) => {}
            Err(Mismatch::OutOfOrder) => return End::Garbled("an answer came out of order".to_owned()),
            Err(Mismatch::NotAskedFor) => {
                return End::Garbled("an answer came that nobody asked for".to_owned());
            }
        }
    }
}

async fn write<W: AsyncWrite + Unpin>(
    to: &mut W,
    outgoing: &mut mpsc::Receiver<Outgoing>,
    in_flight: &InFlight,
    limits: &Limits,
) -> End {
    let mut batch = Vec::with_capacity(WRITE_TOGETHER_MAX);
    loop {
        match tokio::time::timeout(limits.idle, outgoing.recv_many(&mut batch, WRITE_TOGETHER_MAX)).await {
            Ok(0) => return End::Unused,
            Ok(_) => {}
            Err(_) if in_flight.is_empty() => return End::Idle,
            Err(_) => continue,
        }
        let mut pieces = VecDeque::new();
        let mut written = Vec::new();
        for Outgoing { frame, correlation, expect, permit } in batch.drain(..) {
            match expect {
                Expect::Answer { reply, departure, late_at } => {
                    // Nobody waits for it any more, and was told that it was never sent.
                    if !departure.leave() {
                        continue;
                    }
                    in_flight.push(Unmet { correlation, reply, late_at, permit });
                }
                Expect::Written(done) => written.push((done, permit)),
            }
            for part in frame.parts {
                match part {
                    Part::Bytes(bytes) => pieces.push_back(bytes),
                    Part::Gap { .. } => return End::Broken(GAP.to_owned()),
                }
            }
        }
        if let Err(end) = write_all(to, &mut pieces, limits.stuck).await {
            return end;
        }
        for (done, _permit) in written {
            let _ = done.send(());
        }
    }
}

async fn write_all<W: AsyncWrite + Unpin>(
    to: &mut W,
    pieces: &mut VecDeque<Bytes>,
    stuck: Duration,
) -> Result<(), End> {
    let broken = |error: io::Error| End::Broken(error.to_string());
    while !pieces.is_empty() {
        let slices: Vec<io::IoSlice<'_>> =
            pieces.iter().take(SLICES_MAX).map(|piece| io::IoSlice::new(piece)).collect();
        let write = tokio::time::timeout(stuck, to.write_vectored(&slices));
        let mut written = write.await.map_err(|_| End::Late)?.map_err(broken)?;
        if written == 0 {
            return Err(broken(io::ErrorKind::WriteZero.into()));
        }
        while let Some(front) = pieces.front_mut() {
            let taken = written.min(front.len());
            front.advance(taken);
            written -= taken;
            if !front.is_empty() {
                break;
            }
            pieces.pop_front();
        }
    }
    Ok(())
}
