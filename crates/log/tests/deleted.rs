//! What leaves a log gives back its space: no file that was deleted is held, however rarely the log is
//! flushed.

// Helpers of tests fail their test; the lint only knows functions that are marked as tests.
#![allow(clippy::unwrap_used)]

#[path = "support/logs.rs"]
mod logs;

use logs::{append, create, flush, mem_dir, no_producers, reopen};
use ottla_log::{Disk, Log, LogConfig, MemDisk};
use ottla_wire::{Instant, Offset, Timestamp};

/// A topic that has given up flushes and keeps a little.
fn relaxed() -> LogConfig {
    LogConfig {
        flush_messages: i64::MAX,
        retention_bytes: 1000,
        file_delete_delay_ms: 0,
        index_interval_bytes: 100,
        ..LogConfig::default()
    }
}

/// Closes a segment of a few batches.
fn close_segment(log: &mut Log) {
    for _ in 0..5 {
        append(log, 1, 100);
    }
    log.roll(&no_producers()).unwrap();
}

fn snapshots(disk: &MemDisk) -> usize {
    let names = disk.read_dir("/data/t-0".as_ref()).unwrap();
    names.iter().filter(|entry| entry.name.ends_with(".snapshot")).count()
}

#[test]
fn deleted_segments_are_not_held_until_the_next_flush() {
    let disk = MemDisk::new();
    let dir = mem_dir(&disk);
    let mut log = create(&dir, "t");
    log.set_config(relaxed());
    for round in 0..50 {
        close_segment(&mut log);
        log.retain(Timestamp(0), log.log_end(), &mut no_producers).unwrap();
        dir.do_chores();
        let segments = log.reader().segments().len();
        assert!(segments <= 4, "retention works");
        assert!(!log.flush_due(Instant(round)), "there is little to flush");
        // A log and two indexes, and the snapshot at the base.
        assert!(disk.open_files() <= segments * 4, "{} files are open", disk.open_files());
        assert!(snapshots(&disk) <= segments + 2, "{} snapshots are kept", snapshots(&disk));
    }
}

#[test]
fn truncated_and_dropped_segments_are_not_held() {
    let disk = MemDisk::new();
    let mut log = create(&mem_dir(&disk), "t");
    log.set_config(relaxed());
    (0..20).for_each(|_| close_segment(&mut log));
    log.truncate_to(Offset(7)).unwrap();
    assert!(disk.open_files() <= 2 * 4, "{} files are open", disk.open_files());
    (0..20).for_each(|_| close_segment(&mut log));
    log.restart_at(Offset(1000)).unwrap();
    assert_eq!(disk.open_files(), 1, "the segment that grows");
}

/// Closed segments that stay are held until they are synced, but not any number of them.
#[test]
fn many_closed_segments_make_a_flush_due() {
    let disk = MemDisk::new();
    let mut log = create(&mem_dir(&disk), "t");
    log.set_config(relaxed());
    let mut closed = 0;
    while !log.flush_due(Instant(0)) {
        close_segment(&mut log);
        append(&mut log, 1, 100);
        closed += 1;
        assert!(closed <= 64);
    }
    assert!(closed > 10, "there is a sense in waiting");
    flush(&mut log);
    assert_eq!(log.recovery_point(), log.written_end());
    // The first call notes who is idle.
    (0..2).for_each(|_| log.close_idle_files());
    assert!(disk.open_files() <= 4, "{} files are open", disk.open_files());
}

/// The first segment is deleted before it was ever synced. What comes back of it after a crash is torn: the
/// log would be cut off there, with all that was flushed since.
#[test]
fn a_deleted_segment_that_was_never_synced_does_not_come_back() {
    for vouch in [false, true] {
        let disk = MemDisk::new();
        let dir = mem_dir(&disk);
        let mut log = create(&dir, "t");
        log.set_config(relaxed());
        close_segment(&mut log);
        close_segment(&mut log);
        append(&mut log, 1, 100);
        let retained = log.retain(Timestamp(0), log.log_end(), &mut no_producers).unwrap();
        assert!(retained.segments > 0);
        let end = log.log_end();
        if vouch {
            let job = log.begin_vouch(&mut no_producers).unwrap();
            log.finish_flush(job.run());
            dir.checkpoint().unwrap();
        } else {
            flush(&mut log);
        }
        assert_eq!(log.durable_end(), end);
        disk.crash(&mut || 0);
        let log = reopen(&mem_dir(&disk), "t");
        assert_eq!((log.log_start(), log.log_end()), (retained.log_start, end), "vouch: {vouch}");
    }
}
