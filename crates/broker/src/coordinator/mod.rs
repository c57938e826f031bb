//! Coordinators at work: what stands between a coordinator's core, the shard that owns its partition, and
//! those who ask.
//!
//! A coordinator of a partition of an internal topic lives in the shard that owns the partition, for as long
//! as this broker leads it. Nothing here knows how many brokers there are.
//!
//! - [`kind`]: what the frame must know of a kind of coordinator, and the mail to one.
//! - [`host`]: the coordinator of a partition in its shard, who waits for it, and what is done for it.
//! - [`kit`]: what all coordinators of this broker share: the world, room for loading, counts, memory.
//! - [`world`]: what they know of settings and topics.
//! - [`desk`]: where whoever wants something of a coordinator comes to.
//! - [`ask`]: how a coordinator of any kind is asked.
//! - [`groups`], [`transactions`]: each kind, and what is special in asking it.
//! - [`txn_markers`]: the ends of transactions, on their way to partitions.
//! - [`verify`]: whether partitions that are written to are part of a transaction.
//! - [`internal`]: the internal topics, and which of their partitions is in charge of an id.

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
