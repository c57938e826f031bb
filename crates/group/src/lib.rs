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
