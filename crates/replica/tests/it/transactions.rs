//! Transactions in one partition: the last stable offset, markers, aborted transactions, verification
//! (KIP-890).

use ottla_replica::{Acks, Append, AppendError, ReplyId, VerificationGuard, WriteMarker};
use ottla_wire::batch::Origin;
use ottla_wire::{AbortedTxn, Instant, Offset, ProducerEpoch, ProducerId, Sequence};

use crate::batches::{Produced, plain};
use crate::partition::Partition;

fn write(p: &mut Partition, id: i64, epoch: i16, sequence: i32) -> ReplyId {
    let batch = Produced { id, epoch, sequence, count: 1, transactional: true, timestamp: 1 };
    p.append_as(p.leader(), batch.batch(), Acks::InSync)
}

fn end(p: &mut Partition, id: i64, epoch: i16, commit: bool) -> ReplyId {
    end_with(p, id, epoch, commit, 0, 0)
}

fn end_with(
    p: &mut Partition,
    id: i64,
    epoch: i16,
    commit: bool,
    coordinator_epoch: i32,
    transaction_version: i8,
) -> ReplyId {
    p.marker(WriteMarker {
        producer: ProducerId(id),
        producer_epoch: ProducerEpoch(epoch),
        coordinator_epoch,
        commit,
        transaction_version,
        deadline: Instant(0),
        reply: ReplyId(0),
    })
}

fn last_stable(p: &Partition) -> i64 {
    p.view("leader").last_stable.0
}

#[test]
fn readers_of_committed_data_stop_at_the_first_open_transaction() {
    let mut p = Partition::of(["leader"]);
    p.append("before");
    write(&mut p, 1, 0, 0);
    write(&mut p, 2, 0, 0);
    p.append("after");
    assert_eq!((p.hw("leader"), last_stable(&p)), (4, 1));
    end(&mut p, 2, 0, true);
    assert_eq!(last_stable(&p), 1);
    let marker = end(&mut p, 1, 0, true);
    assert_eq!(p.acked(marker), Some(5));
    assert_eq!(last_stable(&p), 6);
    assert!(p.nodes[0].aborted.is_empty());
}

/// Until its marker is committed, a transaction is undecided.
#[test]
fn a_marker_counts_once_it_is_committed() {
    let mut p = Partition::of(["leader", "follower"]);
    write(&mut p, 1, 0, 0);
    p.replicate("follower");
    end(&mut p, 1, 0, true);
    assert_eq!((p.hw("leader"), last_stable(&p)), (1, 0));
    p.replicate("follower");
    assert_eq!((p.hw("leader"), last_stable(&p)), (2, 2));
}

#[test]
fn aborted_transactions_are_told_for_the_index_on_every_replica() {
    let mut p = Partition::of(["leader", "follower"]);
    write(&mut p, 1, 0, 0);
    write(&mut p, 2, 0, 0);
    write(&mut p, 1, 0, 1);
    end(&mut p, 2, 0, false);
    end(&mut p, 1, 0, false);
    let entry = |id, first, last, stable| AbortedTxn {
        producer_id: ProducerId(id),
        first_offset: Offset(first),
        last_offset: Offset(last),
        last_stable_offset: Offset(stable),
    };
    let expected = [entry(2, 1, 3, 0), entry(1, 0, 4, 5)];
    assert_eq!(p.nodes[0].aborted, expected);
    p.replicate("follower");
    assert_eq!(p.nodes[1].aborted, expected);
}

#[test]
fn an_abort_without_data_leaves_no_trace_in_the_index() {
    let mut p = Partition::of(["leader"]);
    end(&mut p, 1, 0, false);
    assert!(p.nodes[0].aborted.is_empty());
    assert_eq!(last_stable(&p), 1);
}

#[test]
fn a_producer_is_still_listed_after_its_transaction() {
    let mut p = Partition::of(["leader"]);
    write(&mut p, 1, 0, 0);
    assert_eq!(p.nodes[0].replica.producers()[0].txn_first, Some(Offset(0)));
    end_with(&mut p, 1, 0, true, 5, 0);
    let state = p.nodes[0].replica.producers()[0];
    assert_eq!((state.txn_first, state.coordinator_epoch, state.last_sequence), (None, 5, Sequence(0)));
}

#[test]
fn inside_a_transaction_everything_is_transactional() {
    let mut p = Partition::of(["leader"]);
    write(&mut p, 1, 0, 0);
    let stray = Produced { id: 1, epoch: 0, sequence: 1, count: 1, transactional: false, timestamp: 1 };
    let stray = p.append_as(0, stray.batch(), Acks::InSync);
    assert_eq!(p.outcome(stray), Some(Err(AppendError::NotTransactional { producer: ProducerId(1) })));
    let other = p.append("of somebody else");
    assert_eq!(p.acked(other), Some(1));
}

#[test]
fn a_marker_with_a_higher_epoch_fences_the_producer() {
    let mut p = Partition::of(["leader"]);
    write(&mut p, 1, 0, 0);
    end(&mut p, 1, 1, false);
    let (producer, found, current) = (ProducerId(1), ProducerEpoch(0), ProducerEpoch(1));
    let old = write(&mut p, 1, 0, 1);
    assert_eq!(p.outcome(old), Some(Err(AppendError::InvalidProducerEpoch { producer, found, current })));
    let gap = write(&mut p, 1, 1, 1);
    assert!(matches!(p.outcome(gap), Some(Err(AppendError::OutOfOrderSequence { .. }))));
    let fresh = write(&mut p, 1, 1, 0);
    assert_eq!(p.acked(fresh), Some(2));
}

#[test]
fn which_markers_are_taken() {
    for (case, version, epoch, open, taken) in [
        ("same epoch", 1, 5, true, true),
        ("newer epoch", 1, 6, true, true),
        ("older epoch", 1, 4, true, false),
        ("version 2: same epoch while open", 2, 5, true, false),
        ("version 2: newer epoch", 2, 6, true, true),
        ("version 2: the same marker again", 2, 5, false, true),
        ("version 2: older epoch", 2, 4, false, false),
    ] {
        let mut p = Partition::of(["leader"]);
        write(&mut p, 1, 5, 0);
        if !open {
            end(&mut p, 1, 5, true);
        }
        let marker = end_with(&mut p, 1, epoch, true, 0, version);
        assert_eq!(p.acked(marker).is_some(), taken, "{case}");
    }
}

#[test]
fn an_old_coordinator_is_fenced() {
    let mut p = Partition::of(["leader"]);
    end_with(&mut p, 1, 0, true, 3, 0);
    let late = end_with(&mut p, 1, 0, true, 2, 0);
    let (producer, found, current) = (ProducerId(1), 2, 3);
    assert_eq!(p.outcome(late), Some(Err(AppendError::CoordinatorFenced { producer, found, current })));
}

#[test]
fn a_marker_needs_enough_replicas() {
    let mut p = Partition::configured(["leader", "follower"], |config| config.min_isr = 2);
    p.state.isr.pop();
    p.state.partition_epoch.0 += 1;
    p.spread_state();
    let marker = end(&mut p, 1, 0, true);
    assert_eq!(p.outcome(marker), Some(Err(AppendError::NotEnoughReplicas { in_sync: 1, required: 2 })));
}

mod verification {
    use super::*;

    const PRODUCER: ProducerId = ProducerId(1);

    fn verifying() -> Partition {
        Partition::configured(["leader"], |config| config.verify_transactions = true)
    }

    fn ask(p: &mut Partition, sequence: i32, bumps_epochs: bool) -> Option<VerificationGuard> {
        let (now, epoch, sequence) = (p.now, ProducerEpoch(0), Sequence(sequence));
        p.nodes[0].replica.begin_verification(now, PRODUCER, epoch, sequence, bumps_epochs)
    }

    fn write_with(p: &mut Partition, sequence: i32, verified: Option<VerificationGuard>) -> bool {
        let produced =
            Produced { id: PRODUCER.0, epoch: 0, sequence, count: 1, transactional: true, timestamp: 1 };
        let before = p.nodes[0].disk.end();
        let append = Append {
            batch: produced.batch(),
            acks: Acks::InSync,
            deadline: Instant(u64::MAX),
            reply: p.reply(),
            expected: None,
            origin: Origin::Client,
            verified,
        };
        p.step(0, ottla_replica::Event::Append(append));
        p.nodes[0].disk.end() > before
    }

    #[test]
    fn a_transaction_begins_only_with_proof() {
        let mut p = verifying();
        assert!(!write_with(&mut p, 0, None));
        let guard = ask(&mut p, 0, false);
        assert!(write_with(&mut p, 0, guard));
        assert_eq!(ask(&mut p, 1, false), None, "an open transaction is proof enough");
        assert!(write_with(&mut p, 1, None));
    }

    #[test]
    fn a_marker_makes_the_proof_void() {
        let mut p = verifying();
        let guard = ask(&mut p, 0, false);
        assert!(write_with(&mut p, 0, guard));
        end(&mut p, 1, 0, false);
        assert!(!write_with(&mut p, 1, guard));
        let guard = ask(&mut p, 1, false);
        assert!(write_with(&mut p, 1, guard));
    }

    /// The coordinator has ended the transaction before anything of it came here.
    #[test]
    fn a_marker_that_ends_nothing_here_makes_the_proof_void_too() {
        let mut p = verifying();
        let guard = ask(&mut p, 0, false);
        end(&mut p, 1, 0, false);
        assert!(!write_with(&mut p, 0, guard));
        let guard = ask(&mut p, 0, false);
        let check = |p: &Partition, epoch: i16, verify: bool| {
            p.nodes[0].replica.check_claim(PRODUCER, ProducerEpoch(epoch), guard, verify)
        };
        assert_eq!(check(&p, 0, true), Ok(()));
        assert!(write_with(&mut p, 0, guard));
        assert_eq!(check(&p, 0, true), Ok(()), "it is open");
        end(&mut p, 1, 1, true);
        let (found, current) = (ProducerEpoch(0), ProducerEpoch(1));
        let fenced = AppendError::InvalidProducerEpoch { producer: PRODUCER, found, current };
        for verify in [true, false] {
            assert_eq!(check(&p, 0, verify), Err(fenced), "the marker has brought another epoch");
        }
        assert_eq!(check(&p, 1, true), Err(AppendError::NotVerified { producer: PRODUCER }));
        assert_eq!(check(&p, 1, false), Ok(()));
    }

    #[test]
    fn of_those_that_wait_for_the_same_proof_the_lowest_sequence_goes_first() {
        let mut p = verifying();
        let first = ask(&mut p, 10, false);
        assert_eq!(ask(&mut p, 11, false), first);
        assert!(!write_with(&mut p, 11, first));
        assert!(write_with(&mut p, 10, first));
        assert!(write_with(&mut p, 11, first));
    }

    #[test]
    fn with_transaction_version_2_an_unknown_producer_begins_at_zero() {
        let mut p = verifying();
        let guard = ask(&mut p, 3, true);
        assert!(!write_with(&mut p, 3, guard));
        let guard = ask(&mut p, 0, true);
        assert!(write_with(&mut p, 0, guard));
    }

    #[test]
    fn who_writes_no_transactions_is_not_asked() {
        let mut p = verifying();
        let a = p.append_as(0, plain("a"), Acks::InSync);
        assert_eq!(p.acked(a), Some(0));
    }
}
