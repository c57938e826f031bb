//! Idempotent producers (KIP-98): golden scripts of batches and what is said to each.

use std::time::Duration;

use ottla_replica::{Acks, AppendError, Event, ReplicaConfig};
use ottla_wire::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use crate::batches::Produced;
use crate::partition::Partition;

const P: ProducerId = ProducerId(7);

/// What a producer hears.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Said {
    /// The offset of the first record, appended now or before.
    At(i64),
    Gap,
    TooOld,
    OldEpoch,
}
use Said::{At, Gap, OldEpoch, TooOld};

struct Script {
    p: Partition,
}

impl Script {
    fn new(change: impl FnOnce(&mut ReplicaConfig)) -> Script {
        Script { p: Partition::configured(["leader"], change) }
    }

    /// Sends `count` records from `sequence` on in `epoch`.
    fn send(&mut self, epoch: i16, sequence: i32, count: i32) -> Said {
        let timestamp = self.p.wall.0;
        let batch = Produced { id: P.0, epoch, sequence, count, transactional: false, timestamp };
        let reply = self.p.append_as(0, batch.batch(), Acks::InSync);
        match self.p.outcome(reply).unwrap() {
            Ok(appended) => {
                assert_eq!(appended.last_offset.0 - appended.base_offset.0 + 1, i64::from(count));
                At(appended.base_offset.0)
            }
            Err(AppendError::OutOfOrderSequence { .. }) => Gap,
            Err(AppendError::DuplicateSequence { .. }) => TooOld,
            Err(AppendError::InvalidProducerEpoch { .. }) => OldEpoch,
            Err(other) => panic!("{other}"),
        }
    }

    fn plays(lines: &[(&str, i16, i32, i32, Said)]) {
        let mut script = Script::new(|_| {});
        for &(line, epoch, sequence, count, expected) in lines {
            assert_eq!(script.send(epoch, sequence, count), expected, "{line}");
        }
    }
}

#[test]
fn a_repeat_of_the_last_five_batches_answers_the_first_offset() {
    Script::plays(&[
        ("1st", 0, 0, 1, At(0)),
        ("2nd", 0, 1, 2, At(1)),
        ("3rd", 0, 3, 1, At(3)),
        ("4th", 0, 4, 1, At(4)),
        ("5th", 0, 5, 1, At(5)),
        ("the 1st again", 0, 0, 1, At(0)),
        ("the 2nd again", 0, 1, 2, At(1)),
        ("the 5th again", 0, 5, 1, At(5)),
        ("6th", 0, 6, 1, At(6)),
        ("the 1st is forgotten by now", 0, 0, 1, TooOld),
        ("the 2nd is not", 0, 1, 2, At(1)),
        ("nothing was appended twice", 0, 7, 1, At(7)),
    ]);
}

#[test]
fn a_gap_is_refused_and_so_is_what_overlaps() {
    Script::plays(&[
        ("1st", 0, 0, 4, At(0)),
        ("a gap", 0, 5, 1, Gap),
        ("half of it again, half new", 0, 2, 4, Gap),
        ("half of it again", 0, 0, 2, TooOld),
        ("the next", 0, 4, 1, At(4)),
    ]);
}

#[test]
fn sequences_wrap() {
    let max = i32::MAX;
    Script::plays(&[
        ("any first sequence is taken when nothing is known", 0, max - 1, 2, At(0)),
        ("2^31-1 is followed by 0", 0, 0, 1, At(2)),
        ("one that wraps inside", 0, 1, 1, At(3)),
        ("and is recognized", 0, max - 1, 2, At(0)),
        ("and followed", 0, 2, 1, At(4)),
    ]);
    Script::plays(&[
        ("1st", 0, max - 1, 1, At(0)),
        ("across the wrap", 0, max, 3, At(1)),
        ("again", 0, max, 3, At(1)),
        ("1 was the last", 0, 1, 1, TooOld),
        ("the next", 0, 2, 1, At(4)),
    ]);
}

#[test]
fn a_new_epoch_starts_at_zero_and_fences_the_old_one() {
    Script::plays(&[
        ("1st", 3, 0, 1, At(0)),
        ("a new epoch in the middle", 4, 1, 1, Gap),
        ("a new epoch", 4, 0, 1, At(1)),
        ("the old epoch", 3, 1, 1, OldEpoch),
        ("the old epoch's batch again", 3, 0, 1, OldEpoch),
        ("the new epoch goes on", 4, 1, 1, At(2)),
        ("nothing of this epoch came before its 0", 4, i32::MAX, 1, Gap),
    ]);
}

/// What came before the first batch that is known may never have arrived: to call it a duplicate would lose
/// it.
#[test]
fn what_is_older_than_anything_known_is_a_gap_not_a_duplicate() {
    Script::plays(&[("somewhere in the middle", 0, 100, 10, At(0)), ("before it", 0, 90, 10, Gap)]);
}

#[test]
fn a_silent_producer_expires() {
    let mut script = Script::new(|config| config.producer_expiry = Duration::from_secs(3_600));
    assert_eq!(script.send(0, 0, 1), At(0));
    script.p.after(Duration::from_secs(3_599));
    assert_eq!(script.p.nodes[0].replica.producers().len(), 1);
    assert_eq!(script.send(0, 1, 1), At(1));
    script.p.after(Duration::from_secs(3_600));
    assert!(script.p.nodes[0].replica.producers().is_empty());
    assert_eq!(script.send(0, 77, 1), At(2), "with no state any sequence will do");
}

/// `producer.id.expiration.check.interval.ms`: between two looks a producer may stay longer than it must.
#[test]
fn silent_producers_are_looked_for_at_intervals() {
    for (interval, left) in [(1, 0), (1_000, 1)] {
        let mut script = Script::new(|config| {
            config.producer_expiry = Duration::from_secs(10);
            config.producer_expiry_check = Duration::from_secs(interval);
        });
        script.p.after(Duration::from_secs(1));
        assert_eq!(script.send(0, 0, 1), At(0));
        script.p.after(Duration::from_secs(11));
        assert_eq!(script.p.nodes[0].replica.producers().len(), left, "every {interval} s");
        script.p.after(Duration::from_secs(1_000));
        assert!(script.p.nodes[0].replica.producers().is_empty());
    }
}

/// Who copies old records is as alive as anyone: it counts when a batch was appended, not what it says.
/// Records from the future keep nobody alive.
#[test]
fn the_times_of_records_do_not_age_their_producer() {
    for timestamp in [0, i64::MAX] {
        let mut p = Partition::configured(["leader", "follower"], |config| {
            config.producer_expiry = Duration::from_secs(3_600);
            config.producer_expiry_check = Duration::from_secs(1);
        });
        let batch =
            Produced { id: P.0, epoch: 0, sequence: 0, count: 1, transactional: false, timestamp }.batch();
        p.append_as(0, batch, Acks::InSync);
        p.replicate("follower");
        let known = |p: &Partition| p.nodes.iter().map(|node| node.replica.producers().len()).sum::<usize>();
        p.after(Duration::from_secs(3_599));
        assert_eq!(known(&p), 2, "{timestamp}");
        p.after(Duration::from_secs(1));
        assert_eq!(known(&p), 0, "{timestamp}");
    }
}

/// Nobody knows when the producers of a log were heard that is opened: it counts from then, and so it does
/// after a truncation.
#[test]
fn the_silence_of_a_producer_counts_from_the_restart_at_the_earliest() {
    let mut script = Script::new(|config| {
        config.producer_expiry = Duration::from_secs(3_600);
        config.producer_expiry_check = Duration::from_secs(1);
    });
    assert_eq!(script.send(0, 0, 1), At(0));
    script.p.after(Duration::from_secs(3_599));
    script.p.crash("leader");
    script.p.after(Duration::from_secs(1));
    script.p.after(Duration::from_secs(3_599));
    assert_eq!(script.send(0, 0, 1), At(0), "a repeat is still known as one");
    script.p.after(Duration::from_secs(1));
    assert!(script.p.nodes[0].replica.producers().is_empty());
}

#[test]
fn retention_forgets_no_producer() {
    let mut script = Script::new(|_| {});
    assert_eq!(script.send(0, 0, 1), At(0));
    script.p.step(0, Event::LogStartMoved(Offset(1)));
    assert_eq!(script.send(0, 0, 1), At(0));
    assert_eq!(script.send(0, 5, 1), Gap);
}

/// The table does not grow without bounds: those silent longest go first.
#[test]
fn above_the_limit_the_longest_silent_producers_are_forgotten() {
    let mut p = Partition::configured(["leader"], |config| config.producers_max = 8);
    for id in 0..9 {
        let batch =
            Produced { id, epoch: 0, sequence: 0, count: 1, transactional: id == 0, timestamp: 100 + id };
        p.append_as(0, batch.batch(), Acks::InSync);
    }
    let ids: Vec<i64> = p.nodes[0].replica.producers().iter().map(|state| state.producer_id.0).collect();
    assert_eq!(ids, [0, 2, 3, 4, 5, 6, 7, 8], "the oldest of all has a transaction open");
}

#[test]
fn with_nothing_but_open_transactions_a_new_producer_is_refused() {
    let mut p = Partition::configured(["leader"], |config| config.producers_max = 2);
    let transactional =
        |id| Produced { id, epoch: 0, sequence: 0, count: 1, transactional: true, timestamp: 1 }.batch();
    p.append_as(0, transactional(1), Acks::InSync);
    p.append_as(0, transactional(2), Acks::InSync);
    let third = p.append_as(0, transactional(3), Acks::InSync);
    assert_eq!(p.outcome(third), Some(Err(AppendError::TooManyProducers { limit: 2 })));
    assert_eq!(p.view("leader").log_end, Offset(2));
}

/// A repeat waits as the batch itself did: it too is acknowledged only when it is safe.
#[test]
fn a_repeat_is_not_acknowledged_before_the_batch_is_replicated() {
    let mut p = Partition::of(["leader", "follower"]);
    let batch = Produced { id: 7, epoch: 0, sequence: 0, count: 1, transactional: false, timestamp: 1 };
    let first = p.append_as(0, batch.batch(), Acks::InSync);
    p.append("another");
    let again = p.append_as(0, batch.batch(), Acks::InSync);
    assert_eq!((p.acked(first), p.acked(again)), (None, None));
    p.replicate("follower");
    assert_eq!((p.acked(first), p.acked(again)), (Some(0), Some(0)));
    assert_eq!(p.nodes[0].disk.end(), Offset(2));
}

#[test]
fn a_new_leader_knows_the_producers() {
    let mut p = Partition::of(["one", "two"]);
    let batch = |sequence| {
        Produced { id: 7, epoch: 0, sequence, count: 1, transactional: false, timestamp: 5 }.batch()
    };
    p.append_as(0, batch(0), Acks::InSync);
    p.append_as(0, batch(1), Acks::InSync);
    p.replicate("two");
    p.elect("two");
    let again = p.append_as(1, batch(0), Acks::Leader);
    assert_eq!(p.acked(again), Some(0));
    let state = p.nodes[1].replica.producers()[0];
    assert_eq!((state.epoch, state.last_sequence), (ProducerEpoch(0), Sequence(1)));
    assert_eq!((state.last_timestamp, state.txn_first), (Timestamp(5), None));
}
