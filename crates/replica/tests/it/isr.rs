//! Acknowledgements, the high watermark and the in-sync replicas.

use std::time::Duration;

use ottla_replica::{
    Acks, AppendError, Durability, Event, FollowerFetch, IsrAnswer, IsrRefusal, ReplicaBroker, ReplicaConfig,
    ReplyId, Standing, WriteMarker,
};
use ottla_wire::batch::TimestampType;
use ottla_wire::{BrokerEpoch, BrokerId, Instant, LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

use crate::batches::{Produced, plain};
use crate::partition::Partition;

const THREE: [&str; 3] = ["leader", "fast", "slow"];

fn min_isr(n: u32) -> impl FnOnce(&mut ReplicaConfig) {
    move |config| config.min_isr = n
}

#[test]
fn acks_all_waits_for_every_replica_in_sync() {
    let mut p = Partition::of(THREE);
    let a = p.append("a");
    assert_eq!((p.acked(a), p.hw("leader")), (None, 0));
    p.replicate("fast");
    assert_eq!((p.acked(a), p.hw("leader")), (None, 0));
    p.replicate("slow");
    assert_eq!((p.acked(a), p.hw("leader")), (Some(0), 1));
    p.replicate("fast");
    assert_eq!(p.hw("fast"), 1, "followers learn of it with their next fetch");
}

#[test]
fn acks_one_waits_for_the_leaders_own_disk_and_acks_zero_for_nothing() {
    let mut p = Partition::of(THREE);
    p.nodes[0].slow_disk = true;
    let one = p.append_as(0, plain("one"), Acks::Leader);
    let zero = p.append_as(0, plain("zero"), Acks::None);
    assert_eq!((p.outcome(one), p.acked(zero)), (None, Some(1)), "acks=0 is answered with the write");
    assert_eq!(p.nodes[0].flushes, [(LeaderEpoch(1), Offset(1))], "one flush at a time");
    p.nodes[0].flush(p.now, p.wall);
    assert_eq!(p.acked(one), Some(0));
    assert_eq!(p.nodes[0].flushes, [(LeaderEpoch(1), Offset(2))], "what came meanwhile is flushed next");
}

/// The broker closes the connection of a producer with acks=0 whose batch was refused, so it must hear of it.
#[test]
fn a_refusal_is_answered_whatever_the_acks() {
    let mut p = Partition::of(["leader", "follower"]);
    for acks in [Acks::None, Acks::Leader, Acks::InSync] {
        let elsewhere = p.append_as(1, plain("a"), acks);
        assert_eq!(p.outcome(elsewhere), Some(Err(AppendError::NotLeader)), "{acks:?}");
        let gap = Produced { id: 7, epoch: 0, sequence: 0, count: 1, transactional: false, timestamp: 0 };
        p.append_as(0, gap.batch(), Acks::Leader);
        let out_of_order = p.append_as(0, Produced { sequence: 5, ..gap }.batch(), acks);
        assert!(
            matches!(p.outcome(out_of_order), Some(Err(AppendError::OutOfOrderSequence { .. }))),
            "{acks:?}"
        );
    }
}

#[test]
fn with_the_page_cache_rule_a_write_is_enough() {
    let mut p = Partition::configured(THREE, |config| config.durability = Durability::PageCache);
    p.nodes[0].slow_disk = true;
    let one = p.append_as(0, plain("one"), Acks::Leader);
    assert_eq!(p.acked(one), Some(0));
    assert!(p.nodes[0].flushes.is_empty());
}

#[test]
fn the_leaders_own_flush_holds_the_high_watermark_back() {
    let mut p = Partition::of(["leader"]);
    p.nodes[0].slow_disk = true;
    let a = p.append("a");
    assert_eq!((p.hw("leader"), p.acked(a)), (0, None));
    p.nodes[0].flush(p.now, p.wall);
    assert_eq!((p.hw("leader"), p.acked(a)), (1, Some(0)));
}

#[test]
fn a_follower_does_not_vouch_for_what_it_has_not_flushed() {
    let mut p = Partition::of(["leader", "follower"]);
    p.nodes[1].slow_disk = true;
    let a = p.append("a");
    p.read_for(1);
    p.deliver_to(1);
    assert_eq!(p.nodes[1].disk.end(), Offset(1));
    assert_eq!(p.nodes[1].fetch, None, "the next fetch would say that it is safe");
    p.nodes[1].flush(p.now, p.wall);
    p.read_for(1);
    assert_eq!(p.acked(a), Some(0));
}

/// A follower that lags leaves the ISR; the high watermark stops waiting for it, and it must catch up before
/// it counts again.
#[test]
fn slow_follower_leaves_the_isr_and_comes_back() {
    let mut p = Partition::configured(THREE, min_isr(2));
    let a = p.append("a");
    p.after(Duration::from_secs(29));
    p.replicate("fast");
    p.after(Duration::from_secs(2));
    assert_eq!(p.proposed(), Some(vec![0, 1]));
    assert_eq!(p.acked(a), None, "until the controller has agreed, the slow one may still become leader");
    p.controller_answers();
    assert_eq!((p.acked(a), p.hw("leader")), (Some(0), 1));
    assert_eq!(*p.view("leader").isr, [BrokerId(0), BrokerId(1)]);

    p.replicate("slow");
    assert_eq!(p.proposed(), Some(vec![0, 1, 2]));
    p.replicate("fast");
    let b = p.append("b");
    p.replicate("fast");
    assert_eq!(p.acked(b), None, "from the proposal on the newcomer is waited for");
    p.controller_answers();
    p.replicate("slow");
    assert_eq!(p.acked(b), Some(1));
}

/// Nobody need fetch while nothing is written: a follower that stood at the end was caught up until the
/// append.
#[test]
fn an_append_after_a_long_silence_makes_nobody_slow() {
    let marker = WriteMarker {
        producer: ProducerId(7),
        producer_epoch: ProducerEpoch(0),
        coordinator_epoch: 0,
        commit: true,
        transaction_version: 0,
        deadline: Instant(0),
        reply: ReplyId(0),
    };
    for case in ["batch", "marker"] {
        let mut p = Partition::of(THREE);
        p.replicate("fast");
        p.replicate("slow");
        p.after(Duration::from_secs(3_600));
        let written = if case == "batch" { p.append("a") } else { p.marker(marker) };
        p.after(Duration::from_secs(30));
        assert_eq!(
            (p.proposed(), p.outcome(written)),
            (None, None),
            "{case}: they have 30 seconds from now on"
        );
        p.replicate("fast");
        p.after(Duration::from_millis(1));
        assert_eq!(p.proposed(), Some(vec![0, 1]), "{case}: and not longer");
    }
}

#[test]
fn only_one_proposal_is_under_way() {
    let mut p = Partition::of(THREE);
    p.append("a");
    p.after(Duration::from_secs(31));
    assert_eq!(p.nodes[0].proposals.len(), 1);
    p.after(Duration::from_secs(31));
    assert_eq!(p.nodes[0].proposals.len(), 1);
}

#[test]
fn what_the_controller_says_decides_about_a_proposal() {
    for (refusal, again_at_once, again_after_metadata) in [
        (IsrRefusal::Refused, true, true),
        (IsrRefusal::Unknown, true, true),
        (IsrRefusal::Stale, false, true),
    ] {
        let mut p = Partition::of(THREE);
        p.append("a");
        p.after(Duration::from_secs(31));
        let lost = p.nodes[0].proposals.pop().unwrap();
        let (epoch, partition_epoch) = (lost.epoch, lost.partition_epoch);
        p.step(0, Event::IsrAnswered(IsrAnswer { epoch, partition_epoch, outcome: Err(refusal) }));
        p.after(Duration::from_millis(1));
        assert_eq!(p.proposed().is_some(), again_at_once, "{refusal:?}");
        p.nodes[0].proposals.clear();
        p.state.partition_epoch.0 += 1;
        p.spread_state();
        p.after(Duration::from_millis(1));
        assert_eq!(p.proposed().is_some(), again_after_metadata, "{refusal:?}");
    }
}

/// An expansion whose answer was lost may have been applied: the newcomer counts until the truth is known.
#[test]
fn a_lost_expansion_keeps_the_high_watermark_back() {
    let mut p = Partition::of(["leader", "follower"]);
    p.after(Duration::from_secs(31));
    p.controller_answers();
    p.replicate("follower");
    let proposal = p.nodes[0].proposals.pop().unwrap();
    p.judge(&proposal).unwrap();
    let (epoch, partition_epoch, outcome) =
        (proposal.epoch, proposal.partition_epoch, Err(IsrRefusal::Unknown));
    p.step(0, Event::IsrAnswered(IsrAnswer { epoch, partition_epoch, outcome }));
    p.after(Duration::from_secs(3_600));
    let a = p.append("a");
    assert_eq!(p.acked(a), None);
    p.spread_state();
    p.replicate("follower");
    assert_eq!(p.acked(a), Some(0));
}

/// One that keeps up, though not yet in the ISR, is waited for: else the high watermark would run away from
/// it for ever.
#[test]
fn a_follower_that_is_about_to_join_is_waited_for() {
    let mut p = Partition::of(["leader", "follower"]);
    p.state.isr = vec![BrokerId(0)];
    p.state.partition_epoch.0 += 1;
    p.spread_state();
    p.replicate("follower");
    let refused = p.nodes[0].proposals.pop().unwrap();
    let (epoch, partition_epoch, outcome) =
        (refused.epoch, refused.partition_epoch, Err(IsrRefusal::Refused));
    p.step(0, Event::IsrAnswered(IsrAnswer { epoch, partition_epoch, outcome }));
    let a = p.append("a");
    assert_eq!(p.acked(a), None);
    p.after(Duration::from_secs(31));
    assert_eq!(p.acked(a), Some(0), "but not for longer than replica.lag.time.max.ms");
}

/// Below where this leader began, a follower may still hold what another leader wrote and this one never had.
#[test]
fn a_newcomer_must_have_come_as_far_as_this_leader_began() {
    let mut p = Partition::configured(["leader", "follower"], min_isr(2));
    for value in ["a", "b", "c", "d", "e"] {
        p.append(value);
    }
    p.state.isr = vec![BrokerId(0)];
    p.lead_by(Some(0));
    p.spread_state();
    p.read_for(1);
    p.deliver_to(1);
    p.read_for(1);
    assert_eq!((p.nodes[1].disk.end(), p.hw("leader")), (Offset(3), 0));
    assert_eq!(p.proposed(), None);
    p.replicate("follower");
    assert_eq!(p.proposed(), Some(vec![0, 1]));
}

/// The read was served before the leader's epoch changed: what it says of the follower is of another time.
#[test]
fn a_fetch_of_another_epoch_or_beyond_the_log_moves_nothing() {
    for (epoch, offset, counts) in [(1, 1, false), (2, 2, false), (2, 1, true)] {
        let mut p = Partition::of(["leader", "follower"]);
        let a = p.append("a");
        p.elect("leader");
        let fetch = FollowerFetch {
            broker: BrokerId(1),
            broker_epoch: BrokerEpoch(100),
            epoch: LeaderEpoch(epoch),
            offset: Offset(offset),
            log_start: Offset(0),
        };
        p.step(0, Event::FollowerFetched(fetch));
        assert_eq!(p.acked(a).is_some(), counts, "epoch {epoch}, offset {offset}");
    }
}

/// A broker that has registered again may have lost its log: only what the registered incarnation says counts
/// (KIP-903).
#[test]
fn a_fetch_of_another_incarnation_than_the_registered_one_moves_nothing() {
    for (broker_epoch, counts) in [(-1, false), (100, false), (101, true), (102, false)] {
        let mut p = Partition::of(["leader", "follower"]);
        p.registered(BrokerId(1)).epoch = Some(BrokerEpoch(101));
        p.spread_state();
        let a = p.append("a");
        let fetch = FollowerFetch {
            broker: BrokerId(1),
            broker_epoch: BrokerEpoch(broker_epoch),
            epoch: LeaderEpoch(1),
            offset: Offset(1),
            log_start: Offset(0),
        };
        p.step(0, Event::FollowerFetched(fetch));
        assert_eq!(p.acked(a).is_some(), counts, "as {broker_epoch}");
    }
}

#[test]
fn who_may_join_is_an_active_broker_in_the_incarnation_that_fetches() {
    for (case, standing, epoch, joins) in [
        ("active", Standing::Active, Some(100), true),
        ("in controlled shutdown", Standing::ShuttingDown, Some(100), false),
        ("fenced", Standing::Fenced, Some(100), false),
        ("registered anew since", Standing::Active, Some(101), false),
        ("not registered", Standing::Active, None, false),
    ] {
        let mut p = Partition::of(["leader", "follower"]);
        p.state.isr = vec![BrokerId(0)];
        p.state.partition_epoch.0 += 1;
        p.spread_state();
        p.read_for(1);
        p.nodes[0].proposals.clear();
        // The answer to the proposal is "no", so that the next fetch asks again.
        let partition_epoch = p.state.partition_epoch;
        let outcome = Err(IsrRefusal::Refused);
        p.step(0, Event::IsrAnswered(IsrAnswer { epoch: LeaderEpoch(1), partition_epoch, outcome }));
        *p.registered(BrokerId(1)) =
            ReplicaBroker { broker: BrokerId(1), epoch: epoch.map(BrokerEpoch), standing };
        p.spread_state();
        let fetch = FollowerFetch {
            broker: BrokerId(1),
            broker_epoch: BrokerEpoch(100),
            epoch: LeaderEpoch(1),
            offset: Offset(0),
            log_start: Offset(0),
        };
        p.step(0, Event::FollowerFetched(fetch));
        assert_eq!(p.proposed().is_some(), joins, "{case}");
    }
}

#[test]
fn too_few_in_sync_refuses_acks_all_before_the_append_and_never_acks_one() {
    let mut p = Partition::configured(THREE, min_isr(2));
    p.state.isr = vec![BrokerId(0)];
    p.state.partition_epoch.0 += 1;
    p.spread_state();
    let all = p.append("a");
    assert_eq!(p.outcome(all), Some(Err(AppendError::NotEnoughReplicas { in_sync: 1, required: 2 })));
    assert!(p.nodes[0].disk.log.is_empty());
    let one = p.append_as(0, plain("b"), Acks::Leader);
    assert_eq!(p.acked(one), Some(0));
    assert_eq!(p.hw("leader"), 0, "nothing is committed below min.insync.replicas (KIP-966)");
    assert!(p.view("leader").under_min_isr);
}

#[test]
fn too_few_in_sync_after_the_append_is_said_as_soon_as_it_is_known() {
    let mut p = Partition::configured(THREE, min_isr(2));
    let a = p.append("a");
    p.after(Duration::from_secs(31));
    assert_eq!(p.proposed(), Some(vec![0]));
    p.controller_answers();
    assert_eq!(
        p.outcome(a),
        Some(Err(AppendError::NotEnoughReplicasAfterAppend { in_sync: 1, required: 2 }))
    );
    assert_eq!(p.hw("leader"), 0);
}

#[test]
fn min_isr_never_asks_for_more_replicas_than_there_are() {
    let mut p = Partition::configured(["leader"], min_isr(3));
    let a = p.append("a");
    assert_eq!(p.acked(a), Some(0));
}

#[test]
fn who_waits_too_long_does_not_know() {
    let mut p =
        Partition::configured(["leader", "follower"], |config| config.lag_max = Duration::from_secs(3_600));
    let a = p.append("a");
    p.after(Duration::from_secs(59));
    assert_eq!(p.outcome(a), None);
    p.after(Duration::from_secs(1));
    assert_eq!(p.outcome(a), Some(Err(AppendError::TimedOut)));
    p.replicate("follower");
    assert_eq!(p.hw("leader"), 1, "it was replicated after all");
}

#[test]
fn waiters_are_bounded() {
    let mut p = Partition::configured(["leader", "follower"], |config| config.waiters_max = 2);
    let [_, _, third] = ["a", "b", "c"].map(|value| p.append(value));
    assert_eq!(p.outcome(third), Some(Err(AppendError::TooManyWaiters { limit: 2 })));
    let zero = p.append_as(0, plain("d"), Acks::None);
    assert_eq!(p.nodes[0].disk.end(), Offset(3), "who does not wait is not counted");
    p.replicate("follower");
    let next = p.append("e");
    assert_eq!((p.acked(zero), p.outcome(next)), (Some(2), None));
}

#[test]
fn log_append_time_stamps_the_batch_and_is_answered() {
    let mut p =
        Partition::configured(["leader"], |config| config.timestamp_type = TimestampType::LogAppendTime);
    let a = p.append("a");
    assert_eq!(p.outcome(a).unwrap().unwrap().log_append_time, p.wall);
    assert_eq!(p.nodes[0].disk.log[0].header.max_timestamp, p.wall);
    let mut p = Partition::of(["leader"]);
    let a = p.append("a");
    assert_eq!(p.outcome(a).unwrap().unwrap().log_append_time, Timestamp::NONE);
}
