//! Why a connection ends.

use std::borrow::Cow;
use std::io;

/// Why a connection ends. The kind is counted in [`NetMetrics`](crate::NetMetrics); the text is logged, as a
/// warning if the peer is at fault.
#[derive(Debug, thiserror::Error)]
pub enum CloseReason {
    /// The peer closed its side.
    #[error("closed by the peer")]
    Eof,
    /// No byte moved for `connections.max.idle.ms`, with nothing in flight.
    #[error("idle for longer than connections.max.idle.ms")]
    Idle,
    /// The peer did not take its responses for too long.
    #[error("the peer did not read its responses for {0:?}")]
    Stalled(std::time::Duration),
    /// The peer did not send a large request that it had begun, while others waited for the memory that it
    /// takes.
    #[error(
        "gave up a request of {len} bytes because others wait for memory: {arrived} bytes have come, and the peer was waited for {waited:?}"
    )]
    SlowRequest {
        /// The length of the request.
        len: usize,
        /// What has come of it.
        arrived: usize,
        /// For how long its peer was waited for.
        waited: std::time::Duration,
    },
    /// The peer speaks another protocol, which is counted as a length that is too large.
    #[error("the peer began with {0}, and this listener speaks Kafka's protocol without TLS")]
    OtherProtocol(&'static str),
    /// The length prefix is larger than `socket.request.max.bytes`.
    #[error("a request of {len} bytes is larger than socket.request.max.bytes={max}")]
    RequestTooLarge {
        /// The length that the peer announced.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The length prefix is negative.
    #[error("a request announces the negative length {0}")]
    NegativeLength(i32),
    /// A response does not fit the protocol's 31-bit length.
    #[error("a response of {0} bytes is larger than the protocol can carry")]
    ResponseTooLarge(u64),
    /// The service asked for it: a response with `close`.
    #[error("closed after a response that ends the connection")]
    Responded,
    /// The service cannot go on with this peer; the text says why.
    #[error("{0}")]
    Refused(Cow<'static, str>),
    /// The server stops.
    #[error("the server is stopping")]
    Shutdown,
    /// The socket, or the file of a response, failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl CloseReason {
    /// The service cannot go on with this peer.
    pub fn refused(why: impl Into<Cow<'static, str>>) -> CloseReason {
        CloseReason::Refused(why.into())
    }

    /// A stable name for metrics and logs.
    pub fn kind(&self) -> &'static str {
        KINDS[self.index()]
    }

    /// Whether the peer did what no sound client does: worth a line in the log.
    pub(crate) fn is_fault(&self) -> bool {
        match self {
            CloseReason::Stalled(_)
            | CloseReason::SlowRequest { .. }
            | CloseReason::OtherProtocol(_)
            | CloseReason::RequestTooLarge { .. }
            | CloseReason::NegativeLength(_)
            | CloseReason::ResponseTooLarge(_)
            | CloseReason::Refused(_) => true,
            CloseReason::Eof
            | CloseReason::Idle
            | CloseReason::Responded
            | CloseReason::Shutdown
            | CloseReason::Io(_) => false,
        }
    }

    pub(crate) fn index(&self) -> usize {
        match self {
            CloseReason::Eof => 0,
            CloseReason::Idle => 1,
            CloseReason::Stalled(_) => 2,
            CloseReason::SlowRequest { .. } => 3,
            CloseReason::RequestTooLarge { .. } | CloseReason::OtherProtocol(_) => 4,
            CloseReason::NegativeLength(_) => 5,
            CloseReason::ResponseTooLarge(_) => 6,
            CloseReason::Responded => 7,
            CloseReason::Refused(_) => 8,
            CloseReason::Shutdown => 9,
            CloseReason::Io(_) => 10,
        }
    }
}

/// The kinds of [`CloseReason`], in the order of [`NetMetrics::closed`](crate::NetMetrics::closed).
pub const KINDS: [&str; 11] = [
    "eof",
    "idle",
    "stalled",
    "slow_request",
    "request_too_large",
    "negative_length",
    "response_too_large",
    "responded",
    "refused",
    "shutdown",
    "io",
];
