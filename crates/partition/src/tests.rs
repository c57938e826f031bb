//! The machine on a disk in memory: answers of a leader, time, and a failing disk.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ottla_coordinator::Producer;
use ottla_log::{DataDir, DirOptions, FlushJob, Identity, Log, LogConfig, MemDisk};
use ottla_replica::{
    Acks, AppendError, Appended, Durability, Event, LeaderAnswer, LeaderReply, PartitionState, RecoveryState,
    Replica, ReplicaBroker, ReplicaConfig, Restored, Standing, ViewRole,
};
use ottla_wire::batch::{
    AppendBatch, BatchBuilder, BatchHeader, BatchLimits, HEADER_LEN, Origin, Scratch, ValidatedBatch,
    validate,
};
use ottla_wire::{
    BrokerId, EpochStart, Instant, LeaderEpoch, Offset, PartitionEpoch, PartitionIndex, ProducerEpoch,
    ProducerId, Sequence, Timestamp, Uuid,
};

use crate::restore::Rebuilt;
use crate::{AppendOutcome, AppendRequest, Due, Generation, LodgerAppend, Marker, MarkerRequest, Turn, Wish};

const ME: BrokerId = BrokerId(1);
const LEADER: BrokerId = BrokerId(2);
pub(crate) const TURN: Turn = Turn { now: Instant(0), wall: Timestamp(0) };

pub(crate) type Partition = crate::Partition<&'static str, ()>;

pub(crate) fn in_memory(disk: &MemDisk) -> DataDir {
    let identity = Identity { node_id: Some(1), cluster_id: Some("c".to_owned()) };
    let options = DirOptions {
        disk: Arc::new(disk.clone()),
        background: false,
        checkpoint_interval: Duration::from_secs(3600),
        ..DirOptions::default()
    };
    DataDir::open_with("/data", &identity, options).unwrap()
}

fn empty_log(dir: &DataDir, config: LogConfig) -> Log {
    Log::create(dir, "t", PartitionIndex(0), Uuid([7; 16]), config).unwrap()
}

/// Ten records of one producer, in the form of a leader's log.
fn ten_records(base_offset: Offset, epoch: i32, sequence: i32) -> Bytes {
    let mut batch = BatchBuilder::new().base_offset(base_offset).leader_epoch(LeaderEpoch(epoch)).producer(
        ProducerId(5),
        ProducerEpoch(0),
        Sequence(sequence),
    );
    for _ in 0..10 {
        batch.push(Timestamp(1), None, Some(b"v"));
    }
    batch.build().unwrap()
}

/// Three flushed batches of ten records each, in epochs 0, 1 and 2, from one producer.
pub(crate) fn log(dir: &DataDir) -> Log {
    let mut log = empty_log(dir, LogConfig::default());
    for epoch in 0..3 {
        let bytes = ten_records(log.log_end(), epoch, epoch * 10);
        let header = BatchHeader::parse(&bytes).unwrap();
        log.append(AppendBatch { body: bytes.slice(HEADER_LEN..), header }).unwrap();
    }
    flush(&mut log);
    log
}

fn flush(log: &mut Log) {
    log.write().unwrap();
    let flushed = log.begin_flush(&mut Default::default).unwrap().run();
    log.finish_flush(flushed);
}

/// A replica with this log. The records before `high_watermark` are committed, and each epoch has ten
/// records.
fn replica(mut log: Log, config: ReplicaConfig, high_watermark: Offset) -> Partition {
    let mut rebuilt = Rebuilt::new(&config);
    log.replay(&mut rebuilt).unwrap();
    let start = |epoch: i32| EpochStart { epoch: LeaderEpoch(epoch), start: Offset(i64::from(epoch) * 10) };
    let restored = Restored {
        log_start: log.log_start(),
        log_end: log.log_end(),
        durable_end: log.durable_end(),
        high_watermark,
        epochs: (0..3).map(start).filter(|entry| entry.start < log.log_end()).collect(),
        producers: rebuilt.into_producers(),
    };
    Partition::new(Replica::new(config, restored), log)
}

/// The metadata in epoch 3.
fn led_by(leader: BrokerId) -> Event {
    let replica = |broker| ReplicaBroker { broker, epoch: None, standing: Standing::Active };
    Event::Assigned(PartitionState {
        leader: Some(leader),
        leader_epoch: LeaderEpoch(3),
        partition_epoch: PartitionEpoch(3),
        isr: vec![leader],
        elr: Vec::new(),
        last_known_elr: Vec::new(),
        replicas: vec![replica(ME), replica(LEADER)],
        recovery: RecoveryState::Recovered,
    })
}

/// A follower of [`LEADER`] with this log. The first ten records are committed.
fn follower(log: Log) -> Partition {
    let mut partition = replica(log, ReplicaConfig::new(ME), Offset(10));
    partition.step(TURN, led_by(LEADER));
    partition
}

/// A leader of this log. Its followers are out of sync.
pub(crate) fn leader(log: Log, durability: Durability) -> Partition {
    let config = ReplicaConfig { durability, ..ReplicaConfig::new(ME) };
    let end = log.log_end();
    let mut partition = replica(log, config, end);
    partition.step(TURN, led_by(ME));
    assert!(partition.end_turn(TURN).flush.is_none());
    partition
}

/// The leader's answer to a fetch from the end of the log.
fn answer(partition: &mut Partition, reply: LeaderReply) {
    let (epoch, offset) = (LeaderEpoch(3), partition.log().log_end());
    partition.leader_answered(TURN, LeaderAnswer { epoch, offset, reply });
    assert!(partition.end_turn(TURN).flush.is_none(), "nothing is left to flush");
}

fn last_sequence(partition: &Partition) -> Option<Sequence> {
    partition.producers().first().map(|producer| producer.last_sequence)
}

fn one_record() -> ValidatedBatch {
    let mut batch = BatchBuilder::new();
    batch.push(Timestamp(1), None, Some(b"v"));
    validate(batch.build().unwrap(), &BatchLimits::default(), &mut Scratch::default()).unwrap()
}

fn append(partition: &mut Partition, acks: Acks, waiter: &'static str) {
    let request = AppendRequest { batch: one_record(), acks, deadline: Instant(u64::MAX), verified: None };
    partition.append(TURN, request, waiter);
}

/// One record of a transaction, as a coordinator writes it.
pub(crate) fn of_coordinator(producer: Producer) -> ValidatedBatch {
    let mut batch = BatchBuilder::new().producer(producer.id, producer.epoch, Sequence::NONE).transactional();
    batch.push(Timestamp(1), Some(b"k"), Some(b"v"));
    let limits = BatchLimits { origin: Origin::Broker, ..BatchLimits::default() };
    validate(batch.build().unwrap(), &limits, &mut Scratch::default()).unwrap()
}

pub(crate) fn commit(producer: Producer) -> MarkerRequest {
    let (coordinator_epoch, transaction_version) = (0, 0);
    let (commit, deadline) = (true, Instant(u64::MAX));
    MarkerRequest { producer, commit, coordinator_epoch, transaction_version, deadline }
}

/// One record at this offset of [`log`].
fn appended(offset: Offset) -> Appended {
    let (log_append_time, log_start) = (Timestamp::NONE, Offset(0));
    Appended { base_offset: offset, last_offset: offset, log_append_time, log_start }
}

/// Ends the turn. Returns the answered waiters, the high watermark, and the flush to run.
fn end_turn(partition: &mut Partition) -> (Vec<(&'static str, AppendOutcome)>, Offset, Option<FlushJob>) {
    let ended = partition.end_turn(TURN);
    (ended.appends.collect(), ended.view.replica.high_watermark, ended.flush)
}

/// The waiters answered at the end of the turn.
fn answered(partition: &mut Partition) -> Vec<(&'static str, AppendOutcome)> {
    partition.end_turn(TURN).appends.collect()
}

#[test]
fn a_log_that_has_parted_from_its_leaders_is_cut_and_forgets_what_was_cut() {
    let mut partition = follower(log(&in_memory(&MemDisk::new())));
    assert_eq!(last_sequence(&partition), Some(Sequence(29)));
    // The leader's epoch 1 ends inside our second batch: no batch is cut in two.
    answer(&mut partition, LeaderReply::Diverged { epoch: LeaderEpoch(1), end: Offset(15) });
    let view = partition.view();
    assert_eq!((partition.log().log_end(), view.replica.log_end), (Offset(10), Offset(10)));
    assert_eq!(last_sequence(&partition), Some(Sequence(9)));
    assert_eq!((view.log_end.offset, view.replica.epochs.latest()), (Offset(10), Some(LeaderEpoch(0))));
    // The core goes on: it takes the answer to its fetch from after the cut.
    answer(&mut partition, LeaderReply::OutOfRange { start: Offset(100), end: Offset(200) });
    assert_eq!((partition.log().log_start(), partition.log().log_end()), (Offset(100), Offset(100)));
    assert_eq!(partition.view().replica.log_start, Offset(100));
    assert_eq!(last_sequence(&partition), None);
}

#[test]
fn a_disk_that_fails_at_it_takes_the_partition_offline() {
    let disk = MemDisk::new();
    let mut partition = follower(log(&in_memory(&disk)));
    disk.set_faults(ottla_log::Faults { syncs_fail: true, ..Default::default() });
    answer(&mut partition, LeaderReply::Diverged { epoch: LeaderEpoch(1), end: Offset(15) });
    assert_eq!(partition.view().replica.role, ViewRole::Offline);
    assert!(partition.failure().is_some());
}

/// The core is past the whole run when its first batch gets to the log. So a segment starts before a run,
/// never inside it.
#[test]
fn of_what_a_leader_sends_a_follower_takes_what_fits_into_a_segment() {
    let batch_len = ten_records(Offset(0), 3, 0).len() as u64;
    let config = LogConfig { segment_bytes: 3 * batch_len, ..LogConfig::default() };
    let mut partition = replica(
        empty_log(&in_memory(&MemDisk::new()), config),
        ReplicaConfig { durability: Durability::PageCache, ..ReplicaConfig::new(ME) },
        Offset(0),
    );
    partition.step(TURN, led_by(LEADER));
    assert!(matches!(partition.end_turn(TURN).wishes.next_back(), Some(Wish::Fetch(_))));
    let mut ends = Vec::new();
    for _ in 0..3 {
        let end = partition.log().log_end();
        let mut records = BytesMut::new();
        for number in 0..4 {
            let base = end.plus(number * 10);
            records.extend_from_slice(&ten_records(base, 3, i32::try_from(base.0).unwrap()));
        }
        // The last batch is cut off, as in real fetches.
        records.truncate(records.len() - 3);
        let (high_watermark, log_start) = (Offset(0), Offset(0));
        let reply = LeaderReply::Records { records: records.freeze(), high_watermark, log_start };
        partition.leader_answered(TURN, LeaderAnswer { epoch: LeaderEpoch(3), offset: end, reply });
        let mut ended = partition.end_turn(TURN);
        let wish = ended.wishes.next_back();
        let end = ended.view.replica.log_end;
        assert!(matches!(wish, Some(Wish::Fetch(fetch)) if fetch.offset == end && !fetch.after_pause));
        ends.push(end.0);
    }
    assert_eq!(ends, [30, 60, 90]);
    let sizes: Vec<u64> = partition.log().reader().segments().iter().map(|segment| segment.size).collect();
    assert_eq!(sizes, [3 * batch_len; 3]);
}

#[test]
fn a_log_is_asked_to_vouch_if_it_has_enough_to_be_found_and_rarely_if_it_has_given_up_flushes() {
    const MUCH: Option<u64> = Some(1 << 20);
    let cases = [
        ("it is not time", 1, 40, None, false),
        ("it has little", 1, 40, MUCH, false),
        ("it is time", 1, 4, Some(1), true),
        ("given up flushes, too early", i64::MAX, 29, Some(1), false),
        ("given up flushes", i64::MAX, 30, Some(1), true),
    ];
    for (name, flush_messages, seconds, vouching, expected) in cases {
        let disk = MemDisk::new();
        let dir = in_memory(&disk);
        let mut log = log(&dir);
        log.set_config(LogConfig { flush_messages, ..LogConfig::default() });
        let end = log.log_end();
        let mut partition = follower(log);
        let turn = Turn { now: Instant(seconds * 1_000_000_000), wall: Timestamp(0) };
        partition.tick(turn, Due { retention: false, vouching });
        let job = partition.end_turn(turn).flush;
        assert_eq!(job.is_some(), expected, "{name}");
        if let Some(job) = job {
            partition.flushed(turn, job.run());
            dir.do_chores();
            assert_eq!(partition.unvouched_bytes(), 0, "{name}");
            drop((partition, dir));
            let found = in_memory(&disk).partitions().unwrap();
            assert_eq!(found[0].recovery.recovery_point, end, "{name}: after a crash");
        }
    }
}

/// Every sender gets an answer if the log does not take its batch, even if the core had already acknowledged
/// it (acks=1).
#[test]
fn a_disk_that_has_failed_answers_everybody() {
    for acks in [Acks::Leader, Acks::InSync] {
        let disk = MemDisk::new();
        let dir = in_memory(&disk);
        let mut partition = leader(log(&dir), Durability::PageCache);
        append(&mut partition, acks, "before");
        dir.health().judge("test", &std::io::Error::other("another partition of the disk has failed"));
        append(&mut partition, acks, "after");
        let outcomes = answered(&mut partition);
        let waiters: Vec<&str> = outcomes.iter().map(|(waiter, _)| *waiter).collect();
        assert_eq!(waiters, ["before", "after"], "{acks:?}");
        assert!(outcomes.iter().all(|(_, outcome)| *outcome == Err(AppendError::Storage)), "{outcomes:?}");
        assert!(!partition.has_waiters());
    }
}

/// Room is looked for, long enough after a write was refused for another to be tried.
fn find_room(dir: &DataDir) {
    dir.look_for_room(Instant(0));
    dir.look_for_room(Instant(3_600_000_000_000));
}

fn fill(disk: &MemDisk, dir: &DataDir, left: u64) {
    let used = u64::MAX - dir.space().unwrap().usable;
    disk.set_faults(ottla_log::Faults { capacity: Some(used + left), ..Default::default() });
}

/// What a full disk does not take was never appended: nobody hears otherwise, and its offsets go to the next
/// one. What was there before goes on.
#[test]
fn a_full_disk_refuses_appends_until_there_is_room() {
    for (durability, acks) in [
        (Durability::PageCache, Acks::Leader),
        (Durability::PageCache, Acks::InSync),
        (Durability::Flushed, Acks::Leader),
        (Durability::Flushed, Acks::InSync),
    ] {
        let disk = MemDisk::new();
        let dir = in_memory(&disk);
        let mut partition = leader(log(&dir), durability);
        append(&mut partition, acks, "before");
        let (at_once, _, flush) = end_turn(&mut partition);
        fill(&disk, &dir, 100);
        append(&mut partition, acks, "half of it is written");
        append(&mut partition, acks, "lost with it");
        let lost = Err(AppendError::NoRoom);
        let (refused, high_watermark, _) = end_turn(&mut partition);
        assert_eq!(
            refused,
            [("half of it is written", lost), ("lost with it", lost)],
            "{durability:?} {acks:?}"
        );
        assert!(high_watermark <= Offset(31) && partition.failure().is_none() && dir.health().is_online());
        assert_eq!((partition.log().log_end(), partition.view().replica.log_end), (Offset(31), Offset(31)));
        assert_eq!(partition.view().replica.epochs.latest(), Some(LeaderEpoch(3)));
        append(&mut partition, acks, "refused at once");
        assert_eq!(answered(&mut partition), [("refused at once", lost)]);
        // The flush was of what is there.
        let mut heard = at_once;
        if let Some(job) = flush {
            partition.flushed(TURN, job.run());
            heard.extend(answered(&mut partition));
        }
        assert_eq!(heard, [("before", Ok(appended(Offset(30))))]);
        disk.set_faults(ottla_log::Faults::default());
        find_room(&dir);
        append(&mut partition, acks, "after");
        let (mut heard, _, flush) = end_turn(&mut partition);
        if let Some(job) = flush {
            partition.flushed(TURN, job.run());
            heard.extend(answered(&mut partition));
        }
        assert_eq!(heard, [("after", Ok(appended(Offset(31))))]);
        assert_eq!(last_sequence(&partition), Some(Sequence(29)));
    }
}

/// A follower asks again after a pause; with room it goes on where it was.
#[test]
fn a_follower_with_a_full_disk_asks_again() {
    let disk = MemDisk::new();
    let dir = in_memory(&disk);
    let config = ReplicaConfig { durability: Durability::PageCache, ..ReplicaConfig::new(ME) };
    let mut partition = replica(log(&dir), config, Offset(30));
    partition.step(TURN, led_by(LEADER));
    assert_eq!(partition.end_turn(TURN).wishes.count(), 1);
    let run = || LeaderReply::Records {
        records: ten_records(Offset(30), 3, 30),
        high_watermark: Offset(30),
        log_start: Offset(0),
    };
    let asks_again = |partition: &mut Partition| match partition.end_turn(TURN).wishes.next_back() {
        Some(Wish::Fetch(fetch)) => (fetch.offset, fetch.after_pause),
        other => panic!("{other:?}"),
    };
    for left in [20, 0] {
        fill(&disk, &dir, left);
        let (epoch, offset) = (LeaderEpoch(3), partition.log().log_end());
        partition.leader_answered(TURN, LeaderAnswer { epoch, offset, reply: run() });
        assert_eq!(asks_again(&mut partition), (Offset(30), true));
        assert!(partition.failure().is_none());
        assert_eq!((partition.log().log_end(), last_sequence(&partition)), (Offset(30), Some(Sequence(29))));
    }
    disk.set_faults(ottla_log::Faults::default());
    find_room(&dir);
    let (epoch, offset) = (LeaderEpoch(3), Offset(30));
    partition.leader_answered(TURN, LeaderAnswer { epoch, offset, reply: run() });
    assert_eq!(asks_again(&mut partition), (Offset(40), false));
    assert_eq!(last_sequence(&partition), Some(Sequence(39)));
}

/// A flush that cannot begin counts as one that failed. It must not be tried again and again.
#[test]
fn a_partition_whose_flush_cannot_begin_goes_offline() {
    let dir = in_memory(&MemDisk::new());
    let mut partition = leader(log(&dir), Durability::Flushed);
    append(&mut partition, Acks::InSync, "first");
    let job = partition.end_turn(TURN).flush.unwrap();
    append(&mut partition, Acks::InSync, "second");
    assert!(partition.end_turn(TURN).flush.is_none(), "one flush at a time");
    partition.flushed(TURN, job.run());
    dir.health().judge("test", &std::io::Error::other("another partition of the disk has failed"));
    // A failed turn promises nothing, not even data that an earlier flush made durable.
    let failed = Err(AppendError::Storage);
    assert_eq!(answered(&mut partition), [("first", failed), ("second", failed)]);
    assert_eq!(partition.view().replica.role, ViewRole::Offline);
}

/// A lodger gets a marker once it is committed, and not before.
#[test]
fn markers_are_told_once_they_are_committed() {
    let mut partition = leader(log(&in_memory(&MemDisk::new())), Durability::Flushed);
    partition.keep_markers(true);
    let producer = Producer { id: ProducerId(5), epoch: ProducerEpoch(1) };
    let batch = of_coordinator(producer);
    let (generation, epoch) = (Generation(4), LeaderEpoch(3));
    partition.append_for_lodger(TURN, 0, LodgerAppend { batch, generation, epoch });
    partition.write_marker(TURN, &commit(producer), "coordinator");
    let (outcomes, committed, job) = end_turn(&mut partition);
    assert_eq!(outcomes, []);
    assert_eq!(taken(&mut partition, committed), (Vec::new(), Vec::new()));
    partition.flushed(TURN, job.unwrap().run());
    let (outcomes, committed, _) = end_turn(&mut partition);
    assert_eq!(outcomes, [("coordinator", Ok(appended(Offset(31))))]);
    let marker = Marker { offset: Offset(31), producer, commit: true };
    let outcome = (0, Generation(4), Ok(appended(Offset(30))));
    assert_eq!(taken(&mut partition, committed), (vec![outcome], vec![marker]));
    assert_eq!(taken(&mut partition, committed), (Vec::new(), Vec::new()), "each once");
}

/// The markers that lodgers get once the log is committed up to here.
fn taken(
    partition: &mut Partition,
    committed: Offset,
) -> (Vec<(usize, Generation, AppendOutcome)>, Vec<Marker>) {
    let (mut outcomes, mut markers) = (Vec::new(), Vec::new());
    partition.take_outcomes(&mut outcomes);
    partition.take_markers(committed, &mut markers);
    (outcomes, markers)
}

/// An index stores offsets in 31 bits relative to the segment's first. Compressed, that many fit into a small
/// segment.
#[test]
fn a_segment_ends_before_its_offsets_are_too_many_for_its_index() {
    let near_the_end = i32::MAX - 1;
    for marker in [false, true] {
        let mut log = empty_log(&in_memory(&MemDisk::new()), LogConfig::default());
        let bytes = ten_records(Offset(0), 0, 0);
        let mut header = BatchHeader::parse(&bytes).unwrap();
        header.last_offset_delta = near_the_end;
        log.append(AppendBatch { body: bytes.slice(HEADER_LEN..), header }).unwrap();
        flush(&mut log);
        let mut partition = leader(log, Durability::PageCache);
        for waiter in ["last of its segment", "first of its segment"] {
            if marker {
                let producer = Producer { id: ProducerId(5), epoch: ProducerEpoch(1) };
                partition.write_marker(TURN, &commit(producer), waiter);
            } else {
                append(&mut partition, Acks::Leader, waiter);
            }
            let outcomes = answered(&mut partition);
            assert!(matches!(outcomes[..], [(_, Ok(_))]), "{waiter}: {outcomes:?}");
        }
        assert_eq!(partition.log().reader().segments().len(), 2);
    }
}
