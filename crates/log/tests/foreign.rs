//! Files in a log's folder that are not what their names say.

// Helpers of tests fail their test; the lint only knows functions that are marked as tests.
#![allow(clippy::unwrap_used)]

#[path = "support/logs.rs"]
mod logs;
#[path = "support/recorder.rs"]
mod recorder;
#[path = "support/transactions.rs"]
mod transactions;

use std::io::IoSlice;

use bytes::Bytes;
use logs::{TOPIC_ID, append, create, flush, mem_dir, reopen};
use ottla_log::{Cold, DataDir, Disk, Log, LogConfig, MemDisk, Open, Opened, Replay};
use ottla_wire::batch::{AppendBatch, BatchBuilder, BatchHeader, ControlRecord, HEADER_LEN};
use ottla_wire::{LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, Timestamp};
use recorder::Recorder;
use transactions::Transactions;

fn open(dir: &DataDir, replay: &mut dyn Replay) -> Opened {
    let found = dir.partitions().unwrap().remove(0);
    let (config, recovery) = (LogConfig::default(), found.recovery);
    Log::open(dir, "t", PartitionIndex(0), Some(TOPIC_ID), config, recovery, replay).unwrap()
}

fn vouch(dir: &DataDir, log: &mut Log, transactions: &Transactions) {
    let job = log.begin_vouch(&mut || transactions.to_snapshot()).unwrap();
    log.finish_flush(job.run());
    dir.checkpoint().unwrap();
}

fn abort_marker(base: Offset, producer: ProducerId) -> Bytes {
    let mut marker = BatchBuilder::new()
        .producer(producer, ProducerEpoch(0), Sequence::NONE)
        .base_offset(base)
        .leader_epoch(LeaderEpoch(0))
        .transactional();
    marker.push_control(Timestamp(1), &ControlRecord::Abort { coordinator_epoch: 1 });
    marker.build().unwrap()
}

/// Its transactions begin after the markers that end them: a transaction index made of them could not be
/// read.
#[test]
fn a_snapshot_of_a_later_offset_is_not_believed() {
    let disk = MemDisk::new();
    let dir = mem_dir(&disk);
    let mut log = create(&dir, "t");
    append(&mut log, 10, 10);
    let mut later = Transactions::default();
    later.0.insert(ProducerId(5), Offset(500));
    vouch(&dir, &mut log, &later);
    let marker = abort_marker(log.log_end(), ProducerId(5));
    let header = BatchHeader::parse(&marker).unwrap();
    log.append(AppendBatch { body: marker.slice(HEADER_LEN..), header }).unwrap();
    log.write().unwrap();
    flush(&mut log);
    drop(log);
    let mut recorder = Recorder::default();
    let Opened { log, .. } = open(&mem_dir(&disk), &mut recorder);
    assert_eq!(recorder.snapshot, None);
    assert_eq!(recorder.batches.len(), 2, "all of the log is read instead");
    assert_eq!(log.reader().aborted_transactions(Offset(0), log.log_end(), Cold::Wait).unwrap(), []);
}

/// A segment that somebody has copied there, below what the recovery point vouches for.
#[test]
fn epochs_of_a_segment_from_elsewhere_do_not_reach_beyond_the_log() {
    let disk = MemDisk::new();
    let dir = mem_dir(&disk);
    let mut log = create(&dir, "t");
    log.set_config(LogConfig { index_interval_bytes: 0, ..LogConfig::default() });
    for _ in 0..2 {
        (0..5).for_each(|_| append(&mut log, 1, 10));
        log.roll(&Transactions::default().to_snapshot()).unwrap();
    }
    append(&mut log, 1, 10);
    vouch(&dir, &mut log, &Transactions::default());
    drop(log);
    let mut batch = BatchBuilder::new().base_offset(Offset(1000)).leader_epoch(LeaderEpoch(9));
    batch.push(Timestamp(1), None, Some(b"v"));
    let write = |name: &str, bytes: &[u8]| {
        let file = disk.open(format!("/data/t-0/{name}").as_ref(), Open::Create).unwrap();
        assert_eq!(file.write_at(&[IoSlice::new(bytes)], 0).unwrap(), bytes.len());
    };
    write("00000000000000000003.log", &batch.build().unwrap());
    write("00000000000000000003.index", &[]);
    write("00000000000000000003.timeindex", &[]);
    for entry in disk.read_dir("/data/t-0".as_ref()).unwrap() {
        if entry.name.ends_with(".snapshot") || entry.name.starts_with("leader-epoch") {
            disk.remove_file(format!("/data/t-0/{}", entry.name).as_ref()).unwrap();
        }
    }
    let mut recorder = Recorder::default();
    let opened = open(&mem_dir(&disk), &mut recorder);
    assert_eq!(opened.log.log_end(), Offset(11));
    let epochs: Vec<_> = opened.epochs.iter().map(|start| (start.epoch.0, start.start.0)).collect();
    assert_eq!(epochs, [(0, 0)]);
    assert!(recorder.batches.iter().all(|header| header.base_offset < Offset(11)));
    drop(opened);
    assert_eq!(reopen(&mem_dir(&disk), "t").log_end(), Offset(11));
}
