//! Transactions while the broker is killed: what was answered holds, and what is open stays open.

use std::fs::OpenOptions;
use std::path::Path;

use bytes::Bytes;
use ottla_wire::ErrorCode;
use ottla_wire::batch::batches;

use super::levels::set_level;
use super::offset_of;
use crate::harness::{
    Protocol, Setup, TxnProducer, committed_values, create_topic, eventually, segments, times,
};

/// The answer to EndTxn is a promise: whatever a kill leaves unwritten of the markers is written afterwards.
#[test]
fn an_end_that_was_answered_is_carried_out_after_a_kill() {
    for protocol in Protocol::BOTH {
        for committed in [true, false] {
            for round in 0..times(2, 20) {
                let mut setup = Setup::new();
                let broker = setup.start();
                create_topic(&mut broker.connect(), "t", 4, &[]);
                let mut producer = TxnProducer::begin(&broker, "id", protocol);
                for partition in 0..4 {
                    producer.write("t", partition, &["a"]);
                }
                assert_eq!(producer.commit_offset("g", "t", 5), ErrorCode::None);
                producer.end(committed);
                broker.kill();

                let broker = setup.start();
                let mut wire = broker.connect();
                let (state, offset) = if committed { ("CompleteCommit", 5) } else { ("CompleteAbort", -1) };
                producer.wire = broker.connect();
                eventually("the markers", || producer.state() == state);
                let expected = if committed { vec!["a"] } else { vec![] };
                for partition in 0..4 {
                    let seen = committed_values(&mut wire, "t", partition);
                    assert_eq!(seen, expected, "{protocol:?}, round {round}, partition {partition}");
                }
                eventually("the offset", || offset_of(&mut wire, "g", "t", true) == Ok(offset));
                // The id can be used by the next one.
                let mut next = TxnProducer::begin(&broker, "id", protocol);
                next.write("t", 0, &["b"]);
                next.end(true);
                eventually("the markers", || next.state() == "CompleteCommit");
                assert_eq!(committed_values(&mut wire, "t", 0).last().map(String::as_str), Some("b"));
            }
        }
    }
}

/// Cuts the last batch off a log; true if it was a marker.
fn cut_last_batch(path: &Path) -> bool {
    let bytes = std::fs::read(path).unwrap();
    let all: Vec<_> = batches(Bytes::from(bytes.clone())).map(Result::unwrap).collect();
    let last = all.last().unwrap().header();
    let kept = bytes.len() - last.total_len();
    OpenOptions::new().write(true).open(path).unwrap().set_len(kept as u64).unwrap();
    last.is_control()
}

/// The broker is gone between the decision and the markers: the logs end where such a kill leaves them. At
/// every level of `transaction.version`, and when it has changed since the transaction began.
#[test]
fn a_decision_without_its_markers_is_carried_out_after_a_kill() {
    for (protocol, begun_at, ended_at) in [
        (Protocol::One, 0, 0),
        (Protocol::One, 1, 1),
        (Protocol::One, 2, 2),
        (Protocol::One, 0, 2),
        (Protocol::Two, 1, 1),
        (Protocol::Two, 2, 2),
        (Protocol::Two, 2, 0),
    ] {
        for committed in [true, false] {
            let what = format!("{protocol:?}, level {begun_at} to {ended_at}, committed: {committed}");
            let mut setup = Setup::new().set("transaction.state.log.num.partitions", 1);
            let broker = setup.start();
            let mut wire = broker.connect();
            create_topic(&mut wire, "t", 1, &[]);
            set_level(&mut wire, begun_at);
            let mut producer = TxnProducer::begin(&broker, "id", protocol);
            producer.write("t", 0, &["a"]);
            set_level(&mut wire, ended_at);
            producer.end(committed);
            let state = if committed { "CompleteCommit" } else { "CompleteAbort" };
            eventually("the markers", || producer.state() == state);
            broker.kill();
            assert!(cut_last_batch(&segments(&setup.data, "t", 0)[0]), "that was the marker");
            assert!(!cut_last_batch(&segments(&setup.data, "__transaction_state", 0)[0]));

            let broker = setup.start();
            producer.wire = broker.connect();
            eventually("the markers", || producer.state() == state);
            let expected = if committed { vec!["a"] } else { vec![] };
            assert_eq!(committed_values(&mut broker.connect(), "t", 0), expected, "{what}");
            // What was answered before the kill still holds: the producer goes on, as the level lets it.
            if ended_at == 0 {
                producer.protocol = Protocol::One;
            }
            producer.write("t", 0, &["b"]);
            producer.end(true);
            eventually("the markers", || producer.state() == "CompleteCommit");
            let seen = committed_values(&mut broker.connect(), "t", 0);
            assert_eq!(seen.last().map(String::as_str), Some("b"), "{what}");
        }
    }
}

/// What is open when the broker is killed stays open, and its producer can go on.
#[test]
fn an_open_transaction_outlives_a_kill() {
    let mut setup = Setup::new();
    let broker = setup.start();
    create_topic(&mut broker.connect(), "t", 1, &[]);
    let mut producer = TxnProducer::begin(&broker, "id", Protocol::Two);
    producer.write("t", 0, &["a"]);
    broker.kill();
    let broker = setup.start();
    producer.wire = broker.connect();
    producer.write("t", 0, &["b"]);
    assert!(committed_values(&mut broker.connect(), "t", 0).is_empty());
    producer.end(true);
    eventually("the markers", || producer.state() == "CompleteCommit");
    assert_eq!(committed_values(&mut broker.connect(), "t", 0), ["a", "b"]);
}
