//! Committed offsets: how far each group has read each partition.
//!
//! Records are the only way in. A request writes its records and applies them; a load applies what it reads.
//! So both lead to the same state. Offsets of a transaction wait until it ends. Whether a group takes a
//! commit is the group's own decision; that a group exists for as long as it has offsets is the coordinator's
//! work.
//!
//! - [`committed`]: the offsets of all groups; [`store`]: where they are kept.
//! - [`pending`]: offsets that wait for the end of their transaction.
//! - [`offset_commit`], [`txn_offset_commit`], [`offset_fetch`], [`offset_delete`]: the requests;
//!   [`admission`]: what may be committed.
//! - [`expiry`]: retention, and the offsets of deleted topics; [`sweep`]: how far that has come.

mod admission;
mod committed;
mod expiry;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod pending;
mod store;
mod sweep;
mod txn_offset_commit;

pub use committed::Offsets;
pub use store::{CommittedOffset, GroupTopicPartition};
pub use sweep::{SWEEP_PAUSE, SWEEP_WORK_MAX};
