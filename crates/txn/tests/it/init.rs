//! InitProducerId in every state.

use std::time::Duration;

use ottla_txn::{Request, Response, TransactionVersion, TxnConfig, TxnState};
use ottla_wire::ErrorCode;
use ottla_wire::messages::InitProducerIdRequest;

use crate::world::{ABORT, COMMIT, World, code, init_request};

const LAST: i16 = i16::MAX - 1;

const BOTH: [TransactionVersion; 2] = [TransactionVersion::V1, TransactionVersion::V2];

#[test]
fn a_new_id_gets_a_producer_and_a_known_one_the_next_epoch() {
    for version in [TransactionVersion::V0, TransactionVersion::V1, TransactionVersion::V2] {
        let mut w = World::of(version);
        assert_eq!(w.init("a"), Ok((1000, 0)));
        assert_eq!(w.state("a"), TxnState::Empty);
        assert_eq!(w.init("a"), Ok((1000, 1)));
        assert_eq!(w.init("b"), Ok((1001, 0)), "each id has its own producer");
        let who = w.transact("b", (1001, 0), COMMIT);
        assert_eq!(w.init("b"), Ok((who.0, who.1 + 1)), "after a commit");
        let who = w.transact("b", (who.0, who.1 + 1), ABORT);
        assert_eq!(w.init("b"), Ok((who.0, who.1 + 1)), "after an abort");
        assert_eq!(w.state("b"), TxnState::Empty);
    }
}

#[test]
fn what_is_asked_for_wrongly_is_refused() {
    let sound = || init_request("a", (-1, -1));
    let with = |change: fn(&mut InitProducerIdRequest)| {
        let mut request = sound();
        change(&mut request);
        request
    };
    let cases = [
        ("no id", with(|r| r.transactional_id = None), ErrorCode::InvalidRequest),
        ("an empty id", with(|r| r.transactional_id = Some("".into())), ErrorCode::InvalidRequest),
        (
            "an id that is too long",
            with(|r| r.transactional_id = Some("x".repeat(32768).into())),
            ErrorCode::InvalidRequest,
        ),
        ("an id without its epoch", with(|r| r.producer_id = 1), ErrorCode::InvalidRequest),
        ("an epoch without its id", with(|r| r.producer_epoch = 1), ErrorCode::InvalidRequest),
        ("no timeout", with(|r| r.transaction_timeout_ms = 0), ErrorCode::InvalidTransactionTimeout),
        ("a negative timeout", with(|r| r.transaction_timeout_ms = -1), ErrorCode::InvalidTransactionTimeout),
        (
            "too long a timeout",
            with(|r| r.transaction_timeout_ms = 900_001),
            ErrorCode::InvalidTransactionTimeout,
        ),
        ("two-phase commit", with(|r| r.enable2_pc = true), ErrorCode::TransactionalIdAuthorizationFailed),
        ("a prepared transaction", with(|r| r.keep_prepared_txn = true), ErrorCode::UnsupportedVersion),
    ];
    let mut w = World::v2();
    for (name, request, error) in cases {
        assert_eq!(w.init_with(6, request), Err(error), "{name}");
    }
    assert!(w.log.is_empty());
    assert_eq!(
        w.init_with(6, with(|r| r.transaction_timeout_ms = 900_000)),
        Ok((1000, 0)),
        "the longest timeout"
    );
    assert_eq!(w.init_with(6, with(|r| r.transactional_id = Some("x".repeat(32767).into()))), Ok((1001, 0)));
}

/// KIP-939 as far as Kafka 4.3 has it: such a transaction has no timeout.
#[test]
fn a_two_phase_commit_has_no_timeout_where_it_is_allowed() {
    let mut w = World::with(TxnConfig { two_phase_commit: true, ..TxnConfig::default() });
    let request =
        InitProducerIdRequest { enable2_pc: true, transaction_timeout_ms: 0, ..init_request("a", (-1, -1)) };
    let who = w.init_with(6, request.clone()).unwrap();
    assert_eq!(w.add("a", who, &[("t", 0)]), ErrorCode::None);
    w.after(Duration::from_secs(24 * 3600));
    assert_eq!(w.state("a"), TxnState::Ongoing);
    let keep = InitProducerIdRequest { keep_prepared_txn: true, ..request };
    assert_eq!(w.init_with(6, keep), Err(ErrorCode::UnsupportedVersion));
}

/// A new producer aborts what the old one has left open, waits for it, and gets its epoch then.
#[test]
fn a_new_producer_aborts_the_open_transaction_first() {
    for version in BOTH {
        let mut w = World::of(version);
        let old = w.init("a").unwrap();
        assert_eq!(w.add("a", old, &[("t", 0), ("t", 1)]), ErrorCode::None);
        assert_eq!(w.init("a"), Err(ErrorCode::ConcurrentTransactions));
        assert_eq!(w.state("a"), TxnState::Prepare(ABORT));
        assert_eq!(w.init("a"), Err(ErrorCode::ConcurrentTransactions), "until every marker is written");
        let markers = w.next_markers();
        assert_eq!(
            (markers.producer.id.0, markers.producer.epoch.0),
            (old.0, 1),
            "the markers fence the old one"
        );
        assert_eq!(
            (markers.outcome, markers.transaction_version.level()),
            (ABORT, if version == TransactionVersion::V2 { 2 } else { 0 })
        );
        w.markers.push_back(markers);
        w.markers_written();
        assert_eq!(w.state("a"), TxnState::Complete(ABORT));
        assert_eq!(w.init("a"), Ok((old.0, 2)), "bumped once by the abort, once for the new producer");
        assert_eq!(w.add("a", old, &[("t", 0)]), ErrorCode::ProducerFenced);
        assert_eq!(w.end("a", old, COMMIT), Err(ErrorCode::ProducerFenced));
    }
}

/// Whoever was fenced together with an open transaction is not given the epoch that fenced it, before version
/// 2. With version 2 the last epoch may still ask: a timeout fences, too, and the client goes on with the
/// epoch that it brought.
#[test]
fn who_was_fenced_with_an_open_transaction_stays_fenced() {
    for version in BOTH {
        let mut w = World::of(version);
        let older = w.init("a").unwrap();
        let old = w.init_as("a", older).unwrap();
        w.add("a", old, &[("t", 0)]);
        assert_eq!(w.init("a"), Err(ErrorCode::ConcurrentTransactions));
        w.markers_written();
        assert_eq!(w.init_as("a", older), Err(ErrorCode::ProducerFenced));
        let expected = match version {
            TransactionVersion::V2 => Ok((old.0, old.1 + 1)),
            TransactionVersion::V0 | TransactionVersion::V1 => Err(ErrorCode::ProducerFenced),
        };
        assert_eq!(w.init_as("a", old), expected);
        let new = w.init("a").unwrap();
        assert_eq!(w.init_as("a", old), Err(ErrorCode::ProducerFenced));
        assert_eq!(w.add("a", new, &[("t", 0)]), ErrorCode::None);
    }
}

/// While a transaction is ending nobody gets an epoch, whoever asks.
#[test]
fn a_transaction_that_is_ending_is_waited_for() {
    for version in BOTH {
        for how in [COMMIT, ABORT] {
            let mut w = World::of(version);
            let who = w.init("a").unwrap();
            w.add("a", who, &[("t", 0)]);
            w.end("a", who, how).unwrap();
            assert_eq!(w.state("a"), TxnState::Prepare(how));
            assert_eq!(w.init("a"), Err(ErrorCode::ConcurrentTransactions));
            assert_eq!(w.init_as("a", (77, 7)), Err(ErrorCode::ConcurrentTransactions));
            w.markers_written();
            assert!(w.init("a").is_ok());
        }
    }
}

/// KIP-360: a producer that names itself goes on with the next epoch; asking again it gets the same one.
#[test]
fn a_producer_goes_on_after_an_error() {
    for version in BOTH {
        let mut w = World::of(version);
        let who = w.init("a").unwrap();
        assert_eq!(w.init_as("a", who), Ok((who.0, 1)));
        assert_eq!(w.init_as("a", who), Ok((who.0, 1)), "the answer was lost");
        assert_eq!(w.init_as("a", (who.0, 1)), Ok((who.0, 2)));
        assert_eq!(w.init_as("a", who), Err(ErrorCode::ProducerFenced), "two epochs ago");
        assert_eq!(w.init_as("a", (who.0 + 1, 2)), Err(ErrorCode::ProducerFenced), "another producer id");
        assert_eq!(
            w.init_as("a", (who.0, 3)),
            Err(ErrorCode::ProducerFenced),
            "an epoch that nobody has yet"
        );
        // A new producer begins: the last epoch is nobody's any more.
        assert_eq!(w.init("a"), Ok((who.0, 3)));
        assert_eq!(w.init_as("a", (who.0, 2)), Err(ErrorCode::ProducerFenced));
    }
}

/// A producer that names itself aborts its own open transaction; one that was fenced does not touch it.
#[test]
fn only_the_producer_itself_aborts_its_open_transaction() {
    for version in BOTH {
        let mut w = World::of(version);
        let zombie = w.init("a").unwrap();
        let who = w.init("a").unwrap();
        w.add("a", who, &[("t", 0)]);
        assert_eq!(w.init_as("a", zombie), Err(ErrorCode::ProducerFenced));
        assert_eq!(w.state("a"), TxnState::Ongoing);
        assert_eq!(w.init_as("a", who), Err(ErrorCode::ConcurrentTransactions));
        w.markers_written();
        assert_eq!(w.state("a"), TxnState::Complete(ABORT));
    }
}

#[test]
fn an_unknown_id_is_given_a_producer_whoever_it_says_it_was() {
    let mut w = World::v2();
    assert_eq!(w.init_as("expired", (5, 5)), Ok((1000, 0)));
}

#[test]
fn old_clients_are_told_of_an_invalid_epoch() {
    let mut w = World::v1();
    w.init("a").unwrap();
    for (version, error) in [(3, ErrorCode::InvalidProducerEpoch), (4, ErrorCode::ProducerFenced)] {
        assert_eq!(w.init_with(version, init_request("a", (77, 0))), Err(error), "version {version}");
    }
}

/// The last epoch is kept for fencing: after it comes another producer id.
#[test]
fn epochs_that_are_used_up_bring_another_producer_id() {
    for version in BOTH {
        let mut w = World::of(version);
        let who = w.with_last_epoch("a");
        let next = w.next_spare();
        assert_eq!(w.init("a"), Ok((next, 0)));
        assert_eq!(w.init_as("a", who), Err(ErrorCode::ProducerFenced), "a new one has begun");

        let mut w = World::of(version);
        let who = w.with_last_epoch("a");
        assert_eq!(w.init_as("a", (who.0, LAST - 1)), Err(ErrorCode::ProducerFenced));
        let next = w.next_spare();
        assert_eq!(w.init_as("a", who), Ok((next, 0)));
        assert_eq!(w.init_as("a", who), Ok((next, 0)), "asked again with the old id");
        assert_eq!(w.init_as("a", (next, 0)), Ok((next, 1)));
        assert_eq!(w.init_as("a", who), Err(ErrorCode::ProducerFenced));
    }
}

/// Fencing an open transaction takes the very last epoch; what follows has another producer id.
#[test]
fn an_open_transaction_with_the_last_epoch_can_be_fenced() {
    for version in BOTH {
        let mut w = World::of(version);
        let who = w.with_last_epoch("a");
        let spare = w.next_spare();
        w.add("a", who, &[("t", 0)]);
        assert_eq!(w.init("a"), Err(ErrorCode::ConcurrentTransactions));
        let markers = w.next_markers();
        assert_eq!((markers.producer.id.0, markers.producer.epoch.0), (who.0, i16::MAX));
        w.markers.push_back(markers);
        w.markers_written();
        let expected = if version == TransactionVersion::V2 { (spare, 0) } else { (who.0, i16::MAX) };
        assert_eq!(w.who("a"), expected);
        let next = if version == TransactionVersion::V2 { 1 } else { 0 };
        assert_eq!(w.init("a"), Ok((spare, next)));
        assert_eq!(w.add("a", who, &[("t", 0)]), ErrorCode::InvalidProducerIdMapping);
    }
}

/// A request that needs a producer id waits for one; if there is none to be had it is to be made again.
#[test]
fn a_request_waits_for_a_producer_id() {
    let mut w = World::v2();
    w.supplies = false;
    let mut waiting = Vec::new();
    for n in 0..40 {
        let request = Request::InitProducerId(init_request(&format!("id-{n}"), (-1, -1)));
        waiting.push(w.ask(5, request).unwrap());
    }
    let unanswered = waiting.iter().filter(|ticket| !w.replies.contains_key(ticket)).count();
    assert!(unanswered > 20 && w.wanted.is_some());
    w.supplies = true;
    w.supply(w.wanted.unwrap());
    assert!(waiting.iter().all(|ticket| w.replies.contains_key(ticket)), "all are answered");
    let mut ids: Vec<_> = w.frame.core().transactions().map(|(_, t)| t.producer_id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), w.frame.core().transactions().count(), "nobody shares a producer id");
}

/// What comes while the partition cannot be written to is not taken: after that it is asked for again.
#[test]
fn producer_ids_are_asked_for_again_after_a_pause() {
    let mut w = World::v2();
    w.supplies = false;
    w.restart();
    let count = w.wanted.unwrap();
    let at = w.at();
    w.frame.set_writable(&at, false);
    w.supply(count);
    assert_eq!(w.wanted, None);
    w.supplies = true;
    let at = w.at();
    w.frame.set_writable(&at, true);
    w.pump();
    let spare = w.next_spare();
    assert_eq!(w.init("a"), Ok((spare, 0)));
}

#[test]
fn without_producer_ids_clients_are_told_to_try_again() {
    let mut w = World::v2();
    w.supplies = false;
    w.restart();
    let request = || Request::InitProducerId(init_request("a", (-1, -1)));
    let ticket = w.ask(5, request()).unwrap();
    assert!(!w.replies.contains_key(&ticket) && w.wanted.is_some());
    w.supply(0);
    match w.replies.remove(&ticket) {
        Some(Response::InitProducerId(r)) => {
            assert_eq!(code(r.error_code), ErrorCode::CoordinatorLoadInProgress);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(w.wanted, None, "not asked for again before somebody needs one");
    w.supplies = true;
    assert_eq!(w.init("a"), Ok((1016, 0)));
}
