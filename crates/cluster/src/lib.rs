//! What brokers owe each other: copies of partitions, proof of them, and word of who is alive.
//!
//! Pure: no clock, no I/O, no async, no randomness. A driver feeds what has happened, in order, with the time
//! of it, and carries out what comes back. The same cores run in the broker and in the simulator.
//!
//! - [`lane`]: a follower's fetches from one leading broker.
//! - [`feed`]: the other half: what the leading broker keeps for such a follower.
//! - [`session`]: this broker's own place in the cluster.
//! - [`detector`]: who is dead, as the active controller judges it.
//! - [`campaign`]: when a voter of the metadata quorum stands for election.
//! - [`isr`]: what leaders ask of the controller.
//! - [`posts`]: what coordinators send to other brokers.
//! - [`id`], [`backoff`]: names that more than one of them uses, and how long to wait after failures.

pub mod backoff;
pub mod campaign;
pub mod detector;
pub mod feed;
pub mod id;
pub mod isr;
pub mod lane;
pub mod posts;
pub mod session;

pub use id::PartitionId;
