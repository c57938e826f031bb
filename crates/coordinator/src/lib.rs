//! The common parts of coordinators. Groups and transactions are kept in the same way.
//!
//! A coordinator's state is the content of its partition of an internal topic (`__consumer_offsets`,
//! `__transaction_state`). A [`Coordinator`] is a pure core that answers requests and writes records of its
//! changes. A [`Frame`] surrounds it while a broker leads the partition. It loads the state, collects the
//! records of a turn into batches, and holds back output until its records are committed.
//!
//! Pure: no clock, no I/O, no async, no threads, no randomness. The shard that owns the partition feeds the
//! frame and carries out its effects.
//!
//! - [`coordinator`]: the contract of a core.
//! - [`output`]: the output of a core: records, and what leaves once they are committed.
//! - [`record`]: a record of a coordinator's log.
//! - [`frame`]: loading, batching, and the wait for the commit.
//! - [`timers`]: the deadlines of a core.

pub mod coordinator;
pub mod frame;
pub mod output;
pub mod record;
pub mod timers;

#[cfg(test)]
mod tests;

pub use coordinator::{Coordinator, Moment, ReplayError, Ticket};
pub use frame::{Frame, Refusal};
pub use output::{Batch, Output};
pub use record::{Producer, Record};
pub use timers::Timers;
