//! SyncGroup: the assignment comes from the leader and goes to everybody.

use std::time::Duration;

use ottla_group::{Caller, Request};
use ottla_wire::ErrorCode;
use ottla_wire::messages::SyncGroupRequest;
use ottla_wire::primitives::Str;

use super::client::*;
use crate::world::World;

/// Two members that have joined; the first leads.
fn joined(world: &mut World) -> (Client, Client) {
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    let tickets = [a.join(world), b.join(world)];
    world.advance(INITIAL_DELAY * 2);
    a.joined(world, tickets[0]);
    b.joined(world, tickets[1]);
    (a, b)
}

fn ask(world: &mut World, version: i16, request: SyncGroupRequest) -> ErrorCode {
    let ticket = world.ask(&Caller { version, ..Caller::default() }, Request::SyncGroup(request));
    error(sync_answer(world, ticket).error_code)
}

#[test]
fn followers_wait_for_the_leader() {
    let mut world = world();
    let (a, b) = joined(&mut world);
    let of_b = b.sync(&mut world, &[]);
    assert_eq!(world.answer(of_b), None);
    assert_eq!(a.heartbeat(&mut world), ErrorCode::None, "heartbeats go on meanwhile");
    let of_a = a.sync(&mut world, &[(&a, "for a"), (&b, "for b")]);
    for (ticket, assignment) in [(of_a, "for a"), (of_b, "for b")] {
        let told = sync_answer(&mut world, ticket);
        assert_eq!(told.assignment, assignment);
        assert_eq!((told.protocol_type, told.protocol_name), (Some("consumer".into()), Some("range".into())));
    }
    assert_eq!(state(&mut world), "Stable");
}

#[test]
fn a_follower_may_come_after_the_leader() {
    let mut world = world();
    let (a, b) = joined(&mut world);
    a.sync(&mut world, &[(&b, "for b")]);
    let ticket = b.sync(&mut world, &[]);
    assert_eq!(sync_answer(&mut world, ticket).assignment, "for b");
    let again = a.sync(&mut world, &[(&a, "not again")]);
    assert_eq!(sync_answer(&mut world, again).assignment, "", "the leader gave itself nothing");
}

#[test]
fn an_assignment_leaves_once_it_is_committed() {
    let mut world = world();
    let (a, b) = joined(&mut world);
    world.hold();
    let of_b = b.sync(&mut world, &[]);
    let of_a = a.sync(&mut world, &[(&b, "for b")]);
    assert_eq!((world.answer(of_a), world.answer(of_b)), (None, None));
    world.release();
    assert_eq!(sync_answer(&mut world, of_b).assignment, "for b");
}

#[test]
fn what_cannot_be_synced() {
    type Case = (&'static str, i16, fn(&mut SyncGroupRequest), ErrorCode);
    let cases: [Case; 13] = [
        ("no group id", 5, |r| r.group_id = Str::default(), ErrorCode::InvalidGroupId),
        ("an unknown group", 5, |r| r.group_id = "other".into(), ErrorCode::UnknownMemberId),
        ("an unknown member", 5, |r| r.member_id = "other".into(), ErrorCode::UnknownMemberId),
        ("an unknown instance", 5, |r| r.group_instance_id = Some("i".into()), ErrorCode::UnknownMemberId),
        ("an old generation", 5, |r| r.generation_id -= 1, ErrorCode::IllegalGeneration),
        ("a generation to come", 5, |r| r.generation_id += 1, ErrorCode::IllegalGeneration),
        ("no type", 5, |r| r.protocol_type = None, ErrorCode::InconsistentGroupProtocol),
        ("no name", 5, |r| r.protocol_name = None, ErrorCode::InconsistentGroupProtocol),
        (
            "another type",
            5,
            |r| r.protocol_type = Some("connect".into()),
            ErrorCode::InconsistentGroupProtocol,
        ),
        (
            "another name",
            5,
            |r| r.protocol_name = Some("sticky".into()),
            ErrorCode::InconsistentGroupProtocol,
        ),
        (
            "another name in an old version",
            4,
            |r| r.protocol_name = Some("sticky".into()),
            ErrorCode::InconsistentGroupProtocol,
        ),
        ("no type in an old version", 4, |r| r.protocol_type = None, ErrorCode::None),
        ("no name in an old version", 0, |r| r.protocol_name = None, ErrorCode::None),
    ];
    for (name, version, change, expected) in cases {
        let mut world = world();
        let (a, _) = joined(&mut world);
        let mut request = a.sync_request(&[]);
        change(&mut request);
        assert_eq!(ask(&mut world, version, request), expected, "{name}");
    }
}

#[test]
fn a_static_member_whose_place_was_taken_cannot_sync() {
    let mut world = world();
    let mut old = Client::new("a").instance("i");
    settle(&mut world, &mut [&mut old]);
    let mut new = Client::new("a").instance("i");
    let ticket = new.join(&mut world);
    new.joined(&mut world, ticket);
    assert_eq!(old.sync_error(&mut world), ErrorCode::FencedInstanceId);
    assert_eq!(old.heartbeat(&mut world), ErrorCode::FencedInstanceId);
    assert_eq!(old.leave(&mut world), ErrorCode::FencedInstanceId);
}

#[test]
fn who_does_not_sync_in_time_is_out() {
    let mut world = world();
    let (a, b) = joined(&mut world);
    a.sync(&mut world, &[(&b, "for b")]);
    let mut a = a;
    for _ in 0..6 {
        world.advance(REBALANCE / 6 - Duration::from_millis(1));
        assert_eq!(a.heartbeat(&mut world), ErrorCode::None);
        assert_eq!(b.heartbeat(&mut world), ErrorCode::None, "it lives, but it does not sync");
    }
    world.advance(Duration::from_millis(6));
    assert_eq!(b.heartbeat(&mut world), ErrorCode::UnknownMemberId);
    assert_eq!(a.heartbeat(&mut world), ErrorCode::RebalanceInProgress);
    rejoin(&mut world, &mut [&mut a]);
    assert_eq!(a.generation, 2);
}

#[test]
fn a_leader_that_brings_nothing_is_out() {
    let mut world = world();
    let (a, mut b) = joined(&mut world);
    let waiting = b.sync(&mut world, &[]);
    for _ in 0..6 {
        world.advance(REBALANCE / 6 - Duration::from_millis(1));
        assert_eq!(a.heartbeat(&mut world), ErrorCode::None);
    }
    assert_eq!(world.answer(waiting), None, "its session does not run out while it waits");
    world.advance(Duration::from_millis(6));
    assert_eq!(error(sync_answer(&mut world, waiting).error_code), ErrorCode::RebalanceInProgress);
    assert_eq!(a.heartbeat(&mut world), ErrorCode::UnknownMemberId);
    rejoin(&mut world, &mut [&mut b]);
    assert_eq!(members(&mut world).keys().collect::<Vec<_>>(), ["b"]);
}
