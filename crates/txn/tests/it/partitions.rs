//! AddPartitionsToTxn and AddOffsetsToTxn.

use std::time::Duration;

use ottla_coordinator::Refusal;
use ottla_txn::{Request, TransactionVersion, TxnState};
use ottla_wire::ErrorCode;

use crate::world::{ABORT, COMMIT, World, add_request};

const ALL: [TransactionVersion; 3] = [TransactionVersion::V0, TransactionVersion::V1, TransactionVersion::V2];

#[test]
fn the_first_partition_opens_a_transaction_and_more_join_it() {
    for version in ALL {
        let mut w = World::of(version);
        let who = w.init("a").unwrap();
        assert_eq!(w.add("a", who, &[("t", 0)]), ErrorCode::None);
        assert_eq!(w.state("a"), TxnState::Ongoing);
        let (started, records) = (w.transaction("a").started, w.log.len());
        w.after(Duration::from_secs(1));
        assert_eq!(w.add("a", who, &[("t", 0)]), ErrorCode::None);
        assert_eq!(w.log.len(), records, "what is there is not written again");
        assert_eq!(w.add("a", who, &[("u", 3), ("t", 0), ("t", 1)]), ErrorCode::None);
        assert_eq!(w.add_offsets_at(4, "a", who, 7), ErrorCode::None);
        let partitions: Vec<_> =
            w.transaction("a").partitions.iter().map(|(topic, p)| (topic.to_string(), p)).collect();
        let expected = [("__consumer_offsets", 7), ("t", 0), ("t", 1), ("u", 3)];
        assert_eq!(partitions, expected.map(|(topic, p)| (topic.to_owned(), p)));
        assert_eq!(w.transaction("a").started, started, "it began with its first partition");
    }
}

/// A request without partitions opens a transaction, too, as in Kafka; it ends as soon as it is ended.
#[test]
fn a_transaction_may_have_no_partitions() {
    for version in ALL {
        let mut w = World::of(version);
        let who = w.init("a").unwrap();
        w.call(3, Request::AddPartitionsToTxn(add_request("a", who, false, &[])));
        assert_eq!(w.state("a"), TxnState::Ongoing);
        assert!(w.end("a", who, COMMIT).is_ok());
        assert_eq!(w.state("a"), TxnState::Complete(COMMIT));
        assert!(w.markers.is_empty());
    }
}

#[test]
fn a_transaction_follows_another() {
    for version in ALL {
        let mut w = World::of(version);
        let who = w.init("a").unwrap();
        let who = w.transact("a", who, COMMIT);
        let who = w.transact("a", who, ABORT);
        assert_eq!(w.add("a", who, &[("u", 1)]), ErrorCode::None);
        assert_eq!(w.transaction("a").partitions.len(), 1, "nothing is left of the one before");
    }
}

#[test]
fn what_cannot_be_added_is_refused() {
    for version in ALL {
        let mut w = World::of(version);
        let who = w.init("a").unwrap();
        let cases = [
            ("an empty id", "", who, ErrorCode::InvalidRequest),
            ("an unknown id", "b", who, ErrorCode::InvalidProducerIdMapping),
            ("another producer", "a", (who.0 + 1, 0), ErrorCode::InvalidProducerIdMapping),
            ("an old epoch", "a", (who.0, -1), ErrorCode::ProducerFenced),
            ("an epoch to come", "a", (who.0, 1), ErrorCode::ProducerFenced),
        ];
        for (name, id, who, error) in cases {
            assert_eq!(w.add(id, who, &[("t", 0)]), error, "{name}");
            assert_eq!(w.add_offsets_at(4, id, who, 0), error, "{name}");
            assert_eq!(w.verify(id, who, &[("t", 0)]), [error], "{name}");
        }
        assert_eq!(w.log.len(), 1);
        w.add("a", who, &[("t", 0)]);
        let next = w.end("a", who, COMMIT).unwrap();
        // Whoever asks: the producer of the next transaction has its epoch already.
        for who in [who, next, (77, 0)] {
            assert_eq!(w.add("a", who, &[("t", 0)]), ErrorCode::ConcurrentTransactions);
            assert_eq!(w.add_offsets_at(4, "a", who, 0), ErrorCode::ConcurrentTransactions);
        }
        w.markers_written();
        assert_eq!(w.add("a", w.who("a"), &[("t", 0)]), ErrorCode::None);
    }
}

#[test]
fn old_clients_are_told_of_an_invalid_epoch() {
    let mut w = World::v1();
    let who = w.init("a").unwrap();
    for (version, error) in [
        (0, ErrorCode::InvalidProducerEpoch),
        (1, ErrorCode::InvalidProducerEpoch),
        (2, ErrorCode::ProducerFenced),
        (3, ErrorCode::ProducerFenced),
        (4, ErrorCode::ProducerFenced),
    ] {
        assert_eq!(w.add_at(version, "a", (who.0, 9), &[("t", 0)]), error, "version {version}");
        assert_eq!(w.add_offsets_at(version, "a", (who.0, 9), 0), error, "version {version}");
    }
}

/// Brokers ask before they take the first batch of a transaction from a client that does not add partitions
/// itself, or may have forgotten to (KIP-890).
#[test]
fn a_broker_verifies_what_is_part_of_the_transaction() {
    let mut w = World::v1();
    let who = w.init("a").unwrap();
    assert_eq!(w.verify("a", who, &[("t", 0)]), [ErrorCode::TransactionAbortable], "nothing was added");
    w.add("a", who, &[("t", 0)]);
    let records = w.log.len();
    let found = w.verify("a", who, &[("t", 0), ("t", 1), ("u", 0)]);
    assert_eq!(found, [ErrorCode::None, ErrorCode::TransactionAbortable, ErrorCode::TransactionAbortable]);
    w.end("a", who, COMMIT).unwrap();
    assert_eq!(w.verify("a", who, &[("t", 0)]), [ErrorCode::ConcurrentTransactions]);
    w.markers_written();
    assert_eq!(w.verify("a", who, &[("t", 0)]), [ErrorCode::TransactionAbortable], "it has ended");
    assert_eq!(w.log.len(), records + 2, "to verify changes nothing");
}

/// A paused coordinator still verifies: that writes nothing.
#[test]
fn verification_goes_on_while_nothing_can_be_written() {
    let mut w = World::v2();
    let who = w.init("a").unwrap();
    w.add("a", who, &[("t", 0)]);
    let at = w.at();
    w.frame.set_writable(&at, false);
    assert_eq!(w.verify("a", who, &[("t", 0)]), [ErrorCode::None]);
    let adding = Request::AddPartitionsToTxn(add_request("a", who, false, &[("t", 1)]));
    assert_eq!(w.ask(5, adding), Err(Refusal::Unavailable));
}

/// A client says what it speaks by the version of the request, and the transaction remembers it. Records of
/// level 0 cannot.
#[test]
fn a_transaction_remembers_what_its_client_speaks() {
    for version in ALL {
        for (api, speaks) in
            [(3, TransactionVersion::V0), (4, TransactionVersion::V2), (5, TransactionVersion::V2)]
        {
            let mut w = World::of(version);
            let who = w.init("a").unwrap();
            let added = w.add_at(api, "a", who, &[("t", 0)]);
            if version == TransactionVersion::V0 && speaks == TransactionVersion::V2 {
                assert_eq!(added, ErrorCode::UnsupportedVersion, "version {api}");
                assert_eq!(w.state("a"), TxnState::Empty);
                assert_eq!(w.add_at(3, "a", who, &[("t", 0)]), ErrorCode::None, "nothing is in the way");
                continue;
            }
            assert_eq!(added, ErrorCode::None);
            assert_eq!(w.transaction("a").client, speaks, "{version:?}, version {api}");
            w.restart();
            assert_eq!(w.transaction("a").client, speaks, "{version:?}, version {api}");
        }
    }
}

/// What one request adds is committed before either answer leaves, and the second builds upon it.
#[test]
fn partitions_can_be_added_while_others_are() {
    let mut w = World::v2();
    let who = w.init("a").unwrap();
    w.commits = false;
    let add = |partition| Request::AddPartitionsToTxn(add_request("a", who, false, &[("t", partition)]));
    let first = w.ask(5, add(0)).unwrap();
    let second = w.ask(5, add(1)).unwrap();
    assert!(w.replies.is_empty());
    w.commits = true;
    w.pump();
    assert!(w.replies.contains_key(&first) && w.replies.contains_key(&second));
    assert_eq!(w.transaction("a").partitions.len(), 2);
}
