//! Offsets in the files are guarded by nothing but their order. Whatever a damaged one says, no reader is led
//! back.

// Helpers of tests fail their test; the lint only knows functions that are marked as tests.
#![allow(clippy::unwrap_used)]

#[path = "support/logs.rs"]
mod logs;

use std::path::PathBuf;

use logs::{append, create, flush, mem_dir, no_producers};
use ottla_log::{Cold, Disk, Log, MemDisk, Open, ReadError};
use ottla_wire::batch::{BatchError, BatchHeader, batches};
use ottla_wire::{Offset, Timestamp};

const RECORDS: usize = 5;
const BATCHES: i64 = 60;
const SMALL: usize = 40;
const LARGE: usize = 2000;

/// Two segments of batches with five records each, of so many bytes; what `damage` does to the one with
/// offset `at` is told the file, the position, and the batch's size.
fn damaged(value: usize, at: i64, damage: impl FnOnce(&MemDisk, PathBuf, usize)) -> Log {
    let disk = MemDisk::new();
    let dir = mem_dir(&disk);
    let mut log = create(&dir, "t");
    for i in 0..BATCHES {
        if i == BATCHES / 2 {
            log.roll(&no_producers()).unwrap();
        }
        append(&mut log, RECORDS, value);
    }
    flush(&mut log);
    let plan = log.reader().read(Offset(at), 1, log.bound(log.log_end()), true, Cold::Wait).unwrap();
    let base = log.reader().segments().iter().rfind(|segment| segment.base.0 <= at).unwrap().base;
    let path = format!("/data/t-0/{:020}.log", base.0).into();
    damage(&disk, path, plan.position() as usize);
    log
}

fn with_base_offset(value: usize, at: i64, says: i64) -> Log {
    damaged(value, at, |disk, path, position| disk.corrupt(&path, position, &says.to_be_bytes()).unwrap())
}

/// Reads as a consumer does, `max_bytes` at a time; gives the offset after the last batch, and why it ended
/// there.
fn consume(log: &Log, max_bytes: usize) -> (Offset, Option<ReadError>) {
    let (reader, upper) = (log.reader(), log.bound(log.log_end()));
    let mut next = Offset::ZERO;
    while next < log.log_end() {
        let plan = match reader.read(next, max_bytes, upper, true, Cold::Wait) {
            Ok(plan) => plan,
            Err(error) => return (next, Some(error)),
        };
        let before = next;
        for batch in batches(plan.read(Cold::Wait).unwrap()) {
            match batch {
                Ok(batch) => {
                    assert!(batch.header().base_offset >= next, "led back from {next} by {max_bytes}");
                    next = batch.header().next_offset();
                }
                Err(BatchError::Truncated { .. }) => break,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(next > before, "nothing at {before}");
    }
    (next, None)
}

#[test]
fn a_damaged_offset_ends_every_read_before_it() {
    let cases = [
        ("back in its segment", 50, 10),
        ("back by one", 50, 49),
        ("to the start", 50, 0),
        ("beyond its segment", 50, 1000),
        ("into the next segment", 50, 160),
        ("so that it reaches into the next segment", 50, 147),
        ("far beyond everything", 50, 1 << 48),
        ("forward in its segment", 50, 70),
        ("back, the first one of the second segment", 150, 20),
        ("forward, the first one of the second segment", 150, 170),
        ("back, the last one", 295, 160),
        ("beyond the end, the last one", 295, 400),
        ("below zero", 50, -1),
        ("the largest", 50, i64::MAX),
    ];
    for (name, at, says) in cases {
        // The index has an entry for every large batch, and one for several small ones.
        let sizes = [(LARGE, vec![1, 30_000, 1 << 20]), (SMALL, (1..4000).step_by(97).collect())];
        for (value, max_bytes) in sizes {
            let log = with_base_offset(value, at, says);
            for offset in at..at + RECORDS as i64 {
                let (reader, upper) = (log.reader(), log.bound(log.log_end()));
                let read = reader.read(Offset(offset), 1, upper, true, Cold::Wait);
                assert!(
                    matches!(read, Err(ReadError::Corrupt { .. })),
                    "{name}: {offset} {:?}",
                    read.is_ok()
                );
            }
            for max_bytes in max_bytes {
                let (end, error) = consume(&log, max_bytes);
                assert_eq!(end, Offset(at), "{name}, {max_bytes} bytes at a time: {error:?}");
                assert!(matches!(error, Some(ReadError::Corrupt { .. })), "{name}: {error:?}");
            }
        }
        let log = with_base_offset(SMALL, at, says);
        let headers: Vec<_> = log.reader().batches(Offset::ZERO, log.bound(log.log_end())).collect();
        assert!(headers.last().unwrap().is_err(), "{name}");
        let mut ends = headers.iter().flatten().map(|header| header.next_offset());
        assert_eq!(ends.next_back().unwrap_or(Offset::ZERO), Offset(at), "{name}");
    }
}

/// A batch that is asked for by what its header says is in order, but the one behind it is not.
#[test]
fn an_offset_that_moved_forward_is_no_gap() {
    let log = with_base_offset(SMALL, 50, 70);
    let read = |offset| log.reader().read(Offset(offset), 1, log.bound(log.log_end()), true, Cold::Wait);
    assert!(matches!(read(52), Err(ReadError::Corrupt { .. })));
    assert!(read(49).is_ok());
}

#[test]
fn a_last_offset_is_guarded_as_well() {
    const LAST_OFFSET_DELTA_AT: usize = 23;
    for says in [1000, i32::MAX, -1, i32::MIN] {
        let log = damaged(SMALL, 50, |disk, path, position| {
            disk.corrupt(&path, position + LAST_OFFSET_DELTA_AT, &says.to_be_bytes()).unwrap();
        });
        for max_bytes in [1, 1 << 20] {
            let (end, error) = consume(&log, max_bytes);
            assert_eq!((end, error.is_some()), (Offset(50), true), "{says}");
        }
    }
}

/// A search by time gives no record of a batch that is damaged, and believes no length.
#[test]
fn a_search_by_time_reports_damage() {
    const LENGTH_AT: usize = 8;
    let len = logs::batch(Offset(0), RECORDS, SMALL, 0).header.total_len();
    let longer = (3 * len - 12) as i32; // what two more batches and this one take behind the length
    let cases: [(&str, usize, &[u8]); 3] = [
        ("a byte of a record", len - 1, b"x"),
        ("the offset", 0, &7i64.to_be_bytes()),
        ("the length", LENGTH_AT, &longer.to_be_bytes()),
    ];
    for (name, at, with) in cases {
        let log = damaged(SMALL, 0, |disk, path, position| disk.corrupt(&path, position + at, with).unwrap());
        let upper = log.bound(log.log_end());
        let first = log.reader().find_timestamp(Timestamp(1000), upper);
        assert!(matches!(first, Err(ReadError::Corrupt { .. })), "{name}: {first:?}");
        let largest = log.reader().max_timestamp(upper);
        assert!(matches!(largest, Err(ReadError::Corrupt { .. })), "{name}: {largest:?}");
    }
}

/// An entry that points at another batch leads nobody past what is there.
#[test]
fn an_index_entry_of_another_batch_is_not_believed() {
    for value in [SMALL, LARGE] {
        for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0)] {
            let log = damaged(value, 0, |disk, path, _| {
                let path = path.with_extension("index");
                let mut entries = [0; 24];
                disk.open(&path, Open::Read).unwrap().read_at(&mut entries, 0).unwrap();
                let position = &entries[8 * from + 4..8 * from + 8];
                disk.corrupt(&path, 8 * to + 4, position).unwrap();
            });
            log.close_idle_files(); // and lets go of what the index has read,
            log.close_idle_files(); // for nothing has used it since
            for offset in 0..log.log_end().0 {
                let upper = log.bound(log.log_end());
                let plan = log.reader().read(Offset(offset), 1, upper, true, Cold::Wait).unwrap();
                let header = BatchHeader::parse(&plan.read(Cold::Wait).unwrap()).unwrap();
                assert!((header.base_offset..=header.last_offset()).contains(&Offset(offset)), "{from} {to}");
            }
        }
    }
}
