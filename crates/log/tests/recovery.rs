//! What opening a log after a crash reads, checks and asks for.

// Helpers of tests fail their test; the lint only knows functions that are marked as tests.
#![allow(clippy::unwrap_used)]

#[path = "support/logs.rs"]
mod logs;

use logs::{TOPIC_ID, append, create, flush, mem_dir, reopen};
use ottla_log::{DataDir, Disk, Log, LogConfig, MemDisk, Open, Opened, Replay};
use ottla_wire::batch::{BatchHeader, ControlRecord};
use ottla_wire::messages::ProducerSnapshot;
use ottla_wire::{AbortedTxn, EpochStart, Instant, LeaderEpoch, Offset, PartitionIndex};

/// The batches that were shown.
#[derive(Default)]
struct Shown(Vec<BatchHeader>);

impl Replay for Shown {
    fn snapshot(&mut self, _snapshot: Option<ProducerSnapshot>) {}

    fn batch(&mut self, header: &BatchHeader, _control: Option<ControlRecord>) -> Option<AbortedTxn> {
        self.0.push(*header);
        None
    }
}

const LOG: &str = "/data/t-0/00000000000000000000.log";

fn open(dir: &DataDir, config: LogConfig, shown: &mut Shown) -> Opened {
    let found = dir.partitions().unwrap().remove(0);
    Log::open(dir, "t", PartitionIndex(0), Some(TOPIC_ID), config, found.recovery, shown).unwrap()
}

/// Writes batches with one record of each of these sizes, then the process dies.
fn written(disk: &MemDisk, sizes: impl IntoIterator<Item = usize>) {
    let dir = mem_dir(disk);
    let mut log = create(&dir, "t");
    sizes.into_iter().for_each(|size| append(&mut log, 1, size));
}

/// Batches that end just before, at and after what is read at once (256 KiB), tiny ones, and ones much
/// larger.
const SIZES: [usize; 11] =
    [10, 65_000, 65_536, 131_000, 262_144 - 80, 262_144, 300_000, 1, 1_000_000, 2, 200_000];

#[test]
fn every_batch_is_shown_once_and_in_order_whatever_its_size() {
    let disk = MemDisk::new();
    written(&disk, SIZES);
    let mut shown = Shown::default();
    let opened = open(&mem_dir(&disk), LogConfig::default(), &mut shown);
    let offsets: Vec<i64> = shown.0.iter().map(|header| header.base_offset.0).collect();
    assert_eq!(offsets, (0..SIZES.len() as i64).collect::<Vec<_>>());
    assert_eq!((opened.scanned_bytes, opened.cut_bytes), (opened.log.size(), 0));
}

#[test]
fn a_flipped_bit_anywhere_in_a_batch_cuts_the_log_before_it() {
    let disk = MemDisk::new();
    written(&disk, SIZES);
    let mut shown = Shown::default();
    open(&mem_dir(&disk), LogConfig::default(), &mut shown);
    let mut position = 0;
    for (i, header) in shown.0.iter().enumerate() {
        let len = header.total_len() as u64;
        // From the attributes on everything is under the checksum.
        for at in [21, len - 1] {
            let disk = MemDisk::new();
            written(&disk, SIZES);
            let file = disk.open(LOG.as_ref(), Open::Write).unwrap();
            let mut byte = [0];
            file.read_at(&mut byte, position + at).unwrap();
            file.write_at(&[std::io::IoSlice::new(&[byte[0] ^ 1])], position + at).unwrap();
            let log = reopen(&mem_dir(&disk), "t");
            assert_eq!((log.log_end(), log.size()), (Offset(i as i64), position), "byte {at} of batch {i}");
        }
        position += len;
    }
}

#[test]
fn more_batches_than_opening_remembers_are_all_shown() {
    const BATCHES: usize = 70_000;
    let disk = MemDisk::new();
    written(&disk, std::iter::repeat_n(1, BATCHES));
    let mut shown = Shown::default();
    let opened = open(&mem_dir(&disk), LogConfig::default(), &mut shown);
    assert_eq!(opened.log.log_end(), Offset(BATCHES as i64));
    assert!(shown.0.iter().map(|header| header.base_offset.0).eq(0..BATCHES as i64));
}

#[test]
fn only_epochs_that_the_checkpoint_lacks_are_to_be_stored() {
    let disk = MemDisk::new();
    written(&disk, [10]);
    let mut opened = open(&mem_dir(&disk), LogConfig::default(), &mut Shown::default());
    assert_eq!(opened.epochs, [EpochStart { epoch: LeaderEpoch(0), start: Offset(0) }]);
    assert!(opened.epochs_learnt);
    opened.log.store_epochs(&opened.epochs);
    flush(&mut opened.log);
    append(&mut opened.log, 1, 10);
    drop(opened);
    let opened = open(&mem_dir(&disk), LogConfig::default(), &mut Shown::default());
    assert!(!opened.epochs_learnt);
}

#[test]
fn a_log_that_has_given_up_flushes_asks_for_none_after_a_crash() {
    let asks = |flush_messages| {
        let disk = MemDisk::new();
        written(&disk, [10, 10]);
        let dir = mem_dir(&disk);
        let config = LogConfig { flush_messages, ..LogConfig::default() };
        let mut log = open(&dir, config, &mut Shown::default()).log;
        let due = log.flush_due(Instant(0));
        // The first one that comes vouches all the same: another crash does not find the same to do.
        flush(&mut log);
        assert_eq!(log.unvouched_bytes(), 0);
        due
    };
    assert!(asks(1));
    assert!(!asks(i64::MAX));
}
