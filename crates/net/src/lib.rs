//! The connection layer: listeners, connections, frames, responses in order.
//!
//! It knows length-prefixed frames and nothing of what is in them: a [`Service`] turns frames into responses.
//! Each connection is one task. It cuts what one read brings into frames and hands them over together, goes
//! on reading while earlier answers are pending, and sends all that is ready, in order, with one call. All
//! memory that a peer can claim is bounded: requests by [`admission`], responses for each connection,
//! connections by [`ConnectionLimits`].
//!
//! - `service`, `peer`, `frame`, `close`, `settings`, `metrics`: what a service and its owner see
//! - `transport`, `stream`: what a connection's bytes go through, plain TCP or another
//! - `server`: starting and stopping; `listener`: binding and accepting; `limits`: how many connections, how
//!   fast
//! - `shared`: what connections share; `connection`: the loop of one; `link`: its stream, timers and pending
//!   answers
//! - `reader`: bytes to frames; `foreign`: bytes that are none; `writer`, `file_part`: responses to bytes
//! - `admission`, `pool`, `buffers`: memory for requests; `relief`: who is cut off for want of it; `control`:
//!   what others see of a connection

pub mod admission;
mod buffers;
mod close;
mod connection;
mod control;
mod file_part;
mod foreign;
mod frame;
mod limits;
mod link;
mod listener;
mod log_limit;
mod metrics;
mod peer;
mod pool;
mod reader;
mod relief;
mod server;
mod service;
mod settings;
mod shared;
mod stream;
mod timer;
mod transport;
mod writer;

pub use admission::Permit;
pub use close::{CloseReason, KINDS};
pub use frame::Frame;
pub use listener::{BindError, Listener};
pub use metrics::NetMetrics;
pub use peer::{ConnectionId, Peer, Principal, SecurityProtocol};
pub use server::{Admission, Limits, Server, Stopped};
pub use service::{LaterResponses, Part, Response, Responses, Service};
pub use settings::{ConnectionLimits, NetSettings};
pub use stream::Stream;
pub use transport::{Plain, Transport};
