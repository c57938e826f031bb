//! What readers see of a partition after a turn.

use ottla_log::{Bound, Log};
use ottla_replica::View;
use ottla_wire::Instant;

/// How far a reader may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadLimit {
    /// A consumer, `read_uncommitted`.
    HighWatermark,
    /// A consumer, `read_committed`.
    LastStable,
    /// A follower.
    LogEnd,
}

/// The state of a partition after its newest turn: the replica's view, and the positions of its bounds in the
/// files.
#[derive(Clone, Debug)]
pub struct PartitionView {
    pub replica: View,
    pub high_watermark: Bound,
    pub last_stable: Bound,
    pub log_end: Bound,
    /// Since when the last stable offset has been held back behind the high watermark by an open or hanging
    /// transaction.
    pub held_since: Option<Instant>,
}

impl PartitionView {
    pub(crate) fn new(replica: View, log: &Log, held_since: Option<Instant>) -> PartitionView {
        PartitionView {
            high_watermark: log.bound(replica.high_watermark),
            last_stable: log.bound(replica.last_stable),
            log_end: log.bound(replica.log_end),
            held_since,
            replica,
        }
    }

    /// Where a reader with this limit must stop.
    pub fn bound(&self, limit: ReadLimit) -> Bound {
        match limit {
            ReadLimit::HighWatermark => self.high_watermark,
            ReadLimit::LastStable => self.last_stable,
            ReadLimit::LogEnd => self.log_end,
        }
    }
}
