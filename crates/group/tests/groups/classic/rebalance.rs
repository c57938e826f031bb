//! From one generation to the next: who may stay, who makes the group rebalance, and who does not.

use std::time::Duration;

use ottla_wire::ErrorCode;

use super::client::*;

#[test]
fn a_newcomer_makes_everybody_join_again() {
    let mut world = world();
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    settle(&mut world, &mut [&mut a]);
    assert_eq!(a.generation, 1);
    let of_b = b.join(&mut world);
    assert_eq!(state(&mut world), "PreparingRebalance");
    assert_eq!(a.heartbeat(&mut world), ErrorCode::RebalanceInProgress);
    assert_eq!(a.sync_error(&mut world), ErrorCode::RebalanceInProgress);
    let of_a = a.join(&mut world);
    finish(&mut world, &mut [&mut a, &mut b], &[of_a, of_b]);
    assert_eq!((a.generation, b.generation), (2, 2));
    assert_eq!(state(&mut world), "Stable");
}

#[test]
fn a_follower_that_brings_the_same_changes_nothing() {
    let mut world = world();
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    settle(&mut world, &mut [&mut a, &mut b]);
    let again = b.join(&mut world);
    let told = b.joined(&mut world, again);
    assert_eq!((told.generation_id, told.leader, told.members.len()), (1, a.id.clone(), 0));
    assert_eq!(state(&mut world), "Stable");
    let ticket = b.sync(&mut world, &[]);
    assert_eq!(sync_answer(&mut world, ticket).assignment, "b");
}

#[test]
fn who_joins_again_and_makes_the_group_rebalance() {
    type Case = (&'static str, fn(&mut Client), usize);
    let cases: [Case; 4] = [
        ("the leader, always", |_| {}, 0),
        ("a follower with another subscription", |c| *c = c.clone().reads(&["u"]), 1),
        ("a follower with one protocol more", |c| *c = c.clone().knows(&["range", "sticky"]), 1),
        ("a follower with other preferences", |c| c.protocols.reverse(), 1),
    ];
    for (name, change, who) in cases {
        let mut world = world();
        let mut clients =
            [Client::new("a").knows(&["range", "rr"]), Client::new("b").knows(&["range", "rr"])];
        let [a, b] = &mut clients;
        settle(&mut world, &mut [a, b]);
        change(&mut clients[who]);
        let ticket = clients[who].join(&mut world);
        assert_eq!(world.answer(ticket), None, "{name}");
        assert_eq!(state(&mut world), "PreparingRebalance", "{name}");
    }
}

#[test]
fn an_answer_that_was_lost_is_given_again() {
    let mut world = world();
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    let tickets = [a.join(&mut world), b.join(&mut world)];
    world.advance(INITIAL_DELAY * 2);
    let first = a.joined(&mut world, tickets[0]);
    b.joined(&mut world, tickets[1]);
    let again = a.join(&mut world);
    assert_eq!(a.joined(&mut world, again), first, "the leader, with everybody");
    let again = b.join(&mut world);
    assert!(b.joined(&mut world, again).members.is_empty());
    assert_eq!(state(&mut world), "CompletingRebalance");

    // With other metadata everybody has to join again, and who waits for an assignment is told.
    let waiting = b.sync(&mut world, &[]);
    let mut changed = a.clone().reads(&["u"]);
    changed.join(&mut world);
    let told = sync_answer(&mut world, waiting);
    assert_eq!((error(told.error_code), told.assignment.len()), (ErrorCode::RebalanceInProgress, 0));
    assert_eq!(state(&mut world), "PreparingRebalance");
}

#[test]
fn who_asks_twice_is_answered_twice() {
    let mut world = world();
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    settle(&mut world, &mut [&mut a, &mut b]);
    let first = a.join(&mut world);
    let second = a.join(&mut world);
    assert_eq!(error(join_answer(&mut world, first).error_code), ErrorCode::RebalanceInProgress);
    let of_b = b.join(&mut world);
    a.joined(&mut world, second);
    b.joined(&mut world, of_b);

    let first = b.sync(&mut world, &[]);
    let second = b.sync(&mut world, &[]);
    assert_eq!(error(sync_answer(&mut world, first).error_code), ErrorCode::RebalanceInProgress);
    a.sync(&mut world, &[(&b.clone(), "x")]);
    assert_eq!(sync_answer(&mut world, second).assignment, "x");
}

#[test]
fn the_slowest_rebalance_timeout_counts() {
    let mut world = world();
    let mut a = Client::new("a").rebalance(Duration::from_secs(20)).session(Duration::from_secs(100));
    let mut b = Client::new("b").rebalance(Duration::from_secs(40)).session(Duration::from_secs(100));
    settle(&mut world, &mut [&mut a, &mut b]);
    let ticket = a.join(&mut world);
    world.advance(Duration::from_secs(40) - Duration::from_millis(1));
    assert_eq!(world.answer(ticket), None);
    world.advance(Duration::from_millis(1));
    a.joined(&mut world, ticket);
    assert_eq!(members(&mut world).keys().collect::<Vec<_>>(), ["a"], "who did not join is out");
    assert_eq!(b.heartbeat(&mut world), ErrorCode::UnknownMemberId);
}

#[test]
fn a_leader_that_does_not_come_back_is_replaced() {
    let mut world = world();
    let mut a = Client::new("a").session(Duration::from_secs(100));
    let (mut b, mut c) = (Client::new("b"), Client::new("c"));
    settle(&mut world, &mut [&mut a, &mut b, &mut c]);
    let mut b = b.reads(&["u"]);
    let of_b = b.join(&mut world);
    let of_c = c.join(&mut world);
    world.advance(REBALANCE);
    let told = b.joined(&mut world, of_b);
    assert_eq!(told.leader, b.id);
    assert_eq!(told.members.len(), 2);
    assert_eq!(c.joined(&mut world, of_c).leader, b.id);
}

#[test]
fn members_that_come_while_others_join_are_taken_along() {
    let mut world = world();
    let (mut a, mut b, mut c) = (Client::new("a"), Client::new("b"), Client::new("c"));
    settle(&mut world, &mut [&mut a]);
    let of_b = b.join(&mut world);
    let of_c = c.join(&mut world);
    let of_a = a.join(&mut world);
    finish(&mut world, &mut [&mut a, &mut b, &mut c], &[of_a, of_b, of_c]);
    assert_eq!(members(&mut world).len(), 3);
}

#[test]
fn an_assignment_that_no_record_holds_is_refused() {
    let mut world = world();
    world.configure(|config| config.limits.group_record_bytes_max = 400);
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    let tickets = [a.join(&mut world), b.join(&mut world)];
    world.advance(INITIAL_DELAY * 2);
    a.joined(&mut world, tickets[0]);
    b.joined(&mut world, tickets[1]);
    let of_b = b.sync(&mut world, &[]);
    let of_a = a.sync(&mut world, &[(&b.clone(), &"x".repeat(400))]);
    for ticket in [of_a, of_b] {
        assert_eq!(error(sync_answer(&mut world, ticket).error_code), ErrorCode::UnknownServerError);
    }
    assert_eq!(state(&mut world), "PreparingRebalance");
    assert!(world.log().is_empty());
    rejoin(&mut world, &mut [&mut a, &mut b]);
    assert_eq!(world.log().len(), 1);
}

#[test]
fn generations_wrap_to_zero() {
    let mut world = world();
    let mut a = Client::new("a");
    settle(&mut world, &mut [&mut a]);
    let mut records = world.written_since(0);
    let ottla_group::GroupRecord::Group { value: Some(value), .. } = &mut records[0] else { panic!() };
    value.generation = i32::MAX;
    let entry = crate::world::Entry::Record { producer: None, record: records[0].encode() };
    let mut world = crate::world::World::with_log(ottla_group::GroupConfig::default(), vec![entry]);
    a.generation = i32::MAX;
    assert_eq!(a.heartbeat(&mut world), ErrorCode::None);
    rejoin(&mut world, &mut [&mut a]);
    assert_eq!(a.generation, 0);
}

#[test]
fn a_thousand_members() {
    let mut world = world();
    let mut clients: Vec<Client> = (0..1000).map(|i| Client::new(&format!("c{i}"))).collect();
    settle(&mut world, &mut clients.iter_mut().collect::<Vec<_>>());
    for client in &clients {
        assert_eq!(client.heartbeat(&mut world), ErrorCode::None);
    }
    world.reload();
    let gone = clients.pop().expect("there are many");
    assert_eq!(gone.leave(&mut world), ErrorCode::None);
    rejoin(&mut world, &mut clients.iter_mut().collect::<Vec<_>>());
    assert_eq!(members(&mut world).len(), 999);
    world.check_against_log();
}
