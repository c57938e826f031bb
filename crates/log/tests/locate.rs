//! Where a read begins, whatever lies around its offset and wherever the index entries are.

// Helpers of tests fail their test; the lint only knows functions that are marked as tests.
#![allow(clippy::unwrap_used)]

#[path = "support/logs.rs"]
mod logs;

use logs::{append, create, flush, mem_dir, no_producers, reopen};
use ottla_log::{Cold, Log, MemDisk};
use ottla_wire::Offset;
use ottla_wire::batch::BatchHeader;

/// Records and bytes of values: batches that share an index entry, that have one each, and that come in any
/// order.
const BATCHES: [(usize, usize); 9] =
    [(1, 100), (3, 200), (2, 4_000), (1, 20_000), (1, 20_000), (5, 10), (4, 6_000), (1, 9_000), (1, 10)];
/// More large batches than a block of index entries has room for.
const ROUNDS: usize = 60;

#[test]
fn every_offset_is_found_in_its_batch() {
    let disk = MemDisk::new();
    let dir = mem_dir(&disk);
    let mut log = create(&dir, "t");
    for _ in 0..ROUNDS {
        BATCHES.iter().for_each(|(records, value)| append(&mut log, *records, *value));
    }
    find_all(&log); // the index is in memory
    flush(&mut log);
    assert_eq!(log.unvouched_bytes(), 0, "so much at once is vouched for, which needs the index on the disk");
    find_all(&log); // it is in its file
    for _ in 0..ROUNDS {
        BATCHES.iter().for_each(|(records, value)| append(&mut log, *records, *value));
    }
    find_all(&log); // half and half
    let job = log.close(&no_producers()).unwrap().unwrap();
    log.finish_flush(job.run());
    drop(log);
    find_all(&reopen(&dir, "t"));
}

/// Forwards as a consumer does, and by leaps in both directions.
fn find_all(log: &Log) {
    let (reader, end) = (log.reader(), log.log_end());
    let find = |offset: Offset| {
        let plan = reader.read(offset, 1, log.bound(end), true, Cold::Wait).unwrap();
        let header = BatchHeader::parse(&plan.read(Cold::Wait).unwrap()).unwrap();
        assert!((header.base_offset..=header.last_offset()).contains(&offset), "{offset}: {header:?}");
        assert_eq!((plan.len(), plan.first_batch_len()), (header.total_len(), header.total_len()));
    };
    (0..end.0).map(Offset).for_each(find);
    (0..end.0).map(|at| Offset(at * 7_919 % end.0)).for_each(find);
}
