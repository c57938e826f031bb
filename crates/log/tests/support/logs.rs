//! Logs on a disk in memory, and what is done to them in many tests.

use std::sync::Arc;
use std::time::Duration;

use ottla_log::{DataDir, DirOptions, Disk, Identity, Log, LogConfig, NoReplay};
use ottla_wire::batch::{AppendBatch, BatchBuilder, BatchHeader, HEADER_LEN};
use ottla_wire::messages::ProducerSnapshot;
use ottla_wire::{LeaderEpoch, Offset, PartitionIndex, Timestamp, Uuid};

pub const TOPIC_ID: Uuid = Uuid([7; 16]);

pub fn identity() -> Identity {
    Identity { node_id: Some(1), cluster_id: Some("c".to_owned()) }
}

#[allow(dead_code, reason = "not every test that includes this has a disk in memory")]
pub fn mem_dir(disk: &(impl Disk + Clone)) -> DataDir {
    let options = DirOptions {
        disk: Arc::new(disk.clone()),
        background: false,
        checkpoint_interval: Duration::from_secs(3600),
        ..DirOptions::default()
    };
    DataDir::open_with("/data", &identity(), options).unwrap()
}

#[allow(dead_code, reason = "not every test that includes this makes a log so")]
pub fn create(dir: &DataDir, topic: &str) -> Log {
    Log::create(dir, topic, PartitionIndex(0), TOPIC_ID, LogConfig::default()).unwrap()
}

#[allow(dead_code, reason = "not every test that includes this opens a log again")]
pub fn reopen(dir: &DataDir, topic: &str) -> Log {
    let found = dir.partitions().unwrap().into_iter().find(|found| found.topic == topic).unwrap();
    Log::open(
        dir,
        topic,
        PartitionIndex(0),
        Some(TOPIC_ID),
        LogConfig::default(),
        found.recovery,
        &mut NoReplay,
    )
    .unwrap()
    .log
}

pub fn batch(base: Offset, records: usize, value: usize, time: i64) -> AppendBatch {
    let mut builder = BatchBuilder::new().base_offset(base).leader_epoch(LeaderEpoch(0));
    for _ in 0..records {
        builder.push(Timestamp(time), None, Some(&vec![b'v'; value]));
    }
    let bytes = builder.build().unwrap();
    let header = BatchHeader::parse(&bytes).unwrap();
    AppendBatch { body: bytes.slice(HEADER_LEN..), header }
}

#[allow(dead_code, reason = "not every test that includes this appends so")]
pub fn append(log: &mut Log, records: usize, value: usize) {
    log.append(batch(log.log_end(), records, value, 1000)).unwrap();
    log.write().unwrap();
}

pub fn no_producers() -> ProducerSnapshot {
    ProducerSnapshot::default()
}

#[allow(dead_code, reason = "not every test that includes this flushes so")]
pub fn flush(log: &mut Log) -> Offset {
    let job = log.begin_flush(&mut no_producers).unwrap();
    log.finish_flush(job.run())
}
