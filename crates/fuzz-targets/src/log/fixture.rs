//! A data directory with a little of everything in it, as bytes and on a simulated disk.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use ottla_log::{
    DataDir, DirOptions, Disk, FoundPartition, Identity, Log, LogConfig, LogError, MemDisk, Open, OpenError,
    Opened,
};
use ottla_wire::batch::{AppendBatch, BatchBuilder, BatchHeader, ControlRecord, HEADER_LEN};
use ottla_wire::compress::Codec;
use ottla_wire::{LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, Timestamp, Uuid};

use super::transactions::Transactions;
use crate::damage::Files;

/// The time of the first record.
pub const FIRST_TIME: i64 = 1_000_000;

const ROOT: &str = "/data";

/// How the process that wrote the directory came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Killed, with all of it flushed and nothing vouched for.
    Unvouched,
    /// Killed, with a recovery point half way.
    HalfVouched,
    Clean,
}

impl Stop {
    pub const ALL: [Stop; 3] = [Stop::Unvouched, Stop::HalfVouched, Stop::Clean];
}

/// The files that such a process left: a log in segments with all codecs and a few epochs, and one with
/// transactions.
pub fn files(stop: Stop) -> &'static Files {
    static FILES: [OnceLock<Files>; 3] = [const { OnceLock::new() }; 3];
    FILES[stop as usize].get_or_init(|| write(stop))
}

/// A disk with these files, durably.
pub fn on_disk(files: &Files) -> MemDisk {
    let disk = MemDisk::new();
    disk.create_dir(Path::new(ROOT)).expect("an empty disk");
    for (name, bytes) in files {
        let path = Path::new(ROOT).join(name);
        let folder = path.parent().expect("it has one");
        if disk.read_dir(folder).is_err() {
            disk.create_dir(folder).expect("its parent is there");
        }
        let file = disk.open(&path, Open::Create).expect("the folder is there");
        let written = file.write_at(&[IoSlice::new(bytes)], 0).expect("an endless disk");
        assert_eq!(written, bytes.len());
    }
    disk
}

pub fn open_dir(disk: &MemDisk) -> Result<DataDir, OpenError> {
    let identity = Identity { node_id: Some(1), cluster_id: Some("c".to_owned()) };
    let options = DirOptions {
        disk: Arc::new(disk.clone()),
        background: false,
        checkpoint_interval: Duration::from_secs(3600),
        ..DirOptions::default()
    };
    DataDir::open_with(ROOT, &identity, options)
}

pub fn open_log(
    dir: &DataDir,
    found: &FoundPartition,
    replay: &mut Transactions,
) -> Result<Opened, LogError> {
    Log::open(dir, &found.topic, found.partition, found.topic_id, config(), found.recovery, replay)
}

/// A batch as a leader has made it.
pub fn batch(base: Offset, minute: i64, records: u8) -> Bytes {
    let codec = Codec::ALL[minute as usize % Codec::ALL.len()];
    let epoch = LeaderEpoch((minute / 8) as i32);
    let mut builder = BatchBuilder::new().base_offset(base).leader_epoch(epoch).codec(codec);
    for i in 0..records {
        let value = vec![i; usize::from(i) * 40];
        builder.push(Timestamp(FIRST_TIME + minute * 60 + i64::from(i)), Some(&[i]), Some(&value));
    }
    builder.build().expect("a batch that fits")
}

pub fn append(
    log: &mut Log,
    transactions: &mut Transactions,
    bytes: &Bytes,
    control: Option<ControlRecord>,
) -> Result<(), LogError> {
    let header = BatchHeader::parse(bytes).expect("a batch");
    if log.roll_due(&header, Timestamp(0)) {
        log.roll(&transactions.to_snapshot())?;
    }
    log.append(AppendBatch { body: bytes.slice(HEADER_LEN..), header })?;
    if let Some(aborted) = ottla_log::Replay::batch(transactions, &header, control) {
        log.append_aborted(aborted);
    }
    log.write()
}

pub fn flush(log: &mut Log, transactions: &Transactions) {
    if let Some(job) = log.begin_flush(&mut || transactions.to_snapshot()) {
        log.finish_flush(job.run());
    }
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 2_500,
        index_interval_bytes: 200,
        retention_ms: -1,
        file_delete_delay_ms: 1_000_000,
        max_decompressed_bytes: 1 << 20,
        ..LogConfig::default()
    }
}

fn write(stop: Stop) -> Files {
    let disk = MemDisk::new();
    let dir = open_dir(&disk).expect("a new directory");
    let mut logs = [("plain", 1u8), ("txn", 2)].map(|(topic, id)| {
        let log = Log::create(&dir, topic, PartitionIndex(0), Uuid([id; 16]), config()).expect("a new log");
        (log, Transactions::default())
    });
    for minute in 0..30 {
        let (log, open) = &mut logs[0];
        append(log, open, &batch(log.log_end(), minute, 5), None).expect("a disk that works");
        let (log, open) = &mut logs[1];
        let (bytes, control) = transactional(log.log_end(), minute);
        append(log, open, &bytes, control).expect("a disk that works");
        if minute == 15 && stop == Stop::HalfVouched {
            logs.iter_mut().for_each(vouch);
            dir.checkpoint().expect("a disk that works");
        }
    }
    for (log, open) in &mut logs {
        flush(log, open);
        if stop == Stop::Clean {
            let job = log.close(&open.to_snapshot()).expect("a disk that works");
            job.map(|job| log.finish_flush(job.run()));
        }
    }
    if stop == Stop::Clean {
        dir.mark_clean(None).expect("a disk that works");
    }
    drop(logs);
    drop(dir);
    read(&disk)
}

fn vouch((log, open): &mut (Log, Transactions)) {
    if let Some(job) = log.begin_vouch(&mut || open.to_snapshot()) {
        log.finish_flush(job.run());
    }
}

/// Three producers in turn: two batches and then a marker each, the first and the third of which aborts.
fn transactional(base: Offset, minute: i64) -> (Bytes, Option<ControlRecord>) {
    let producer = minute % 3;
    let time = Timestamp(FIRST_TIME + minute * 60);
    let (id, epoch) = (ProducerId(4000 + producer), ProducerEpoch(0));
    let builder = BatchBuilder::new().base_offset(base).leader_epoch(LeaderEpoch(1)).transactional();
    if minute / 3 % 3 < 2 {
        let mut builder = builder.producer(id, epoch, Sequence((minute / 3) as i32));
        builder.push(time, None, Some(&[0; 150]));
        return (builder.build().expect("a batch that fits"), None);
    }
    let marker = match producer {
        1 => ControlRecord::Commit { coordinator_epoch: 1 },
        _ => ControlRecord::Abort { coordinator_epoch: 1 },
    };
    let mut builder = builder.producer(id, epoch, Sequence::NONE);
    builder.push_control(time, &marker);
    (builder.build().expect("a batch that fits"), Some(marker))
}

/// Every file but the lock.
fn read(disk: &MemDisk) -> Files {
    let mut files = Files::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in disk.read_dir(&Path::new(ROOT).join(&folder)).expect("a folder") {
            let path = folder.join(&entry.name);
            if entry.is_dir {
                folders.push(path);
            } else if entry.name != ".lock" {
                let file = disk.open(&Path::new(ROOT).join(&path), Open::Read).expect("a file");
                let mut bytes = vec![0; file.size().expect("a file") as usize];
                file.read_at(&mut bytes, 0).expect("a file");
                files.insert(path.to_str().expect("our names are text").to_owned(), bytes);
            }
        }
    }
    files
}
