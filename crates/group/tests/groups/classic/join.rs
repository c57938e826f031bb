//! JoinGroup: becoming a member.

use std::time::Duration;

use ottla_group::Request;
use ottla_wire::ErrorCode;
use ottla_wire::primitives::Str;

use super::client::*;

#[test]
fn a_member_is_given_its_id_before_it_is_let_in() {
    let mut world = world();
    let mut client = Client::new("c");
    let first = world.ask(&client.caller, Request::JoinGroup(client.join_request()));
    let given = join_answer(&mut world, first);
    assert_eq!(error(given.error_code), ErrorCode::MemberIdRequired);
    assert!(given.member_id.starts_with("c-"), "{}", given.member_id);
    assert_eq!(given.member_id.len(), "c-".len() + 36);
    assert_eq!(state(&mut world), "Empty", "nobody is in yet");

    client.id = given.member_id.clone();
    let ticket = client.join(&mut world);
    assert_eq!(state(&mut world), "PreparingRebalance");
    world.advance(INITIAL_DELAY);
    let joined = client.joined(&mut world, ticket);
    assert_eq!(
        (joined.member_id.clone(), joined.leader, joined.generation_id),
        (given.member_id.clone(), given.member_id, 1)
    );
    assert_eq!((joined.protocol_type, joined.protocol_name), (Some("consumer".into()), Some("range".into())));
    assert_eq!(joined.members.len(), 1);
    assert_eq!(joined.members[0].metadata, subscription(&["t"]));
    assert!(!joined.skip_assignment);
}

#[test]
fn old_versions_are_let_in_at_once() {
    for version in 0..=3 {
        let mut world = world();
        let mut client = Client::new("c").version(version);
        let ticket = client.join(&mut world);
        world.advance(INITIAL_DELAY);
        assert_eq!(client.joined(&mut world, ticket).generation_id, 1, "version {version}");
    }
}

#[test]
fn version_0_knows_one_timeout() {
    let mut world = world();
    let mut old = Client::new("old").version(0).session(Duration::from_secs(20));
    let mut request = old.join_request();
    request.rebalance_timeout_ms = -1;
    let ticket = world.ask(&old.caller, Request::JoinGroup(request));
    world.advance(INITIAL_DELAY);
    old.joined(&mut world, ticket);
    // Whoever does not sync within the rebalance timeout is out: here that is the session timeout.
    let beat = |world: &mut _, old: &Client| old.heartbeat(world);
    for _ in 0..19 {
        assert_eq!(beat(&mut world, &old), ErrorCode::None);
        world.advance(Duration::from_secs(1));
    }
    assert_eq!(beat(&mut world, &old), ErrorCode::None);
    world.advance(Duration::from_secs(1));
    assert_eq!(beat(&mut world, &old), ErrorCode::UnknownMemberId);
}

#[test]
fn what_cannot_be_joined() {
    type Case = (&'static str, fn(&mut Client), ErrorCode);
    let cases: [Case; 9] = [
        ("no group id", |c| c.group = Str::default(), ErrorCode::InvalidGroupId),
        (
            "a group id that no record holds",
            |c| c.group = "g".repeat(40_000).into(),
            ErrorCode::InvalidGroupId,
        ),
        (
            "a session that is too short",
            |c| c.session = Duration::from_millis(5999),
            ErrorCode::InvalidSessionTimeout,
        ),
        (
            "a session that is too long",
            |c| c.session = Duration::from_secs(1801),
            ErrorCode::InvalidSessionTimeout,
        ),
        ("no protocol type", |c| c.protocol_type = Str::default(), ErrorCode::InconsistentGroupProtocol),
        ("no protocols", |c| c.protocols.clear(), ErrorCode::InconsistentGroupProtocol),
        ("a member of an unknown group", |c| c.id = "m".into(), ErrorCode::UnknownMemberId),
        (
            "an instance that no record holds",
            |c| c.instance = Some("i".repeat(32_760).into()),
            ErrorCode::InvalidRequest,
        ),
        (
            "a client id that no record holds",
            |c| c.caller.client_id = "c".repeat(32_760).into(),
            ErrorCode::InvalidRequest,
        ),
    ];
    for (name, change, expected) in cases {
        let mut world = world();
        let mut client = Client::new("c");
        change(&mut client);
        let ticket = world.ask(&client.caller, Request::JoinGroup(client.join_request()));
        assert_eq!(error(join_answer(&mut world, ticket).error_code), expected, "{name}");
        assert!(world.core().groups().is_empty(), "{name}: no group is made");
        assert!(world.log().is_empty(), "{name}");
    }
}

#[test]
fn what_cannot_join_a_group_that_has_members() {
    type Case = (&'static str, fn(&mut Client), ErrorCode);
    let cases: [Case; 5] = [
        (
            "another protocol type",
            |c| c.protocol_type = "connect".into(),
            ErrorCode::InconsistentGroupProtocol,
        ),
        ("no common protocol", |c| *c = c.clone().knows(&["sticky"]), ErrorCode::InconsistentGroupProtocol),
        ("an id that was never given", |c| c.id = "c-1".into(), ErrorCode::UnknownMemberId),
        (
            "an id with an instance that is none",
            |c| {
                c.id = "c-1".into();
                c.instance = Some("i".into());
            },
            ErrorCode::UnknownMemberId,
        ),
        (
            "an id that is not the instance's",
            |c| {
                c.id = "c-1".into();
                c.instance = Some("static".into());
            },
            ErrorCode::FencedInstanceId,
        ),
    ];
    for (name, change, expected) in cases {
        let mut world = world();
        let mut member = Client::new("a").instance("static");
        settle(&mut world, &mut [&mut member]);
        let mut client = Client::new("c");
        change(&mut client);
        let ticket = world.ask(&client.caller, Request::JoinGroup(client.join_request()));
        assert_eq!(error(join_answer(&mut world, ticket).error_code), expected, "{name}");
        assert_eq!(state(&mut world), "Stable", "{name}");
    }
}

#[test]
fn only_the_leader_learns_of_the_others() {
    let mut world = world();
    let (mut a, mut b) = (Client::new("a"), Client::new("b").reads(&["u"]));
    let tickets = [a.join(&mut world), b.join(&mut world)];
    world.advance(INITIAL_DELAY * 2);
    let of_a = a.joined(&mut world, tickets[0]);
    let of_b = b.joined(&mut world, tickets[1]);
    assert_eq!(of_a.leader, a.id);
    assert_eq!(of_b.leader, a.id);
    assert!(of_b.members.is_empty());
    let told: Vec<_> =
        of_a.members.iter().map(|member| (member.member_id.clone(), member.metadata.clone())).collect();
    assert_eq!(told, [(a.id, subscription(&["t"])), (b.id, subscription(&["u"]))]);
}

#[test]
fn the_protocol_is_one_that_all_know_and_most_prefer() {
    let cases: [(&[&[&str]], &str); 5] = [
        (&[&["range"]], "range"),
        (&[&["range", "sticky"], &["sticky", "range"], &["sticky", "range"]], "sticky"),
        (&[&["range", "sticky"], &["sticky"]], "sticky"),
        (&[&["a", "b", "c"], &["c", "b"], &["b", "c"]], "b"),
        (&[&["b", "a"], &["a", "b"]], "a"),
    ];
    for (known, expected) in cases {
        let mut world = world();
        let mut clients: Vec<Client> =
            known.iter().enumerate().map(|(i, names)| Client::new(&format!("c{i}")).knows(names)).collect();
        let tickets: Vec<_> = clients.iter_mut().map(|client| client.join(&mut world)).collect();
        world.advance(INITIAL_DELAY * 3);
        for (client, ticket) in clients.iter_mut().zip(tickets) {
            let chosen = client.joined(&mut world, ticket).protocol_name;
            assert_eq!(chosen.as_deref(), Some(expected), "{known:?}");
        }
    }
}

#[test]
fn a_new_group_waits_for_more_members_but_not_for_ever() {
    let mut world = world();
    // The first member's rebalance timeout bounds the wait: 3 s, then 3 s more, then the last 1 s.
    let mut clients: Vec<Client> =
        (0..4).map(|i| Client::new(&format!("c{i}")).rebalance(Duration::from_secs(7))).collect();
    let mut tickets = Vec::new();
    for client in &mut clients {
        tickets.push(client.join(&mut world));
        world.advance(Duration::from_secs(2));
    }
    // Begun at 0 s; members came at 2, 4 and 6 s. It is 8 s.
    assert_eq!(state(&mut world), "CompletingRebalance");
    let generation = clients[0].joined(&mut world, tickets[0]).generation_id;
    assert_eq!(generation, 1);
    assert_eq!(describe_at(&mut world, GROUP, 6).members.len(), 4);
}

#[test]
fn a_new_group_that_nobody_else_comes_to_waits_once() {
    let mut world = world();
    let mut client = Client::new("c");
    let ticket = client.join(&mut world);
    world.advance(INITIAL_DELAY - Duration::from_millis(1));
    assert_eq!(state(&mut world), "PreparingRebalance");
    world.advance(Duration::from_millis(1));
    client.joined(&mut world, ticket);
}

#[test]
fn a_full_group_takes_nobody_else() {
    let mut world = world();
    world.configure(|config| config.classic_size_max = 2);
    let (mut a, mut b, mut c) = (Client::new("a"), Client::new("b"), Client::new("c"));
    let tickets = [a.join(&mut world), b.join(&mut world)];
    // While members join, those count that have.
    let third = world.ask(&c.caller, Request::JoinGroup(c.join_request()));
    assert_eq!(error(join_answer(&mut world, third).error_code), ErrorCode::GroupMaxSizeReached);
    world.advance(INITIAL_DELAY * 2);
    finish(&mut world, &mut [&mut a, &mut b], &tickets);
    let third = world.ask(&c.caller, Request::JoinGroup(c.join_request()));
    assert_eq!(error(join_answer(&mut world, third).error_code), ErrorCode::GroupMaxSizeReached);
    assert_eq!(a.heartbeat(&mut world), ErrorCode::None, "the group is left in peace");

    // A group that has become too large shrinks with its next rebalance.
    world.configure(|config| config.classic_size_max = 1);
    let ticket = a.join(&mut world);
    assert_eq!(b.heartbeat(&mut world), ErrorCode::RebalanceInProgress);
    assert_eq!(b.join_error(&mut world), ErrorCode::GroupMaxSizeReached);
    a.joined(&mut world, ticket);
    c.id = Str::default();
    assert_eq!(members(&mut world).len(), 1);
}

#[test]
fn limits_that_kafka_lacks() {
    let mut world = world();
    world.configure(|config| {
        config.limits.member_protocols_bytes_max = 100;
        config.limits.group_protocols_bytes_max = 150;
        config.limits.pending_members_max = 2;
        config.limits.groups_max = 1;
    });
    let mut large = Client::new("large");
    large.protocols = vec![("p".into(), vec![0; 100].into())];
    let ask = |world: &mut crate::world::World, client: &Client| {
        let ticket = world.ask(&client.caller, Request::JoinGroup(client.join_request()));
        error(join_answer(world, ticket).error_code)
    };
    assert_eq!(ask(&mut world, &large), ErrorCode::MessageTooLarge);

    let mut first = Client::new("first");
    first.protocols = vec![("p".into(), vec![0; 99].into())];
    let mut second = first.clone();
    first.join(&mut world);
    assert_eq!(ask(&mut world, &second), ErrorCode::GroupMaxSizeReached);
    second.protocols = vec![("p".into(), vec![0; 49].into())];
    assert_eq!(ask(&mut world, &second), ErrorCode::MemberIdRequired);
    assert_eq!(ask(&mut world, &second), ErrorCode::MemberIdRequired);
    assert_eq!(ask(&mut world, &second), ErrorCode::CoordinatorNotAvailable);
    // Who asks again is not counted twice.
    let again = first.join(&mut world);
    assert_eq!(world.answer(again), None, "it waits");

    let other = Client::new("other").of_group("another");
    assert_eq!(ask(&mut world, &other), ErrorCode::PolicyViolation);
}

#[test]
fn an_id_that_nobody_joins_with_is_forgotten() {
    let mut world = world();
    let mut member = Client::new("a");
    settle(&mut world, &mut [&mut member]);
    let late = Client::new("late");
    let ticket = world.ask(&late.caller, Request::JoinGroup(late.join_request()));
    let given = join_answer(&mut world, ticket).member_id;
    // The group waits for it in a rebalance, until its session ends.
    let rejoin = member.join(&mut world);
    for _ in 0..9 {
        world.advance(Duration::from_secs(1));
        assert_eq!(world.answer(rejoin), None);
    }
    world.advance(Duration::from_secs(1));
    member.joined(&mut world, rejoin);
    let mut late = Client { id: given, ..late };
    assert_eq!(late.join_error(&mut world), ErrorCode::UnknownMemberId);
}

#[test]
fn a_group_that_was_only_asked_for_leaves_nothing() {
    let mut world = world();
    let client = Client::new("c");
    world.ask(&client.caller, Request::JoinGroup(client.join_request()));
    assert_eq!(world.core().groups().len(), 1);
    world.advance(SESSION);
    assert!(world.core().groups().is_empty());
    assert!(world.log().is_empty());
}
