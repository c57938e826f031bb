//! Shards: tasks that own partitions and run their machines (`ottla-partition`). Each partition has one
//! owner, each shard one bounded mailbox, and there are no locks.
//!
//! - [`appends`]: groups of appends and their outcomes.
//! - [`mailbox`]: the messages to a shard, and the way to it.
//! - [`driver`]: a partition and its machine, as handed to the shard.
//! - [`slot`]: a partition with its coordinators, and the effects of a turn.
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
