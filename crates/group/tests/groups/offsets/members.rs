//! Offsets of groups that have members: who may commit, what may be deleted, and what expires.

use std::time::Duration;

use ottla_group::{GroupConfig, GroupRecord};
use ottla_wire::ErrorCode::{
    self, FencedInstanceId, GroupSubscribedToTopic, IllegalGeneration, NonEmptyGroup, RebalanceInProgress,
    StaleMemberEpoch, UnknownMemberId, UnsupportedVersion,
};
use ottla_wire::messages::{OffsetCommitRequest, TxnOffsetCommitRequest};
use ottla_wire::primitives::Str;

use super::ask::*;
use crate::classic::client::{Client, GROUP, INITIAL_DELAY, SESSION, settle};
use crate::consumer::client::Client as Consumer;
use crate::world::World;

const HOUR: Duration = Duration::from_secs(3600);
const CHECK: Duration = Duration::from_secs(60);
const ORDERS: &[At] = &[("orders", 0, 5)];

/// Who says that it commits: member, instance, generation or epoch.
type By<'a> = (&'a str, Option<&'a str>, i32);

fn commit_by(world: &mut World, version: i16, by: By<'_>, offsets: &[At]) -> Vec<ErrorCode> {
    let (member, instance, generation) = by;
    let request = OffsetCommitRequest {
        member_id: member.into(),
        group_instance_id: instance.map(Str::from),
        generation_id_or_member_epoch: generation,
        ..commit(GROUP, offsets)
    };
    errors_of_commit(world, version, request)
}

fn txn_commit_by(world: &mut World, by: By<'_>, offsets: &[At]) -> Vec<ErrorCode> {
    let (member, instance, generation) = by;
    let request = TxnOffsetCommitRequest {
        member_id: member.into(),
        group_instance_id: instance.map(Str::from),
        generation_id: generation,
        ..txn_commit(producer(1), GROUP, offsets)
    };
    errors_of_txn_commit(world, request)
}

fn config() -> GroupConfig {
    GroupConfig {
        initial_rebalance_delay: INITIAL_DELAY,
        offsets_retention: HOUR,
        offsets_check_interval: CHECK,
        assignment_interval: Duration::ZERO,
        ..Default::default()
    }
}

#[test]
fn classic_members_commit_in_their_generation() {
    let mut world = world_with(config());
    let (mut a, mut s) = (Client::new("a"), Client::new("s").instance("i"));
    settle(&mut world, &mut [&mut a, &mut s]);
    let (a, s) = (a.id.as_str(), s.id.as_str());
    let cases: &[(By<'_>, ErrorCode, ErrorCode)] = &[
        ((a, None, 1), ErrorCode::None, ErrorCode::None),
        ((s, Some("i"), 1), ErrorCode::None, ErrorCode::None),
        ((a, None, 0), IllegalGeneration, IllegalGeneration),
        ((a, None, 2), IllegalGeneration, IllegalGeneration),
        ((a, None, -1), IllegalGeneration, IllegalGeneration),
        (("nobody", None, 1), UnknownMemberId, UnknownMemberId),
        (("", None, 1), UnknownMemberId, UnknownMemberId),
        ((a, Some("i"), 1), FencedInstanceId, FencedInstanceId),
        ((s, Some("j"), 1), UnknownMemberId, UnknownMemberId),
        // Old transactional producers do not say who they are.
        (("", None, -1), UnknownMemberId, ErrorCode::None),
    ];
    for (by, plain, transactional) in cases {
        assert_eq!(commit_by(&mut world, NEWEST, *by, ORDERS), [*plain], "{by:?}");
        assert_eq!(txn_commit_by(&mut world, *by, ORDERS), [*transactional], "{by:?} in a transaction");
    }
    world.check_against_log();
}

#[test]
fn a_commit_meets_a_rebalance() {
    let mut world = world_with(config());
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    settle(&mut world, &mut [&mut a]);
    let ticket = b.join(&mut world);
    let by_a = (a.id.clone(), None, 1);
    let by_a = (by_a.0.as_str(), by_a.1, by_a.2);
    assert_eq!(commit_by(&mut world, NEWEST, by_a, ORDERS), [ErrorCode::None], "before it joins again");
    let again = a.join(&mut world);
    a.joined(&mut world, again);
    b.joined(&mut world, ticket);
    assert_eq!(commit_by(&mut world, NEWEST, by_a, ORDERS), [IllegalGeneration]);
    let now = (by_a.0, None, 2);
    assert_eq!(commit_by(&mut world, NEWEST, now, ORDERS), [RebalanceInProgress], "before it has synced");
    assert_eq!(txn_commit_by(&mut world, now, ORDERS), [ErrorCode::None], "transactions do not care");
}

/// As in Kafka: a member of a classic group that commits lives, but not by what it commits in a transaction.
#[test]
fn a_commit_is_a_sign_of_life() {
    for (transactional, stays) in [(false, true), (true, false)] {
        let mut world = world_with(config());
        let mut a = Client::new("a");
        settle(&mut world, &mut [&mut a]);
        for _ in 0..4 {
            world.advance(SESSION * 3 / 4);
            let by = (a.id.as_str(), None, 1);
            match transactional {
                false => drop(commit_by(&mut world, NEWEST, by, ORDERS)),
                true => drop(txn_commit_by(&mut world, by, ORDERS)),
            }
        }
        let expected = if stays { ErrorCode::None } else { UnknownMemberId };
        assert_eq!(a.heartbeat(&mut world), expected);
    }
}

#[test]
fn consumer_members_commit_in_their_epoch() {
    let mut world = world_with(config());
    let mut m = Consumer::of("m", &["orders"]);
    m.beat(&mut world);
    let cases: &[(i16, By<'_>, ErrorCode, ErrorCode)] = &[
        (9, ("m", None, 2), ErrorCode::None, ErrorCode::None),
        (8, ("m", None, 2), UnsupportedVersion, ErrorCode::None),
        (9, ("m", None, 3), StaleMemberEpoch, IllegalGeneration),
        (9, ("m", None, 0), StaleMemberEpoch, IllegalGeneration),
        (9, ("nobody", None, 2), UnknownMemberId, UnknownMemberId),
        (9, ("", None, -1), UnknownMemberId, ErrorCode::None),
    ];
    for (version, by, plain, transactional) in cases {
        assert_eq!(commit_by(&mut world, *version, *by, ORDERS), [*plain], "{by:?}");
        assert_eq!(txn_commit_by(&mut world, *by, ORDERS), [*transactional], "{by:?} in a transaction");
    }
    world.check_against_log();
}

/// KIP-1251: one partition that the member does not hold any more refuses the whole commit, and nothing of it
/// is kept.
#[test]
fn a_commit_of_an_older_epoch_is_refused_as_a_whole() {
    let mut world = world_with(config());
    let (mut m, mut n) = (Consumer::of("m", &["orders"]), Consumer::of("n", &["orders"]));
    m.beat(&mut world);
    n.beat(&mut world);
    crate::consumer::client::settle(&mut world, &mut [&mut m, &mut n]);
    let kept = m.owned.first().unwrap().1;
    let lost = n.owned.first().unwrap().1;
    let by = ("m", None, 2);
    assert_eq!(commit_by(&mut world, NEWEST, by, &[("orders", kept, 1)]), [ErrorCode::None]);
    let both = [("orders", kept, 2), ("orders", lost, 2)];
    assert_eq!(commit_by(&mut world, NEWEST, by, &both), [StaleMemberEpoch; 2]);
    assert_eq!(txn_commit_by(&mut world, by, &both), [IllegalGeneration; 2]);
    assert_eq!(fetched(&mut world, GROUP), [("orders".to_owned(), kept, 1)]);
    assert_eq!(world.core().offsets().pending_len(), 0);
}

#[test]
fn members_fetch_in_their_epoch() {
    let mut world = world_with(config());
    let mut m = Consumer::of("m", &["orders"]);
    m.beat(&mut world);
    commit_by(&mut world, NEWEST, ("m", None, 2), ORDERS);
    for (member, epoch, expected) in
        [(None, -1, ErrorCode::None), (Some("m"), 2, ErrorCode::None), (Some("m"), 7, StaleMemberEpoch)]
    {
        let mut asked = ask_fetch(GROUP, Some(&[("orders", 0)]));
        (asked.member_id, asked.member_epoch) = (member.map(Str::from), epoch);
        let response = fetch(&mut world, asked, true);
        assert_eq!(response.error_code, expected.code());
        assert_eq!(response.topics.is_empty(), expected != ErrorCode::None);
    }
}

#[test]
fn what_members_read_cannot_be_deleted() {
    let mut world = world_with(config());
    let mut a = Client::new("a").reads(&["orders"]);
    settle(&mut world, &mut [&mut a]);
    let by = (a.id.as_str(), None, 1);
    let offsets = [("orders", 0, 1), ("returns", 0, 1)];
    assert_eq!(commit_by(&mut world, NEWEST, by, &offsets), [ErrorCode::None; 2]);
    let deleted = delete(&mut world, GROUP, &[("orders", 0), ("returns", 0)]);
    assert_eq!(deleted, (ErrorCode::None, vec![GroupSubscribedToTopic, ErrorCode::None]));
    assert_eq!(fetched(&mut world, GROUP), [("orders".to_owned(), 0, 1)]);
    assert_eq!(delete_group(&mut world, GROUP), NonEmptyGroup);
    a.leave(&mut world);
    assert_eq!(delete(&mut world, GROUP, &[("orders", 0)]), (ErrorCode::None, vec![ErrorCode::None]));
    assert!(exists(&world, GROUP), "a group that is recorded stays without offsets");
    world.check_against_log();

    let mut world = world_with(config());
    let mut m = Consumer::of("m", &["orders"]);
    m.beat(&mut world);
    commit_by(&mut world, NEWEST, ("m", None, 1), &offsets);
    let deleted = delete(&mut world, GROUP, &[("orders", 0), ("returns", 0)]);
    assert_eq!(deleted, (ErrorCode::None, vec![GroupSubscribedToTopic, ErrorCode::None]));
}

/// Nobody knows what members of another type read.
#[test]
fn groups_of_another_type_are_deleted_from_when_they_are_empty() {
    let mut world = world_with(config());
    let mut a = Client { protocol_type: "connect".into(), ..Client::new("a") };
    settle(&mut world, &mut [&mut a]);
    commit_by(&mut world, NEWEST, (a.id.as_str(), None, 1), ORDERS);
    assert_eq!(delete(&mut world, GROUP, &[("orders", 0)]), (NonEmptyGroup, vec![]));
    a.leave(&mut world);
    assert_eq!(delete(&mut world, GROUP, &[("orders", 0)]), (ErrorCode::None, vec![ErrorCode::None]));
}

/// KIP-211: while a group has members, only what they do not read expires; then the retention counts from
/// when the group was left, and the group goes with its last offset.
#[test]
fn offsets_of_a_classic_group_expire_after_its_members_are_gone() {
    let mut world = world_with(config());
    let mut a = Client::new("a").reads(&["orders"]);
    settle(&mut world, &mut [&mut a]);
    let by = (a.id.clone(), None, 1);
    let by = (by.0.as_str(), by.1, by.2);
    commit_by(&mut world, NEWEST, by, &[("orders", 0, 1), ("returns", 0, 1)]);
    live(&mut world, &a, HOUR + CHECK);
    assert_eq!(fetched(&mut world, GROUP), [("orders".to_owned(), 0, 1)], "members read it");
    live(&mut world, &a, HOUR);
    a.leave(&mut world);
    world.advance(HOUR - CHECK);
    assert_eq!(fetched(&mut world, GROUP).len(), 1, "old, but the group was left only now");
    world.reload();
    world.advance(CHECK * 3);
    assert_eq!(fetched(&mut world, GROUP), []);
    assert!(!exists(&world, GROUP));
    assert!(matches!(world.written_since(0).last(), Some(GroupRecord::Group { value: None, .. })));
    world.check_against_log();
}

/// Heartbeats for so long.
fn live(world: &mut World, client: &Client, time: Duration) {
    let mut left = time;
    while left > Duration::ZERO {
        let step = left.min(SESSION / 2);
        world.advance(step);
        assert_eq!(client.heartbeat(world), ErrorCode::None);
        left -= step;
    }
}

#[test]
fn offsets_of_a_consumer_group_expire_by_their_age_unless_they_are_read() {
    let mut world = world_with(config());
    let mut m = Consumer::of("m", &["orders"]);
    m.beat(&mut world);
    commit_by(&mut world, NEWEST, ("m", None, 2), &[("orders", 0, 1), ("returns", 0, 1)]);
    for _ in 0..HOUR.as_secs() / 30 + 4 {
        world.advance(Duration::from_secs(30));
        m.beat(&mut world);
    }
    assert_eq!(fetched(&mut world, GROUP), [("orders".to_owned(), 0, 1)]);
    m.leave(&mut world, -1);
    world.advance(CHECK * 2);
    assert!(!exists(&world, GROUP), "as in Kafka, the age of the commit counts at once");
    world.check_against_log();
}
