//! Shards: tasks that own partitions and run their machines (`ottla-partition`). One owner for each
//! partition, one bounded mailbox for each shard, no locks.
//!
//! - [`appends`]: groups of appends and their outcomes.
//! - [`mailbox`]: what a shard is told, and how to reach it.
//! - [`driver`]: a partition on its way to its shard.
//! - [`slot`]: a partition with the coordinator that may live in it, and what leaves after a turn.
//! - [`run`]: the turns of a shard.
//! - [`vouching`]: when logs move their recovery points.

mod appends;
mod driver;
mod mailbox;
mod run;
mod slot;
mod vouching;

pub use appends::{AppendGroup, Outcome};
pub use driver::{Partition, PartitionDriver};
pub use mailbox::{
    Letters, LodgerMail, Mail, ShardBatches, ShardClaims, ShardHandle, ShardMarkers, ShardStates, Shards,
};
pub use run::ShardSettings;
