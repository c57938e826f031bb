//! Coordinators at work: the layer between a coordinator's core, the shard of its partition, and its callers.
//!
//! The coordinator of a partition of an internal topic lives in the partition's shard while this broker leads
//! it. Nothing here depends on the number of brokers.
//!
//! - [`kind`]: the broker's part of a kind of coordinator, and the mail to one.
//! - [`host`]: the coordinator of a partition in its shard, the waiters for its answers, and its effects.
//! - [`kit`]: the state that all coordinators of this broker share: the world, room for loading, counts,
//!   memory.
//! - [`world`]: settings and topics as the cores see them.
//! - [`desk`]: the entry for requests to coordinators.
//! - [`ask`]: how to send requests to a coordinator of any kind.
//! - [`groups`], [`transactions`]: each kind, and the requests to it.
//! - [`txn_markers`]: carries the markers of ended transactions to their partitions.
//! - [`verify`]: checks that the partitions of a write are part of its transaction.
//! - [`internal`]: the internal topics, and the mapping from an id to its partition.

pub mod ask;
mod desk;
pub mod groups;
mod host;
pub mod internal;
mod kind;
mod kit;
pub mod transactions;
pub mod txn_markers;
pub mod verify;
mod world;

#[cfg(test)]
mod tests;

pub use desk::Coordinators;
pub use host::Coordinating;
pub use kind::Proof;
pub use world::World;
