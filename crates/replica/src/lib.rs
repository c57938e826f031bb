//! One replica of one partition: its role, its epochs, its log bounds, and who waits for what.
//!
//! Pure: no clock, no I/O, no async, no threads. A shard feeds [`Event`]s in order to [`Replica::step`],
//! carries the [`Effect`]s out in order, and publishes [`Replica::view`] after each turn. An effect that
//! completes comes back as an event with the leader epoch that asked for it, and counts for nothing if that
//! epoch has passed.
//!
//! - [`config`]: what a replica is told about its topic and broker, and its limits.
//! - [`event`], [`effect`]: what goes in and what comes out; [`error`]: the refusals and their Kafka codes.
//! - [`replica`]: roles and the dispatch of events.
//! - `leader`: appends, acknowledgements, followers, the in-sync replicas, DeleteRecords.
//! - `follower`: fetching, truncation by leader epoch, replication.
//! - `local`: what is true of this replica's log in either role.
//! - [`epochs`]: which leader epoch wrote which offsets.
//! - [`producer`]: idempotence and transactions: what is known of each producer, snapshots, replay.
//! - [`view`]: the immutable picture that readers use.

pub mod config;
pub mod effect;
pub mod epochs;
pub mod error;
pub mod event;
mod follower;
mod leader;
mod local;
pub mod producer;
pub mod replica;
pub mod view;

pub use config::{Durability, ReplicaConfig};
pub use effect::{Appended, Effect, FetchRequest, IsrProposal, ProposedReplica};
pub use epochs::{EpochEnd, Epochs};
pub use error::{AppendError, DeleteError};
pub use event::{
    Acks, Append, DeleteRecords, DeleteTo, Event, FollowerFetch, IsrAnswer, IsrRefusal, LeaderAnswer,
    LeaderReply, PartitionState, RecoveryState, ReplicaBroker, ReplyId, Standing, WriteMarker,
};
pub use local::Restored;
pub use producer::{ProducerState, ProducerTable, Restorer, VerificationGuard};
pub use replica::Replica;
pub use view::{View, ViewRole};
