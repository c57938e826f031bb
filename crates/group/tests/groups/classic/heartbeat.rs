//! Heartbeat: who lives, and who is told to join again.

use std::time::Duration;

use ottla_wire::ErrorCode;
use ottla_wire::primitives::Str;

use super::client::*;

#[test]
fn what_is_no_heartbeat() {
    type Case = (&'static str, fn(&mut Client), ErrorCode);
    let cases: [Case; 7] = [
        ("no group id", |c| c.group = Str::default(), ErrorCode::InvalidGroupId),
        ("an unknown group", |c| c.group = "other".into(), ErrorCode::UnknownMemberId),
        ("an unknown member", |c| c.id = "other".into(), ErrorCode::UnknownMemberId),
        ("no member", |c| c.id = Str::default(), ErrorCode::UnknownMemberId),
        ("an unknown instance", |c| c.instance = Some("j".into()), ErrorCode::UnknownMemberId),
        (
            "an instance that is another member",
            |c| c.instance = Some("i".into()),
            ErrorCode::FencedInstanceId,
        ),
        ("another generation", |c| c.generation += 1, ErrorCode::IllegalGeneration),
    ];
    for (name, change, expected) in cases {
        let mut world = world();
        let (mut a, mut s) = (Client::new("a"), Client::new("s").instance("i"));
        settle(&mut world, &mut [&mut a, &mut s]);
        let mut client = a.clone();
        change(&mut client);
        assert_eq!(client.heartbeat(&mut world), expected, "{name}");
        assert_eq!(a.heartbeat(&mut world), ErrorCode::None, "{name}");
    }
}

#[test]
fn an_id_that_was_only_given_out_has_no_heartbeat() {
    let mut world = world();
    let mut client = Client::new("a");
    client.generation = 0;
    let ticket = world.ask(&client.caller, ottla_group::Request::JoinGroup(client.join_request()));
    client.id = join_answer(&mut world, ticket).member_id;
    assert_eq!(client.heartbeat(&mut world), ErrorCode::UnknownMemberId);
}

#[test]
fn a_session_lasts_as_long_as_heartbeats_come() {
    let mut world = world();
    let mut a = Client::new("a");
    settle(&mut world, &mut [&mut a]);
    for _ in 0..20 {
        world.advance(SESSION - Duration::from_millis(1));
        assert_eq!(a.heartbeat(&mut world), ErrorCode::None);
    }
    world.advance(SESSION);
    assert_eq!(a.heartbeat(&mut world), ErrorCode::UnknownMemberId);
    assert_eq!(state(&mut world), "Empty");
}

#[test]
fn a_shorter_session_counts_from_the_next_generation() {
    let mut world = world();
    let mut a = Client::new("a").session(Duration::from_secs(100));
    settle(&mut world, &mut [&mut a]);
    a.session = Duration::from_secs(6);
    rejoin(&mut world, &mut [&mut a]);
    world.advance(Duration::from_secs(6));
    assert_eq!(a.heartbeat(&mut world), ErrorCode::UnknownMemberId);
}

#[test]
fn a_pause_of_the_partition_ends_no_session() {
    let mut world = world();
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    settle(&mut world, &mut [&mut a, &mut b]);
    let waiting = a.join(&mut world);
    world.set_writable(false);
    world.advance(SESSION * 100);
    world.set_writable(true);
    world.advance(SESSION - Duration::from_millis(1));
    assert_eq!(b.heartbeat(&mut world), ErrorCode::RebalanceInProgress);
    assert_eq!(world.answer(waiting), None, "the others have their time to join");
    let of_b = b.join(&mut world);
    finish(&mut world, &mut [&mut a, &mut b], &[waiting, of_b]);
}

#[test]
fn heartbeats_leave_timers_alone() {
    let mut world = world();
    let mut a = Client::new("a");
    settle(&mut world, &mut [&mut a]);
    let before = world.next_deadline();
    world.advance(Duration::from_secs(1));
    a.heartbeat(&mut world);
    assert_eq!(world.next_deadline(), before, "the timer follows when it fires");
}
