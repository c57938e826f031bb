//! Changes of leadership: who waits is told, logs that parted come together, flushes of the past do not
//! count.

use std::time::Duration;

use ottla_replica::{Acks, AppendError, DeleteTo, Durability, Event, LeaderAnswer, LeaderReply, ViewRole};
use ottla_wire::batch::BatchBuilder;
use ottla_wire::{BrokerId, LeaderEpoch, Offset, Timestamp};

use crate::batches::{Produced, plain};
use crate::partition::Partition;

const THREE: [&str; 3] = ["one", "two", "three"];

#[test]
fn an_old_leader_tells_those_who_wait_to_look_elsewhere() {
    let mut p = Partition::of(THREE);
    let a = p.append("a");
    p.elect("two");
    assert_eq!(p.outcome(a), Some(Err(AppendError::NotLeader)));
    assert_eq!(p.view("one").role, ViewRole::Follower);
    let late = p.append_as(0, plain("b"), Acks::InSync);
    assert_eq!(p.outcome(late), Some(Err(AppendError::NotLeader)));
}

#[test]
fn a_leader_elected_again_goes_on_with_those_who_wait() {
    let mut p = Partition::of(THREE);
    let a = p.append("a");
    p.elect("one");
    assert_eq!(p.outcome(a), None);
    p.replicate("two");
    p.replicate("three");
    assert_eq!(p.acked(a), Some(0));
}

/// The new leader never had what the old one wrote alone; the old one cuts it off and takes the new leader's
/// records.
#[test]
fn logs_that_parted_come_together() {
    let mut p = Partition::of(THREE);
    p.append("shared");
    p.replicate("two");
    p.replicate("three");
    p.append("only here");
    p.append("and here");
    p.elect("two");
    p.append("instead");
    p.replicate("one");
    p.replicate("three");
    assert_eq!(p.node("one").values(), ["shared", "instead"]);
    assert_eq!(p.node("three").values(), ["shared", "instead"]);
    let epochs: Vec<(i32, i64)> =
        p.node("one").disk.epochs.iter().map(|entry| (entry.epoch.0, entry.start.0)).collect();
    assert_eq!(epochs, [(1, 0), (2, 1)]);
    assert_eq!(p.view("one").log_end, Offset(2));
}

/// Several leaders each wrote something that got lost: the follower goes back one epoch at a time.
#[test]
fn a_log_that_parted_long_ago_goes_back_epoch_by_epoch() {
    let mut p = Partition::of(THREE);
    p.append("shared");
    p.replicate("two");
    p.replicate("three");
    p.append("epoch 1, lost");
    p.elect("two");
    p.append("epoch 2, kept");
    p.replicate("three");
    p.elect("one");
    p.append("epoch 3, lost");
    p.elect("three");
    p.append("epoch 4, kept");
    p.replicate("one");
    p.replicate("two");
    for name in THREE {
        assert_eq!(p.node(name).values(), ["shared", "epoch 2, kept", "epoch 4, kept"], "{name}");
    }
}

/// An epoch in which a leader wrote nothing leaves no trace that could mislead.
#[test]
fn a_leader_that_wrote_nothing_can_follow_again() {
    let mut p = Partition::of(THREE);
    p.append("a");
    p.replicate("two");
    p.elect("two");
    p.elect("one");
    p.append("b");
    p.replicate("two");
    assert_eq!(p.node("two").values(), ["a", "b"]);
}

/// The flush was asked for before the cut, and says that offsets are safe which hold other records now.
#[test]
fn a_flush_from_before_a_truncation_does_not_count() {
    let mut p = Partition::configured(["one", "two"], |config| config.durability = Durability::PageCache);
    p.append("a");
    p.replicate("two");
    p.append("lost");
    p.append("lost, too");
    p.elect("two");
    p.append("b");
    p.append("c");
    p.read_for(0);
    p.nodes[0].slow_disk = true;
    p.config.durability = Durability::Flushed;
    p.step(0, Event::Configured(p.config.clone()));
    let asked = (LeaderEpoch(2), Offset(3));
    assert_eq!(std::mem::take(&mut p.nodes[0].flushes), [asked]);
    p.deliver_to(0);
    p.read_for(0);
    p.deliver_to(0);
    assert_eq!(p.node("one").values(), ["a"], "the cut; until the flush is back nothing more is fetched");
    p.step(0, Event::Flushed { epoch: LeaderEpoch(2), end: Offset(3) });
    assert_eq!(p.view("one").durable_end, Offset(0));
    assert_eq!(p.nodes[0].flushes, [(LeaderEpoch(2), Offset(1))], "so what is left is flushed again");
    p.nodes[0].slow_disk = false;
    p.nodes[0].flush(p.now, p.wall);
    p.replicate("one");
    assert_eq!(p.node("one").values(), ["a", "b", "c"]);
}

/// Whatever a flush of another epoch says, nobody of this epoch asked for it.
#[test]
fn a_flush_of_another_epoch_does_not_count() {
    let mut p = Partition::of(["one"]);
    p.nodes[0].slow_disk = true;
    let a = p.append("a");
    p.elect("one");
    p.step(0, Event::Flushed { epoch: LeaderEpoch(1), end: Offset(1) });
    assert_eq!(p.acked(a), None);
    assert_eq!(p.nodes[0].flushes.last(), Some(&(LeaderEpoch(2), Offset(1))), "the new epoch has asked anew");
    p.step(0, Event::Flushed { epoch: LeaderEpoch(2), end: Offset(1) });
    assert_eq!(p.acked(a), Some(0));
}

#[test]
fn an_answer_to_a_fetch_that_was_replaced_is_ignored() {
    let mut p = Partition::of(["one", "two"]);
    p.append("a");
    p.read_for(1);
    let stale = p.nodes[1].in_flight.take().unwrap();
    p.elect("one");
    p.step(1, Event::LeaderAnswered(stale));
    assert_eq!(p.view("two").log_end, Offset(0));
    p.replicate("two");
    assert_eq!(p.view("two").log_end, Offset(1));
}

#[test]
fn a_follower_takes_nothing_that_its_leader_cannot_have_meant() {
    let batch = |base: i64, epoch: i32| {
        let mut builder = BatchBuilder::new().base_offset(Offset(base)).leader_epoch(LeaderEpoch(epoch));
        builder.push(Timestamp(0), None, Some(b"v"));
        builder.build().unwrap()
    };
    let damaged = {
        let mut bytes = batch(0, 1).to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        bytes.into()
    };
    for (case, records, end) in [
        ("as it should be", batch(0, 1), 1),
        ("a gap, as compaction leaves it", batch(7, 1), 8),
        ("an epoch above the leader's", batch(0, 2), 0),
        ("a damaged batch", damaged, 0),
        ("a batch that is cut off", batch(0, 1).slice(..65), 0),
    ] {
        let mut p = Partition::of(["one", "two"]);
        let reply = LeaderReply::Records { records, high_watermark: Offset(0), log_start: Offset(0) };
        p.step(1, Event::LeaderAnswered(LeaderAnswer { epoch: LeaderEpoch(1), offset: Offset(0), reply }));
        assert_eq!(p.view("two").log_end, Offset(end), "{case}");
        assert_eq!(
            p.nodes[1].fetch.unwrap().after_pause,
            end == 0,
            "{case}: a fault is not asked for again at once"
        );
    }
}

#[test]
fn a_follower_out_of_the_leaders_range_starts_anew_or_cuts_back() {
    for (case, start, end, expected) in [
        ("the leader's log begins above", 10, 20, (10, 10)),
        ("the leader's log ends below", 0, 1, (0, 1)),
        ("it is in range by now", 0, 5, (0, 2)),
    ] {
        let mut p = Partition::of(["one", "two"]);
        p.append("a");
        p.append("b");
        p.replicate("two");
        let reply = LeaderReply::OutOfRange { start: Offset(start), end: Offset(end) };
        p.step(1, Event::LeaderAnswered(LeaderAnswer { epoch: LeaderEpoch(1), offset: Offset(2), reply }));
        let view = p.view("two");
        assert_eq!((view.log_start.0, view.log_end.0), expected, "{case}");
        assert_eq!(p.nodes[1].fetch.map(|fetch| fetch.offset.0), Some(expected.1), "{case}");
    }
}

#[test]
fn without_a_leader_nothing_is_taken() {
    let mut p = Partition::of(["one", "two"]);
    let a = p.append("a");
    p.lead_by(None);
    p.spread_state();
    assert_eq!(p.outcome(a), Some(Err(AppendError::NotLeader)));
    assert_eq!(p.view("one").role, ViewRole::Idle);
    assert_eq!((p.view("two").role, p.nodes[1].fetch), (ViewRole::Idle, None));
}

#[test]
fn a_failed_disk_is_final() {
    let mut p = Partition::of(["one", "two"]);
    let a = p.append("a");
    p.step(0, Event::StorageFailed);
    assert_eq!(p.outcome(a), Some(Err(AppendError::Storage)));
    p.elect("one");
    let b = p.append("b");
    assert_eq!(p.outcome(b), Some(Err(AppendError::Storage)));
    assert_eq!(p.view("one").role, ViewRole::Offline);
    p.step(0, Event::Retired);
    assert_eq!(p.view("one").role, ViewRole::Retired);
}

#[test]
fn metadata_of_the_past_is_ignored() {
    let mut p = Partition::of(["one", "two"]);
    let old = p.state.clone();
    p.elect("two");
    p.step(0, Event::Assigned(old));
    assert_eq!((p.view("one").role, p.view("one").leader_epoch), (ViewRole::Follower, LeaderEpoch(2)));
}

#[test]
fn a_coordinator_that_thinks_of_another_epoch_is_refused() {
    let mut p = Partition::of(["one"]);
    let append = ottla_replica::Append {
        batch: plain("a"),
        acks: Acks::InSync,
        deadline: p.now + Duration::from_secs(1),
        reply: ottla_replica::ReplyId(99),
        expected: Some(LeaderEpoch(7)),
        origin: ottla_wire::batch::Origin::Broker,
        verified: None,
    };
    p.step(0, Event::Append(append));
    let (expected, current) = (LeaderEpoch(7), LeaderEpoch(1));
    let outcome = p.outcome(ottla_replica::ReplyId(99));
    assert_eq!(outcome, Some(Err(AppendError::StaleEpoch { expected, current })));
}

/// DeleteRecords cuts anywhere; who begins to follow at such a place is given the whole batch that lies
/// across it.
#[test]
fn a_log_may_start_inside_a_batch() {
    let mut p = Partition::of(["one", "two"]);
    let three = Produced { id: 7, epoch: 0, sequence: 0, count: 3, transactional: false, timestamp: 0 };
    p.state.isr = vec![BrokerId(0)];
    p.state.partition_epoch.0 += 1;
    p.spread_state();
    p.append("a");
    p.append_as(0, three.batch(), Acks::InSync);
    p.delete_records(DeleteTo::Offset(Offset(2)));
    p.read_for(1);
    p.deliver_to(1);
    assert_eq!((p.view("two").log_start, p.view("two").log_end), (Offset(2), Offset(2)), "begins anew");
    p.replicate("two");
    let view = p.view("two");
    assert_eq!((view.log_start, view.log_end, view.high_watermark), (Offset(2), Offset(4), Offset(4)));
    assert_eq!(p.nodes[1].disk.log_start, Offset(2));
    assert_eq!(p.nodes[1].disk.log.len(), 1, "the whole batch and nothing else");
    assert_eq!(p.nodes[1].disk.epochs[0].start, Offset(2));
}
