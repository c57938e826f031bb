//! DescribeTransactions, ListTransactions, and what metrics are told.

use std::time::Duration;

use ottla_txn::{PATTERN_BYTES_MAX, Request, Response, TxnState};
use ottla_wire::messages::describe_transactions_response::TransactionState;
use ottla_wire::messages::{ListTransactionsRequest, ListTransactionsResponse};
use ottla_wire::{ErrorCode, Str};

use crate::world::{ABORT, COMMIT, World, code};

/// One id in each state; `ongoing` began a minute before `prepared`.
fn populated() -> World {
    let mut w = World::v2();
    w.init("empty").unwrap();
    let who = w.init("committed").unwrap();
    w.transact("committed", who, COMMIT);
    let who = w.init("aborted").unwrap();
    w.transact("aborted", who, ABORT);
    let who = w.init("ongoing").unwrap();
    w.add("ongoing", who, &[("u", 2), ("t", 1), ("t", 0)]);
    w.after(Duration::from_secs(30));
    for (id, how) in [("prepared-commit", COMMIT), ("prepared-abort", ABORT)] {
        let who = w.init(id).unwrap();
        w.add(id, who, &[("t", 0)]);
        w.end(id, who, how).unwrap();
    }
    w
}

fn describe(w: &mut World, id: &str) -> TransactionState {
    match w.call(0, Request::DescribeTransaction(Str::from(id))) {
        Response::DescribeTransaction(state) => state,
        other => panic!("{other:?}"),
    }
}

fn list(w: &mut World, change: impl FnOnce(&mut ListTransactionsRequest)) -> ListTransactionsResponse {
    let mut request = ListTransactionsRequest::default();
    change(&mut request);
    match w.call(2, Request::ListTransactions(request)) {
        Response::ListTransactions(response) => response,
        other => panic!("{other:?}"),
    }
}

fn ids(response: &ListTransactionsResponse) -> Vec<&str> {
    response.transaction_states.iter().map(|state| state.transactional_id.as_str()).collect()
}

#[test]
fn a_transaction_is_described() {
    let mut w = populated();
    let who = w.who("ongoing");
    let state = describe(&mut w, "ongoing");
    assert_eq!((state.error_code, state.transaction_state.as_str()), (0, "Ongoing"));
    assert_eq!((state.producer_id, state.producer_epoch), who);
    assert_eq!(state.transaction_timeout_ms, 60_000);
    assert_eq!(state.transaction_start_time_ms, w.wall().0 - 30_000);
    let topics: Vec<_> = state.topics.iter().map(|t| (t.topic.as_str(), t.partitions.as_slice())).collect();
    assert_eq!(topics, [("t", [0, 1].as_slice()), ("u", [2].as_slice())]);
    let state = describe(&mut w, "empty");
    assert_eq!((state.transaction_state.as_str(), state.transaction_start_time_ms), ("Empty", -1));
    for (id, error) in [("unknown", ErrorCode::TransactionalIdNotFound), ("", ErrorCode::InvalidRequest)] {
        let state = describe(&mut w, id);
        assert_eq!((code(state.error_code), state.transactional_id.as_str()), (error, id));
    }
}

#[test]
fn transactions_are_listed_by_state_producer_and_age() {
    let mut w = populated();
    let everything = ["aborted", "committed", "empty", "ongoing", "prepared-abort", "prepared-commit"];
    let all = list(&mut w, |_| {});
    assert_eq!(ids(&all), everything);
    assert_eq!(all.transaction_states[3].transaction_state, "Ongoing");
    assert_eq!(all.transaction_states[3].producer_id, w.who("ongoing").0);

    let states = |names: &[&str]| names.iter().map(|&name| Str::from(name)).collect::<Vec<_>>();
    for (names, expected) in [
        (["Ongoing"].as_slice(), ["ongoing"].as_slice()),
        (&["Empty", "CompleteCommit"], &["committed", "empty"]),
        (&["PrepareAbort", "PrepareCommit"], &["prepared-abort", "prepared-commit"]),
        (&["CompleteAbort"], &["aborted"]),
        (&["Dead"], &[]),
        (&["PrepareEpochFence"], &[]),
    ] {
        let found = list(&mut w, |r| r.state_filters = states(names));
        assert_eq!((ids(&found).as_slice(), found.unknown_state_filters.len()), (expected, 0), "{names:?}");
    }
    let found = list(&mut w, |r| r.state_filters = states(&["ongoing", "Empty", "Nonsense"]));
    assert_eq!(ids(&found), ["empty"]);
    assert_eq!(found.unknown_state_filters, states(&["ongoing", "Nonsense"]), "names are told back");
    let found = list(&mut w, |r| r.state_filters = states(&["Nonsense"]));
    assert!(ids(&found).is_empty(), "a name that no state has lets nothing through");

    let producer = w.who("ongoing").0;
    assert_eq!(ids(&list(&mut w, |r| r.producer_id_filters = vec![producer, 77])), ["ongoing"]);
    w.markers.clear();
    assert_eq!(ids(&list(&mut w, |r| r.duration_filter = 29_999)), ["aborted", "committed", "ongoing"]);
    assert!(ids(&list(&mut w, |r| r.duration_filter = 30_000)).is_empty(), "longer than");
    let begun = list(&mut w, |r| {
        r.duration_filter = 29_999;
        r.state_filters = states(&["Ongoing"]);
    });
    assert_eq!(ids(&begun), ["ongoing"], "all filters hold");
}

#[test]
fn transactions_are_listed_by_pattern() {
    let mut w = populated();
    for (pattern, expected) in [
        ("", 6),
        (".*", 6),
        ("prepared-.*", 2),
        ("prepared", 0), // the whole id
        ("committed|empty", 2),
        (".*mm.*", 2),
        ("on[a-h]oing", 1),
    ] {
        let found = list(&mut w, |r| r.transactional_id_pattern = Some(Str::from(pattern)));
        assert_eq!((code(found.error_code), ids(&found).len()), (ErrorCode::None, expected), "{pattern}");
    }
    let long = "x".repeat(PATTERN_BYTES_MAX + 1);
    for pattern in ["(", "a)|(b", "[", "(a{1000}){1000}", long.as_str()] {
        let found = list(&mut w, |r| r.transactional_id_pattern = Some(Str::from(pattern)));
        assert_eq!(code(found.error_code), ErrorCode::InvalidRegularExpression, "{pattern:.20}");
    }
}

#[test]
fn metrics_are_told_how_many_are_where_and_the_oldest_that_is_open() {
    let mut w = populated();
    for state in TxnState::ALL {
        assert_eq!(w.frame.core().facts().count(state), 1, "{state:?}");
    }
    let oldest = w.transaction("ongoing").started;
    assert_eq!(w.frame.core().facts().oldest_open, Some(oldest));
    let who = w.who("ongoing");
    w.end("ongoing", who, COMMIT).unwrap();
    assert_eq!(w.frame.core().facts().oldest_open, Some(oldest), "its markers are missing");
    w.markers_written();
    assert_eq!(w.frame.core().facts().oldest_open, None);
    assert_eq!(w.frame.core().facts().count(TxnState::Complete(COMMIT)), 3);
    w.restart();
    assert_eq!(w.frame.core().facts().count(TxnState::Complete(COMMIT)), 3);
}
