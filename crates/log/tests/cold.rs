//! Reads that may not wait for the disk: with everything in memory they answer as those that may; else they
//! say so, and answer once somebody has waited in their place.

// Helpers of tests fail their test; the lint only knows functions that are marked as tests.
#![allow(clippy::unwrap_used)]

#[path = "support/logs.rs"]
mod logs;

use std::path::{Path, PathBuf};

use logs::{append, create, flush, mem_dir, no_producers};
use ottla_log::{Bound, Cold, Faults, Log, MemDisk, ReadError};
use ottla_wire::{AbortedTxn, Offset, ProducerId};

const FOLDER: &str = "/data/t-0";
const ABORTED: AbortedTxn = AbortedTxn {
    producer_id: ProducerId(7),
    first_offset: Offset(1),
    last_offset: Offset(40),
    last_stable_offset: Offset(41),
};

/// A log of two segments whose indexes are in their files, the first with an aborted transaction.
fn two_segments(disk: &MemDisk) -> Log {
    let dir = mem_dir(disk);
    let mut log = create(&dir, "t");
    for i in 0..200 {
        if i == 40 {
            log.append_aborted(ABORTED);
        }
        append(&mut log, 1, 1000);
    }
    log.roll(&no_producers()).unwrap();
    append(&mut log, 1, 1000);
    flush(&mut log);
    log
}

fn file(base: i64, ending: &str) -> PathBuf {
    Path::new(FOLDER).join(format!("{base:020}.{ending}"))
}

fn evict_all(disk: &MemDisk, path: &Path) {
    disk.evict(path, 0..1 << 20).unwrap();
}

fn would_block<T: std::fmt::Debug>(read: Result<T, ReadError>) -> bool {
    matches!(read, Err(ReadError::WouldBlock))
}

/// The position at which a read from `offset` begins.
fn position(log: &Log, offset: i64, cold: Cold) -> Result<u64, ReadError> {
    log.reader().read(Offset(offset), 1, upper(log), true, cold).map(|plan| plan.position())
}

fn upper(log: &Log) -> Bound {
    log.bound(log.log_end())
}

/// Each file that a look-up needs, by itself, is a reason not to answer; what the waiting read has brought is
/// kept.
#[test]
fn a_lookup_says_which_page_it_would_wait_for() {
    let disk = MemDisk::new();
    let log = two_segments(&disk);
    for offset in [0, 100, 199] {
        let warm = position(&log, offset, Cold::Wait).unwrap();
        assert_eq!(position(&log, offset, Cold::Refuse).unwrap(), warm, "everything is in memory");
        evict_all(&disk, &file(0, "log"));
        assert!(would_block(position(&log, offset, Cold::Refuse)));
        assert_eq!(position(&log, offset, Cold::Wait).unwrap(), warm);
        assert_eq!(position(&log, offset, Cold::Refuse).unwrap(), warm);
    }
    // The index keeps what it has read last until its descriptor goes, so nobody asks the disk for that
    // again.
    evict_all(&disk, &file(0, "index"));
    assert!(position(&log, 199, Cold::Refuse).is_ok());
    let warm = position(&log, 100, Cold::Wait).unwrap();
    close_files(&log);
    assert!(would_block(position(&log, 100, Cold::Refuse)), "to open a file is to wait, too");
    assert_eq!(position(&log, 100, Cold::Wait).unwrap(), warm);
    close_files(&log);
    log.reader().read(Offset(0), 1, upper(&log), true, Cold::Wait).unwrap(); // the descriptors are back
    assert_eq!(position(&log, 100, Cold::Refuse).unwrap(), warm);
}

fn close_files(log: &Log) {
    log.close_idle_files(); // what was used until now
    log.close_idle_files(); // and has not been since
}

/// Pages behind a header that is in memory are nothing to wait for.
#[test]
fn only_what_a_lookup_needs_counts() {
    let disk = MemDisk::new();
    let log = two_segments(&disk);
    let at = position(&log, 100, Cold::Wait).unwrap() as usize;
    let page_behind = (at + 61).div_ceil(4096) * 4096;
    disk.evict(&file(0, "log"), page_behind..1 << 20).unwrap();
    assert_eq!(position(&log, 100, Cold::Refuse).unwrap() as usize, at);
    assert!(would_block(position(&log, 199, Cold::Refuse)));
}

#[test]
fn bytes_are_read_only_if_all_are_in_memory() {
    let disk = MemDisk::new();
    let log = two_segments(&disk);
    let plan = log.reader().read(Offset(50), 20_000, upper(&log), true, Cold::Wait).unwrap();
    let bytes = plan.read(Cold::Refuse).unwrap();
    assert_eq!(bytes.len(), 20_000);
    let last_page = (plan.position() as usize + plan.len()) / 4096 * 4096;
    disk.evict(&file(0, "log"), last_page..last_page + 1).unwrap();
    assert_eq!(plan.read(Cold::Refuse).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(plan.read(Cold::Wait).unwrap(), bytes);
    assert_eq!(plan.read(Cold::Refuse).unwrap(), bytes);
}

#[test]
fn aborted_transactions_are_looked_up_in_memory() {
    let disk = MemDisk::new();
    let log = two_segments(&disk);
    let aborted = |cold| log.reader().aborted_transactions(Offset(0), Offset(41), cold);
    assert_eq!(aborted(Cold::Refuse).unwrap(), [ABORTED]);
    evict_all(&disk, &file(0, "txnindex"));
    assert!(would_block(aborted(Cold::Refuse)));
    assert_eq!(aborted(Cold::Wait).unwrap(), [ABORTED]);
    assert_eq!(aborted(Cold::Refuse).unwrap(), [ABORTED]);
}

/// An index that leads astray costs a walk over the segment: nothing for a thread that serves others.
#[test]
fn a_long_walk_is_not_done_at_once() {
    let disk = MemDisk::new();
    let log = two_segments(&disk);
    let warm = position(&log, 100, Cold::Wait).unwrap();
    close_files(&log); // and what the index has read last
    disk.corrupt(&file(0, "index"), 0, &[0, 0, 0, 1, 0, 0, 0, 7]).unwrap();
    position(&log, 199, Cold::Wait).unwrap();
    assert!(would_block(position(&log, 3, Cold::Refuse)));
    assert_eq!(position(&log, 100, Cold::Wait).unwrap(), warm);
}

/// A disk that does not answer holds up those who wait for it, and nobody else.
#[test]
fn a_stalled_disk_holds_up_only_those_who_wait() {
    let disk = MemDisk::new();
    let log = two_segments(&disk);
    evict_all(&disk, &file(0, "log"));
    disk.set_faults(Faults { reads_stall: true, ..Faults::default() });
    std::thread::scope(|threads| {
        let waits = threads.spawn(|| position(&log, 100, Cold::Wait));
        while disk.reads_stalled() == 0 {
            std::thread::yield_now();
        }
        assert!(would_block(position(&log, 100, Cold::Refuse)));
        assert!(position(&log, 200, Cold::Refuse).is_ok(), "the other segment is in memory");
        assert!(!waits.is_finished());
        disk.set_faults(Faults::default());
        assert!(waits.join().unwrap().is_ok());
    });
}
