//! Shards: tasks that own partitions. One owner for each partition, one bounded mailbox for each shard, no locks.
//!
//! - [`appends`]: groups of appends and their outcomes.
//! - [`mailbox`]: what a shard is told, and how to reach it.
//! - [`driver`]: one partition: its core, its log, and the effects between them.
//! - [`slot`]: a partition with the coordinator that may live in it.
//! - [`waiters`]: who waits for which reply of a core.
//! - [`run`]: the turns of a shard.
//! - [`vouching`]: when logs move their recovery points.

mod appends;
mod driver;
mod mailbox;
mod run;
mod slot;
mod vouching;
mod waiters;

pub use appends::{AppendGroup, Outcome};
pub use driver::{CoordinatorAppend, PartitionDriver, Turn};
pub use mailbox::{
    AppendRequest, Claim, Letters, Mail, MarkerRequest, ShardBatches, ShardClaims, ShardHandle, ShardMarkers,
    Shards,
};
pub use run::ShardSettings;
