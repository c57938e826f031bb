//! What a log shows to who rebuilds the producers after a truncation.

// Helpers of tests fail their test; the lint only knows functions that are marked as tests.
#![allow(clippy::unwrap_used)]

#[path = "support/logs.rs"]
mod logs;

use logs::{append, create, flush, mem_dir, reopen};
use ottla_log::{Log, MemDisk, Replay};
use ottla_wire::batch::{BatchHeader, ControlRecord};
use ottla_wire::messages::ProducerSnapshot;
use ottla_wire::messages::producer_snapshot::ProducerEntry;
use ottla_wire::{AbortedTxn, Offset};

/// A snapshot that can be told from others.
fn producer(id: i64) -> ProducerSnapshot {
    let entry = ProducerEntry { producer_id: id, ..ProducerEntry::default() };
    ProducerSnapshot { producer_entries: vec![entry], ..ProducerSnapshot::default() }
}

/// Segments at 0, 10 and 20 of one record in each batch; snapshots at 10 and 20.
fn three_segments(disk: &MemDisk) -> Log {
    let mut log = create(&mem_dir(disk), "t");
    for segment in 1..=3 {
        (0..10).for_each(|_| append(&mut log, 1, 10));
        if segment < 3 {
            log.roll(&producer(segment)).unwrap();
        }
    }
    log
}

/// The producer of the snapshot, and the offsets of the batches after it.
#[derive(Default)]
struct Shown {
    snapshot: Option<i64>,
    batches: Vec<i64>,
}

impl Replay for Shown {
    fn snapshot(&mut self, snapshot: Option<ProducerSnapshot>) {
        self.snapshot = snapshot.map(|snapshot| snapshot.producer_entries[0].producer_id);
    }

    fn batch(&mut self, header: &BatchHeader, _: Option<ControlRecord>) -> Option<AbortedTxn> {
        self.batches.push(header.base_offset.0);
        None
    }
}

fn replayed(log: &mut Log) -> (Option<i64>, Vec<i64>) {
    let mut shown = Shown::default();
    log.replay(&mut shown).unwrap();
    (shown.snapshot, shown.batches)
}

#[test]
fn the_newest_snapshot_comes_first_then_the_batches_after_it() {
    let disk = MemDisk::new();
    let mut log = three_segments(&disk);
    assert_eq!(replayed(&mut log), (Some(2), (20..30).collect()));
    for (to, snapshot, batches) in [
        (25, Some(2), 20..25),
        (20, Some(2), 20..20),
        (19, Some(1), 10..19),
        (10, Some(1), 10..10),
        (4, None, 0..4),
    ] {
        log.truncate_to(Offset(to)).unwrap();
        assert_eq!(replayed(&mut log), (snapshot, batches.collect()), "cut to {to}");
    }
    log.restart_at(Offset(100)).unwrap();
    assert_eq!(replayed(&mut log), (None, vec![]));
}

/// What was queued belongs to the log.
#[test]
fn queued_batches_are_shown() {
    let mut log = create(&mem_dir(&MemDisk::new()), "t");
    log.append(logs::batch(Offset(0), 1, 10, 1000)).unwrap();
    assert_eq!(replayed(&mut log), (None, vec![0]));
}

/// The log grows again to where a snapshot was: that one is not of this log.
#[test]
fn a_snapshot_beyond_the_cut_is_gone() {
    let disk = MemDisk::new();
    let mut log = three_segments(&disk);
    log.truncate_to(Offset(15)).unwrap();
    (0..10).for_each(|_| append(&mut log, 1, 10));
    assert_eq!(replayed(&mut log), (Some(1), (10..25).collect()));
    flush(&mut log);
    disk.crash(&mut || 0);
    let mut log = reopen(&mem_dir(&disk), "t");
    assert_eq!(replayed(&mut log), (Some(1), (10..25).collect()));
}
