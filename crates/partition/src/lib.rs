//! One partition of a broker as one synchronous machine: the replica's core, its log, and the turns between
//! them.
//!
//! A shard of the broker and a node of the simulator run the same machine. Its driver
//!
//! 1. opens it ([`open()`] or [`create`], then [`Partition::new`]) and publishes [`Partition::view`];
//! 2. feeds it events: appends, markers, answers of the leader, and [`Partition::step`] for events that need
//!    no more;
//! 3. ends the turn ([`Partition::end_turn`]) and carries out what [`Ended`] says, in the order of its
//!    fields;
//! 4. runs a flush that was begun, and reports its result ([`Partition::flushed`]).
//!
//! If someone lives beside the replica (a [`Lodger`]), the driver runs a [`Slot`], which is both.
//!
//! Several events may share a turn, and with it one write and one flush. The driver chooses the type of
//! waiters for replies. They are returned with the outcome and never looked into.
//!
//! No async, no threads, no clock, no randomness. The files are the log's.
//!
//! - [`partition`]: the machine; `effects`, `flush`, `follow` and `transactions` are parts of it.
//! - [`assignment`]: what the metadata image says of a partition, as its replica wants to hear it.
//! - [`restore`]: a partition from its files.
//! - [`view`]: what readers see of a partition after a turn.
//! - [`slot`]: a partition with its lodgers, and the order of their turns.
//! - [`lodger`]: the contract of those who live beside a replica; [`host`]: a coordinator does.
//! - [`load`]: a coordinator's state, read from its log; `seal`: the records of its turn as a batch.
//! - [`marker`]: the end of a transaction, for lodgers.
//! - `waiters`: the waiters for the replies of a core.

pub mod assignment;
pub mod host;
pub mod load;
pub mod lodger;
pub mod marker;
pub mod partition;
pub mod restore;
mod seal;
pub mod slot;
pub mod view;
mod waiters;

#[cfg(test)]
mod tests;

pub use assignment::partition_state;
pub use host::{Host, HostEffect, HostStatus, Household, Load, Loaded, Unserved};
pub use lodger::{Generation, Lodger, LodgerAppend, NewUuid, Seen};
pub use marker::Marker;
pub use partition::{
    AppendOutcome, AppendRequest, Claim, DeleteOutcome, Due, Ended, Fate, MarkerRequest, Partition, Turn,
    Wish,
};
pub use restore::{Found, Identity, create, open};
pub use slot::{Slot, SlotEnded};
pub use view::{PartitionView, ReadLimit};
