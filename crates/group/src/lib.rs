//! Consumer groups: who reads which partition, and how far each group has read.
//!
//! One [`GroupCoordinator`] keeps the groups of one partition of `__consumer_offsets`. It is a pure core
//! behind the frame that all coordinators share ([`ottla_coordinator`]): requests in, records and answers
//! out; its lasting state is what its records say, in Kafka's formats.
//!
//! - [`coordinator`]: the core: its state, loading, time.
//! - [`request`]: what can be asked, and the answers. A new request is a row there, and its logic in a file
//!   of its own.
//! - [`door`]: what is checked of every request; `step`: how it is served.
//! - [`record`]: the records of `__consumer_offsets`.
//! - [`config`]: settings of the coordinator and of single groups; limits.
//! - [`topics`]: what a group must know of topics.
//! - [`timers`]: deadlines of groups and members.
//! - [`context`]: what a step is given.
//! - [`memory`]: how many bytes the state takes, and may take; `counted`: maps that count them.
//! - [`group`], [`groups`]: what a group of any type is to the coordinator, and all of them.
//! - [`admin`]: what the administrator asks.
//! - [`classic`]: groups whose members agree among themselves (JoinGroup, SyncGroup).
//! - [`consumer`]: groups whose assignment the broker makes (KIP-848).
//! - [`assignor`]: how the broker spreads partitions over members.
//! - [`offsets`]: committed offsets: commit, fetch, expiry, transactions.
//! - [`history`]: why a group rebalanced.
//!
//! # How a broker drives it
//!
//! For each partition of `__consumer_offsets` that it leads, the broker keeps a frame around
//! `GroupCoordinator::new(config, topics)`. It replays the log up to its end, calls `loaded`, and from then
//! on
//!
//! - hands in requests, one [`Call`] for each group, with a ticket. The partition is the hash of the group
//!   id. A [`Refusal`](ottla_coordinator::Refusal) is COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE
//!   or NOT_COORDINATOR. A ticket that was not answered when its frame is given up is NOT_COORDINATOR;
//! - appends batches with acks=all and reports each of them, in order. A batch of TxnOffsetCommit has a
//!   producer, and the marker that ends the transaction is handed in with `end_transaction`;
//! - calls `tick` when `next_deadline` is due, and sends the [`Reply`]s that are released;
//! - hands in settings with [`GroupCoordinator::configure`], the memory of its other coordinators with
//!   [`GroupCoordinator::set_others_bytes`], and changed topics with [`GroupCoordinator::topics_changed`].
//!
//! # What is added how
//!
//! A request is a row in `request::each_request`, and [`GroupRequest`] and `step::Serve` beside its logic. A
//! type of group implements [`group::Group`] in a folder of its own, beside [`classic`] and [`consumer`]; its
//! records are rows in [`record`].

pub mod admin;
pub mod assignor;
pub mod classic;
pub mod config;
pub mod consumer;
pub mod context;
pub mod coordinator;
mod counted;
pub mod door;
pub mod group;
pub mod groups;
pub mod history;
pub mod memory;
pub mod offsets;
pub mod record;
pub mod request;
mod step;
pub mod timers;
pub mod topics;

pub use config::{GroupConfig, GroupOverrides};
pub use coordinator::GroupCoordinator;
pub use record::GroupRecord;
pub use request::{Call, Caller, FetchOfGroup, GroupRequest, Reply, Request, Response};
pub use topics::{TopicFacts, Topics};
