//! What a partition knows of the producers that write to it: idempotence (KIP-98), transactions, verification
//! (KIP-890).
//!
//! - `table`: every producer, open and undecided transactions, the last stable offset.
//! - `entry`: one producer and its five remembered batches.
//! - `check`: what a leader demands of a batch or marker before it appends it.
//! - `verification`: transactional writes whose transaction is being confirmed.
//! - `snapshot`: to and from `.snapshot` files; `restore`: replay of the log after them.

mod check;
mod entry;
mod restore;
mod snapshot;
mod table;
mod verification;

pub(crate) use check::Checked;
pub use entry::RememberedBatch;
pub use restore::Restorer;
pub use table::{ProducerState, ProducerTable};
pub use verification::VerificationGuard;
