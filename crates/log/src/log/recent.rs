//! Where the batches are that were written last, so that bounds need no search.

use std::collections::VecDeque;

use ottla_wire::Offset;
use ottla_wire::batch::BatchHeader;

use crate::reader::Bound;

/// Batches that are remembered: enough for what one flush or one round trip of the followers covers.
const BATCHES_MAX: usize = 1024;

#[derive(Clone, Copy, Debug)]
struct Written {
    base: Offset,
    end: Offset,
    segment: Offset,
    position: u64,
}

/// The newest batches in the order in which they were written.
#[derive(Debug, Default)]
pub(super) struct Recent {
    batches: VecDeque<Written>,
}

impl Recent {
    pub fn push(&mut self, header: &BatchHeader, segment: Offset, position: u64) {
        if self.batches.len() == BATCHES_MAX {
            self.batches.pop_front();
        }
        let (base, end) = (header.base_offset, header.next_offset());
        self.batches.push_back(Written { base, end, segment, position });
    }

    /// Where the first batch that reaches beyond `offset` starts; `None` if that is not known.
    pub fn bound(&self, offset: Offset) -> Option<Bound> {
        if self.batches.front()?.base > offset {
            return None;
        }
        let batch = self.batches.get(self.batches.partition_point(|batch| batch.end <= offset))?;
        Some(Bound { offset, segment_base: batch.segment, position: batch.position })
    }

    pub fn clear(&mut self) {
        self.batches.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_wire::Timestamp;
    use ottla_wire::batch::{BatchBuilder, BatchView};

    fn header(base: i64, count: i64) -> BatchHeader {
        let mut builder = BatchBuilder::new().base_offset(Offset(base));
        for _ in 0..count {
            builder.push(Timestamp(1), None, Some(b"v"));
        }
        *BatchView::parse(builder.build().unwrap()).unwrap().header()
    }

    #[test]
    fn bound_is_the_start_of_the_batch_that_holds_the_offset() {
        let mut recent = Recent::default();
        assert_eq!(recent.bound(Offset(0)), None);
        recent.push(&header(10, 5), Offset(0), 700);
        recent.push(&header(15, 2), Offset(0), 800);
        recent.push(&header(20, 3), Offset(20), 0);
        let at = |offset, segment, position| {
            Some(Bound { offset: Offset(offset), segment_base: Offset(segment), position })
        };
        assert_eq!(recent.bound(Offset(9)), None);
        assert_eq!(recent.bound(Offset(12)), at(12, 0, 700));
        assert_eq!(recent.bound(Offset(15)), at(15, 0, 800));
        assert_eq!(recent.bound(Offset(18)), at(18, 20, 0));
        assert_eq!(recent.bound(Offset(23)), None);
    }

    #[test]
    fn old_batches_are_forgotten() {
        let mut recent = Recent::default();
        for i in 0..2000 {
            recent.push(&header(i, 1), Offset(0), i as u64 * 70);
        }
        assert_eq!(recent.batches.len(), BATCHES_MAX);
        assert_eq!(recent.bound(Offset(100)), None);
        assert_eq!(recent.bound(Offset(1500)).unwrap().position, 1500 * 70);
    }
}
