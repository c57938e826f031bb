//! The log with its disk and its owner, and what each operation does to them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_log::{DataDir, DirOptions, Faults, FlushJob, Identity, Log, LogConfig, MemDisk, Replay};
use ottla_wire::batch::{AppendBatch, BatchBuilder, BatchHeader, ControlRecord, HEADER_LEN};
use ottla_wire::compress::Codec;
use ottla_wire::{LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, Timestamp, Uuid};

use crate::model::Model;
use crate::ops::Op;
use crate::transactions::Transactions;

const TOPIC: &str = "t";
const PARTITION: PartitionIndex = PartitionIndex(0);
const TOPIC_ID: Uuid = Uuid([7; 16]);

pub struct World {
    disk: MemDisk,
    dir: DataDir,
    pub log: Log,
    pub model: Model,
    /// The live state of the producers, as a replica has it.
    producers: Transactions,
    flush: Option<(FlushJob, Offset)>,
    short_writes: Option<usize>,
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 6_000,
        index_interval_bytes: 300,
        retention_ms: -1,
        file_delete_delay_ms: 1_000_000,
        ..LogConfig::default()
    }
}

fn open_dir(disk: &MemDisk) -> DataDir {
    let identity = Identity { node_id: Some(1), cluster_id: Some("c".to_owned()) };
    let options = DirOptions {
        disk: Arc::new(disk.clone()),
        background: false,
        checkpoint_interval: Duration::from_secs(3600),
        ..DirOptions::default()
    };
    DataDir::open_with("/data", &identity, options).unwrap()
}

impl World {
    pub fn new(short_writes: Option<usize>) -> World {
        let disk = MemDisk::new();
        disk.set_faults(Faults { short_writes, ..Faults::default() });
        let dir = open_dir(&disk);
        let log = Log::create(&dir, TOPIC, PARTITION, TOPIC_ID, config()).unwrap();
        let (model, producers) = (Model::default(), Transactions::default());
        World { disk, dir, log, model, producers, flush: None, short_writes }
    }

    pub fn run(&mut self, op: &Op) {
        match op {
            Op::CleanRestart => self.clean_restart(),
            Op::Kill => self.crash(&mut || 0, true),
            Op::PowerLoss { seed, changes_left, then } => {
                let mut state = seed | 1;
                let mut random = move || {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state
                };
                // A restart that stops half-way may leave the old log or the new one: not a prefix of either.
                if let Some(changes_left) = changes_left
                    && !matches!(**then, Op::Restart { .. })
                {
                    let changes_left = Some(u64::from(*changes_left));
                    self.disk.set_faults(Faults {
                        changes_left,
                        short_writes: self.short_writes,
                        ..Faults::default()
                    });
                    let before = self.model.durable;
                    if self.try_run(then).is_err() {
                        self.model.durable = self.model.durable.min(before);
                    }
                }
                self.crash(&mut random, false);
            }
            simple => self.try_run(simple).unwrap(),
        }
    }

    /// Runs an operation. If it fails the disk has stopped, and what is known to be durable is what was so
    /// before.
    fn try_run(&mut self, op: &Op) -> Result<(), String> {
        let text = |error: ottla_log::LogError| error.to_string();
        match op {
            Op::Append { records, value, time, packed, producer } => {
                self.model.time += i64::from(*time);
                let batch = self.batch(*records, *value, *packed, *producer);
                self.append(batch, None).map_err(text)?;
            }
            Op::Abort { producer } => {
                let marker = ControlRecord::Abort { coordinator_epoch: 1 };
                let mut builder = BatchBuilder::new()
                    .producer(ProducerId(i64::from(*producer)), ProducerEpoch(0), Sequence::NONE)
                    .base_offset(self.log.log_end())
                    .leader_epoch(LeaderEpoch(self.model.epoch))
                    .transactional();
                builder.push_control(Timestamp(1_000_000 + self.model.time), &marker);
                self.append(builder.build().unwrap(), Some(marker)).map_err(text)?;
            }
            Op::Write => self.log.write().map_err(text)?,
            Op::Flush { finish } => {
                if self.flush.is_none() {
                    let producers = self.producers.clone();
                    let job = self.log.begin_flush(&mut || producers.to_snapshot());
                    self.flush = job.map(|job| (job, self.log.written_end()));
                }
                if *finish {
                    self.finish_flush()?;
                }
            }
            Op::FinishFlush => self.finish_flush()?,
            Op::Vouch => {
                self.finish_flush()?;
                let producers = self.producers.clone();
                let job = self.log.begin_vouch(&mut || producers.to_snapshot());
                self.flush = job.map(|job| (job, self.log.written_end()));
                self.finish_flush()?;
            }
            Op::Roll => self.log.roll(&self.producers.to_snapshot()).map_err(text)?,
            Op::NewEpoch => self.model.epoch += 1,
            Op::Truncate { per_mille } => {
                let to = self.between(*per_mille);
                let cut = self.model.batches.iter().find(|(header, ..)| header.last_offset() >= to);
                let cut = cut.map_or(to, |(header, ..)| header.base_offset.min(to));
                self.model.durable = self.model.durable.min(cut);
                if to < self.model.first {
                    return Ok(());
                }
                // The disk may stop while it is at it: then the batches are the old ones or fewer.
                let end = self.log.truncate_to(to).map_err(text)?;
                self.model.truncate(to);
                assert_eq!(end, self.model.end());
                self.producers = Transactions::default();
                self.log.replay(&mut self.producers).map_err(text)?;
                assert_eq!(self.producers, self.model.replay().0, "open transactions");
            }
            Op::Restart { ahead } => {
                let offset = self.log.log_end().plus(i64::from(*ahead) - 25);
                let offset = offset.max(Offset::ZERO);
                self.log.restart_at(offset).map_err(text)?;
                let (epoch, time) = (self.model.epoch, self.model.time);
                self.model = Model {
                    first: offset,
                    log_start: offset,
                    durable: offset,
                    epoch,
                    time,
                    ..Model::default()
                };
                self.producers = Transactions::default();
            }
            Op::MoveStart { per_mille } => {
                // The broker goes no further than the high watermark.
                let to = self.between(*per_mille).min(self.log.durable_end());
                self.log.move_start(to).map_err(text)?;
                self.model.log_start = self.model.log_start.max(to);
            }
            Op::Retain { bytes, unflushed } => {
                self.log.set_config(LogConfig { retention_bytes: i64::from(*bytes), ..config() });
                let producers = self.producers.clone();
                let durable = self.log.durable_end();
                let high_watermark = if *unflushed { self.log.log_end() } else { durable };
                let retained = self
                    .log
                    .retain(Timestamp(0), high_watermark, &mut || producers.to_snapshot())
                    .map_err(text)?;
                assert!(
                    retained.log_start >= self.model.log_start && retained.log_start <= self.log.log_end()
                );
                self.model.log_start = retained.log_start;
            }
            Op::Checkpoint => self.dir.checkpoint().map_err(|error| error.to_string())?,
            Op::Chores => self.dir.do_chores(),
            Op::CloseIdleFiles => self.log.close_idle_files(),
            Op::CleanRestart | Op::Kill | Op::PowerLoss { .. } => unreachable!("not a simple operation"),
        }
        Ok(())
    }

    fn batch(&self, records: u8, value: u16, packed: bool, producer: u8) -> Bytes {
        let mut builder = BatchBuilder::new()
            .base_offset(self.log.log_end())
            .leader_epoch(LeaderEpoch(self.model.epoch))
            .codec(if packed { Codec::Lz4 } else { Codec::None });
        if producer > 0 {
            builder = builder
                .producer(ProducerId(i64::from(producer)), ProducerEpoch(0), Sequence(0))
                .transactional();
        }
        for i in 0..records {
            let time = Timestamp(1_000_000 + self.model.time + i64::from(i) * 3);
            builder.push(time, None, Some(&vec![i ^ value as u8; usize::from(value)]));
        }
        builder.build().unwrap()
    }

    fn append(&mut self, bytes: Bytes, control: Option<ControlRecord>) -> Result<(), ottla_log::LogError> {
        let header = BatchHeader::parse(&bytes).unwrap();
        if self.log.roll_due(&header, Timestamp(0)) {
            self.log.roll(&self.producers.to_snapshot())?;
        }
        let body = bytes.slice(HEADER_LEN..);
        self.log.append(AppendBatch { body, header })?;
        if let Some(aborted) = self.producers.batch(&header, control.clone()) {
            self.log.append_aborted(aborted);
        }
        self.model.batches.push((header, bytes, control));
        Ok(())
    }

    fn finish_flush(&mut self) -> Result<(), String> {
        let Some((job, end)) = self.flush.take() else { return Ok(()) };
        let done = job.run();
        let failed = done.result.as_ref().err().map(|error| error.to_string());
        let durable = self.log.finish_flush(done);
        assert!(durable <= end.max(durable) && durable <= self.log.written_end());
        match failed {
            Some(error) => Err(error),
            None => {
                assert!(durable >= self.model.durable);
                self.model.durable = durable;
                Ok(())
            }
        }
    }

    fn between(&self, per_mille: u16) -> Offset {
        let (first, end) = (self.model.log_start.0, self.log.log_end().0);
        Offset(first + (end - first) * i64::from(per_mille) / 1000)
    }

    fn clean_restart(&mut self) {
        self.finish_flush().unwrap();
        if let Some(job) = self.log.close(&self.producers.to_snapshot()).unwrap() {
            self.log.finish_flush(job.run());
        }
        assert_eq!(self.log.durable_end(), self.model.end());
        self.model.durable = self.model.end();
        self.reopen(|world| world.dir.mark_clean(None).unwrap());
        assert_eq!(self.log.log_end(), self.model.end());
        assert_eq!(self.log.log_start(), self.model.log_start);
        assert_eq!(self.log.unvouched_bytes(), 0);
    }

    fn crash(&mut self, random: &mut dyn FnMut() -> u64, disk_keeps_all: bool) {
        self.flush = None;
        let (written, disk) = (self.log.written_end(), self.disk.clone());
        let mut crash = |_: &World| {
            if !disk_keeps_all {
                disk.crash(random)
            }
        };
        self.reopen(&mut crash);
        let end = self.log.log_end();
        if disk_keeps_all {
            assert_eq!(end, written, "a process that dies loses nothing that it had written");
        }
        assert!(end >= self.model.durable, "lost {} to {}", end, self.model.durable);
        assert!(self.model.batches.iter().any(|(h, ..)| h.next_offset() == end) || end == self.model.first);
        self.model.truncate(end);
        assert!(self.log.log_start() <= end);
        self.model.log_start = self.log.log_start();
    }

    /// Drops everything, does `meanwhile`, opens again.
    fn reopen(&mut self, meanwhile: impl FnOnce(&World)) {
        meanwhile(self);
        self.disk.set_faults(Faults { short_writes: self.short_writes, ..Faults::default() });
        self.dir = open_dir(&self.disk);
        let found = self.dir.partitions().unwrap();
        let Some(found) = found.first() else {
            assert_eq!(self.model.durable, self.model.first, "the folder is gone with what was durable");
            self.log = Log::create(&self.dir, TOPIC, PARTITION, TOPIC_ID, config()).unwrap();
            self.model = Model { epoch: self.model.epoch, time: self.model.time, ..Model::default() };
            self.producers = Transactions::default();
            return;
        };
        let mut transactions = Transactions::default();
        let opened = Log::open(
            &self.dir,
            TOPIC,
            PARTITION,
            Some(TOPIC_ID),
            config(),
            found.recovery,
            &mut transactions,
        )
        .unwrap();
        self.log = opened.log;
        let end = self.log.log_end();
        self.model.batches.retain(|(header, ..)| header.last_offset() < end);
        assert_eq!(transactions, self.model.replay().0, "open transactions");
        self.producers = transactions;
        for (i, epoch) in opened.epochs.iter().enumerate().skip(1) {
            let first = self.model.batches.iter().find(|(h, ..)| h.partition_leader_epoch == epoch.epoch);
            assert_eq!(first.unwrap().0.base_offset, epoch.start, "epoch {i}");
        }
    }
}
