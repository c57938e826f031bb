//! Every error that the file system can give, wherever a log asks it for something: what is short is waited
//! for, what cannot be done fails by itself, and only a disk that is no good takes the directory offline.

// Helpers of tests fail their test; the lint only knows functions that are marked as tests.
#![allow(clippy::unwrap_used)]

#[path = "support/errno.rs"]
mod errno;
#[path = "support/logs.rs"]
mod logs;

use std::thread;

use errno::{Call, ErrnoDisk};
use logs::{TOPIC_ID, append, batch, create, flush, mem_dir, no_producers, reopen};
use ottla_log::{DataDir, FlushJob, Log, LogConfig, LogError, Verdict};
use ottla_wire::{Offset, PartitionIndex, Timestamp};
use rustix::io::Errno;

/// Something that is done to a directory with the log `t`, which has records, and whether it was done.
type Step = (&'static str, fn(&DataDir, &mut Log) -> bool);

const STEPS: [Step; 9] = [
    ("write", |_, log| {
        log.append(batch(log.log_end(), 1, 10, 1000)).unwrap();
        log.write().is_ok()
    }),
    ("first write", |dir, _| {
        let Ok(mut log) = make(dir, "first") else { return false };
        log.append(batch(Offset(0), 1, 10, 1000)).unwrap();
        log.write().is_ok()
    }),
    ("flush", |_, log| {
        let done = log.begin_flush(&mut no_producers).unwrap().run();
        let flushed = done.result.is_ok();
        log.finish_flush(done);
        flushed
    }),
    ("vouch", |_, log| {
        let done = log.begin_vouch(&mut no_producers).map(FlushJob::run);
        let flushed = done.as_ref().is_some_and(|done| done.result.is_ok());
        done.map(|done| log.finish_flush(done));
        flushed
    }),
    ("roll", |_, log| log.roll(&no_producers()).is_ok()),
    ("retain", |_, log| log.retain(Timestamp(i64::MAX / 2), log.log_end(), &mut no_producers).is_ok()),
    ("truncate", |_, log| log.truncate_to(Offset(1)).is_ok()),
    ("checkpoint", |dir, log| {
        log.set_high_watermark(Offset(1));
        dir.checkpoint().is_ok()
    }),
    ("create", |dir, _| make(dir, "made").is_ok()),
];

fn make(dir: &DataDir, topic: &str) -> Result<Log, LogError> {
    Log::create(dir, topic, PartitionIndex(0), TOPIC_ID, LogConfig::default())
}

const CALLS: [Call; 6] = [Call::Open, Call::Read, Call::Write, Call::Sync, Call::SetLen, Call::Names];

fn with_records() -> (ErrnoDisk, DataDir, Log) {
    let disk = ErrnoDisk::default();
    let dir = mem_dir(&disk);
    let mut log = create(&dir, "t");
    (0..3).for_each(|_| append(&mut log, 1, 10));
    (disk, dir, log)
}

/// What is on the disk can be used again after the fault, by the same process.
fn still_serves(dir: &DataDir) {
    let mut other = create(dir, "other");
    append(&mut other, 1, 10);
    assert_eq!(flush(&mut other), Offset(1));
    dir.checkpoint().unwrap();
}

#[test]
fn an_error_that_lasts_costs_no_more_than_it_must() {
    let errnos = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOMEM,
        Errno::ACCESS,
        Errno::PERM,
        Errno::INVAL,
        Errno::NAMETOOLONG,
        Errno::BUSY,
        Errno::NOSPC,
        Errno::DQUOT,
        Errno::IO,
        Errno::ROFS,
        Errno::NODEV,
        Errno::STALE,
    ];
    let lasting = |errno: Errno| {
        for (name, step) in STEPS {
            for call in CALLS {
                let what = format!("{name}: {call:?} fails with {errno:?}");
                let (disk, dir, mut log) = with_records();
                disk.fail(call, errno.raw_os_error(), usize::MAX);
                let done = step(&dir, &mut log);
                disk.mend();
                let online = dir.health().is_online();
                let offline = match Verdict::of(&errno.into()) {
                    _ if call == Call::Sync => true,
                    Verdict::Again => false,
                    // The directory's own files are nobody else's to fail.
                    Verdict::Fails => name == "checkpoint" || name == "truncate",
                    Verdict::Full | Verdict::Offline => true,
                };
                assert!(online || offline, "{what} takes the directory offline");
                if !online {
                    assert!(!done, "{what}, and is called done");
                    continue;
                }
                still_serves(&dir);
                drop(log);
                assert!(reopen(&mem_dir(&disk), "t").log_end() >= Offset(1), "{what}");
            }
        }
    };
    thread::scope(|scope| {
        for errno in errnos {
            scope.spawn(move || lasting(errno));
        }
    });
}

#[test]
fn what_is_short_for_a_moment_is_not_noticed() {
    let passing = |errno: Errno| {
        for (name, step) in STEPS {
            // A sync is never tried again.
            for call in CALLS.into_iter().filter(|call| *call != Call::Sync) {
                let (disk, dir, mut log) = with_records();
                disk.fail(call, errno.raw_os_error(), 3);
                let done = step(&dir, &mut log);
                // A file has its length set when it is made or cut, and it is asked once.
                if call != Call::SetLen {
                    assert!(done, "{name}: {call:?} fails with {errno:?} three times");
                }
                disk.mend();
                assert!(dir.health().is_online(), "{name}: {call:?}, {errno:?}");
                still_serves(&dir);
            }
        }
    };
    thread::scope(|scope| {
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::INTR] {
            scope.spawn(move || passing(errno));
        }
    });
}
