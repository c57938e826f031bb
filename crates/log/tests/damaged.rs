//! Every file of a data directory, emptied, cut in half, zeroed, and missing: what the next start makes of
//! it.

// Helpers of tests fail their test; the lint only knows functions that are marked as tests.
#![allow(clippy::unwrap_used)]

#[path = "support/logs.rs"]
mod logs;

use std::fs;
use std::path::{Path, PathBuf};

use logs::{TOPIC_ID, batch, identity, no_producers};
use ottla_log::{Cold, DataDir, DirOptions, Log, LogConfig, NoReplay, ReadError};
use ottla_wire::batch::BatchHeader;
use ottla_wire::{BrokerEpoch, EpochStart, LeaderEpoch, Offset, PartitionIndex, Timestamp};

/// Batches of one record, three in a segment.
const BATCHES: i64 = 8;

fn config() -> LogConfig {
    LogConfig { segment_bytes: 1000, index_interval_bytes: 0, ..LogConfig::default() }
}

fn open_dir(path: &Path) -> Result<DataDir, String> {
    let options = DirOptions { background: false, ..DirOptions::default() };
    DataDir::open_with(path, &identity(), options).map_err(|error| error.to_string())
}

/// A directory as a clean stop leaves it; records before 1 have been deleted.
fn make(path: &Path, clean: bool) {
    let dir = open_dir(path).unwrap();
    dir.vouch_flushed_first(BrokerEpoch(7)).unwrap();
    let mut log = Log::create(&dir, "t", PartitionIndex(0), TOPIC_ID, config()).unwrap();
    log.store_epochs(&[EpochStart { epoch: LeaderEpoch(0), start: Offset(0) }]);
    for at in 0..BATCHES {
        let next = batch(Offset(at), 1, 200, 1000 + at);
        if log.roll_due(&next.header, Timestamp(1)) {
            log.roll(&no_producers()).unwrap();
        }
        log.append(next).unwrap();
        log.write().unwrap();
    }
    log.set_high_watermark(Offset(BATCHES));
    log.move_start(Offset(1)).unwrap();
    if let Some(job) = log.close(&no_producers()).unwrap() {
        log.finish_flush(job.run());
    }
    dir.checkpoint().unwrap();
    drop(log);
    if clean {
        dir.mark_clean(Some(BrokerEpoch(7))).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

fn files(dir: &Path, under: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, under, all),
            false => all.push(path.strip_prefix(under).unwrap().to_owned()),
        }
    }
    all.sort();
}

const HOW: [&str; 4] = ["emptied", "cut", "zeroed", "missing"];

fn damage(path: &Path, how: &str) {
    let bytes = fs::read(path).unwrap();
    match how {
        "emptied" => fs::write(path, b"").unwrap(),
        "cut" => fs::write(path, &bytes[..bytes.len() / 2]).unwrap(),
        "zeroed" => fs::write(path, vec![0; bytes.len()]).unwrap(),
        _ => fs::remove_file(path).unwrap(),
    }
}

/// What a start makes of a directory, in a few words.
fn outcome(path: &Path) -> String {
    let dir = match open_dir(path) {
        Ok(dir) => dir,
        Err(error) => return format!("refused: {}", about(path, &error)),
    };
    let found = dir.partitions().unwrap().remove(0);
    let opened =
        Log::open(&dir, "t", PartitionIndex(0), Some(TOPIC_ID), config(), found.recovery, &mut NoReplay);
    let log = match opened {
        Ok(opened) => opened.log,
        Err(error) => return format!("no log: {}", about(path, &error.to_string())),
    };
    let mut said = vec![format!("{} to {}", log.log_start(), log.log_end())];
    said.extend(find_holes(&log));
    if said.len() == 1 {
        said.extend(find_times(&log));
    }
    if found.high_watermark != Offset(BATCHES) {
        said.push(format!("high watermark {}", found.high_watermark));
    }
    said.join(", ")
}

/// An error MUST name a file of the directory, and say what to do.
fn about(path: &Path, error: &str) -> String {
    assert!(error.contains(path.to_str().unwrap()), "{error}");
    assert!(error.contains("restore") && (error.contains("delete") || error.contains("--data")), "{error}");
    let file = error.split([' ', '/', ':']).rfind(|word| word.contains('-') && word.contains("checkpoint"));
    file.or_else(|| {
        error.split([' ', '/', ':']).find(|word| word.starts_with("meta") || word.ends_with(".log"))
    })
    .unwrap_or_else(|| panic!("no file is named: {error}"))
    .to_owned()
}

/// Where reading on from the start does not find the next record.
fn find_holes(log: &Log) -> Option<String> {
    let mut at = log.log_start();
    while at < log.log_end() {
        let read = log.reader().read(at, 1, log.bound(log.log_end()), true, Cold::Wait);
        match read.map(|plan| BatchHeader::parse(&plan.read(Cold::Wait).unwrap()).unwrap()) {
            Ok(header) if header.base_offset == at => at = header.next_offset(),
            Ok(header) => return Some(format!("{at} to {} left out", header.base_offset)),
            Err(ReadError::Corrupt { .. }) => return Some(format!("corrupt at {at}")),
            Err(other) => return Some(other.to_string()),
        }
    }
    None
}

/// Which search by time does not find the record of that time.
fn find_times(log: &Log) -> Option<String> {
    let finds = |at: &i64| {
        let found = log.reader().find_timestamp(Timestamp(1000 + at), log.bound(log.log_end())).unwrap();
        found.is_some_and(|found| found.offset == Offset(*at))
    };
    let missed = (log.log_start().0..log.log_end().0).find(|at| !finds(at))?;
    Some(format!("search finds too late a record for {missed}"))
}

const WHOLE: [&str; 4] = ["1 to 8"; 4];

/// For each file what becomes of the directory, emptied, cut, zeroed and missing. Nothing of this depends on
/// whether the directory was closed cleanly.
const TABLE: [(&str, [&str; 4]); 21] = [
    (".kafka_cleanshutdown", WHOLE),
    (".lock", WHOLE),
    (".ottla_flushed_first", WHOLE),
    // What only this file says.
    ("log-start-offset-checkpoint", [LOG_STARTS, LOG_STARTS, LOG_STARTS, "0 to 8"]),
    ("meta.properties", [META; 4]),
    // All logs are scanned once, and the high watermark is found anew.
    ("recovery-point-offset-checkpoint", WHOLE),
    ("replication-offset-checkpoint", ["1 to 8, high watermark 0"; 4]),
    // The first segment: without the file the log begins later, as after retention.
    ("t-0/00000000000000000000.index", WHOLE),
    (
        "t-0/00000000000000000000.log",
        ["no log: 00000000000000000000.log", "1 to 8, corrupt at 1", "1 to 8, corrupt at 1", "3 to 8"],
    ),
    // What is left of a time index that was cut is a time index.
    (
        "t-0/00000000000000000000.timeindex",
        [WHOLE[0], "1 to 8, search finds too late a record for 2", WHOLE[0], WHOLE[0]],
    ),
    // One in the middle.
    ("t-0/00000000000000000003.index", WHOLE),
    (
        "t-0/00000000000000000003.log",
        [
            "no log: 00000000000000000003.log",
            "1 to 8, corrupt at 4",
            "1 to 8, corrupt at 3",
            "no log: 00000000000000000003.log",
        ],
    ),
    ("t-0/00000000000000000003.snapshot", WHOLE),
    (
        "t-0/00000000000000000003.timeindex",
        [WHOLE[0], "1 to 8, search finds too late a record for 5", WHOLE[0], WHOLE[0]],
    ),
    // The last one: the log ends earlier, and an error is logged.
    ("t-0/00000000000000000006.index", WHOLE),
    ("t-0/00000000000000000006.log", ["1 to 6", "1 to 7", "1 to 6", "1 to 6"]),
    ("t-0/00000000000000000006.snapshot", WHOLE),
    ("t-0/00000000000000000006.timeindex", WHOLE),
    ("t-0/00000000000000000008.snapshot", WHOLE),
    ("t-0/leader-epoch-checkpoint", WHOLE),
    ("t-0/partition.metadata", WHOLE),
];

const LOG_STARTS: &str = "refused: log-start-offset-checkpoint";
const META: &str = "refused: meta.properties";

/// What can be worked out again is worked out again; what cannot is an error that names the one file. A
/// second start finds what the first one has made.
#[test]
fn every_file_may_be_damaged_or_missing() {
    let temp = tempfile::tempdir().unwrap();
    for clean in [true, false] {
        let base = temp.path().join(format!("base-{clean}"));
        make(&base, clean);
        let mut all = Vec::new();
        files(&base, &base, &mut all);
        let expected = TABLE.iter().map(|(file, _)| PathBuf::from(file));
        let expected: Vec<PathBuf> = expected.filter(|file| clean || !file.starts_with(CLEAN_MARK)).collect();
        assert_eq!(all, expected, "the table has a row for each file");
        for (file, outcomes) in TABLE.iter().filter(|(file, _)| clean || *file != CLEAN_MARK) {
            for (how, expected) in HOW.iter().zip(outcomes) {
                let copied = temp.path().join("copy");
                copy(&base, &copied);
                damage(&copied.join(file), how);
                assert_eq!(outcome(&copied), *expected, "{file} {how}, clean: {clean}");
                if !expected.contains(':') {
                    let again = outcome(&copied).replace(", high watermark 0", "");
                    assert_eq!(again, expected.replace(", high watermark 0", ""), "{file} {how}, once more");
                }
                fs::remove_dir_all(&copied).unwrap();
            }
        }
    }
}

const CLEAN_MARK: &str = ".kafka_cleanshutdown";
