//! The order of offsets, which is all that guards them in a file: no CRC covers where a batch begins.

use std::ops::Range;

use ottla_wire::Offset;
use ottla_wire::batch::BatchHeader;

/// Holds batches that follow each other against what their offsets can be.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// Where the offsets of what is still to come lie.
    left: Range<Offset>,
    /// A batch has been taken, so `left` begins right behind it.
    begun: bool,
}

/// How a batch follows the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    On,
    /// Offsets are left out: compaction has taken them, or the batch is not where it says. Then the next one
    /// is not behind it.
    OverGap,
}

/// A batch has other offsets than one in its place can have.
#[derive(Debug, thiserror::Error)]
#[error("a batch of offsets {first} to {last} where only {} to {} can be", left.start, left.end)]
pub(crate) struct OutOfOrder {
    first: Offset,
    last: Offset,
    left: Range<Offset>,
}

impl Order {
    /// The first batch may lie anywhere in `offsets`.
    pub fn within(offsets: Range<Offset>) -> Order {
        Order { left: offsets, begun: false }
    }

    /// Whether the batch can be the next one.
    pub fn check(&self, header: &BatchHeader) -> Result<(), OutOfOrder> {
        let (first, last) = (header.base_offset, header.last_offset());
        if first < self.left.start || last < first || last >= self.left.end {
            return Err(OutOfOrder { first, last, left: self.left.clone() });
        }
        Ok(())
    }

    /// Takes the batch as the next one.
    pub fn take(&mut self, header: &BatchHeader) -> Result<Step, OutOfOrder> {
        self.check(header)?;
        let gap = self.begun && header.base_offset > self.left.start;
        self.left.start = header.next_offset();
        self.begun = true;
        Ok(if gap { Step::OverGap } else { Step::On })
    }
}
