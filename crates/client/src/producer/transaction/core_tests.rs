//! The rules of a transaction, as stories and tables.

use ottla_wire::protocol::ErrorCode;
use ottla_wire::{ProducerEpoch, ProducerId};

use super::core::{Core, End, Step, TransactionVersion};
use super::error::{Cause, TransactionError};
use super::verdict::Verdict;
use crate::cluster::TopicPartition;
use crate::error::{ApiError, Error};
use crate::producer::sequences::Identity;

const FIRST: Identity = (ProducerId(7), ProducerEpoch(0));
const NEXT: Identity = (ProducerId(7), ProducerEpoch(1));

fn cause(code: ErrorCode) -> Cause {
    Error::Api(ApiError { code, message: None }).into()
}

fn some_cause() -> Cause {
    cause(ErrorCode::TransactionAbortable)
}

fn partition() -> TopicPartition {
    TopicPartition::new("t", 0)
}

fn ready(version: TransactionVersion) -> Core {
    let mut core = Core::new();
    core.may_init().unwrap();
    core.identified(FIRST, version);
    core
}

/// A transaction in which one batch has left.
fn sending(version: TransactionVersion) -> Core {
    let mut core = ready(version);
    core.begin().unwrap();
    core.may_send("send").unwrap();
    core.took(&partition());
    if version == TransactionVersion::V1 {
        assert!(!core.may_leave(&partition(), Some(FIRST)), "the coordinator is to know first");
        let (_, partitions) = core.next_to_add().unwrap();
        assert!(core.is_adding() && core.next_to_add().is_none(), "one question at a time");
        core.added(partitions);
    }
    assert!(core.may_leave(&partition(), Some(FIRST)) && !core.may_leave(&partition(), Some(NEXT)));
    core.leaves();
    core
}

fn step(core: &mut Core) -> Step {
    core.next_step("end").unwrap()
}

const BOTH: [TransactionVersion; 2] = [TransactionVersion::V1, TransactionVersion::V2];

#[test]
fn a_transaction_that_sends_is_ended_by_the_coordinator() {
    for version in BOTH {
        for end in [End::Commit, End::Abort] {
            let mut core = sending(version);
            core.end(end).unwrap();
            // Asking again is no misuse: nobody may know whether the first time was heard.
            core.end(end).unwrap();
            assert_eq!(step(&mut core), Step::End { end, identity: FIRST, version });
            let next = (version == TransactionVersion::V2).then_some(NEXT);
            core.ended(next, version);
            assert_eq!(step(&mut core), Step::Done);
            assert_eq!(core.identity(), Some(next.unwrap_or(FIRST)));
            core.begin().unwrap();
            let knows = core.may_leave(&partition(), core.identity());
            assert_eq!(knows, version == TransactionVersion::V2, "partitions are of one transaction");
        }
    }
}

#[test]
fn a_transaction_without_anything_ends_without_anybody() {
    for version in BOTH {
        for end in [End::Commit, End::Abort] {
            let mut core = ready(version);
            core.begin().unwrap();
            core.end(end).unwrap();
            assert_eq!(step(&mut core), Step::Done);
            core.begin().unwrap();
        }
    }
}

#[test]
fn the_version_of_the_cluster_counts_from_the_next_transaction_on() {
    let mut core = sending(TransactionVersion::V1);
    core.end(End::Commit).unwrap();
    core.ended(None, TransactionVersion::V2);
    assert_eq!(step(&mut core), Step::Done);
    assert_eq!(core.version(), TransactionVersion::V2);
}

#[test]
fn a_record_that_failed_leaves_only_the_abort_and_then_all_is_well() {
    for (version, sent, renews) in [
        (TransactionVersion::V1, true, true),
        (TransactionVersion::V1, false, false),
        (TransactionVersion::V2, true, false),
    ] {
        let mut core = sending(version);
        core.record_failed(Verdict::AbortAndRenew, some_cause(), sent);
        assert!(core.drops() && !core.may_leave(&partition(), Some(FIRST)));
        for refused in [core.may_send("send"), core.end(End::Commit), core.begin()] {
            assert!(refused.unwrap_err().asks_to_abort());
        }
        core.end(End::Abort).unwrap();
        assert_eq!(step(&mut core), Step::End { end: End::Abort, identity: FIRST, version });
        core.ended((version == TransactionVersion::V2).then_some(NEXT), version);
        if renews {
            assert_eq!(step(&mut core), Step::Renew(FIRST));
            core.renewed(NEXT, version);
        }
        assert_eq!(step(&mut core), Step::Done);
        core.begin().unwrap();
    }
}

#[test]
fn what_fails_while_it_is_committed_fails_the_commit() {
    let mut core = sending(TransactionVersion::V1);
    core.end(End::Commit).unwrap();
    core.record_failed(Verdict::AbortAndRenew, some_cause(), true);
    assert!(core.next_step("commit").unwrap_err().asks_to_abort());
    core.end(End::Abort).unwrap();
}

#[test]
fn what_fails_while_it_is_aborted_changes_nothing_but_the_epoch() {
    let mut core = sending(TransactionVersion::V1);
    core.end(End::Abort).unwrap();
    core.record_failed(Verdict::AbortAndRenew, some_cause(), true);
    core.ended(None, TransactionVersion::V1);
    assert_eq!(step(&mut core), Step::Renew(FIRST));
}

#[test]
fn a_coordinator_that_forgot_the_producer_is_asked_for_another_identity() {
    for version in BOTH {
        let mut core = sending(version);
        core.end(End::Commit).unwrap();
        core.judged(Verdict::Forgotten, cause(ErrorCode::InvalidProducerIdMapping));
        assert!(core.next_step("commit").unwrap_err().asks_to_abort());
        assert!(!core.has_another_way(), "the commit has failed");
        core.end(End::Abort).unwrap();
        assert!(core.has_another_way());
        assert_eq!(step(&mut core), Step::Renew(FIRST));
        core.renewed((ProducerId(8), ProducerEpoch(0)), version);
        assert_eq!(step(&mut core), Step::Done);
    }
}

#[test]
fn a_fatal_error_is_the_last_word() {
    let mut core = sending(TransactionVersion::V2);
    core.judged(Verdict::Fatal, cause(ErrorCode::ProducerFenced));
    core.judged(Verdict::Fatal, cause(ErrorCode::InvalidTxnState));
    for refused in [
        core.may_init(),
        core.begin(),
        core.may_send("send"),
        core.end(End::Commit),
        core.end(End::Abort),
        core.next_step("abort").map(drop),
    ] {
        let error = refused.unwrap_err();
        assert!(error.is_fatal() && error.to_string().contains("PRODUCER_FENCED"), "{error}");
    }
    assert!(core.drops() && !core.is_open());
}

#[test]
fn offsets_of_unknown_fate_cannot_be_committed() {
    let mut core = ready(TransactionVersion::V1);
    core.begin().unwrap();
    core.offsets_leave();
    assert!(core.end(End::Commit).unwrap_err().asks_to_abort());
    core.end(End::Abort).unwrap();
    core.ended(None, TransactionVersion::V1);
    assert_eq!(step(&mut core), Step::Renew(FIRST), "they may still arrive, in the old epoch");

    let mut core = ready(TransactionVersion::V1);
    core.begin().unwrap();
    core.offsets_leave();
    core.offsets_settled();
    core.end(End::Commit).unwrap();
    assert!(matches!(step(&mut core), Step::End { end: End::Commit, .. }));
}

#[test]
fn partitions_that_the_coordinator_may_have_heard_of_after_the_abort_cost_the_epoch() {
    let mut core = ready(TransactionVersion::V1);
    core.begin().unwrap();
    core.took(&partition());
    core.next_to_add().unwrap();
    core.end(End::Abort).unwrap();
    assert!(core.is_adding(), "the abort waits for the answer");
    core.not_added(Verdict::Retry, some_cause(), true);
    assert!(core.next_to_add().is_none(), "an aborted transaction needs no partitions");
    assert!(matches!(step(&mut core), Step::End { .. }));
    core.ended(None, TransactionVersion::V1);
    assert_eq!(step(&mut core), Step::Renew(FIRST));
}

#[test]
fn misuse_is_named_and_changes_nothing() {
    type Call = fn(&mut Core) -> Result<(), TransactionError>;
    let (init, begin, send): (Call, Call, Call) =
        (|core| core.may_init(), |core| core.begin(), |core| core.may_send("send"));
    let (commit, abort): (Call, Call) = (|core| core.end(End::Commit), |core| core.end(End::Abort));
    type Story = fn() -> Core;
    let new: Story = Core::new;
    let idle: Story = || ready(TransactionVersion::V2);
    let open: Story = || sending(TransactionVersion::V2);
    let committing: Story = || {
        let mut core = sending(TransactionVersion::V2);
        core.end(End::Commit).unwrap();
        core
    };
    let aborting: Story = || {
        let mut core = sending(TransactionVersion::V2);
        core.end(End::Abort).unwrap();
        core
    };
    let cases: [(&str, Story, &[Call]); 5] = [
        ("init_transactions has not succeeded yet", new, &[begin, send, commit, abort]),
        ("no transaction is open", idle, &[init, send, commit, abort]),
        ("a transaction is open", open, &[init, begin]),
        ("being committed", committing, &[init, begin, send, abort]),
        ("being aborted", aborting, &[init, begin, send, commit]),
    ];
    for (what, story, calls) in cases {
        for call in calls {
            let mut core = story();
            let error = call(&mut core).unwrap_err();
            assert!(matches!(error, TransactionError::Misuse { .. }), "{what}: {error}");
            assert!(error.to_string().contains(what), "{what}: {error}");
            assert_eq!(format!("{core:?}"), format!("{:?}", story()), "{what}: something has changed");
        }
    }
}
