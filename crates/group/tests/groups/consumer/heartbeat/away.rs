//! Members that are away: static ones that come back, and those that are not heard of in time.

use std::time::Duration;

use ottla_group::{GroupConfig, GroupOverrides};
use ottla_wire::ErrorCode;
use ottla_wire::messages::ConsumerGroupHeartbeatRequest;

use super::super::client::{Client, GROUP, describe, error, heartbeat, settle};
use super::{kinds, world, world_with};

#[test]
fn static_members_come_back_to_what_they_had() {
    let mut world = world();
    let mut old = Client::of("old", &["a"]).instance("i");
    let mut other = Client::of("other", &["a"]);
    old.beat(&mut world);
    other.beat(&mut world);
    settle(&mut world, &mut [&mut old, &mut other]);
    let had = old.owned.clone();

    let mut new = Client::of("new", &["a"]).instance("i");
    let response = heartbeat(&mut world, new.joining());
    assert_eq!(error(&response), ErrorCode::UnreleasedInstanceId);
    let impostor = ConsumerGroupHeartbeatRequest { member_id: "new".into(), ..old.living() };
    assert_eq!(error(&heartbeat(&mut world, impostor)), ErrorCode::FencedInstanceId);
    let unknown = ConsumerGroupHeartbeatRequest { instance_id: Some("j".into()), ..old.living() };
    assert_eq!(error(&heartbeat(&mut world, unknown)), ErrorCode::UnknownMemberId);

    let log = world.log().len();
    assert_eq!(old.leave(&mut world, -2).member_epoch, -2);
    assert_eq!(kinds(&world, log), ["current"]);
    world.check_against_log();
    let log = world.log().len();
    new.beat(&mut world);
    assert_eq!((new.epoch, &new.owned), (3, &had), "no rebalance");
    let expected =
        ["(current)", "(target of member)", "(member)", "member", "target of member", "current", "current"];
    assert_eq!(kinds(&world, log), expected);
    let late = ConsumerGroupHeartbeatRequest { member_id: "old".into(), ..new.living() };
    assert_eq!(error(&heartbeat(&mut world, late)), ErrorCode::FencedInstanceId);
    assert_eq!(describe(&mut world).members.len(), 2);
    world.check_against_log();

    // One that does not come back in time is out.
    new.leave(&mut world, -2);
    for _ in 0..10 {
        world.advance(Duration::from_secs(5));
        other.beat(&mut world);
    }
    assert_eq!((describe(&mut world).members.len(), other.owned.len()), (1, 4));
}

#[test]
fn who_is_not_heard_of_is_out() {
    let mut config = GroupConfig { assignment_interval: Duration::ZERO, ..GroupConfig::default() };
    let session_timeout = Some(Duration::from_secs(50));
    config.overrides.insert(GROUP.into(), GroupOverrides { session_timeout, ..Default::default() });
    let mut world = world_with(config);
    let (mut m1, mut m2) = (Client::of("m1", &["a"]), Client::of("m2", &["a"]));
    m1.beat(&mut world);
    m2.beat(&mut world);
    settle(&mut world, &mut [&mut m1, &mut m2]);
    for _ in 0..9 {
        world.advance(Duration::from_secs(5));
        m1.beat(&mut world);
    }
    assert_eq!(describe(&mut world).members.len(), 2, "its group gives it 50 seconds");
    let log = world.log().len();
    world.advance(Duration::from_secs(5));
    let expected = ["(current)", "(target of member)", "(member)", "epoch", "target of member", "target"];
    assert_eq!(kinds(&world, log), expected);
    m1.beat(&mut world);
    assert_eq!(m1.owned.len(), 4);
    assert_eq!(error(&m2.beat(&mut world)), ErrorCode::UnknownMemberId);
    world.check_against_log();
}

#[test]
fn who_does_not_give_up_in_time_is_out() {
    let mut world = world();
    let (mut m1, mut m2) = (Client::of("m1", &["a"]), Client::of("m2", &["a"]));
    m1.beat(&mut world);
    m2.beat(&mut world);
    for _ in 0..59 {
        m1.beat(&mut world);
        m2.beat(&mut world);
        world.advance(Duration::from_secs(1));
    }
    assert_eq!(describe(&mut world).members.len(), 2);
    m2.beat(&mut world);
    world.advance(Duration::from_secs(1));
    assert_eq!(error(&m1.beat(&mut world)), ErrorCode::UnknownMemberId);
    m2.beat(&mut world);
    assert_eq!(m2.owned.len(), 4);
}

#[test]
fn a_new_coordinator_gives_everybody_time_again() {
    let mut world = world();
    let (mut m1, mut m2) = (Client::of("m1", &["a"]), Client::of("m2", &["a"]));
    m1.beat(&mut world);
    m2.beat(&mut world);
    m1.beat(&mut world);
    world.advance(Duration::from_secs(40));
    world.reload();
    world.advance(Duration::from_secs(40));
    assert_eq!(describe(&mut world).members.len(), 2);
    m1.beat(&mut world);
    m2.beat(&mut world);
    world.advance(Duration::from_secs(21));
    assert_eq!(error(&m1.beat(&mut world)), ErrorCode::UnknownMemberId, "it was still to give up");
}
