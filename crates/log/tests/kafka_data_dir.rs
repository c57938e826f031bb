//! Opens a data directory as Kafka 4.3.1 left it and holds everything against what Kafka's own dump tool read
//! in it.

// Helpers of tests fail their test; the lint only knows functions that are marked as tests.
#![allow(clippy::unwrap_used)]

#[path = "support/kafka_dir.rs"]
mod kafka_dir;
#[path = "support/recorder.rs"]
mod recorder;
#[path = "support/transactions.rs"]
mod transactions;

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kafka_dir::unpack_kafka_dir;
use ottla_log::{Cold, DataDir, FoundPartition, Identity, Log, LogConfig, LogReader, Opened, Recovery};
use ottla_wire::batch::{BatchView, Record, batches};
use ottla_wire::messages::ProducerSnapshot;
use ottla_wire::{
    AbortedTxn, BrokerEpoch, EpochStart, LeaderEpoch, Offset, PartitionIndex, ProducerId, Timestamp, Uuid,
};
use recorder::Recorder;

const DUMP: &str = include_str!("data/data-dir.txt");
const MAX_DECOMPRESSED: usize = 1 << 20;

/// Log ends, from `recovery-point-offset-checkpoint`.
const ENDS: [(&str, i32, i64); 18] = [
    ("__consumer_offsets", 0, 15),
    ("__consumer_offsets", 1, 0),
    ("__transaction_state", 0, 19),
    ("__transaction_state", 1, 19),
    ("appendtime", 0, 10),
    ("codecs", 0, 500),
    ("codecs", 1, 500),
    ("codecs", 2, 500),
    ("codecs", 3, 500),
    ("codecs", 4, 500),
    ("compacted", 0, 360),
    ("empty", 0, 0),
    ("empty", 1, 0),
    ("plain", 0, 1128),
    ("plain", 1, 983),
    ("plain", 2, 889),
    ("txn", 0, 48),
    ("txn", 1, 36),
];

#[test]
fn kafkas_directory_is_read_whole() {
    let (_guard, dir) = kafka_dir();
    let data = open(&dir);
    assert_eq!(data.meta().node_id, 1);
    assert_eq!(data.meta().cluster_id, "HO3bHZ7yTpWcB1XlmTEHiA");
    assert_eq!(data.meta().directory_id, Uuid::parse("TyFPcEyhneaE9DutxJrZOw").unwrap());
    assert!(data.was_clean());
    assert_eq!(data.clean_broker_epoch(), Some(BrokerEpoch(12)));

    let found = data.partitions().unwrap();
    let names: Vec<_> = found.iter().map(|f| (f.topic.as_str(), f.partition.0, f.high_watermark.0)).collect();
    assert_eq!(names, ENDS);
    for (found, (_, _, end)) in found.iter().zip(ENDS) {
        assert_eq!(found.recovery.recovery_point, Offset(end));
        let mut recorder = Recorder::default();
        let opened = open_log(&data, found, found.recovery, &mut recorder);
        assert_eq!(opened.log.log_end(), Offset(end), "{found:?}");
        assert_eq!(opened.log.durable_end(), Offset(end));
        assert_eq!((opened.scanned_bytes, opened.cut_bytes), (0, 0));
        assert!(recorder.batches.is_empty(), "the snapshot of a clean stop says it all");
        check_snapshot(&sections(found, ".snapshot"), recorder.snapshot.as_ref());
        let epoch = EpochStart { epoch: LeaderEpoch(0), start: Offset(0) };
        assert_eq!(opened.epochs, if end > 0 { vec![epoch] } else { vec![] });
        check_records(found, &opened.log);
        check_aborted(found, &opened.log.reader(), Offset(end));
    }
}

/// With nothing vouched for and no index, snapshot or checkpoint left, the batches alone bring everything
/// back, byte for byte as Kafka had written it.
#[test]
fn kafkas_files_are_rebuilt_from_the_batches_alone() {
    let (_guard, dir) = kafka_dir();
    let before = files(&dir);
    for (path, _) in before.iter().filter(|(path, _)| !path.ends_with(".log") && path.contains('/')) {
        if !path.ends_with("partition.metadata") {
            fs::remove_file(dir.join(path)).unwrap();
        }
    }
    for name in [".kafka_cleanshutdown", "recovery-point-offset-checkpoint", "replication-offset-checkpoint"]
    {
        fs::remove_file(dir.join(name)).unwrap();
    }
    let data = open(&dir);
    assert!(!data.was_clean());
    for found in data.partitions().unwrap() {
        let mut recorder = Recorder::default();
        let mut opened = open_log(&data, &found, found.recovery, &mut recorder);
        let bytes: u64 = opened.log.size();
        assert_eq!(opened.scanned_bytes, bytes, "{found:?}");
        let end = opened.log.log_end();
        assert_eq!(opened.log.durable_end(), Offset(0), "nothing says that what was scanned is durable");
        let last = recorder.batches.last().map_or(0, |last| last.next_offset().0);
        assert_eq!(Offset(last), end);
        check_aborted(&found, &opened.log.reader(), end);
        assert!(
            recorder.transactions.to_snapshot().producer_entries.is_empty(),
            "Kafka stopped with no transaction open"
        );
        let snapshot = last_snapshot(&before, &found);
        opened.log.store_epochs(&opened.epochs);
        let done = opened.log.close(&snapshot).unwrap().expect("there is much to do").run();
        assert_eq!(opened.log.finish_flush(done), end);
    }
    let after = files(&dir);
    for (path, bytes) in &before {
        let rebuilt = [".log", ".index", ".timeindex", ".txnindex"].iter().any(|end| path.ends_with(end));
        if rebuilt && !path.starts_with("__cluster_metadata") {
            assert_eq!(after.get(path), Some(bytes), "{path}");
        }
    }
}

/// Kafka's index entries of a log with many batches, and its end: what the same batches make here.
#[test]
fn index_entries_are_where_kafka_puts_them() {
    let (_guard, dir) = kafka_dir();
    let before = files(&dir);
    for kind in ["index", "timeindex"] {
        fs::remove_file(dir.join(format!("__cluster_metadata-0/00000000000000000000.{kind}"))).unwrap();
    }
    let data = open(&dir);
    let mut opened = Log::open(
        &data,
        "__cluster_metadata",
        PartitionIndex(0),
        None,
        LogConfig::default(),
        Recovery::default(),
        &mut Recorder::default(),
    )
    .unwrap();
    assert_eq!(opened.log.log_end(), Offset(165));
    assert_eq!(opened.epochs, [EpochStart { epoch: LeaderEpoch(1), start: Offset(0) }]);
    let done = opened.log.close(&ProducerSnapshot::default()).unwrap().unwrap().run();
    opened.log.finish_flush(done);
    let after = files(&dir);
    for kind in ["index", "timeindex"] {
        let path = format!("__cluster_metadata-0/00000000000000000000.{kind}");
        assert_eq!(after[&path], before[&path], "{path}");
    }
}

/// Opened, closed and opened again: clean again, and Kafka's files are as they were.
#[test]
fn a_clean_stop_leaves_what_kafka_would() {
    let (_guard, dir) = kafka_dir();
    let before = files(&dir);
    let data = open(&dir);
    let mut logs: Vec<Opened> = Vec::new();
    for found in data.partitions().unwrap() {
        logs.push(open_log(&data, &found, found.recovery, &mut Recorder::default()));
    }
    assert!(!dir.join(".kafka_cleanshutdown").exists());
    for mut opened in logs {
        // A log that was not touched costs nothing to close.
        assert!(opened.log.close(&ProducerSnapshot::default()).unwrap().is_none());
    }
    data.do_chores();
    data.mark_clean(Some(BrokerEpoch(13))).unwrap();
    drop(data);
    let after = files(&dir);
    let kept = |path: &str| !path.ends_with(".deleted") && path.contains('/');
    for (path, bytes) in before.iter().filter(|(path, _)| kept(path)) {
        assert_eq!(after.get(path), Some(bytes), "{path}");
    }
    assert!(!after.keys().any(|path| path.ends_with(".deleted")), "what Kafka had deleted is gone");
    let data = open(&dir);
    assert_eq!(data.clean_broker_epoch(), Some(BrokerEpoch(13)));
    assert_eq!(data.partitions().unwrap().len(), ENDS.len());
}

fn kafka_dir() -> (tempfile::TempDir, PathBuf) {
    let guard = tempfile::tempdir().unwrap();
    unpack_kafka_dir(guard.path());
    let dir = guard.path().join("data");
    // The unpacked files are those that the dump lists.
    for line in DUMP.lines().skip(1).take_while(|line| !line.starts_with("==")) {
        let (path, size) = line.rsplit_once(' ').unwrap();
        assert_eq!(fs::metadata(dir.join(path)).unwrap().len(), size.parse::<u64>().unwrap(), "{path}");
    }
    (guard, dir)
}

fn open(dir: &Path) -> DataDir {
    DataDir::open(dir, &Identity::default()).unwrap()
}

fn open_log(data: &DataDir, found: &FoundPartition, recovery: Recovery, recorder: &mut Recorder) -> Opened {
    assert!(found.topic_id.is_some());
    let config = LogConfig::default();
    Log::open(data, &found.topic, found.partition, found.topic_id, config, recovery, recorder).unwrap()
}

/// Every file below `dir`, by its path within.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
                    match fs::read(&path) {
                        Ok(bytes) => drop(files.insert(name, bytes)),
                        // What is no longer needed is removed in the background.
                        Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{name}: {error}"),
                    }
                }
            }
        }
    }
    files
}

/// The sections of the dump for files of a partition: file name, lines.
fn sections(found: &FoundPartition, suffix: &str) -> Vec<(String, Vec<&'static str>)> {
    let folder = format!("== ./{}-{}/", found.topic, found.partition);
    let mut sections: Vec<(String, Vec<&str>)> = Vec::new();
    let mut inside = false;
    for line in DUMP.lines() {
        if line.starts_with("== ") {
            inside = line.starts_with(&folder) && line.ends_with(suffix);
            if inside {
                sections.push((line[folder.len()..].to_owned(), Vec::new()));
            }
        } else if inside {
            sections.last_mut().unwrap().1.push(line);
        }
    }
    sections
}

/// The value after `name: ` in a line of the dump.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let (_, rest) = line.split_once(&format!("{name}: ")).unwrap_or_else(|| panic!("no {name} in {line}"));
    rest.split(' ').next().unwrap()
}

fn number(line: &str, name: &str) -> i64 {
    field(line, name).parse().unwrap()
}

fn check_snapshot(dumped: &[(String, Vec<&str>)], snapshot: Option<&ProducerSnapshot>) {
    let Some((_, lines)) = dumped.last() else {
        assert!(snapshot.is_none());
        return;
    };
    let entries = &snapshot.unwrap().producer_entries;
    assert_eq!(entries.len(), lines.len());
    for (entry, line) in entries.iter().zip(lines) {
        assert_eq!(entry.producer_id, number(line, "producerId"));
        assert_eq!(i64::from(entry.epoch), number(line, "producerEpoch"));
        assert_eq!(i64::from(entry.coordinator_epoch), number(line, "coordinatorEpoch"));
        assert_eq!(i64::from(entry.last_sequence), number(line, "lastSequence"));
        assert_eq!(entry.last_offset, number(line, "lastOffset"));
        assert_eq!(i64::from(entry.offset_delta), number(line, "offsetDelta"));
        assert_eq!(entry.timestamp, number(line, "lastTimestamp"));
        assert_eq!(field(line, "currentTxnFirstOffset"), "OptionalLong.empty");
        assert_eq!(entry.current_txn_first_offset, -1);
    }
}

fn check_aborted(found: &FoundPartition, reader: &LogReader, end: Offset) {
    let dumped = sections(found, ".txnindex");
    let lines: &[&str] = dumped.first().map_or(&[], |(_, lines)| lines);
    let expected: Vec<AbortedTxn> = lines
        .iter()
        .map(|line| AbortedTxn {
            producer_id: ProducerId(number(line, "producerId")),
            first_offset: Offset(number(line, "firstOffset")),
            last_offset: Offset(number(line, "lastOffset")),
            last_stable_offset: Offset(number(line, "lastStableOffset")),
        })
        .collect();
    assert_eq!(reader.aborted_transactions(Offset(0), end, Cold::Wait).unwrap(), expected);
    if let [first, second, ..] = &expected[..] {
        let between = reader
            .aborted_transactions(first.last_offset.plus(1), second.last_stable_offset, Cold::Wait)
            .unwrap();
        assert_eq!(between, [*second]);
    }
}

/// Reads the whole log by offset, record by record, and holds it against the dump (which shows the first
/// lines of each file); then looks every record up by its time.
fn check_records(found: &FoundPartition, log: &Log) {
    let reader = log.reader();
    let upper = log.bound(log.log_end());
    let (mut records, mut views): (Vec<Record>, Vec<(i64, BatchView)>) = (Vec::new(), Vec::new());
    let mut offset = log.log_start();
    while offset < log.log_end() {
        let plan = reader.read(offset, 1 << 20, upper, true, Cold::Wait).unwrap();
        assert!(!plan.is_empty());
        let mut position = plan.position() as i64;
        for view in batches(plan.read(Cold::Wait).unwrap()) {
            let view = view.unwrap();
            view.check_crc().unwrap();
            offset = view.header().next_offset();
            records.extend(view.records(MAX_DECOMPRESSED).unwrap().map(|record| record.unwrap()));
            let len = view.header().total_len() as i64;
            views.push((position, view));
            position += len;
        }
    }
    let headers: Vec<_> = reader.batches(Offset(0), upper).map(|header| header.unwrap()).collect();
    assert_eq!(headers, views.iter().map(|(_, view)| *view.header()).collect::<Vec<_>>());
    let by_offset: BTreeMap<Offset, &Record> = records.iter().map(|record| (record.offset, record)).collect();
    for (_, lines) in sections(found, ".log") {
        for line in lines.iter().filter(|line| line.starts_with("baseOffset: ")) {
            check_batch(line, &views);
        }
        for line in lines.iter().filter(|line| line.starts_with("| offset: ")) {
            check_record(line, by_offset[&Offset(number(line, "offset"))]);
        }
    }
    check_times(&reader, log, &records);
}

fn check_batch(line: &str, views: &[(i64, BatchView)]) {
    let base = Offset(number(line, "baseOffset"));
    let (position, view) = views.iter().find(|(_, view)| view.header().base_offset == base).unwrap();
    let header = view.header();
    assert_eq!(header.last_offset().0, number(line, "lastOffset"), "{line}");
    assert_eq!(i64::from(header.record_count), number(line, "count"), "{line}");
    assert_eq!(i64::from(header.base_sequence.0), number(line, "baseSequence"), "{line}");
    assert_eq!(header.producer_id.0, number(line, "producerId"), "{line}");
    assert_eq!(i64::from(header.producer_epoch.0), number(line, "producerEpoch"), "{line}");
    assert_eq!(i64::from(header.partition_leader_epoch.0), number(line, "partitionLeaderEpoch"), "{line}");
    assert_eq!(header.is_transactional().to_string(), field(line, "isTransactional"), "{line}");
    assert_eq!(header.is_control().to_string(), field(line, "isControl"), "{line}");
    // The dump cuts long lines.
    if let Some((_, rest)) = line.split_once("position: ")
        && let Some((dumped, _)) = rest.split_once(' ')
    {
        assert_eq!(*position, dumped.parse::<i64>().unwrap(), "{line}");
    }
}

fn check_record(line: &str, record: &Record) {
    let time = if line.contains("LogAppendTime: ") { "LogAppendTime" } else { "CreateTime" };
    assert_eq!(record.timestamp.0, number(line, time), "{line}");
    let len = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(-1, |bytes| bytes.len() as i64);
    assert_eq!(len(&record.key), number(line, "keySize"), "{line}");
    assert_eq!(len(&record.value), number(line, "valueSize"), "{line}");
    let is_text = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, b' '..=b'~'));
    if let Some(value) = record.value.as_ref().filter(|value| is_text(value)) {
        // The dump drops what cannot be printed, so only text is compared; and it cuts long lines.
        let (_, dumped) = line.split_once(" payload: ").unwrap();
        let value = std::str::from_utf8(value).unwrap();
        assert!(value == dumped || value.starts_with(dumped) && line.len() > 200, "{line}");
    }
    if let Some(key) = record.key.as_ref().filter(|key| is_text(key)) {
        let key = std::str::from_utf8(key).unwrap();
        assert!(line.contains(&format!(" key: {key}")), "{line}");
    }
}

fn check_times(reader: &LogReader, log: &Log, records: &[Record]) {
    let upper = log.bound(log.log_end());
    let find = |timestamp| reader.find_timestamp(Timestamp(timestamp), upper).unwrap();
    // Every one would take seconds where batches are packed.
    for record in records.iter().step_by(29) {
        let expected = records.iter().find(|other| other.timestamp >= record.timestamp).unwrap();
        let found = find(record.timestamp.0).unwrap();
        assert_eq!((found.offset, found.timestamp), (expected.offset, expected.timestamp));
        assert_eq!(found.leader_epoch, LeaderEpoch(0));
    }
    let largest = records.iter().map(|record| record.timestamp).max();
    let first = records.iter().find(|record| Some(record.timestamp) == largest);
    let found = reader.max_timestamp(upper).unwrap();
    assert_eq!(found.map(|found| found.offset), first.map(|record| record.offset));
    assert_eq!(find(i64::MAX), None);
}

/// The newest snapshot that Kafka had written.
fn last_snapshot(files: &BTreeMap<String, Vec<u8>>, found: &FoundPartition) -> ProducerSnapshot {
    let folder = format!("{}-{}/", found.topic, found.partition);
    let newest = files.keys().rfind(|path| path.starts_with(&folder) && path.ends_with(".snapshot"));
    newest.map_or_else(ProducerSnapshot::default, |path| {
        let body = bytes::Bytes::from(files[path][2..].to_vec());
        ottla_wire::primitives::decode_from(body, 1).unwrap()
    })
}
