//! The task that owns the socket: writes requests as they are queued, hands answers to those who wait.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes};
use ottla_wire::primitives::{Encoded, Part};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, oneshot};

use super::frame::FrameReader;

/// Requests that are written together, at most.
const WRITE_TOGETHER_MAX: usize = 64;
/// Pieces of one `writev`; the kernel takes up to 1024.
const SLICES_MAX: usize = 256;

/// A request that is to be written.
pub(super) struct Outgoing {
    pub(super) frame: Encoded,
    pub(super) correlation: i32,
    pub(super) expect: Expect,
    /// Held until the answer has come.
    pub(super) permit: OwnedSemaphorePermit,
}

/// What follows a request. Dropped without a word when the request was never written.
pub(super) enum Expect {
    Answer(oneshot::Sender<Result<Bytes, Lost>>),
    /// No answer: tell when it is written.
    Written(oneshot::Sender<()>),
}

/// The connection ended after the request was (perhaps partly) written.
#[derive(Debug)]
pub(super) struct Lost;

pub(super) struct Limits {
    pub(super) idle: Duration,
    pub(super) response_bytes: usize,
}

/// Why the connection ended or is to end.
#[derive(Default)]
pub(super) struct Ending {
    reason: OnceLock<String>,
    asked: Notify,
}

impl Ending {
    /// Asks the task to end. The first reason stays.
    pub(super) fn ask(&self, reason: &str) {
        self.reason.get_or_init(|| reason.to_owned());
        self.asked.notify_one();
    }

    /// Whether the connection has ended or has been asked to.
    pub(super) fn has_come(&self) -> bool {
        self.reason.get().is_some()
    }

    pub(super) fn reason(&self) -> String {
        self.reason.get().cloned().unwrap_or_else(|| "closed".to_owned())
    }
}

struct Waiting {
    correlation: i32,
    answer: oneshot::Sender<Result<Bytes, Lost>>,
    permit: OwnedSemaphorePermit,
}

/// Those who wait for an answer, in the order their requests were written.
#[derive(Default)]
struct InFlight(Mutex<VecDeque<Waiting>>);

impl InFlight {
    fn queue(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves the connection until it ends; then everyone who waits has been told.
pub(super) async fn run<S>(
    stream: S,
    mut outgoing: mpsc::Receiver<Outgoing>,
    ending: std::sync::Arc<Ending>,
    limits: Limits,
) where
    S: AsyncRead + AsyncWrite,
{
    let (mut read_half, mut write_half) = tokio::io::split(stream);
    let in_flight = InFlight::default();
    let reason = tokio::select! {
        reason = read(&mut read_half, &in_flight, limits.response_bytes) => reason,
        reason = write(&mut write_half, &mut outgoing, &in_flight, limits.idle) => reason,
        () = ending.asked.notified() => String::new(),
    };
    ending.reason.get_or_init(|| reason);
    // From here on nothing can be queued, so no one is left waiting in the channel or in flight.
    drop(outgoing);
    for waiting in in_flight.queue().drain(..) {
        // Whoever does not wait any more need not be told.
        let _ = waiting.answer.send(Err(Lost));
    }
}

async fn read<R: AsyncRead + Unpin>(from: &mut R, in_flight: &InFlight, response_bytes_max: usize) -> String {
    let mut frames = FrameReader::new(response_bytes_max);
    loop {
        let frame = match frames.next(from).await {
            Ok(Some(frame)) => frame,
            Ok(None) => return "the broker closed it".to_owned(),
            Err(error) => return error.to_string(),
        };
        let waiting = in_flight.queue().pop_front();
        let correlation = frame.first_chunk().map(|&id| i32::from_be_bytes(id));
        match waiting {
            Some(waiting) if correlation == Some(waiting.correlation) => {
                drop(waiting.permit);
                let _ = waiting.answer.send(Ok(frame));
            }
            Some(waiting) => {
                let _ = waiting.answer.send(Err(Lost));
                return "an answer came out of order".to_owned();
            }
            None => return "an answer came that nobody asked for".to_owned(),
        }
    }
}

async fn write<W: AsyncWrite + Unpin>(
    to: &mut W,
    outgoing: &mut mpsc::Receiver<Outgoing>,
    in_flight: &InFlight,
    idle: Duration,
) -> String {
    let mut batch = Vec::with_capacity(WRITE_TOGETHER_MAX);
    loop {
        match tokio::time::timeout(idle, outgoing.recv_many(&mut batch, WRITE_TOGETHER_MAX)).await {
            Ok(0) => return "nobody uses it any more".to_owned(),
            Ok(_) => {}
            Err(_) if in_flight.queue().is_empty() => return "it was idle".to_owned(),
            Err(_) => continue,
        }
        let mut pieces = VecDeque::new();
        let mut written = Vec::new();
        for request in batch.drain(..) {
            if let Err(reason) = push_pieces(&mut pieces, request.frame) {
                return reason;
            }
            match request.expect {
                Expect::Answer(answer) => in_flight.queue().push_back(Waiting {
                    correlation: request.correlation,
                    answer,
                    permit: request.permit,
                }),
                Expect::Written(done) => written.push((done, request.permit)),
            }
        }
        if let Err(error) = write_all(to, &mut pieces).await {
            return error.to_string();
        }
        for (done, _permit) in written {
            let _ = done.send(());
        }
    }
}

fn push_pieces(pieces: &mut VecDeque<Bytes>, frame: Encoded) -> Result<(), String> {
    for part in frame.parts {
        match part {
            Part::Bytes(bytes) => pieces.push_back(bytes),
            Part::Gap { .. } => return Err("a request had a gap, which only a server can fill".to_owned()),
        }
    }
    Ok(())
}

async fn write_all<W: AsyncWrite + Unpin>(to: &mut W, pieces: &mut VecDeque<Bytes>) -> io::Result<()> {
    while !pieces.is_empty() {
        let slices: Vec<io::IoSlice<'_>> =
            pieces.iter().take(SLICES_MAX).map(|piece| io::IoSlice::new(piece)).collect();
        let mut written = to.write_vectored(&slices).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
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
