//! What a log records beside its batches: shared by those who decide it and those who store it.

use crate::ids::{LeaderEpoch, Offset, ProducerId};

/// An aborted transaction, as the transaction index keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTxn {
    pub producer_id: ProducerId,
    pub first_offset: Offset,
    /// Offset of the abort marker.
    pub last_offset: Offset,
    /// The last stable offset once this transaction has ended: no reader below it needs to look for later
    /// entries.
    pub last_stable_offset: Offset,
}

/// The first offset that a leader of this epoch could write (KIP-101).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochStart {
    pub epoch: LeaderEpoch,
    pub start: Offset,
}
