//! A log on a disk that fails, held against a list of batches.
//!
//! Random operations run on a [`Log`] over a simulated disk that stops at random moments and loses what was not synced.
//! After every operation the log shows the batches of the model; after every crash a prefix of them that holds everything
//! that was durable.

// Helpers of tests fail their test; the lint only knows functions that are marked as tests.
#![allow(clippy::unwrap_used)]

#[path = "support/recorder.rs"]
mod recorder;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_log::{
    AbortedTxn, Bound, DataDir, DirOptions, Faults, FlushDone, FlushJob, Identity, Log, LogConfig, MemDisk,
    Replay,
};
use ottla_wire::batch::{
    AppendBatch, BatchBuilder, BatchHeader, BatchView, ControlRecord, HEADER_LEN, batches,
};
use ottla_wire::compress::Codec;
use ottla_wire::{LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, Timestamp, Uuid};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use recorder::Recorder;

const TOPIC: &str = "t";
const PARTITION: PartitionIndex = PartitionIndex(0);
const TOPIC_ID: Uuid = Uuid([7; 16]);

#[derive(Clone, Debug)]
enum Op {
    Append {
        records: u8,
        value: u16,
        time: i8,
        packed: bool,
        producer: u8,
    },
    Abort {
        producer: u8,
    },
    Write,
    /// Begin and finish, or begin only: then the outcome comes with a later one.
    Flush {
        finish: bool,
    },
    FinishFlush,
    Vouch,
    Roll,
    NewEpoch,
    Truncate {
        per_mille: u16,
    },
    Restart {
        ahead: u8,
    },
    MoveStart {
        per_mille: u16,
    },
    Retain {
        bytes: u16,
    },
    Checkpoint,
    Chores,
    CloseIdleFiles,
    CleanRestart,
    /// The process dies; the disk keeps everything.
    Kill,
    /// Power loss after some more changes to the disk.
    PowerLoss {
        seed: u64,
        changes_left: Option<u8>,
        then: Box<Op>,
    },
}

fn any_op() -> impl Strategy<Value = Op> {
    let simple = simple_op().boxed();
    prop_oneof![
        30 => simple.clone(),
        1 => Just(Op::CleanRestart),
        1 => Just(Op::Kill),
        2 => (any::<u64>(), proptest::option::of(0..12u8), simple).prop_map(|(seed, changes_left, then)| {
            Op::PowerLoss { seed, changes_left, then: Box::new(then) }
        }),
    ]
}

fn simple_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (1..6u8, 0..700u16, any::<i8>(), any::<bool>(), 0..4u8).prop_map(
            |(records, value, time, packed, producer)| Op::Append { records, value, time, packed, producer }
        ),
        2 => (1..4u8).prop_map(|producer| Op::Abort { producer }),
        6 => Just(Op::Write),
        4 => any::<bool>().prop_map(|finish| Op::Flush { finish }),
        2 => Just(Op::FinishFlush),
        2 => Just(Op::Vouch),
        2 => Just(Op::Roll),
        1 => Just(Op::NewEpoch),
        1 => (0..1100u16).prop_map(|per_mille| Op::Truncate { per_mille }),
        1 => (0..50u8).prop_map(|ahead| Op::Restart { ahead }),
        1 => (0..1100u16).prop_map(|per_mille| Op::MoveStart { per_mille }),
        1 => (0..6000u16).prop_map(|bytes| Op::Retain { bytes }),
        2 => Just(Op::Checkpoint),
        1 => Just(Op::Chores),
        1 => Just(Op::CloseIdleFiles),
    ]
}

/// Every batch that was appended since the log was last restarted, also those that retention has removed.
#[derive(Debug, Default)]
struct Model {
    batches: Vec<(BatchHeader, Bytes, Option<ControlRecord>)>,
    /// Where the log was (re)started.
    first: Offset,
    log_start: Offset,
    /// Below this nothing may ever be lost.
    durable: Offset,
    epoch: i32,
    time: i64,
}

impl Model {
    fn end(&self) -> Offset {
        self.batches.last().map_or(self.first, |(header, ..)| header.next_offset())
    }

    /// What replaying everything gives: the open transactions and the aborted ones.
    fn replay(&self) -> (Recorder, Vec<AbortedTxn>) {
        let mut recorder = Recorder::default();
        let aborted = self.batches.iter().filter_map(|(h, _, control)| recorder.batch(h, control.clone()));
        let aborted = aborted.collect();
        (recorder, aborted)
    }

    fn truncate(&mut self, to: Offset) {
        self.batches.retain(|(header, ..)| header.last_offset() < to);
        self.durable = self.durable.min(self.end());
        self.log_start = self.log_start.min(self.end());
    }
}

struct World {
    disk: MemDisk,
    dir: DataDir,
    log: Log,
    model: Model,
    /// The live state of the producers, as a replica has it.
    producers: Recorder,
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
    };
    DataDir::open_with("/data", &identity, options).unwrap()
}

impl World {
    fn new(short_writes: Option<usize>) -> World {
        let disk = MemDisk::new();
        disk.set_faults(Faults { short_writes, ..Faults::default() });
        let dir = open_dir(&disk);
        let log = Log::create(&dir, TOPIC, PARTITION, TOPIC_ID, config()).unwrap();
        let (model, producers) = (Model::default(), Recorder::default());
        World { disk, dir, log, model, producers, flush: None, short_writes }
    }

    fn run(&mut self, op: &Op) {
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

    /// Runs an operation. If it fails the disk has stopped, and what is known to be durable is what was so before.
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
                self.producers = self.model.replay().0;
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
                self.producers = Recorder::default();
            }
            Op::MoveStart { per_mille } => {
                // The broker goes no further than the high watermark.
                let to = self.between(*per_mille).min(self.log.durable_end());
                self.log.move_start(to).map_err(text)?;
                self.model.log_start = self.model.log_start.max(to);
            }
            Op::Retain { bytes } => {
                self.log.set_config(LogConfig { retention_bytes: i64::from(*bytes), ..config() });
                let producers = self.producers.clone();
                let high_watermark = self.log.durable_end();
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
        let (head, body) = (*bytes.first_chunk::<HEADER_LEN>().unwrap(), bytes.slice(HEADER_LEN..));
        self.log.append(AppendBatch { head, body, header })?;
        if let Some(aborted) = self.producers.batch(&header, control.clone()) {
            self.log.append_aborted(aborted);
        }
        self.model.batches.push((header, bytes, control));
        Ok(())
    }

    fn finish_flush(&mut self) -> Result<(), String> {
        let Some((job, end)) = self.flush.take() else { return Ok(()) };
        let FlushDone { id, result } = job.run();
        let failed = result.as_ref().err().map(|error| error.to_string());
        let durable = self.log.finish_flush(FlushDone { id, result });
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
            self.producers = Recorder::default();
            return;
        };
        let mut recorder = Recorder::default();
        let opened =
            Log::open(&self.dir, TOPIC, PARTITION, Some(TOPIC_ID), config(), found.recovery, &mut recorder)
                .unwrap();
        self.log = opened.log;
        let end = self.log.log_end();
        self.model.batches.retain(|(header, ..)| header.last_offset() < end);
        assert_eq!(recorder.ongoing, self.model.replay().0.ongoing, "open transactions");
        self.producers = recorder;
        for (i, epoch) in opened.epochs.iter().enumerate().skip(1) {
            let first = self.model.batches.iter().find(|(h, ..)| h.partition_leader_epoch == epoch.epoch);
            assert_eq!(first.unwrap().0.base_offset, epoch.start, "epoch {i}");
        }
    }

    /// The log shows what the model holds.
    fn check(&self, pick: u64) {
        let reader = self.log.reader();
        assert_eq!(reader.log_start(), self.model.log_start);
        let written = self.log.written_end();
        let upper = self.log.bound(written);
        let visible: Vec<_> = self.model.batches.iter().filter(|(h, ..)| h.last_offset() < written).collect();
        let kept: Vec<_> = visible.iter().filter(|(h, ..)| h.last_offset() >= self.model.log_start).collect();

        let mut read = Vec::new();
        let mut offset = self.model.log_start;
        while offset < written {
            let plan = reader.read(offset, 2000, upper, true).unwrap();
            let whole: Vec<BatchView> = batches(plan.read().unwrap()).map_while(|batch| batch.ok()).collect();
            assert!(!whole.is_empty(), "nothing at {offset} below {written}");
            offset = whole.last().unwrap().header().next_offset();
            read.extend(whole);
        }
        assert!(read.iter().map(|view| view.bytes()).eq(kept.iter().map(|(_, bytes, _)| bytes)));
        let headers = reader.batches(self.model.log_start, upper).map(|header| header.unwrap());
        assert!(headers.eq(kept.iter().map(|(header, ..)| *header)));

        if !kept.is_empty() {
            let (header, bytes, _) = kept[pick as usize % kept.len()];
            self.check_at(header, bytes, upper, &kept);
        }
        // Of transactions that began below the start what is left is not all there was.
        let (_, aborted) = self.model.replay();
        let shown = |txn: &&AbortedTxn| txn.first_offset >= self.model.log_start && txn.last_offset < written;
        let expected: Vec<AbortedTxn> = aborted.iter().filter(shown).copied().collect();
        let found = reader.aborted_transactions(self.model.log_start, written).unwrap();
        let found: Vec<AbortedTxn> = found.iter().filter(shown).copied().collect();
        assert_eq!(found, expected);
    }

    /// A read at a batch, a read below it, and a search for its time.
    fn check_at(
        &self,
        header: &BatchHeader,
        bytes: &Bytes,
        upper: Bound,
        kept: &[&&(BatchHeader, Bytes, Option<ControlRecord>)],
    ) {
        let reader = self.log.reader();
        for offset in [header.base_offset, header.last_offset()] {
            if offset >= self.model.log_start {
                let plan = reader.read(offset, 1, upper, true).unwrap();
                assert_eq!(plan.read().unwrap(), bytes);
                assert_eq!(reader.read(offset, 1, upper, false).unwrap().len(), 1);
                assert!(reader.read(offset, 1 << 20, self.log.bound(offset), true).unwrap().is_empty());
            }
            let below = self.log.bound(offset);
            let before = reader.batches(self.model.log_start, below).map(|header| header.unwrap());
            assert!(
                before.eq(kept.iter().map(|(h, ..)| *h).filter(|h| h.last_offset() < header.base_offset))
            );
        }
        let wanted = header.max_timestamp;
        let records = kept.iter().flat_map(|(_, bytes, _)| {
            BatchView::parse(bytes.clone()).unwrap().records(1 << 20).unwrap().map(|record| record.unwrap())
        });
        let records: Vec<_> = records.filter(|record| record.offset >= self.model.log_start).collect();
        let expected = records.iter().find(|record| record.timestamp >= wanted);
        let found = reader.find_timestamp(wanted, upper).unwrap();
        assert_eq!(found.map(|found| found.offset), expected.map(|record| record.offset));
    }
}

/// A failure is the same each time. `OTTLA_MODEL_SEED=n` looks elsewhere.
fn seed() -> u64 {
    std::env::var("OTTLA_MODEL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_123)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, rng_seed: RngSeed::Fixed(seed()), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn log_is_the_list_of_its_batches(
        ops in proptest::collection::vec((any_op(), any::<u64>()), 1..120),
        short_writes in proptest::option::weighted(0.2, 20..400usize),
    ) {
        let mut world = World::new(short_writes);
        for (op, pick) in &ops {
            world.run(op);
            world.check(*pick);
        }
    }
}
