//! What is remembered of rebalances.

use std::time::Duration;

use ottla_group::history::{Cause, Outcome, Phase, Rebalance};
use ottla_group::{Caller, Request, Response};
use ottla_wire::messages::leave_group_request::MemberIdentity;

use super::client::*;
use crate::world::World;

fn history(world: &mut World) -> Vec<Rebalance> {
    match world.call(&Caller::default(), Request::History(GROUP.into())) {
        Response::History(rebalances) => rebalances,
        other => panic!("{other:?}"),
    }
}

fn last(world: &mut World) -> Rebalance {
    history(world).pop().expect("there is one")
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn a_rebalance_is_told_from_its_cause_to_its_end() {
    let mut world = world();
    let mut a = Client::new("a");
    settle(&mut world, &mut [&mut a]);
    let begun = world.wall();
    let mut b = Client::new("b");
    b.reason = Some("more to do".into());
    let of_b = b.join(&mut world);
    world.advance(secs(4));
    let of_a = a.join(&mut world);
    a.joined(&mut world, of_a);
    b.joined(&mut world, of_b);
    world.advance(secs(2));
    a.sync(&mut world, &[(&a.clone(), "x")]);
    let running = last(&mut world);
    assert_eq!((running.outcome, running.generation_after), (Outcome::Running, Some(2)));
    world.advance(secs(1));
    b.sync(&mut world, &[]);

    let told = last(&mut world);
    assert_eq!((told.cause, told.outcome, told.begun), (Cause::Joined, Outcome::Completed, begun));
    let by = told.by.expect("a member's doing");
    assert_eq!((by.client_id.as_str(), by.client_host.as_str(), &by.member), ("b", "/10.0.0.1", &b.id));
    assert_eq!(told.reason.as_deref(), Some("more to do"));
    assert_eq!((told.generation_before, told.generation_after), (1, Some(2)));
    assert_eq!((told.members_before, told.members_after), (1, Some(2)));
    let phases: Vec<_> = told
        .phases
        .iter()
        .map(|phase| {
            let (who, after) = phase.slowest.clone().expect("somebody came");
            (phase.phase, phase.took.expect("it is over"), who.client_id.to_string(), after)
        })
        .collect();
    let expected = [
        (Phase::Join, secs(4), "a".to_owned(), secs(4)),
        (Phase::Assign, secs(2), "a".to_owned(), secs(2)),
        (Phase::Sync, secs(1), "b".to_owned(), secs(1)),
    ];
    assert_eq!(phases, expected);
}

#[test]
fn every_cause_has_its_name() {
    type Case = (&'static str, Cause, fn(&mut World, &mut Client, &mut Client));
    let cases: [Case; 8] = [
        ("a member came", Cause::Joined, |world, _, _| {
            Client::new("c").join(world);
        }),
        ("a member left", Cause::Left, |world, _, b| {
            b.leave(world);
        }),
        ("the administrator removed one", Cause::Removed, |world, a, _| {
            let instance = Some("s".into());
            let member = MemberIdentity { group_instance_id: instance, ..Default::default() };
            leave(world, &a.at(5), GROUP, vec![member]);
        }),
        ("a session ended", Cause::SessionExpired, |world, a, _| {
            world.advance(SESSION - secs(1));
            a.heartbeat(world);
            world.advance(secs(1));
        }),
        ("the leader came back", Cause::LeaderRejoined, |world, a, _| {
            a.join(world);
        }),
        ("a subscription changed", Cause::SubscriptionChanged, |world, _, b| {
            b.clone().reads(&["u"]).join(world);
        }),
        ("the group was too large", Cause::TooLarge, |world, _, _| {
            world.configure(|config| config.classic_size_max = 1);
            world.reload();
        }),
        ("a static member changed the protocol", Cause::SubscriptionChanged, |world, _, _| {
            Client::new("s").instance("s").knows(&["rr"]).join(world);
        }),
    ];
    for (name, cause, act) in cases {
        let mut world = world();
        let both = &["range", "rr"];
        let (mut a, mut b) = (Client::new("a").knows(both), Client::new("b").knows(both));
        let mut s = Client::new("s").instance("s").knows(both);
        settle(&mut world, &mut [&mut a, &mut b, &mut s]);
        act(&mut world, &mut a, &mut b);
        assert_eq!(last(&mut world).cause, cause, "{name}");
    }
}

#[test]
fn who_never_came_is_named() {
    let mut world = world();
    let mut a = Client::new("a").session(REBALANCE * 2);
    let mut b = Client::new("b").session(REBALANCE * 2);
    settle(&mut world, &mut [&mut a, &mut b]);
    let of_a = a.join(&mut world);
    world.advance(REBALANCE);
    a.joined(&mut world, of_a);
    let told = last(&mut world);
    assert_eq!(told.phases[0].took, Some(REBALANCE));
    let absent: Vec<_> = told.phases[0].absent.iter().map(|who| who.client_id.as_str()).collect();
    assert_eq!((absent, told.phases[0].absent_len), (vec!["b"], 1));

    // Nor does the leader bring an assignment.
    world.advance(REBALANCE);
    let told = history(&mut world);
    let [.., superseded, next] = &told[..] else { panic!("{told:?}") };
    assert_eq!(superseded.outcome, Outcome::Superseded);
    assert_eq!(superseded.phases[1].absent[0].client_id, "a");
    assert_eq!(
        (next.cause, next.by.as_ref().map(|who| who.client_id.as_str())),
        (Cause::RebalanceTimedOut, Some("a"))
    );
    assert_eq!((next.outcome, next.members_after), (Outcome::Completed, Some(0)));
}

#[test]
fn what_is_remembered_has_a_limit() {
    let mut world = world();
    world.configure(|config| {
        config.limits.history_len_max = 3;
        config.limits.history_members_max = 2;
    });
    let mut clients: Vec<Client> =
        (0..5).map(|i| Client::new(&format!("c{i}")).session(REBALANCE * 2)).collect();
    settle(&mut world, &mut clients.iter_mut().collect::<Vec<_>>());
    let ticket = clients[0].join(&mut world);
    world.advance(REBALANCE);
    clients[0].joined(&mut world, ticket);
    let phase = &last(&mut world).phases[0];
    assert_eq!((phase.absent.len(), phase.absent_len), (2, 4));
    let generation =
        |world: &mut World| history(world).iter().map(|it| it.generation_after).collect::<Vec<_>>();
    let [first, ..] = &mut clients[..] else { panic!() };
    first.sync(&mut world, &[]);
    for _ in 0..4 {
        rejoin(&mut world, &mut [first]);
    }
    assert_eq!(generation(&mut world), [Some(4), Some(5), Some(6)]);
}

#[test]
fn texts_of_clients_are_cut() {
    let mut world = world();
    let mut a = Client::new(&"ä".repeat(1000));
    a.reason = Some("x".repeat(1_000_000).into());
    a.join(&mut world);
    let told = last(&mut world);
    assert_eq!(told.reason.map(|reason| reason.len()), Some(255));
    let by = told.by.expect("a member's doing");
    assert_eq!((by.client_id.len(), by.member.len()), (254, 254), "at the end of a character");
}

#[test]
fn many_groups_share_what_is_remembered() {
    let mut world = world();
    world.configure(|config| config.limits.history_rebalances_max = 4);
    let mut a = Client::new("a");
    settle(&mut world, &mut [&mut a]);
    for _ in 0..5 {
        rejoin(&mut world, &mut [&mut a]);
    }
    assert_eq!(history(&mut world).len(), 4);
    settle(&mut world, &mut [&mut Client::new("b").of_group("other")]);
    rejoin(&mut world, &mut [&mut a]);
    assert_eq!(history(&mut world).len(), 2);
    for group in ["c", "d", "e", "f"] {
        settle(&mut world, &mut [&mut Client::new("c").of_group(group)]);
    }
    assert_eq!(last(&mut world).cause, Cause::SessionExpired, "the last one is always there");
    assert_eq!(history(&mut world).len(), 1);
}

#[test]
fn a_group_that_is_gone_has_no_history() {
    let mut world = world();
    let mut a = Client::new("a");
    settle(&mut world, &mut [&mut a]);
    a.leave(&mut world);
    assert_eq!(history(&mut world).len(), 2);
    world.call(&Caller::default(), Request::DeleteGroup(GROUP.into()));
    assert_eq!(history(&mut world), []);
}
