//! Static members (KIP-345): who comes back under its instance id is the same member.

use std::time::Duration;

use ottla_wire::ErrorCode;

use super::client::*;

#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    let mut world = world();
    let (mut a, mut s) = (Client::new("a"), Client::new("s").instance("s"));
    settle(&mut world, &mut [&mut a, &mut s]);
    let written = world.log().len();
    let mut back = Client { caller: s.at(9), ..Client::new("s2").instance("s") };
    let ticket = back.join(&mut world);
    let told = back.joined(&mut world, ticket);
    assert_ne!(back.id, s.id);
    assert!(back.id.starts_with("s-"), "ids of static members begin with the instance");
    assert_eq!((told.generation_id, told.leader, told.members.len()), (1, a.id.clone(), 0));
    assert!(!told.skip_assignment);
    assert_eq!(world.log().len(), written + 1, "the new id is recorded");
    assert_eq!(a.heartbeat(&mut world), ErrorCode::None);
    assert_eq!(s.heartbeat(&mut world), ErrorCode::FencedInstanceId);
    let sync = back.sync(&mut world, &[]);
    assert_eq!(sync_answer(&mut world, sync).assignment, "s", "it keeps its assignment");
    world.check_against_log();
    world.reload();
    assert_eq!(back.heartbeat(&mut world), ErrorCode::None);
    assert_eq!(s.heartbeat(&mut world), ErrorCode::FencedInstanceId);
}

#[test]
fn a_static_leader_comes_back() {
    for (version, leads) in [(8, false), (9, true)] {
        let mut world = world();
        let (mut s, mut b) = (Client::new("s").instance("s"), Client::new("b"));
        settle(&mut world, &mut [&mut s, &mut b]);
        let mut back = Client::new("s").instance("s").version(version);
        let ticket = back.join(&mut world);
        let told = back.joined(&mut world, ticket);
        // Old versions must not find themselves leading: they would make an assignment that nobody asks for.
        assert_eq!(told.skip_assignment, leads, "version {version}");
        assert_eq!(told.members.len(), if leads { 2 } else { 0 }, "version {version}");
        assert_eq!(told.leader, if leads { back.id.clone() } else { s.id.clone() }, "version {version}");
        assert_eq!(state(&mut world), "Stable");
        world.check_against_log();
    }
}

#[test]
fn a_static_member_that_changes_the_protocol_makes_the_group_rebalance() {
    let mut world = world();
    let mut s = Client::new("s").instance("s").knows(&["range", "sticky"]);
    let mut a = Client::new("a").knows(&["range", "sticky"]);
    settle(&mut world, &mut [&mut s, &mut a]);
    let mut back = Client::new("s").instance("s").knows(&["sticky"]);
    let of_s = back.join(&mut world);
    assert_eq!(world.answer(of_s), None);
    assert_eq!(a.heartbeat(&mut world), ErrorCode::RebalanceInProgress);
    let of_a = a.join(&mut world);
    assert_eq!(a.joined(&mut world, of_a).protocol_name.as_deref(), Some("sticky"));
    back.joined(&mut world, of_s);
}

#[test]
fn a_subscription_that_changes_with_the_instance_is_recorded() {
    let mut world = world();
    let mut s = Client::new("s").instance("s");
    settle(&mut world, &mut [&mut s]);
    let mut back = Client::new("s").instance("s").reads(&["u"]);
    let ticket = back.join(&mut world);
    back.joined(&mut world, ticket);
    let is_subscribed = |world: &crate::world::World, topic: &str| {
        world.core().groups().get(GROUP).expect("there").is_subscribed_to(topic)
    };
    assert!(is_subscribed(&world, "u") && !is_subscribed(&world, "t"));
    world.check_against_log();
    world.reload();
    assert!(is_subscribed(&world, "u") && !is_subscribed(&world, "t"));
}

#[test]
fn while_the_others_join_a_static_member_takes_its_own_place() {
    let mut world = world();
    let (mut a, mut s) = (Client::new("a"), Client::new("s").instance("s"));
    settle(&mut world, &mut [&mut a, &mut s]);
    let of_a = a.join(&mut world);
    let mut back = Client::new("s").instance("s");
    let of_back = back.join(&mut world);
    finish(&mut world, &mut [&mut a, &mut back], &[of_a, of_back]);
    assert_eq!(a.generation, 2);
    assert_eq!(s.heartbeat(&mut world), ErrorCode::FencedInstanceId);
}

#[test]
fn requests_of_the_older_self_are_refused() {
    let mut world = world();
    let (mut a, mut s) = (Client::new("a"), Client::new("s").instance("s"));
    settle(&mut world, &mut [&mut a, &mut s]);
    let old_join = s.join(&mut world);
    assert_eq!(error(join_answer(&mut world, old_join).error_code), ErrorCode::None, "nothing new: answered");
    let changed = s.clone().reads(&["u"]).join(&mut world);
    let mut back = Client::new("s").instance("s");
    let of_back = back.join(&mut world);
    let refused = join_answer(&mut world, changed);
    assert_eq!((error(refused.error_code), refused.member_id), (ErrorCode::FencedInstanceId, s.id.clone()));
    let of_a = a.join(&mut world);
    a.joined(&mut world, of_a);
    back.joined(&mut world, of_back);

    // And once more while the assignment is made: the leader was told of an id that is gone, so everybody
    // joins again.
    let waiting = back.sync(&mut world, &[]);
    let mut third = Client::new("s").instance("s");
    let of_third = third.join(&mut world);
    assert_eq!(error(sync_answer(&mut world, waiting).error_code), ErrorCode::FencedInstanceId);
    assert_eq!(state(&mut world), "PreparingRebalance");
    let of_a = a.join(&mut world);
    finish(&mut world, &mut [&mut a, &mut third], &[of_a, of_third]);
}

#[test]
fn a_static_member_that_does_not_join_keeps_its_place_until_it_is_out_of_time() {
    let mut world = world();
    let mut a = Client::new("a").session(REBALANCE * 4);
    let mut s = Client::new("s").instance("s").session(REBALANCE * 4);
    settle(&mut world, &mut [&mut a, &mut s]);
    let of_a = a.join(&mut world);
    world.advance(REBALANCE);
    let told = a.joined(&mut world, of_a);
    assert_eq!(told.members.len(), 2, "it may come back");
    a.sync(&mut world, &[(&a.clone(), "all")]);
    // It has the rebalance timeout to ask for its assignment, too.
    world.advance(REBALANCE);
    assert_eq!(s.heartbeat(&mut world), ErrorCode::UnknownMemberId);
    rejoin(&mut world, &mut [&mut a]);
    assert_eq!(members(&mut world).keys().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn a_group_of_static_members_of_whom_nobody_joins_waits_for_their_sessions() {
    let mut world = world();
    let mut s = Client::new("s").instance("s").session(REBALANCE * 5 / 2);
    let mut a = Client::new("a");
    settle(&mut world, &mut [&mut s, &mut a]);
    assert_eq!(a.leave(&mut world), ErrorCode::None);
    world.advance(REBALANCE * 2);
    assert_eq!(state(&mut world), "PreparingRebalance", "nobody could lead");
    world.advance(REBALANCE / 2);
    assert_eq!(state(&mut world), "Empty");
    world.check_against_log();
}

/// A client that allows no time must not keep the coordinator busy.
#[test]
fn a_static_member_that_allows_no_time_to_join_is_waited_for_all_the_same() {
    let mut world = world();
    let (mut a, mut s) = (Client::new("a"), Client::new("s").instance("s"));
    settle(&mut world, &mut [&mut a, &mut s]);
    let mut back = Client::new("s").instance("s").rebalance(Duration::ZERO);
    let ticket = back.join(&mut world);
    back.joined(&mut world, ticket);
    assert_eq!(a.leave(&mut world), ErrorCode::None);
    world.advance(SESSION - Duration::from_millis(1));
    assert_eq!(state(&mut world), "PreparingRebalance");
    world.advance(Duration::from_millis(1));
    assert_eq!(state(&mut world), "Empty");
}

#[test]
fn a_static_member_that_came_back_and_did_not_sync_is_still_waited_for() {
    let mut world = world();
    let (mut a, mut s) = (Client::new("a"), Client::new("s").instance("s"));
    let tickets = [a.join(&mut world), s.join(&mut world)];
    world.advance(INITIAL_DELAY * 2);
    a.joined(&mut world, tickets[0]);
    s.joined(&mut world, tickets[1]);
    a.sync(&mut world, &[(&s.clone(), "for s")]);
    let mut back = Client::new("s").instance("s").session(REBALANCE * 2);
    let ticket = back.join(&mut world);
    back.joined(&mut world, ticket);
    let sync = back.sync(&mut world, &[]);
    assert_eq!(sync_answer(&mut world, sync).assignment, "for s");
    for _ in 0..12 {
        world.advance(SESSION / 2);
        assert_eq!(a.heartbeat(&mut world), ErrorCode::None, "nobody is out of time");
    }
}
