//! The metadata log: every change to the cluster's metadata, in one replicated order, through openraft.
//!
//! A [`Quorum`] is this node's part in it. What is proposed is flushed on a majority of the voters before it
//! is applied, and applied in the same order on every node to the [`StateMachine`] that the broker gives. A
//! single node is a quorum of one and takes the same path. No other room names openraft, and nothing of it
//! shows here.
//!
//! - `types`: what the room's public interface is made of
//! - `quorum`: the handle: start, propose, leadership, shut down
//! - `proposer`: proposals that wait at the same time share one log entry, and so one flush
//! - `observer`: who leads, when a snapshot is due, what of the log may go
//! - `network`: the seam to the other voters: opaque requests and answers through a [`Transport`]
//! - `rpc`: how those requests and answers are written
//! - `machine`: openraft's state machine over the broker's
//! - `store`: openraft's log storage over the journal, with its own thread for what blocks
//! - `folder`: what all of the files say at the start
//! - `journal`: the files of the log
//! - `snapshot`, `vote`, `owner`: the other kinds of file
//! - `frame`, `codec`: how bytes are framed, and how log entries and votes are written
//! - `disk`: the one place that touches files
//! - `raft`: the names that openraft's generic types have here

mod codec;
mod disk;
mod folder;
mod frame;
mod journal;
mod machine;
mod network;
mod observer;
mod owner;
mod proposer;
mod quorum;
mod raft;
mod rpc;
mod snapshot;
mod store;
#[cfg(test)]
mod tests;
mod types;
mod vote;

pub use network::{Answering, NoTransport, Transport, TransportError};
pub use quorum::Quorum;
pub use types::{
    Leadership, MetadataLog, PROPOSAL_BYTES_MAX, ProposeError, ReceiveError, Settings, StartError,
    StateMachine,
};
