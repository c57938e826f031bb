//! What every coordinator has in common. Groups and transactions are kept in the same way.
//!
//! A coordinator's state is what its partition of an internal topic says (`__consumer_offsets`,
//! `__transaction_state`). A [`Coordinator`] is a pure core that answers requests and says which records make
//! its changes last; a [`Frame`] stands around it for as long as a broker leads the partition: it loads the
//! state, gathers the records of a turn into batches, and holds back what the core says to the outside until
//! the records behind it are committed.
//!
//! Pure: no clock, no I/O, no async, no threads, no randomness. The shard that owns the partition feeds the
//! frame and carries out what it asks for.
//!
//! - [`coordinator`]: the contract of a core.
//! - [`output`]: what a core gives back: records and what leaves once they are committed.
//! - [`record`]: a record of a coordinator's log.
//! - [`frame`]: loading, batching, and the wait for the commit.
//! - [`timers`]: deadlines of a core.

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
