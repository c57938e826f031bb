//! Markers: asked for until every partition has its own.

use std::time::Duration;

use ottla_txn::markers::{BACKOFF_MAX, BACKOFF_MIN};
use ottla_txn::{MarkerOutcome, TxnState};
use ottla_wire::{ErrorCode, LeaderEpoch};

use crate::world::{ABORT, COMMIT, Who, World};

const PARTITIONS: [(&str, i32); 4] = [("t", 0), ("t", 1), ("u", 0), ("gone", 5)];

/// A transaction whose outcome is decided.
fn ending(w: &mut World) -> Who {
    let who = w.init("a").unwrap();
    assert_eq!(w.add("a", who, &PARTITIONS), ErrorCode::None);
    w.end("a", who, COMMIT).unwrap();
    who
}

#[test]
fn a_transaction_is_complete_when_every_partition_has_its_marker() {
    let mut w = World::v2();
    let who = ending(&mut w);
    let asked = w.next_markers();
    assert_eq!(asked.transactional_id, "a");
    assert_eq!((asked.producer.id.0, asked.producer.epoch.0), (who.0, who.1 + 1));
    assert_eq!((asked.outcome, asked.coordinator_epoch), (COMMIT, LeaderEpoch(0)));
    let partitions: Vec<_> = asked.partitions.iter().map(|(t, p)| (t.to_string(), p)).collect();
    assert_eq!(partitions.len(), PARTITIONS.len());
    // A topic that was deleted meanwhile keeps nothing that would have to be ended.
    w.answer_markers(
        &asked,
        |topic, _| if topic == "gone" { MarkerOutcome::Gone } else { MarkerOutcome::Done },
    );
    assert_eq!(w.state("a"), TxnState::Complete(COMMIT));
    assert!(w.transaction("a").partitions.is_empty());
}

#[test]
fn markers_that_could_not_be_written_are_asked_for_again() {
    let mut w = World::v2();
    ending(&mut w);
    let asked = w.next_markers();
    let retried = |topic: &str, partition: i32| (topic, partition) == ("t", 1);
    let answer = |topic: &str, partition: i32| {
        if retried(topic, partition) { MarkerOutcome::Retry } else { MarkerOutcome::Done }
    };
    w.answer_markers(&asked, answer);
    assert_eq!(w.state("a"), TxnState::Prepare(COMMIT));
    assert!(w.markers.is_empty(), "not at once");
    w.after(BACKOFF_MIN);
    let again = w.next_markers();
    assert_eq!(again.partitions.iter().map(|(t, p)| (t.as_str(), p)).collect::<Vec<_>>(), [("t", 1)]);
    assert_ne!(again.token, asked.token);
    w.answer_markers(&again, |_, _| MarkerOutcome::Done);
    assert_eq!(w.state("a"), TxnState::Complete(COMMIT));
}

#[test]
fn the_pause_grows_to_its_limit() {
    let mut w = World::v2();
    ending(&mut w);
    let mut pause = BACKOFF_MIN;
    for _ in 0..40 {
        let asked = w.next_markers();
        w.answer_markers(&asked, |_, _| MarkerOutcome::Retry);
        w.after(pause - Duration::from_millis(1));
        assert!(w.markers.is_empty());
        w.after(Duration::from_millis(1));
        assert_eq!(w.markers.len(), 1, "after {pause:?}");
        pause = (pause * 2).min(BACKOFF_MAX);
    }
}

/// Before version 2 one producer epoch has many transactions: an answer that belongs to an earlier one, or to
/// an earlier try, must not count.
#[test]
fn an_answer_counts_for_its_own_request_only() {
    let mut w = World::v1();
    let who = w.init("a").unwrap();
    w.add("a", who, &[("t", 0)]);
    w.end("a", who, COMMIT).unwrap();
    let first = w.next_markers();
    w.answer_markers(&first, |_, _| MarkerOutcome::Done);
    w.add("a", who, &[("t", 0)]);
    w.end("a", who, ABORT).unwrap();
    w.answer_markers(&first, |_, _| MarkerOutcome::Done);
    assert_eq!(w.state("a"), TxnState::Prepare(ABORT));
    let second = w.next_markers();
    w.answer_markers(&second, |_, _| MarkerOutcome::Retry);
    w.answer_markers(&second, |_, _| MarkerOutcome::Done);
    assert_eq!(w.state("a"), TxnState::Prepare(ABORT), "answered before");
    w.after(BACKOFF_MIN);
    w.answer_markers(&second, |_, _| MarkerOutcome::Done);
    assert_eq!(w.state("a"), TxnState::Prepare(ABORT));
    let third = w.next_markers();
    w.answer_markers(&third, |_, _| MarkerOutcome::Done);
    assert_eq!(w.state("a"), TxnState::Complete(ABORT));
    w.answer_markers(&third, |_, _| MarkerOutcome::Done);
    assert_eq!(w.state("a"), TxnState::Complete(ABORT));
}

/// The log says that the outcome is decided, not which markers are written: the next coordinator asks for
/// all.
#[test]
fn the_next_coordinator_asks_for_all_markers_again() {
    for how in [COMMIT, ABORT] {
        let mut w = World::v2();
        let who = w.init("a").unwrap();
        w.add("a", who, &PARTITIONS);
        w.end("a", who, how).unwrap();
        let old = w.next_markers();
        let but_one = |topic: &str, _| if topic == "u" { MarkerOutcome::Retry } else { MarkerOutcome::Done };
        w.answer_markers(&old, but_one);
        w.restart();
        let new = w.next_markers();
        assert_eq!((new.coordinator_epoch, new.outcome), (LeaderEpoch(1), how));
        assert_eq!(new.partitions.len(), PARTITIONS.len());
        assert_eq!(new.producer, old.producer);
        assert_eq!(new.transaction_version, old.transaction_version);
        w.answer_markers(&old, |_, _| MarkerOutcome::Done);
        assert_eq!(w.state("a"), TxnState::Prepare(how), "an answer to the one before");
        w.answer_markers(&new, |_, _| MarkerOutcome::Done);
        assert_eq!(w.state("a"), TxnState::Complete(how));
    }
}

/// While the partition cannot be written to, answers are not taken; after that markers are asked for again.
#[test]
fn after_a_pause_markers_are_asked_for_again() {
    let mut w = World::v2();
    ending(&mut w);
    let lost = w.next_markers();
    let at = w.at();
    w.frame.set_writable(&at, false);
    w.answer_markers(&lost, |_, _| MarkerOutcome::Done);
    assert_eq!(w.state("a"), TxnState::Prepare(COMMIT));
    let at = w.at();
    w.frame.set_writable(&at, true);
    w.pump();
    let again = w.next_markers();
    assert_ne!(again.token, lost.token);
    assert_eq!(again.partitions, lost.partitions);
}

/// The next try that was planned before a pause is not made after it: all markers are asked for anyway.
#[test]
fn after_a_pause_markers_are_asked_for_once() {
    let mut w = World::v2();
    ending(&mut w);
    let asked = w.next_markers();
    w.answer_markers(&asked, |_, _| MarkerOutcome::Retry);
    for writable in [false, true] {
        let at = w.at();
        w.frame.set_writable(&at, writable);
    }
    w.pump();
    w.after(BACKOFF_MAX);
    assert_eq!(w.markers.len(), 1);
    w.markers_written();
    assert_eq!(w.state("a"), TxnState::Complete(COMMIT));
}

/// A coordinator that partitions have seen a newer one of leaves the transaction to it.
#[test]
fn a_fenced_coordinator_stops_asking() {
    let mut w = World::v2();
    ending(&mut w);
    let asked = w.next_markers();
    w.answer_markers(&asked, |_, _| MarkerOutcome::Fenced);
    w.after(Duration::from_secs(60));
    assert!(w.markers.is_empty());
    assert_eq!(w.state("a"), TxnState::Prepare(COMMIT));
}

#[test]
fn error_codes_say_what_becomes_of_a_marker() {
    for (code, outcome) in [
        (ErrorCode::None, MarkerOutcome::Done),
        (ErrorCode::InvalidProducerEpoch, MarkerOutcome::Done),
        (ErrorCode::TransactionCoordinatorFenced, MarkerOutcome::Fenced),
        (ErrorCode::NotLeaderOrFollower, MarkerOutcome::Retry),
        (ErrorCode::NotEnoughReplicas, MarkerOutcome::Retry),
        (ErrorCode::NotEnoughReplicasAfterAppend, MarkerOutcome::Retry),
        (ErrorCode::UnknownTopicOrPartition, MarkerOutcome::Retry),
        (ErrorCode::RequestTimedOut, MarkerOutcome::Retry),
        (ErrorCode::KafkaStorageError, MarkerOutcome::Retry),
        (ErrorCode::CoordinatorLoadInProgress, MarkerOutcome::Retry),
    ] {
        assert_eq!(MarkerOutcome::from(code), outcome, "{code}");
    }
}
