//! The contract of a service, which turns frames into responses.

use std::collections::VecDeque;
use std::fs::File;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::close::CloseReason;
use crate::frame::Frame;
use crate::peer::Peer;

/// Serves the connections of a [`Server`](crate::Server).
pub trait Service: Send + Sync + 'static {
    /// The service's state for one connection.
    type Session: Send + 'static;

    /// A connection was accepted, and its transport knows its peer.
    fn open(&self, peer: &Peer) -> Self::Session;

    /// Takes one or more frames off the front of `frames` (never none) and starts their work in order.
    ///
    /// `frames` holds what one read brought. The rest is given again at once, so a run of similar frames can
    /// be served together and the others one by one. Awaiting here delays later frames of this connection
    /// only. A slow response belongs into [`Responses::Later`]. After the peer has closed its side, earlier
    /// frames are still served, but the future is dropped if it takes more than a second.
    fn serve(
        &self,
        session: &mut Self::Session,
        frames: &mut VecDeque<Frame>,
    ) -> impl Future<Output = Result<Responses, CloseReason>> + Send;

    /// The connection has ended. Called once for every session, after all futures of the connection were
    /// dropped.
    fn closed(&self, session: Self::Session);
}

/// The answer to the frames of one [`Service::serve`], in their order.
///
/// There may be fewer responses than frames: acks=0 has none.
pub enum Responses {
    /// They are here.
    Ready(Vec<Response>),
    /// They come later. The connection continues with the next frames.
    Later(LaterResponses),
}

/// Polled once when it arrives, then only while it is first in line, because nothing may leave before the
/// first. Work that must continue meanwhile belongs to a task or a shard. Dropped when the peer goes away.
pub type LaterResponses = Pin<Box<dyn Future<Output = Result<Vec<Response>, CloseReason>> + Send>>;

/// One response, or several in one piece.
#[derive(Debug, Default)]
pub struct Response {
    /// Header and body, in order. The 4-byte length before them is written by this room.
    pub parts: Vec<Part>,
    /// The parts are this many whole responses, each with its length before it.
    pub framed: Option<u32>,
    /// How long nothing more is read or served once the response has left (throttling). Zero for no pause.
    pub mute: Duration,
    /// Whether the connection is closed once the response has left. Responses behind it are dropped.
    pub close: bool,
}

impl Response {
    /// A response in one piece.
    pub fn new(bytes: Bytes) -> Response {
        Response { parts: vec![Part::Bytes(bytes)], ..Response::default() }
    }

    /// `count` responses, each with its length before it: what answers a run of small requests takes one
    /// allocation.
    pub fn framed(bytes: Bytes, count: u32) -> Response {
        Response { framed: Some(count), ..Response::new(bytes) }
    }
}

impl From<Bytes> for Response {
    fn from(bytes: Bytes) -> Response {
        Response::new(bytes)
    }
}

/// A piece of a response.
#[derive(Debug, Clone)]
pub enum Part {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A range of a file. The kernel sends it where the transport allows. The range MUST exist and stay. If
    /// the file turns out to be shorter, the connection is closed, because the length of the response is
    /// already promised. Its first page SHOULD be in memory.
    File {
        /// The file, open for reading.
        file: Arc<File>,
        /// Where the range begins, in bytes.
        position: u64,
        /// The size of the range, in bytes.
        len: usize,
    },
}

impl Part {
    /// The size in bytes.
    pub fn len(&self) -> usize {
        match self {
            Part::Bytes(bytes) => bytes.len(),
            Part::File { len, .. } => *len,
        }
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
