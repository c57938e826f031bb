//! The metadata log: every change to the cluster's metadata, in one replicated order, through openraft.
//!
//! A [`Quorum`] is this node's part in it. A proposal is flushed on a majority of the voters before it is
//! applied. Every node applies the proposals in the same order to the broker's [`StateMachine`]. A single
//! node is a quorum of one and takes the same path. No other room names openraft, and the public interface
//! shows nothing of it.
//!
//! - `types`: the types of the public interface
//! - `quorum`: the handle: start, propose, leadership, shut down
//! - `proposer`: group commit: proposals that wait at the same time share one log entry and one flush
//! - `observer`: who leads, when a snapshot is due, which part of the log may be deleted
//! - `network`: the seam to the other voters: opaque requests and answers through a [`Transport`]
//! - `rpc`: the encoding of those requests and answers
//! - `machine`: openraft's state machine over the broker's
//! - `store`: openraft's log storage over the journal, with a thread of its own for blocking work
//! - `folder`: reads all files at the start, checks that they fit together, and only then changes any
//! - `journal`: the files of the log
//! - `snapshot`, `vote`, `owner`: the other kinds of file
//! - `frame`, `codec`: the framing of bytes, and the encoding of log entries and votes
//! - `disk`: the one place that touches files
//! - `raft`: our names for openraft's generic types

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
pub use quorum::{CheckedFolder, Quorum};
pub use types::{
    Leadership, MetadataLog, PROPOSAL_BYTES_MAX, ProposeError, ReceiveError, Settings, StartError,
    StateMachine,
};
