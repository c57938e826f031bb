//! The log's files: their bytes, the traces of crashes, and damage.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ottla_wire::ids::BrokerId;
use proptest::prelude::*;

use crate::disk::Disk;
use crate::journal::{Journal, Replayed};
use crate::raft::{Batch, Entry, LogId, Membership, Payload, Proposal, log_id};
use crate::types::StartError;

fn entry(term: u64, index: u64) -> Entry {
    // The last byte is not zero: a file that a crash filled up with zeros would be whole.
    let records = vec![Bytes::new(), Bytes::from(format!("{term}-{index}"))];
    let payload = Payload::Normal(Batch(vec![Proposal { epoch: 0, records }]));
    Entry { log_id: log_id(term, index), payload }
}

fn entries(term: u64, indexes: std::ops::Range<u64>) -> Vec<Entry> {
    indexes.map(|index| entry(term, index)).collect()
}

fn open(dir: &Path) -> Result<(Journal, Replayed), StartError> {
    open_with(dir, 1 << 20)
}

fn open_with(dir: &Path, segment_bytes: u64) -> Result<(Journal, Replayed), StartError> {
    Journal::read(&Disk::default(), dir)?.open(segment_bytes, &[])
}

fn reopened(dir: &Path) -> Replayed {
    open(dir).unwrap().1
}

fn ids(replayed: &Replayed) -> Vec<(u64, u64)> {
    replayed.entries.iter().map(|entry| (entry.log_id.leader_id.term, entry.log_id.index)).collect()
}

fn only_file(dir: &Path) -> PathBuf {
    dir.join("00000000000000000001.log")
}

#[test]
fn golden_bytes() {
    let dir = tempfile::tempdir().unwrap();
    // The header as it was written with the salt 0x01020304.
    let header: &[u8] = &[
        0x4f, 0x74, 0x46, 0x72, 0, 0, 0, 7, 0x30, 0x53, 0x0a, 0x10, 0x35, 0x59, 0xc6, 0x47, // frame
        0, 1, 0, 1, 2, 3, 4,
    ];
    fs::write(only_file(dir.path()), header).unwrap();
    let (mut journal, replayed) = open(dir.path()).unwrap();
    assert_eq!(replayed, Replayed::default());
    let voters = BTreeSet::from([BrokerId(1), BrokerId(2)]);
    let membership = Payload::Membership(Membership::new(vec![voters], ()));
    let records = vec![Bytes::from_static(b"ab"), Bytes::new()];
    let batch = Payload::Normal(Batch(vec![Proposal { epoch: 5, records }]));
    journal
        .append(&[
            Entry { log_id: log_id(0, 0), payload: membership },
            Entry { log_id: log_id(1, 1), payload: Payload::Blank },
            Entry { log_id: log_id(1, 2), payload: batch },
        ])
        .unwrap();
    journal.truncate(Some(log_id(1, 1))).unwrap();
    drop(journal);
    let append: &[u8] = &[
        1, 0, 0, 0, 3, // append of three
        0, 0, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, // membership
        0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, //
        0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, // blank
        0, 0, 0, 43, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 1, // batch
        0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0, 0, 2, b'a', b'b', 0, 0, 0, 0,
    ];
    let truncate: &[u8] = &[2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
    let file = fs::read(only_file(dir.path())).unwrap();
    assert_eq!(file.len(), header.len() + 16 + append.len() + 16 + truncate.len());
    assert_eq!(&file[header.len() + 16..][..append.len()], append);
    assert_eq!(&file[file.len() - truncate.len()..], truncate);
}

/// Whatever part of the last write a crash leaves, it is cut off, and the log continues from there.
#[test]
fn a_torn_tail_is_cut_at_every_byte() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path()).unwrap();
    journal.append(&entries(1, 0..3)).unwrap();
    let whole = fs::metadata(only_file(dir.path())).unwrap().len() as usize;
    journal.append(&entries(1, 3..5)).unwrap();
    drop(journal);
    let file = fs::read(only_file(dir.path())).unwrap();
    for len in whole..file.len() {
        let zeros = vec![0; file.len() - len];
        let garbage = vec![0xa5; file.len() - len];
        for tail in [&[][..], &zeros, &garbage] {
            fs::write(only_file(dir.path()), [&file[..len], tail].concat()).unwrap();
            let (mut journal, replayed) = open(dir.path()).unwrap();
            assert_eq!(ids(&replayed), [(1, 0), (1, 1), (1, 2)], "cut at {len}");
            assert_eq!(replayed.cut as usize, len - whole + tail.len());
            journal.append(&[entry(2, 3)]).unwrap();
            drop(journal);
            assert_eq!(ids(&reopened(dir.path())), [(1, 0), (1, 1), (1, 2), (2, 3)]);
        }
    }
}

/// A changed byte before another write is not a torn tail. The write was acknowledged, so the file is
/// refused.
#[test]
fn damage_in_the_middle_is_refused_and_nothing_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path()).unwrap();
    journal.append(&entries(1, 0..3)).unwrap();
    let middle = fs::metadata(only_file(dir.path())).unwrap().len() as usize;
    journal.append(&entries(1, 3..5)).unwrap();
    drop(journal);
    let file = fs::read(only_file(dir.path())).unwrap();
    for i in 0..middle {
        let mut bad = file.clone();
        bad[i] ^= 0x40;
        fs::write(only_file(dir.path()), &bad).unwrap();
        match open(dir.path()).err() {
            Some(StartError::Damaged { file, .. }) => assert_eq!(file, only_file(dir.path())),
            other => panic!("byte {i}: {other:?}"),
        }
        assert_eq!(fs::read(only_file(dir.path())).unwrap(), bad);
    }
}

#[test]
fn damage_at_the_end_of_an_earlier_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open_with(dir.path(), 1).unwrap();
    journal.append(&entries(1, 0..2)).unwrap();
    journal.append(&entries(1, 2..4)).unwrap();
    drop(journal);
    let first = dir.path().join("00000000000000000002.log");
    let bytes = fs::read(&first).unwrap();
    fs::write(&first, &bytes[..bytes.len() - 1]).unwrap();
    assert!(matches!(open(dir.path()).err(), Some(StartError::Damaged { .. })));
    fs::remove_file(&first).unwrap();
    assert!(matches!(open(dir.path()).err(), Some(StartError::Damaged { .. })), "a missing file, too");
}

/// Records that hold the bytes of a frame do not turn a torn tail into damage.
#[test]
fn a_record_that_looks_like_a_frame_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path()).unwrap();
    let mut imitation = Vec::new();
    crate::frame::put(&mut imitation, 0, |body| body.extend_from_slice(b"body"));
    let payload = Payload::Normal(Batch(vec![Proposal { epoch: 0, records: vec![Bytes::from(imitation)] }]));
    journal.append(&[entry(1, 0)]).unwrap();
    journal.append(&[Entry { log_id: log_id(1, 1), payload }]).unwrap();
    drop(journal);
    let mut file = fs::read(only_file(dir.path())).unwrap();
    let last = file.len() - 1;
    file[last] ^= 1;
    fs::write(only_file(dir.path()), &file).unwrap();
    assert_eq!(ids(&reopened(dir.path())), [(1, 0)]);
}

/// A follower that installed a snapshot begins anew after it, even if it crashes between the steps.
#[test]
fn a_purge_beyond_the_end_starts_the_log_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path()).unwrap();
    journal.append(&entries(1, 0..3)).unwrap();
    let old = fs::read(only_file(dir.path())).unwrap();
    journal.purge(log_id(4, 9)).unwrap();
    drop(journal);
    assert_eq!(reopened(dir.path()).before, Some(log_id(4, 9)));
    // The crash came before the old file was deleted.
    fs::write(only_file(dir.path()), old).unwrap();
    let (mut journal, replayed) = open(dir.path()).unwrap();
    assert_eq!((replayed.before, replayed.entries.len()), (Some(log_id(4, 9)), 0));
    journal.append(&[entry(4, 10)]).unwrap();
    drop(journal);
    assert_eq!(ids(&reopened(dir.path())), [(4, 10)]);
}

/// One change to a log.
#[derive(Clone, Debug)]
enum Step {
    Append(u8),
    Truncate(u8),
    Purge(u8),
    Jump(u8),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..6_u8).prop_map(Step::Append),
        1 => (0..6_u8).prop_map(Step::Truncate),
        2 => any::<u8>().prop_map(Step::Purge),
        1 => (1..4_u8).prop_map(Step::Jump),
        2 => Just(Step::Reopen),
    ]
}

/// The expected log. Purged entries may still be in the files, so only the end is compared.
#[derive(Default)]
struct Model {
    purged: Option<LogId>,
    last: Option<LogId>,
    entries: Vec<Entry>,
}

impl Model {
    fn next(&self) -> u64 {
        self.last.map_or(0, |last| last.index + 1)
    }

    fn check(&self, replayed: &Replayed) {
        let after_purge = |entry: &&Entry| self.purged.is_none_or(|purged| entry.log_id.index > purged.index);
        let held: Vec<Entry> = replayed.entries.iter().filter(after_purge).cloned().collect();
        assert_eq!(held, self.entries);
        assert!(replayed.before.map(|id| id.index) <= self.purged.map(|id| id.index));
        let last = replayed.entries.back().map(|entry| entry.log_id).or(replayed.before);
        assert_eq!(last, self.last);
    }
}

proptest! {
    #![proptest_config(super::cases(64))]

    #[test]
    fn the_files_hold_what_was_done(steps in proptest::collection::vec(step(), 1..30), segment in 1..400_u64) {
        let dir = tempfile::tempdir().unwrap();
        let open = || open_with(dir.path(), segment).unwrap();
        let (mut journal, _) = open();
        let mut model = Model::default();
        for (term, step) in steps.into_iter().enumerate() {
            match step {
                Step::Append(count) => {
                    let more = entries(term as u64, model.next()..model.next() + u64::from(count));
                    journal.append(&more).unwrap();
                    model.last = more.last().map(|entry| entry.log_id);
                    model.entries.extend(more);
                }
                Step::Truncate(count) => {
                    let keep = model.entries.len().saturating_sub(usize::from(count));
                    model.entries.truncate(keep);
                    model.last = model.entries.last().map(|entry| entry.log_id).or(model.purged);
                    journal.truncate(model.last).unwrap();
                }
                Step::Purge(pick) if !model.entries.is_empty() => {
                    let upto = usize::from(pick) % model.entries.len();
                    model.purged = Some(model.entries[upto].log_id);
                    model.entries.drain(..=upto);
                    journal.purge(model.purged.unwrap()).unwrap();
                }
                Step::Purge(_) => {}
                Step::Jump(by) => {
                    model.purged = Some(log_id(term as u64, model.next() + u64::from(by)));
                    model.last = model.purged;
                    model.entries.clear();
                    journal.purge(model.purged.unwrap()).unwrap();
                }
                Step::Reopen => {
                    drop(journal);
                    let (opened, replayed) = open();
                    model.check(&replayed);
                    journal = opened;
                }
            }
        }
        drop(journal);
        model.check(&open().1);
    }
}
