//! What batches are called.

/// Orders the batches of a producer by age. Halves of a batch that was split lie between it and the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BatchId(u64);

impl BatchId {
    /// Room for the ids of the parts into which one batch may be split: one for each record would do, and a
    /// batch of `max.request.size` cannot have more records than that.
    pub(super) const SPAN: u64 = 1 << 24;

    pub(super) const FIRST: BatchId = BatchId(0);

    pub(super) fn next(self) -> BatchId {
        BatchId(self.0 + Self::SPAN)
    }

    /// The id of a part that begins so far behind.
    pub(super) fn within(self, span: u64) -> BatchId {
        BatchId(self.0 + span)
    }
}
