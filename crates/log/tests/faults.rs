//! What happens to a log when the disk fails, fills up or lies, and what a data directory refuses.

// Helpers of tests fail their test; the lint only knows functions that are marked as tests.
#![allow(clippy::unwrap_used)]

#[path = "support/kafka_dir.rs"]
mod kafka_dir;
#[path = "support/logs.rs"]
mod logs;

use std::sync::Arc;

use kafka_dir::unpack_kafka_dir;
use logs::{TOPIC_ID, append, batch, create, flush, identity, mem_dir, no_producers, reopen};
use ottla_log::{
    Cold, DataDir, DirOptions, Disk, Faults, Flusher, Identity, Log, LogConfig, LogError, MemDisk, NoReplay,
    Open, OpenError, ReadError, RealDisk, Recovery,
};
use ottla_wire::batch::BatchHeader;
use ottla_wire::{
    AbortedTxn, EpochStart, Instant, LeaderEpoch, Offset, PartitionIndex, ProducerId, Timestamp, Uuid,
};

#[test]
fn a_full_disk_shows_nothing_half_written_and_the_log_goes_on_when_there_is_room() {
    let disk = MemDisk::new();
    let dir = mem_dir(&disk);
    let mut log = create(&dir, "t");
    append(&mut log, 3, 100);
    let used = u64::MAX - dir.space().unwrap().usable;
    disk.set_faults(Faults { capacity: Some(used + 500), ..Faults::default() });
    log.append(batch(log.log_end(), 2, 100, 1000)).unwrap();
    log.append(batch(log.log_end(), 9, 100, 1000)).unwrap();
    assert!(matches!(log.write(), Err(LogError::Full { .. })));
    assert_eq!((log.log_end(), log.written_end()), (Offset(3), Offset(3)));
    assert_eq!(disk.len("/data/t-0/00000000000000000000.log".as_ref()).unwrap(), log.size(), "cut back");
    assert!(dir.health().is_online() && dir.health().room().is_full());
    assert_eq!(flush(&mut log), Offset(3));
    // What was there can still be read.
    let plan = log.reader().read(Offset(0), 1 << 20, log.bound(Offset(3)), true, Cold::Wait).unwrap();
    assert_eq!(plan.read(Cold::Wait).unwrap().len() as u64, log.size());
    disk.set_faults(Faults::default());
    append(&mut log, 2, 100);
    assert_eq!(flush(&mut log), Offset(5));
    drop((log, dir));
    let dir = mem_dir(&disk);
    assert_eq!(reopen(&dir, "t").log_end(), Offset(5));
}

/// Whatever a log does that needs room: it is refused or put off, and nothing that is there is harmed. With
/// room again everything is done; a crash in between finds a whole log.
#[test]
fn a_full_disk_harms_nothing_at_any_byte() {
    for left in 0..1500 {
        let disk = MemDisk::new();
        let dir = mem_dir(&disk);
        let config = LogConfig {
            segment_bytes: 400,
            index_interval_bytes: 0,
            retention_bytes: 500,
            ..LogConfig::default()
        };
        let mut log = Log::create(&dir, "t", PartitionIndex(0), TOPIC_ID, config.clone()).unwrap();
        let add = |log: &mut Log| -> Result<(), LogError> {
            let next = batch(log.log_end(), 2, 20, 1000 + log.log_end().0);
            if log.roll_due(&next.header, Timestamp(1)) {
                log.roll(&no_producers())?;
            }
            let next = batch(log.log_end(), 2, 20, 1000 + log.log_end().0);
            log.append(next)?;
            let first = log.log_end().plus(-2);
            log.append_aborted(AbortedTxn {
                producer_id: ProducerId(1),
                first_offset: first,
                last_offset: first.plus(1),
                last_stable_offset: first.plus(2),
            });
            log.write()
        };
        (0..5).for_each(|_| add(&mut log).unwrap());
        flush(&mut log);
        let used = u64::MAX - dir.space().unwrap().usable;
        disk.set_faults(Faults { capacity: Some(used + left), ..Faults::default() });
        let mut acknowledged = log.log_end();
        for round in 0..12 {
            match add(&mut log) {
                Ok(()) => {}
                Err(LogError::Full { .. }) => assert_eq!(log.log_end(), log.written_end()),
                Err(error) => panic!("{left}: {error}"),
            }
            if round % 3 == 0 {
                log.store_epochs(&[EpochStart { epoch: LeaderEpoch(0), start: Offset(0) }]);
                if let Some(job) = log.begin_vouch(&mut no_producers) {
                    acknowledged = log.finish_flush(job.run());
                }
                let _full = dir.checkpoint();
            }
        }
        assert!(dir.health().is_online(), "{left}: {:?}", dir.health().failure());
        let now = || log.log_end();
        if left % 2 == 0 {
            // Power goes while the disk is full.
            let at_least = if log.durable_end() == now() { now() } else { acknowledged };
            drop((log, dir));
            let mut seed = left;
            disk.crash(&mut || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                seed >> 33
            });
            let log = reopen(&mem_dir(&disk), "t");
            assert!(log.log_end() >= at_least, "{left}: {} {at_least}", log.log_end());
            check_batches(&log, left);
            continue;
        }
        match log.retain(Timestamp(2000), log.log_end(), &mut no_producers) {
            Ok(_) | Err(LogError::Full { .. }) => {}
            Err(error) => panic!("{left}: {error}"),
        }
        disk.set_faults(Faults::default());
        let end = log.log_end();
        add(&mut log).unwrap();
        flush(&mut log);
        assert_eq!(log.log_end(), end.plus(2), "{left}");
        check_batches(&log, left);
        check_aborted(&log, left);
        dir.checkpoint().unwrap();
        drop((log, dir));
        let log = reopen(&mem_dir(&disk), "t");
        assert_eq!(log.log_end(), end.plus(2), "{left}");
        check_batches(&log, left);
    }
}

/// From the start of a log to its end there is one batch after the other.
fn check_batches(log: &Log, left: u64) {
    let mut at = log.log_start();
    while at < log.log_end() {
        let plan = log.reader().read(at, 1, log.bound(log.log_end()), true, Cold::Wait).unwrap();
        let header = BatchHeader::parse(&plan.read(Cold::Wait).unwrap()).unwrap();
        assert_eq!(header.base_offset, at, "{left}");
        at = header.next_offset();
    }
}

/// Each batch is in the index of aborted transactions, once.
fn check_aborted(log: &Log, left: u64) {
    let aborted = log.reader().aborted_transactions(log.log_start(), log.log_end(), Cold::Wait).unwrap();
    let firsts: Vec<i64> = aborted.iter().map(|txn| txn.first_offset.0).collect();
    let expected: Vec<i64> = (log.log_start().0..log.log_end().0).step_by(2).collect();
    assert_eq!(firsts, expected, "{left}");
}

#[test]
fn a_failed_sync_is_not_tried_again() {
    let disk = MemDisk::new();
    let dir = mem_dir(&disk);
    let (mut log, mut other) = (create(&dir, "t"), create(&dir, "u"));
    append(&mut log, 1, 10);
    append(&mut other, 1, 10);
    let later = other.begin_flush(&mut no_producers).unwrap();
    disk.set_faults(Faults { syncs_fail: true, ..Faults::default() });
    assert_eq!(flush(&mut log), Offset(0));
    disk.set_faults(Faults::default());
    assert!(!dir.health().is_online());
    assert!(log.begin_flush(&mut no_producers).is_none(), "the kernel may have dropped the pages");
    let done = later.run();
    assert!(done.result.is_err(), "no log of the directory is flushed any more");
    assert_eq!(other.finish_flush(done), Offset(0));
    assert!(dir.mark_clean(None).is_err());
}

#[test]
fn bit_rot_below_the_recovery_point_is_cut_not_served() {
    let disk = MemDisk::new();
    let dir = mem_dir(&disk);
    let mut log = create(&dir, "t");
    for _ in 0..4 {
        append(&mut log, 1, 100);
    }
    let job = log.begin_vouch(&mut no_producers).unwrap();
    log.finish_flush(job.run());
    dir.checkpoint().unwrap();
    assert_eq!(log.unvouched_bytes(), 0);
    drop(log);
    let len = disk.len("/data/t-0/00000000000000000000.log".as_ref()).unwrap() as usize;
    disk.corrupt("/data/t-0/00000000000000000000.log".as_ref(), len / 2 + 8, &[0xff; 4]).unwrap();
    let log = reopen(&mem_dir(&disk), "t");
    assert_eq!(log.log_end(), Offset(2));
    assert_eq!(log.recovery_point(), Offset(2));
}

/// A topic that is created again under its old name is not vouched for by the checkpoints of the one before.
#[test]
fn an_old_checkpoint_does_not_vouch_for_a_new_log() {
    let disk = MemDisk::new();
    let dir = mem_dir(&disk);
    let mut log = create(&dir, "t");
    append(&mut log, 100, 10);
    let job = log.begin_vouch(&mut no_producers).unwrap();
    log.finish_flush(job.run());
    log.set_high_watermark(Offset(100));
    dir.checkpoint().unwrap();
    log.delete().unwrap();
    assert!(dir.partitions().unwrap().is_empty());
    dir.do_chores();
    let names: Vec<_> = disk.read_dir("/data".as_ref()).unwrap();
    assert!(!names.iter().any(|entry| entry.is_dir), "the deleted folder is gone: {names:?}");
    let mut log = create(&dir, "t");
    append(&mut log, 100, 10);
    drop(log);
    let found = &mem_dir(&disk).partitions().unwrap()[0];
    assert_eq!((found.recovery.recovery_point, found.high_watermark), (Offset(0), Offset(0)));
}

#[test]
fn deleted_records_stay_deleted_after_a_checkpoint() {
    let disk = MemDisk::new();
    let dir = mem_dir(&disk);
    let mut log = create(&dir, "t");
    for _ in 0..3 {
        append(&mut log, 10, 10);
        log.roll(&no_producers()).unwrap();
    }
    flush(&mut log);
    log.set_config(LogConfig { file_delete_delay_ms: 0, ..LogConfig::default() });
    log.move_start(Offset(25)).unwrap();
    assert_eq!(log.reader().segments()[0].base, Offset(20));
    let reader = log.reader();
    let upper = log.bound(log.log_end());
    let below = reader.read(Offset(24), 100, upper, true, Cold::Wait);
    assert!(matches!(below, Err(ReadError::OutOfRange { start: Offset(25), end: Offset(30), .. })));
    assert_eq!(reader.find_timestamp(Timestamp(0), upper).unwrap().unwrap().offset, Offset(25));
    dir.checkpoint().unwrap();
    dir.do_chores();
    assert!(
        !disk.read_dir("/data/t-0".as_ref()).unwrap().iter().any(|entry| entry.name.ends_with(".deleted"))
    );
    drop(log);
    assert_eq!(reopen(&mem_dir(&disk), "t").log_start(), Offset(25));
}

/// Everything is old: the segment that grows is closed and goes too, and offsets go on.
#[test]
fn retention_by_time_empties_a_log_without_forgetting_its_offsets() {
    let disk = MemDisk::new();
    let dir = mem_dir(&disk);
    let mut log = create(&dir, "t");
    append(&mut log, 10, 10);
    log.roll(&no_producers()).unwrap();
    append(&mut log, 10, 10);
    flush(&mut log);
    log.set_config(LogConfig { retention_ms: 500, ..LogConfig::default() });
    let kept = log.retain(Timestamp(1400), Offset(20), &mut no_producers).unwrap();
    assert_eq!(kept.segments, 0);
    let held = log.retain(Timestamp(1600), Offset(15), &mut no_producers).unwrap();
    assert_eq!((held.segments, held.log_start), (1, Offset(10)), "nothing beyond the high watermark goes");
    let gone = log.retain(Timestamp(1600), Offset(20), &mut no_producers).unwrap();
    assert_eq!((gone.segments, gone.log_start, log.size()), (1, Offset(20), 0));
    disk.crash(&mut || 0);
    // The removal may be undone, the new segment is there.
    assert_eq!(reopen(&mem_dir(&disk), "t").log_end(), Offset(20));
}

#[test]
fn compacted_topics_keep_everything() {
    let dir = mem_dir(&MemDisk::new());
    let mut log = create(&dir, "t");
    log.set_config(LogConfig { retention_ms: 0, delete: false, compact: true, ..LogConfig::default() });
    append(&mut log, 10, 10);
    log.roll(&no_producers()).unwrap();
    append(&mut log, 10, 10);
    flush(&mut log);
    assert_eq!(log.retain(Timestamp(1 << 40), Offset(20), &mut no_producers).unwrap().segments, 0);
}

#[test]
fn segments_are_closed_by_size_age_and_index_size() {
    let dir = mem_dir(&MemDisk::new());
    let mut log = create(&dir, "t");
    let next = |log: &Log, time| batch(log.log_end(), 1, 1000, time).header;
    let header = next(&log, 1000);
    assert!(!log.roll_due(&header, Timestamp(1000)), "an empty segment takes anything");
    append(&mut log, 1, 1000);
    let header = next(&log, 1000);
    let size = log.size();
    for (config, due) in [
        (LogConfig { segment_bytes: 2 * size, ..LogConfig::default() }, false),
        (LogConfig { segment_bytes: 2 * size - 1, ..LogConfig::default() }, true),
        (LogConfig { segment_index_bytes: 24, ..LogConfig::default() }, false),
        (LogConfig { segment_index_bytes: 12, ..LogConfig::default() }, true),
    ] {
        log.set_config(config.clone());
        assert_eq!(log.roll_due(&header, Timestamp(1000)), due, "{config:?}");
    }
    log.set_config(LogConfig { segment_ms: 100, ..LogConfig::default() });
    let (young, old) = (next(&log, 1100), next(&log, 1101));
    assert!(!log.roll_due(&young, Timestamp(1000)));
    assert!(log.roll_due(&old, Timestamp(1000)));
    // Offsets so far apart that an index could not hold the difference.
    let far = batch(Offset(1 << 31), 1, 10, 1000);
    assert!(log.roll_due(&far.header, Timestamp(1000)));
    assert!(matches!(log.append(far), Err(LogError::SegmentFull { .. })));
    let back = batch(Offset(0), 1, 10, 1000);
    assert!(matches!(log.append(back), Err(LogError::OutOfOrder { .. })));
}

#[test]
fn flushes_are_due_by_count_and_by_time() {
    let dir = mem_dir(&MemDisk::new());
    let mut log = create(&dir, "t");
    let at = |ms: u64| Instant(ms * 1_000_000);
    assert!(!log.flush_due(at(0)));
    append(&mut log, 1, 10);
    assert!(log.flush_due(at(0)), "by default an ack waits for a flush");
    log.set_config(LogConfig { flush_messages: 3, flush_ms: 50, ..LogConfig::default() });
    assert!(!log.flush_due(at(10)) && !log.flush_due(at(49)));
    assert!(log.flush_due(at(50)));
    append(&mut log, 2, 10);
    assert!(log.flush_due(at(11)));
    let job = log.begin_flush(&mut no_producers).unwrap();
    append(&mut log, 5, 10);
    assert!(!log.flush_due(at(1000)), "one flush at a time");
    assert_eq!(log.finish_flush(job.run()), Offset(3));
    assert!(log.flush_due(at(1000)));
}

/// Nothing was written since the last clean stop, but a new segment was begun: its name is in the folder's
/// pages only.
#[test]
fn a_segment_begun_before_a_clean_stop_is_there_after_a_crash() {
    let disk = MemDisk::new();
    let stop = |dir: DataDir, mut log: Log| {
        if let Some(job) = log.close(&no_producers()).unwrap() {
            log.finish_flush(job.run());
        }
        drop(log);
        dir.mark_clean(None).unwrap();
        drop(dir);
        let dir = mem_dir(&disk);
        let log = reopen(&dir, "t");
        (dir, log)
    };
    let dir = mem_dir(&disk);
    let mut log = create(&dir, "t");
    append(&mut log, 1, 10);
    let (dir, mut log) = stop(dir, log);
    log.roll(&no_producers()).unwrap();
    let (_dir, mut log) = stop(dir, log);
    append(&mut log, 1, 10);
    assert_eq!(flush(&mut log), Offset(2));
    disk.crash(&mut || 0);
    assert_eq!(reopen(&mem_dir(&disk), "t").log_end(), Offset(2));
}

/// The outcome of a flush that began before a truncation says nothing about what was written after it.
#[test]
fn a_flush_under_way_does_not_cover_what_a_truncation_let_in() {
    let dir = mem_dir(&MemDisk::new());
    let mut log = create(&dir, "t");
    append(&mut log, 10, 10);
    append(&mut log, 10, 10);
    let job = log.begin_flush(&mut no_producers).unwrap();
    assert_eq!(log.truncate_to(Offset(15)).unwrap(), Offset(10), "no batch is cut in two");
    append(&mut log, 30, 10);
    assert_eq!(log.finish_flush(job.run()), Offset(10));
    assert_eq!(flush(&mut log), Offset(40));
}

#[test]
fn the_pool_flushes_many_logs() {
    let dir = mem_dir(&MemDisk::new());
    let flusher = Flusher::start(4).unwrap();
    let mut logs: Vec<Log> = (0..50).map(|i| create(&dir, &format!("t{i}"))).collect();
    let (sender, receiver) = std::sync::mpsc::channel();
    for (i, log) in logs.iter_mut().enumerate() {
        append(log, 5, 10);
        let (job, sender) = (log.begin_flush(&mut no_producers).unwrap(), sender.clone());
        let done = move |done| sender.send((i, done)).unwrap();
        assert!(flusher.submit(job, Box::new(done)).is_ok());
    }
    drop(flusher); // waits for what is queued
    drop(sender);
    for (i, done) in receiver {
        assert_eq!(logs[i].finish_flush(done), Offset(5));
    }
    assert!(logs.iter().all(|log| log.durable_end() == Offset(5)));
}

#[test]
fn epochs_are_on_disk_after_a_flush_and_found_again_without() {
    let disk = MemDisk::new();
    let dir = mem_dir(&disk);
    let mut log = create(&dir, "t");
    append(&mut log, 5, 10);
    let epochs = [EpochStart { epoch: LeaderEpoch(0), start: Offset(0) }];
    log.store_epochs(&epochs);
    let job = log.begin_flush(&mut no_producers).unwrap();
    log.finish_flush(job.run());
    let path = "/data/t-0/leader-epoch-checkpoint";
    let file = disk.open(path.as_ref(), Open::Read).unwrap();
    let mut text = [0; 8];
    file.read_at(&mut text, 0).unwrap();
    assert_eq!(&text, b"0\n1\n0 0\n");
    disk.remove_file(path.as_ref()).unwrap();
    drop(log);
    let recovery = Recovery::default();
    let opened = Log::open(
        &mem_dir(&disk),
        "t",
        PartitionIndex(0),
        None,
        LogConfig::default(),
        recovery,
        &mut NoReplay,
    );
    assert_eq!(opened.unwrap().epochs, epochs);
}

#[test]
fn another_topics_folder_is_refused() {
    let dir = mem_dir(&MemDisk::new());
    append(&mut create(&dir, "t"), 1, 10);
    let open = |dir: &DataDir, topic: &str, id| {
        Log::open(dir, topic, PartitionIndex(0), id, LogConfig::default(), Recovery::default(), &mut NoReplay)
    };
    assert!(matches!(open(&dir, "t", Some(Uuid([8; 16]))), Err(LogError::OtherTopic { .. })));
    assert_eq!(open(&dir, "t", None).unwrap().log.topic_id(), Some(TOPIC_ID));
    assert!(open(&dir, "none", Some(TOPIC_ID)).is_err());
    let again = Log::create(&dir, "t", PartitionIndex(0), TOPIC_ID, LogConfig::default());
    assert!(again.is_err());
    assert!(dir.health().is_online(), "mistakes of the caller are not failures of the disk");
}

#[test]
fn a_compaction_that_kafka_did_not_finish_is_refused_and_told() {
    let disk = MemDisk::new();
    let dir = mem_dir(&disk);
    append(&mut create(&dir, "t"), 1, 10);
    disk.open("/data/t-0/00000000000000000000.log.swap".as_ref(), Open::Create).unwrap();
    let config = LogConfig::default();
    let opened = Log::open(&dir, "t", PartitionIndex(0), None, config, Recovery::default(), &mut NoReplay);
    assert!(matches!(opened, Err(LogError::UnfinishedCompaction { .. })));
    assert!(dir.health().is_online());
}

/// A partition that nobody has written to is a folder; it is the topic's that is opened there.
#[test]
fn an_unused_log_is_a_folder() {
    let disk = MemDisk::new();
    let dir = mem_dir(&disk);
    let log = create(&dir, "t");
    assert!(log.reader().read(Offset(0), 100, log.bound(Offset(0)), true, Cold::Wait).unwrap().is_empty());
    assert_eq!(log.reader().find_timestamp(Timestamp(0), log.bound(Offset(0))).unwrap(), None);
    drop(log);
    assert!(disk.read_dir("/data/t-0".as_ref()).unwrap().is_empty());
    let dir = mem_dir(&disk);
    assert_eq!(dir.partitions().unwrap()[0].topic_id, None);
    let mut log = reopen(&dir, "t");
    assert_eq!(log.topic_id(), Some(TOPIC_ID));
    append(&mut log, 5, 10);
    assert_eq!(flush(&mut log), Offset(5));
    assert_eq!(dir.partitions().unwrap()[0].topic_id, Some(TOPIC_ID));
    let mut unused = create(&dir, "u");
    let done = unused.close(&no_producers()).unwrap().unwrap().run();
    unused.finish_flush(done);
    let names: Vec<_> =
        disk.read_dir("/data/u-0".as_ref()).unwrap().into_iter().map(|entry| entry.name).collect();
    let base = "00000000000000000000";
    let kafkas = ["index", "log", "timeindex"].map(|kind| format!("{base}.{kind}"));
    assert_eq!(names, [&kafkas[..], &["partition.metadata".to_owned()]].concat());
}

#[test]
fn a_directory_is_of_one_process_node_and_cluster() {
    let guard = tempfile::tempdir().unwrap();
    let path = guard.path().join("a/b");
    let new = DataDir::open(&path, &Identity::default());
    assert!(matches!(new, Err(OpenError::NoIdentity { .. })));
    let dir = DataDir::open(&path, &identity()).unwrap();
    assert!(!dir.was_clean());
    match DataDir::open(&path, &identity()) {
        Err(OpenError::InUse { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    let id = dir.meta().directory_id;
    drop(dir);
    let node = Identity { node_id: Some(2), ..Identity::default() };
    let error = DataDir::open(&path, &node).unwrap_err().to_string();
    assert!(error.contains("--set node.id=1"), "{error}");
    let cluster = Identity { cluster_id: Some("other".to_owned()), ..Identity::default() };
    assert!(matches!(DataDir::open(&path, &cluster), Err(OpenError::OtherCluster { .. })));
    assert_eq!(DataDir::open(&path, &Identity::default()).unwrap().meta().directory_id, id);

    std::fs::remove_file(path.join("meta.properties")).unwrap();
    std::fs::create_dir(path.join("t-0")).unwrap();
    assert!(matches!(DataDir::open(&path, &identity()), Err(OpenError::NoMeta { .. })));
    unpack_kafka_dir(guard.path());
    std::fs::write(guard.path().join("data/log-start-offset-checkpoint"), "0\n7\n").unwrap();
    let damaged = DataDir::open(guard.path().join("data"), &Identity::default());
    assert!(matches!(damaged, Err(OpenError::NoLogStarts { .. })));
}

/// Readers on other threads see whole batches in order while the owner appends, rolls and retains.
#[test]
fn readers_keep_up_with_a_writer_that_rolls_and_retains() {
    let guard = tempfile::tempdir().unwrap();
    let options = DirOptions { disk: Arc::new(RealDisk), background: true, ..DirOptions::default() };
    let dir = DataDir::open_with(guard.path(), &identity(), options).unwrap();
    let mut log = create(&dir, "t");
    log.set_config(LogConfig {
        segment_bytes: 20_000,
        retention_bytes: 60_000,
        index_interval_bytes: 500,
        file_delete_delay_ms: 0,
        ..LogConfig::default()
    });
    let bound = Arc::new(std::sync::Mutex::new(log.bound(Offset(0))));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (reader, bound) = (log.reader(), Arc::clone(&bound));
            std::thread::spawn(move || {
                let mut next = Offset(0);
                while next < Offset(6000) {
                    let upper = *bound.lock().unwrap();
                    match reader.read(next, 3000, upper, true, Cold::Wait) {
                        Ok(plan) => {
                            let bytes = plan.read(Cold::Wait).unwrap();
                            for view in ottla_wire::batch::batches(bytes).map_while(|view| view.ok()) {
                                view.check_crc().unwrap();
                                assert!(view.header().base_offset <= next.max(view.header().base_offset));
                                next = view.header().next_offset();
                            }
                        }
                        Err(ReadError::OutOfRange { start, .. }) => next = start,
                        Err(error) => panic!("{error}"),
                    }
                    std::thread::yield_now();
                }
            })
        })
        .collect();
    while log.log_end() < Offset(6000) {
        let next = batch(log.log_end(), 2, 100, 1000);
        if log.roll_due(&next.header, Timestamp(1000)) {
            log.roll(&no_producers()).unwrap();
        }
        log.append(next).unwrap();
        log.write().unwrap();
        *bound.lock().unwrap() = log.bound(log.log_end());
        if log.log_end().0 % 200 == 0 {
            log.retain(Timestamp(1000), log.log_end(), &mut no_producers).unwrap();
        }
    }
    for reader in readers {
        reader.join().unwrap();
    }
    assert!(log.log_start() > Offset(0));
}
