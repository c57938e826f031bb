//! Logs that end in the middle of something: cut short, or with garbage behind the last batch.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use ottla_wire::Offset;
use ottla_wire::batch::BatchBuilder;

use crate::harness::{
    Numbers, Setup, Wire, batch, batch_of, create_topic, produced, read_all, segments, values,
};

const TOPIC: &str = "torn";

/// Batches of the log that is to be torn; each has two records.
const BATCHES: i64 = 20;

fn pair(number: i64) -> [String; 2] {
    [format!("{number}a"), format!("{number}b")]
}

fn fill(wire: &mut Wire) {
    create_topic(wire, TOPIC, 1, &[]);
    for number in 0..BATCHES {
        assert_eq!(produced(wire, TOPIC, 0, batch(pair(number))), 2 * number);
    }
}

fn append(path: &Path, bytes: &[u8]) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

/// The log must hold the first `whole` batches, and go on from there.
#[track_caller]
fn expect(setup: &mut Setup, whole: i64, what: &str) {
    let broker = setup.start();
    let mut wire = broker.connect();
    let expected: Vec<String> = (0..whole).flat_map(pair).collect();
    assert_eq!(values(&read_all(&mut wire, TOPIC, 0)), expected, "{what}");
    assert_eq!(produced(&mut wire, TOPIC, 0, batch(["next"])), 2 * whole, "{what}: the log goes on");
    let read = values(&read_all(&mut wire, TOPIC, 0));
    assert_eq!(read.last().map(String::as_str), Some("next"), "{what}");
    broker.kill();
    // And the repair holds.
    let broker = setup.start();
    assert_eq!(values(&read_all(&mut broker.connect(), TOPIC, 0)), read, "{what}: after another kill");
}

#[test]
fn garbage_after_the_last_batch_is_cut_off() {
    let next = Offset(2 * BATCHES);
    let whole = batch_of(BatchBuilder::new().base_offset(next), ["never acknowledged, half written"]);
    let mut bent = whole.to_vec();
    *bent.last_mut().unwrap() ^= 1;
    let mut elsewhere = batch_of(BatchBuilder::new().base_offset(Offset(7)), ["an old offset"]).to_vec();
    elsewhere[12..16].copy_from_slice(&0_i32.to_be_bytes());
    let mut long = whole.to_vec();
    long[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
    let mut negative = whole.to_vec();
    negative[8..12].copy_from_slice(&(-1_i32).to_be_bytes());
    let mut numbers = Numbers(0x746f_726e);
    let noise: Vec<u8> = (0..5000).map(|_| numbers.next() as u8).collect();
    let cases: [(&str, Vec<u8>); 9] = [
        ("one byte", vec![0]),
        ("zeros, as after a power loss", vec![0; 100_000]),
        ("noise", noise),
        ("half a header", whole[..30].to_vec()),
        ("a batch without its last byte", whole[..whole.len() - 1].to_vec()),
        ("a batch with a wrong CRC", bent),
        ("a batch of an offset that was taken", elsewhere),
        ("a length beyond the end", long),
        ("a negative length", negative),
    ];
    for (what, tail) in cases {
        let mut setup = Setup::new();
        let broker = setup.start();
        fill(&mut broker.connect());
        broker.kill();
        append(segments(&setup.data, TOPIC, 0).last().unwrap(), &tail);
        expect(&mut setup, BATCHES, what);
    }
}

#[test]
fn a_log_that_is_cut_short_holds_its_whole_batches() {
    let mut numbers = Numbers(0x6375_7421);
    for round in 0..6 {
        let mut setup = Setup::new();
        let broker = setup.start();
        fill(&mut broker.connect());
        broker.kill();
        let log = segments(&setup.data, TOPIC, 0).remove(0);
        let bytes = std::fs::read(&log).unwrap();
        let ends = batch_ends(&bytes);
        // At the very start, at the end of a batch, and anywhere.
        let cut = match round {
            0 => 0,
            1 => ends[9],
            2 => ends[9] + 1,
            _ => numbers.below(bytes.len()),
        };
        OpenOptions::new().write(true).open(&log).unwrap().set_len(cut as u64).unwrap();
        let whole = ends.iter().filter(|end| **end <= cut).count() as i64;
        expect(&mut setup, whole, &format!("cut to {cut} of {} bytes", bytes.len()));
    }
}

/// A byte that has changed on the disk is never handed out as data.
#[test]
fn a_changed_byte_in_what_was_not_checkpointed_cuts_the_log_there() {
    let mut setup = Setup::new();
    let broker = setup.start();
    fill(&mut broker.connect());
    broker.kill();
    let log = segments(&setup.data, TOPIC, 0).remove(0);
    let mut bytes = std::fs::read(&log).unwrap();
    let ends = batch_ends(&bytes);
    bytes[ends[11] - 1] ^= 0x40;
    std::fs::write(&log, &bytes).unwrap();
    expect(&mut setup, 11, "batch 11 has a changed byte");
}

/// Indexes can be made again from the log, so their loss or damage costs nothing.
#[test]
fn lost_and_damaged_side_files_are_made_again() {
    for suffix in [".index", ".timeindex", ".snapshot", "leader-epoch-checkpoint", "partition.metadata"] {
        for damage in [None, Some(&[0xff_u8; 37][..]), Some(&[][..])] {
            let mut setup = Setup::new();
            let broker = setup.start();
            fill(&mut broker.connect());
            broker.kill();
            let folder = setup.data.join(format!("{TOPIC}-0"));
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.to_string_lossy().ends_with(suffix) {
                    match damage {
                        None => std::fs::remove_file(&path).unwrap(),
                        Some(bytes) => std::fs::write(&path, bytes).unwrap(),
                    }
                }
            }
            expect(&mut setup, BATCHES, &format!("{suffix}: {damage:?}"));
        }
    }
}

/// The metadata log is torn like any other.
#[test]
fn garbage_after_the_metadata_log_is_cut_off() {
    for tail in [&[0_u8][..], &[0; 4096], &[0xff; 4096], b"\0\0\0\x40half an entry"] {
        let mut setup = Setup::new();
        let broker = setup.start();
        fill(&mut broker.connect());
        broker.kill();
        let logs = crate::harness::files(&setup.data.join("__cluster_metadata"), ".log");
        append(logs.last().unwrap(), tail);
        expect(&mut setup, BATCHES, "the metadata log has a torn tail");
    }
}

/// Where each batch of a segment ends.
fn batch_ends(bytes: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let length = i32::from_be_bytes(bytes[at + 8..at + 12].try_into().unwrap());
        at += 12 + length as usize;
        ends.push(at);
    }
    assert_eq!(ends.len() as i64, BATCHES);
    ends
}
