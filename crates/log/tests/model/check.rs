//! What readers of the log see, held against the model.

use bytes::Bytes;
use ottla_log::{Bound, Cold};
use ottla_wire::AbortedTxn;
use ottla_wire::batch::{BatchHeader, BatchView, ControlRecord, batches};

use crate::world::World;

impl World {
    /// The log shows what the model holds.
    pub fn check(&self, pick: u64) {
        let reader = self.log.reader();
        assert_eq!(reader.log_start(), self.model.log_start);
        let written = self.log.written_end();
        let upper = self.log.bound(written);
        let visible: Vec<_> = self.model.batches.iter().filter(|(h, ..)| h.last_offset() < written).collect();
        let kept: Vec<_> = visible.iter().filter(|(h, ..)| h.last_offset() >= self.model.log_start).collect();

        let mut read = Vec::new();
        let mut offset = self.model.log_start;
        while offset < written {
            let plan = reader.read(offset, 2000, upper, true, Cold::Wait).unwrap();
            let whole: Vec<BatchView> =
                batches(plan.read(Cold::Wait).unwrap()).map_while(|batch| batch.ok()).collect();
            assert!(!whole.is_empty(), "nothing at {offset} below {written}");
            offset = whole.last().unwrap().header().next_offset();
            read.extend(whole);
        }
        assert!(read.iter().map(|view| view.bytes()).eq(kept.iter().map(|(_, bytes, _)| bytes)));
        let headers = reader.batches(self.model.log_start, upper).map(|header| header.unwrap());
        assert!(headers.eq(kept.iter().map(|(header, ..)| *header)));

        if !kept.is_empty() {
            let (header, bytes, _) = kept[pick as usize % kept.len()];
            self.check_at(header, bytes, upper, &kept);
        }
        // Of transactions that began below the start what is left is not all there was.
        let (_, aborted) = self.model.replay();
        let shown = |txn: &&AbortedTxn| txn.first_offset >= self.model.log_start && txn.last_offset < written;
        let expected: Vec<AbortedTxn> = aborted.iter().filter(shown).copied().collect();
        let found = reader.aborted_transactions(self.model.log_start, written, Cold::Wait).unwrap();
        let found: Vec<AbortedTxn> = found.iter().filter(shown).copied().collect();
        assert_eq!(found, expected);
    }

    /// A read at a batch, a read below it, and a search for its time.
    fn check_at(
        &self,
        header: &BatchHeader,
        bytes: &Bytes,
        upper: Bound,
        kept: &[&&(BatchHeader, Bytes, Option<ControlRecord>)],
    ) {
        let reader = self.log.reader();
        for offset in [header.base_offset, header.last_offset()] {
            if offset >= self.model.log_start {
                let plan = reader.read(offset, 1, upper, true, Cold::Wait).unwrap();
                assert_eq!(plan.read(Cold::Wait).unwrap(), bytes);
                assert_eq!(reader.read(offset, 1, upper, false, Cold::Wait).unwrap().len(), 1);
                assert!(
                    reader
                        .read(offset, 1 << 20, self.log.bound(offset), true, Cold::Wait)
                        .unwrap()
                        .is_empty()
                );
            }
            let below = self.log.bound(offset);
            let before = reader.batches(self.model.log_start, below).map(|header| header.unwrap());
            assert!(
                before.eq(kept.iter().map(|(h, ..)| *h).filter(|h| h.last_offset() < header.base_offset))
            );
        }
        let wanted = header.max_timestamp;
        let records = kept.iter().flat_map(|(_, bytes, _)| {
            BatchView::parse(bytes.clone()).unwrap().records(1 << 20).unwrap().map(|record| record.unwrap())
        });
        let records: Vec<_> = records.filter(|record| record.offset >= self.model.log_start).collect();
        let expected = records.iter().find(|record| record.timestamp >= wanted);
        let found = reader.find_timestamp(wanted, upper).unwrap();
        assert_eq!(found.map(|found| found.offset), expected.map(|record| record.offset));
    }
}
