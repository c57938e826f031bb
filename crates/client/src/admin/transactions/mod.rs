//! Transactions: list, describe, find those that hang, abort; fence producers.
//!
//! - `list`, `describe`: what coordinators know.
//! - `producers`: what partitions know.
//! - `hanging`: where the two do not agree.
//! - `abort`, `fence`: what to do about it.

mod abort;
mod describe;
mod fence;
mod hanging;
mod list;
mod producers;

pub use abort::AbortTransaction;
pub use describe::TransactionDescription;
pub use hanging::{Hanging, OpenTransaction};
pub use list::{TransactionFilter, TransactionListing, TransactionListings};
pub use producers::ActiveProducer;

/// Where a transaction stands, as its coordinator tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionState {
    Empty,
    Ongoing,
    PrepareCommit,
    PrepareAbort,
    CompleteCommit,
    CompleteAbort,
    Dead,
    PrepareEpochFence,
}

impl TransactionState {
    pub const ALL: [TransactionState; 8] = [
        TransactionState::Empty,
        TransactionState::Ongoing,
        TransactionState::PrepareCommit,
        TransactionState::PrepareAbort,
        TransactionState::CompleteCommit,
        TransactionState::CompleteAbort,
        TransactionState::Dead,
        TransactionState::PrepareEpochFence,
    ];

    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            TransactionState::Empty => "Empty",
            TransactionState::Ongoing => "Ongoing",
            TransactionState::PrepareCommit => "PrepareCommit",
            TransactionState::PrepareAbort => "PrepareAbort",
            TransactionState::CompleteCommit => "CompleteCommit",
            TransactionState::CompleteAbort => "CompleteAbort",
            TransactionState::Dead => "Dead",
            TransactionState::PrepareEpochFence => "PrepareEpochFence",
        }
    }

    /// In any case of letters.
    pub fn from_name(name: &str) -> Option<TransactionState> {
        TransactionState::ALL.into_iter().find(|state| state.name().eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for state in TransactionState::ALL {
            assert_eq!(TransactionState::from_name(state.name()), Some(state));
        }
        assert_eq!(TransactionState::from_name("ongoing"), Some(TransactionState::Ongoing));
        assert_eq!(TransactionState::from_name("Prepared"), None);
    }
}
