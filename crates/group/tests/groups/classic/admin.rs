//! ListGroups, DescribeGroups, DeleteGroups.

use ottla_group::timers::GroupTimers;
use ottla_group::{Caller, GroupRecord, Request, Response};
use ottla_wire::ErrorCode;
use ottla_wire::messages::ListGroupsRequest;
use ottla_wire::primitives::Str;

use super::client::*;
use crate::world::World;

fn list(world: &mut World, states: &[&str], types: &[&str]) -> Vec<(String, String, String, String)> {
    let strings = |texts: &[&str]| texts.iter().map(|text| Str::from(*text)).collect();
    let request = ListGroupsRequest { states_filter: strings(states), types_filter: strings(types) };
    match world.call(&Caller { version: 5, ..Caller::default() }, Request::ListGroups(request)) {
        Response::ListGroups(response) => response
            .groups
            .into_iter()
            .map(|group| {
                let text = |it: Str| it.to_string();
                (
                    text(group.group_id),
                    text(group.protocol_type),
                    text(group.group_state),
                    text(group.group_type),
                )
            })
            .collect(),
        other => panic!("{other:?}"),
    }
}

fn delete(world: &mut World, group: &str) -> ErrorCode {
    let caller = Caller { version: 2, ..Caller::default() };
    match world.call(&caller, Request::DeleteGroup(group.into())) {
        Response::DeleteGroup(result) => {
            assert_eq!(result.group_id, group);
            error(result.error_code)
        }
        other => panic!("{other:?}"),
    }
}

/// A group in each state, named after it.
fn one_of_each(world: &mut World) -> [Client; 4] {
    let mut clients =
        ["completing", "empty", "preparing", "stable"].map(|name| Client::new("c").of_group(name));
    let [completing, empty, preparing, stable] = &mut clients;
    for client in [&mut *empty, &mut *stable] {
        settle(world, &mut [client]);
    }
    empty.leave(world);
    let ticket = completing.join(world);
    world.advance(INITIAL_DELAY);
    completing.joined(world, ticket);
    preparing.join(world);
    clients
}

#[test]
fn groups_are_listed_with_state_and_type() {
    let mut world = world();
    one_of_each(&mut world);
    let all = list(&mut world, &[], &[]);
    let row = |group: &str, state: &str| {
        (group.to_owned(), "consumer".to_owned(), state.to_owned(), "classic".to_owned())
    };
    let expected = [
        row("completing", "CompletingRebalance"),
        row("empty", "Empty"),
        row("preparing", "PreparingRebalance"),
        row("stable", "Stable"),
    ];
    assert_eq!(all, expected);

    let cases: [(&[&str], &[&str], &[usize]); 7] = [
        (&["Stable"], &[], &[3]),
        (&["stable", "EMPTY"], &[], &[1, 3]),
        (&["preparingrebalance"], &["classic"], &[2]),
        (&[], &["Classic"], &[0, 1, 2, 3]),
        (&[], &["consumer"], &[]),
        (&["Dead"], &[], &[]),
        (&["no such state"], &["classic"], &[]),
    ];
    for (states, types, rows) in cases {
        let expected: Vec<_> = rows.iter().map(|i| expected[*i].clone()).collect();
        assert_eq!(list(&mut world, states, types), expected, "{states:?} {types:?}");
    }
}

#[test]
fn a_stable_group_is_described_in_full() {
    let mut world = world();
    let (mut a, mut s) = (Client::new("a"), Client::new("s").instance("i"));
    settle(&mut world, &mut [&mut a, &mut s]);
    let described = describe_at(&mut world, GROUP, 6);
    assert_eq!(error(described.error_code), ErrorCode::None);
    assert_eq!((described.group_state.as_str(), described.protocol_type.as_str()), ("Stable", "consumer"));
    assert_eq!(described.protocol_data, "range");
    assert_eq!(described.authorized_operations, i32::MIN);
    let member = described.members.iter().find(|member| member.client_id == "s").expect("there");
    assert_eq!((member.member_id.clone(), member.group_instance_id.as_deref()), (s.id, Some("i")));
    assert_eq!((member.client_host.as_str(), &member.member_assignment[..]), ("/10.0.0.1", &b"s"[..]));
    assert_eq!(member.member_metadata, subscription(&["t"]));
}

#[test]
fn a_group_on_the_move_is_described_without_metadata() {
    let mut world = world();
    one_of_each(&mut world);
    for (group, state, members) in [
        ("preparing", "PreparingRebalance", 1),
        ("completing", "CompletingRebalance", 1),
        ("empty", "Empty", 0),
    ] {
        let described = describe_at(&mut world, group, 6);
        assert_eq!((described.group_state.as_str(), described.members.len()), (state, members));
        assert_eq!(described.protocol_data, "");
        assert!(described.members.iter().all(|member| member.member_metadata.is_empty()));
    }
}

#[test]
fn a_group_that_does_not_exist_is_dead_or_not_found() {
    let mut world = world();
    for version in 0..=5 {
        let described = describe_at(&mut world, "unknown", version);
        assert_eq!(error(described.error_code), ErrorCode::None, "version {version}");
        assert_eq!(described.group_state, "Dead", "version {version}");
    }
    let described = describe_at(&mut world, "unknown", 6);
    assert_eq!(error(described.error_code), ErrorCode::GroupIdNotFound);
    assert_eq!(described.group_state, "Dead");
    assert_eq!(described.error_message.as_deref(), Some("Group unknown not found."));
}

#[test]
fn a_classic_group_is_no_consumer_group() {
    let mut world = world();
    one_of_each(&mut world);
    for (group, message) in
        [("stable", "Group stable is not a consumer group."), ("unknown", "Group unknown not found.")]
    {
        match world.call(&Caller::default(), Request::ConsumerGroupDescribe(group.into())) {
            Response::ConsumerGroupDescribe(described) => {
                assert_eq!(error(described.error_code), ErrorCode::GroupIdNotFound);
                assert_eq!(described.error_message.as_deref(), Some(message));
                assert_eq!(described.group_id, group);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn only_empty_groups_are_deleted() {
    let mut world = world();
    one_of_each(&mut world);
    for group in ["completing", "preparing", "stable"] {
        assert_eq!(delete(&mut world, group), ErrorCode::NonEmptyGroup, "{group}");
    }
    assert_eq!(delete(&mut world, "unknown"), ErrorCode::GroupIdNotFound);
    // Kafka lets old clients commit under the empty id, so such a group can be deleted.
    assert_eq!(delete(&mut world, ""), ErrorCode::GroupIdNotFound);
    assert_eq!(delete(&mut world, &"g".repeat(40_000)), ErrorCode::InvalidGroupId);
    let before = world.log().len();
    assert_eq!(delete(&mut world, "empty"), ErrorCode::None);
    let written = world.written_since(before);
    assert!(
        matches!(&written[..], [GroupRecord::Group { key, value: None }] if key.group == "empty"),
        "{written:?}"
    );
    assert_eq!(delete(&mut world, "empty"), ErrorCode::GroupIdNotFound);
    world.check_against_log();
    world.reload();
    assert_eq!(delete(&mut world, "empty"), ErrorCode::GroupIdNotFound);
}

#[test]
fn a_group_that_somebody_is_about_to_join_can_be_deleted() {
    let mut world = world();
    let client = Client::new("c");
    let ticket = world.ask(&client.caller, Request::JoinGroup(client.join_request()));
    let mut client = Client { id: join_answer(&mut world, ticket).member_id, ..client };
    assert_eq!(delete(&mut world, GROUP), ErrorCode::None);
    assert!(world.log().is_empty(), "the log knew nothing of it");
    assert!(world.core().timers().of_group(GROUP).is_empty());
    assert_eq!(client.join_error(&mut world), ErrorCode::UnknownMemberId);
}

#[test]
fn what_only_reads_is_served_while_nothing_can_be_written() {
    let mut world = world();
    one_of_each(&mut world);
    world.set_writable(false);
    assert_eq!(list(&mut world, &[], &[]).len(), 4);
    assert_eq!(describe_at(&mut world, "stable", 6).members.len(), 1);
}
