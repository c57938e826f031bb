//! EndTxn, by the rules of both versions. What it is told in every state is in [`crate::every_state`].

use ottla_txn::{Request, Response, TransactionVersion, TxnState};
use ottla_wire::ErrorCode;

use crate::world::{ABORT, COMMIT, Who, World, end_request};

const NOBODY: Who = (-1, -1);

/// A world in which `a` is in the state that the name says, and its producer.
fn standing(version: TransactionVersion, state: &str) -> (World, Who) {
    let mut w = World::of(version);
    let who = w.init("a").unwrap();
    // So that there is an epoch before the present one.
    let who = w.init_as("a", who).unwrap();
    let outcome = if state.ends_with("Commit") { COMMIT } else { ABORT };
    match state {
        "Empty" => {}
        "Ongoing" => assert_eq!(w.add("a", who, &[("t", 0)]), ErrorCode::None),
        "PrepareCommit" | "PrepareAbort" => {
            assert_eq!(w.add("a", who, &[("t", 0)]), ErrorCode::None);
            w.end("a", who, outcome).unwrap();
        }
        _ => {
            w.transact("a", who, outcome);
        }
    }
    assert_eq!(w.state("a").name(), state);
    let who = w.who("a");
    (w, who)
}

#[test]
fn what_names_no_producer_is_refused() {
    for version in [TransactionVersion::V1, TransactionVersion::V2] {
        let (mut w, who) = standing(version, "Ongoing");
        for (name, id, who, error) in [
            ("an empty id", "", who, ErrorCode::InvalidRequest),
            ("an unknown id", "b", who, ErrorCode::InvalidProducerIdMapping),
            ("another producer", "a", (who.0 + 1, who.1), ErrorCode::InvalidProducerIdMapping),
        ] {
            assert_eq!(w.end(id, who, COMMIT), Err(error), "{name}");
        }
        assert_eq!(w.state("a"), TxnState::Ongoing);
    }
}

#[test]
fn old_clients_are_told_of_an_invalid_epoch() {
    for (version, error) in
        [(1, ErrorCode::InvalidProducerEpoch), (2, ErrorCode::ProducerFenced), (4, ErrorCode::ProducerFenced)]
    {
        let (mut w, who) = standing(TransactionVersion::V1, "Ongoing");
        assert_eq!(w.end_at(version, "a", (who.0, 9), COMMIT), Err(error), "version {version}");
    }
}

/// The version of the request decides, as in Kafka; at level 0 clients of version 2 are not served.
#[test]
fn the_version_of_the_request_decides() {
    for (cluster, api, bumps) in [
        (TransactionVersion::V2, 5, true),
        (TransactionVersion::V2, 4, false),
        (TransactionVersion::V1, 5, true),
        (TransactionVersion::V1, 4, false),
        (TransactionVersion::V0, 4, false),
    ] {
        let (mut w, who) = standing(cluster, "Ongoing");
        let next = w.end_at(api, "a", who, COMMIT).unwrap();
        assert_eq!(next, if bumps { (who.0, who.1 + 1) } else { NOBODY });
        let markers = w.next_markers();
        assert_eq!(markers.producer.epoch.0, who.1 + i16::from(bumps));
        assert_eq!(markers.transaction_version.level(), if bumps { 2 } else { 0 });
    }
}

#[test]
fn at_level_0_a_client_of_version_2_is_refused() {
    for state in ["Empty", "Ongoing", "CompleteAbort"] {
        let (mut w, who) = standing(TransactionVersion::V0, state);
        let records = w.log.len();
        assert_eq!(w.end_at(5, "a", who, ABORT), Err(ErrorCode::UnsupportedVersion), "{state}");
        assert_eq!((w.log.len(), w.who("a")), (records, who), "{state}");
    }
    let (mut w, who) = standing(TransactionVersion::V0, "Ongoing");
    assert_eq!(w.end_at(5, "a", who, COMMIT), Err(ErrorCode::UnsupportedVersion));
    assert_eq!(w.end_at(4, "a", who, COMMIT), Ok(NOBODY), "nothing is in the way");
}

/// What is open when the level is lowered ends by the rules that it began with, and takes no more partitions
/// at level 0.
#[test]
fn an_open_transaction_outlives_a_lower_level() {
    for (level, more) in
        [(TransactionVersion::V1, ErrorCode::None), (TransactionVersion::V0, ErrorCode::UnsupportedVersion)]
    {
        for how in [COMMIT, ABORT] {
            for restarts in [false, true] {
                let (mut w, who) = standing(TransactionVersion::V2, "Ongoing");
                w.set_version(level);
                if restarts {
                    w.restart();
                }
                assert_eq!(w.add_at(5, "a", who, &[("t", 0)]), ErrorCode::None, "it is there");
                assert_eq!(w.add_at(5, "a", who, &[("t", 1)]), more);
                let next = w.end_at(5, "a", who, how).unwrap();
                assert_eq!(next, (who.0, who.1 + 1));
                let markers = w.next_markers();
                assert_eq!((markers.producer.epoch.0, markers.transaction_version.level()), (next.1, 2));
                w.markers.push_back(markers);
                if restarts {
                    w.restart();
                }
                w.markers_written();
                assert_eq!((w.state("a"), w.who("a")), (TxnState::Complete(how), next));
                assert_eq!(w.end_at(5, "a", who, how), Ok(next), "the answer was lost");
                assert_eq!(w.add_at(3, "a", next, &[("t", 0)]), ErrorCode::None);
                assert_eq!(w.end_at(4, "a", next, COMMIT), Ok(NOBODY), "and by the older rules");
            }
        }
    }
}

/// A record of level 0 cannot say which producer id follows: an end that would bring one waits for the
/// timeout, or for a higher level.
#[test]
fn at_level_0_no_end_brings_another_producer_id() {
    let (mut w, who) = with_last_epoch();
    w.add("a", who, &[("t", 0)]);
    w.set_version(TransactionVersion::V0);
    assert_eq!(w.end_at(5, "a", who, COMMIT), Err(ErrorCode::UnsupportedVersion));
    assert_eq!(w.state("a"), TxnState::Ongoing);
    w.set_version(TransactionVersion::V1);
    assert_eq!(w.end_at(5, "a", who, COMMIT), Ok((w.next_spare(), 0)));
}

/// What is open when the level is raised ends by the rules that it began with; the next one may have those of
/// version 2.
#[test]
fn an_open_transaction_outlives_a_higher_level() {
    for level in [TransactionVersion::V0, TransactionVersion::V1] {
        for how in [COMMIT, ABORT] {
            let (mut w, who) = standing(level, "Ongoing");
            w.set_version(TransactionVersion::V2);
            assert_eq!(w.add_at(3, "a", who, &[("t", 1)]), ErrorCode::None);
            assert_eq!(w.end_at(4, "a", who, how), Ok(NOBODY));
            w.markers_written();
            assert_eq!((w.state("a"), w.who("a")), (TxnState::Complete(how), who), "the epoch stays");
            assert_eq!(w.transact("a", who, how), (who.0, who.1 + 1));
        }
    }
}

/// A client of version 2 goes on with the epoch that has fenced it, as a repeated abort tells it. So the
/// marker that brought this epoch must not be taken twice: partitions are told that it follows the rules of
/// version 2, whatever the level is.
#[test]
fn a_client_of_version_2_is_fenced_by_its_own_rules() {
    for level in [TransactionVersion::V2, TransactionVersion::V1, TransactionVersion::V0] {
        let (mut w, who) = standing(TransactionVersion::V2, "Ongoing");
        w.set_version(level);
        assert_eq!(w.init("a"), Err(ErrorCode::ConcurrentTransactions));
        let markers = w.next_markers();
        assert_eq!((markers.producer.epoch.0, markers.transaction_version.level()), (who.1 + 1, 2));
        w.markers.push_back(markers);
        w.markers_written();
        assert_eq!(w.end_at(5, "a", who, ABORT), Ok((who.0, who.1 + 1)));
    }
    // Where the records cannot say which producer id follows, none does.
    let (mut w, who) = with_last_epoch();
    w.add("a", who, &[("t", 0)]);
    w.set_version(TransactionVersion::V0);
    assert_eq!(w.init("a"), Err(ErrorCode::ConcurrentTransactions));
    w.restart();
    w.markers_written();
    assert_eq!(w.who("a"), (who.0, i16::MAX));
    assert_eq!(w.init("a"), Ok((w.next_spare(), 0)));
}

/// The epoch that fences a producer whose epochs are used up is nobody's: told of it, a client of version 2
/// would write with an epoch that no marker can be above.
#[test]
fn nobody_is_told_of_the_very_last_epoch() {
    let mut w = World::v1();
    let who = w.with_last_epoch("a");
    assert_eq!(w.add_at(3, "a", who, &[("t", 0)]), ErrorCode::None);
    assert_eq!(w.init("a"), Err(ErrorCode::ConcurrentTransactions));
    w.markers_written();
    assert_eq!(w.who("a"), (who.0, i16::MAX));
    assert_eq!(w.end_at(5, "a", who, ABORT), Err(ErrorCode::ProducerFenced));
    w.set_version(TransactionVersion::V2);
    assert_eq!(w.end_at(5, "a", who, ABORT), Err(ErrorCode::ProducerFenced));
}

/// A client of version 2 may abort before it knows whether a partition was added.
#[test]
fn an_empty_transaction_is_aborted_at_once() {
    let (mut w, who) = standing(TransactionVersion::V2, "Empty");
    let records = w.log.len();
    assert_eq!(w.end("a", who, ABORT), Ok((who.0, who.1 + 1)));
    assert_eq!(w.state("a"), TxnState::Complete(ABORT));
    assert_eq!(w.transaction("a").started, w.wall(), "it began and ended now");
    assert!(w.markers.is_empty(), "no partition needs a marker");
    assert_eq!(w.log.len(), records + 2, "the decision and the end");
    assert_eq!(w.end("a", who, ABORT), Ok((who.0, who.1 + 1)), "the answer was lost");
    assert_eq!(w.add("a", who, &[("t", 0)]), ErrorCode::ProducerFenced, "a Produce that was late");
}

fn with_last_epoch() -> (World, Who) {
    let mut w = World::v2();
    let who = w.with_last_epoch("a");
    (w, who)
}

/// The end of the last epoch brings another producer id; asked again with the old one, EndTxn still knows.
#[test]
fn the_last_epoch_ends_with_another_producer_id() {
    for outcome in [COMMIT, ABORT] {
        let (mut w, who) = with_last_epoch();
        let spare = w.next_spare();
        w.add("a", who, &[("t", 0)]);
        let next = w.end("a", who, outcome).unwrap();
        assert_eq!(next, (spare, 0));
        let prepared = w.transaction("a");
        assert_eq!((prepared.producer_id.0, prepared.epoch.0), (who.0, i16::MAX), "as the markers say");
        assert_eq!(prepared.next_producer_id.0, next.0);
        assert_eq!(w.add("a", next, &[("t", 0)]), ErrorCode::ConcurrentTransactions);
        assert_eq!(w.end("a", who, outcome), Err(ErrorCode::ConcurrentTransactions));
        w.markers_written();
        assert_eq!(w.who("a"), next);
        assert_eq!(w.end("a", who, outcome), Ok(next), "asked again");
        let other = if outcome == COMMIT { ABORT } else { COMMIT };
        assert_eq!(w.end("a", who, other), Err(ErrorCode::InvalidTxnState));
        w.restart();
        assert_eq!(w.end("a", who, outcome), Ok(next), "asked again of another broker");
        assert_eq!(w.add("a", next, &[("t", 0)]), ErrorCode::None);
        assert_eq!(
            w.end("a", who, outcome),
            Err(ErrorCode::InvalidProducerIdMapping),
            "the next one is open"
        );
    }
}

#[test]
fn an_end_waits_for_a_producer_id_that_it_needs() {
    let (mut w, who) = with_last_epoch();
    w.add("a", who, &[("t", 0)]);
    w.supplies = false;
    w.restart();
    let ticket = w.ask(5, Request::EndTxn(end_request("a", who, COMMIT))).unwrap();
    assert!(w.replies.is_empty());
    assert_eq!(w.state("a"), TxnState::Ongoing);
    w.supply(1);
    match w.replies.remove(&ticket) {
        Some(Response::EndTxn(response)) => {
            assert_eq!((response.error_code, response.producer_epoch), (0, 0))
        }
        other => panic!("{other:?}"),
    }
}

/// What a client hears is committed, and markers are not asked for before: a coordinator that fails in
/// between leaves nothing behind that contradicts the one after it.
#[test]
fn nothing_leaves_before_the_decision_is_committed() {
    let (mut w, who) = standing(TransactionVersion::V2, "Ongoing");
    w.commits = false;
    let first = w.ask(5, Request::EndTxn(end_request("a", who, COMMIT))).unwrap();
    let second = w.ask(5, Request::EndTxn(end_request("a", who, ABORT))).unwrap();
    assert!(w.replies.is_empty() && w.markers.is_empty());
    w.commits = true;
    w.pump();
    assert_eq!(w.markers.len(), 1);
    let codes = [first, second].map(|ticket| match w.replies.remove(&ticket) {
        Some(Response::EndTxn(response)) => crate::world::code(response.error_code),
        other => panic!("{other:?}"),
    });
    assert_eq!(codes, [ErrorCode::None, ErrorCode::ConcurrentTransactions]);
}
