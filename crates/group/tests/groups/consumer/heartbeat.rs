//! ConsumerGroupHeartbeat: who is let in, what members are told, and what is written.

mod away;

use std::time::Duration;

use ottla_group::{GroupConfig, GroupRecord};
use ottla_wire::ErrorCode;
use ottla_wire::messages::ConsumerGroupHeartbeatRequest;

use super::client::{
    Client, GROUP, Owned, describe, described, error, heartbeat, heartbeat_at, settle, to_wire,
};
use crate::world::World;

fn world() -> World {
    world_with(GroupConfig { assignment_interval: Duration::ZERO, ..GroupConfig::default() })
}

fn world_with(config: GroupConfig) -> World {
    let mut world = World::new(config);
    world.change_topics(|topics| {
        topics.set("a", 4);
        topics.set("b", 2);
    });
    world
}

/// Kinds of the records written since, in order; tombstones in brackets.
fn kinds(world: &World, from: usize) -> Vec<&'static str> {
    let kind = |record: &GroupRecord| match record {
        GroupRecord::ConsumerGroup { value: Some(_), .. } => "epoch",
        GroupRecord::ConsumerGroup { value: None, .. } => "(epoch)",
        GroupRecord::ConsumerGroupPartitions { .. } => "(partitions)",
        GroupRecord::ConsumerGroupMember { value: Some(_), .. } => "member",
        GroupRecord::ConsumerGroupMember { value: None, .. } => "(member)",
        GroupRecord::TargetAssignment { .. } => "target",
        GroupRecord::TargetAssignmentMember { value: Some(_), .. } => "target of member",
        GroupRecord::TargetAssignmentMember { value: None, .. } => "(target of member)",
        GroupRecord::CurrentAssignment { value: Some(_), .. } => "current",
        GroupRecord::CurrentAssignment { value: None, .. } => "(current)",
        GroupRecord::RegularExpression { value: Some(_), .. } => "regex",
        GroupRecord::RegularExpression { value: None, .. } => "(regex)",
        GroupRecord::Offset { .. } | GroupRecord::Group { .. } => "other",
    };
    world.written_since(from).iter().map(kind).collect()
}

#[test]
fn one_member_gets_everything() {
    let mut world = world();
    let mut m1 = Client::of("m1", &["a", "b"]);
    let response = m1.beat(&mut world);
    assert_eq!(error(&response), ErrorCode::None);
    assert_eq!((response.member_epoch, response.heartbeat_interval_ms), (2, 5000));
    assert_eq!(m1.owned.len(), 6);
    assert_eq!(kinds(&world, 0), ["member", "epoch", "target of member", "target", "current"]);
    assert_eq!(describe(&mut world).group_state, "Stable");

    let log = world.log().len();
    for request in [m1.living(), m1.owning()] {
        let response = heartbeat(&mut world, request);
        assert_eq!((error(&response), response.assignment), (ErrorCode::None, None));
    }
    assert_eq!(kinds(&world, log), [""; 0]);
    // One that has lost track says everything, and is told everything.
    let full = ConsumerGroupHeartbeatRequest { rebalance_timeout_ms: 60_000, ..m1.owning() };
    let told = heartbeat(&mut world, full).assignment.expect("told");
    assert_eq!(told.topic_partitions.len(), 2);
    assert_eq!(kinds(&world, log), [""; 0]);
    world.check_against_log();
}

/// As Kafka has it: nothing is assigned, so the group stays in the epoch that nothing is recorded of.
#[test]
fn a_member_that_wants_nothing_makes_no_epoch() {
    let mut world = world();
    let mut m1 = Client::of("m1", &[]);
    assert_eq!(m1.beat(&mut world).member_epoch, 1);
    assert_eq!(kinds(&world, 0), ["member", "current"]);
    let group = describe(&mut world);
    assert_eq!((group.group_state.as_str(), group.group_epoch, group.assignment_epoch), ("Stable", 1, 1));
    world.check_against_log();
    m1.subscribe(&["a"]);
    m1.beat(&mut world);
    assert_eq!((m1.epoch, m1.owned.len()), (2, 4));
    world.check_against_log();
}

#[test]
fn a_partition_moves_when_it_was_given_up() {
    let mut world = world();
    let (mut m1, mut m2) = (Client::of("m1", &["a"]), Client::of("m2", &["a"]));
    m1.beat(&mut world);
    let response = m2.beat(&mut world);
    assert_eq!((response.member_epoch, m2.owned.len()), (3, 0));
    assert_eq!(describe(&mut world).group_state, "Reconciling");

    m1.beat(&mut world);
    assert_eq!((m1.epoch, m1.assigned.len(), m1.owned.len()), (2, 2, 4), "it is told to give up two");
    m2.beat(&mut world);
    assert_eq!(m2.owned.len(), 0);
    m1.beat(&mut world);
    assert_eq!(m1.epoch, 2, "it has not given up anything");
    m1.give_up();
    m1.beat(&mut world);
    assert_eq!((m1.epoch, m1.owned.len()), (3, 2));
    m2.beat(&mut world);
    assert_eq!((m2.epoch, m2.owned.len()), (3, 2));
    assert!(m1.owned.is_disjoint(&m2.owned));
    assert_eq!(describe(&mut world).group_state, "Stable");
    let member = described(&mut world, "m2");
    assert_eq!((member.member_type, member.assignment.topic_partitions[0].topic_name.as_str()), (1, "a"));
    world.check_against_log();
}

#[test]
fn requests_are_checked_in_kafkas_order() {
    let mut world = world();
    let join = || Client::of("m1", &["a"]).joining();
    let with = |change: &dyn Fn(&mut ConsumerGroupHeartbeatRequest)| {
        let mut request = join();
        change(&mut request);
        request
    };
    let invalid = ErrorCode::InvalidRequest;
    let deep = "(".repeat(500);
    let cases = [
        (1, with(&|r| r.member_id = "".into()), invalid, "MemberId can't be empty."),
        (0, with(&|r| (r.member_epoch, r.member_id) = (1, "".into())), invalid, "MemberId can't be empty."),
        (1, with(&|r| r.instance_id = Some("".into())), invalid, "InstanceId can't be empty."),
        (1, with(&|r| r.rack_id = Some("".into())), invalid, "RackId can't be empty."),
        (
            1,
            with(&|r| r.rebalance_timeout_ms = -1),
            invalid,
            "RebalanceTimeoutMs must be provided in first request.",
        ),
        (
            1,
            with(&|r| r.topic_partitions = None),
            invalid,
            "TopicPartitions must be empty when (re-)joining.",
        ),
        (
            1,
            with(&|r| r.subscribed_topic_names = None),
            invalid,
            "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
        ),
        (1, with(&|r| r.member_epoch = -2), invalid, "InstanceId can't be null."),
        (1, with(&|r| r.member_epoch = -3), invalid, "MemberEpoch is invalid."),
        (
            1,
            with(&|r| r.server_assignor = Some("sticky".into())),
            ErrorCode::UnsupportedAssignor,
            "ServerAssignor sticky is not supported. Supported assignors: uniform, range.",
        ),
        (1, with(&|r| r.subscribed_topic_regex = Some("[".into())), ErrorCode::InvalidRegularExpression, ""),
        (
            1,
            with(&|r| r.subscribed_topic_regex = Some(deep.as_str().into())),
            ErrorCode::InvalidRegularExpression,
            "",
        ),
        (1, with(&|r| r.member_epoch = 1), ErrorCode::GroupIdNotFound, "Consumer group g not found."),
        (1, with(&|r| r.member_epoch = -1), ErrorCode::GroupIdNotFound, "Consumer group g not found."),
    ];
    for (version, request, expected, message) in cases {
        let response = heartbeat_at(&mut world, version, request.clone());
        assert_eq!(error(&response), expected, "{request:?}");
        if !message.is_empty() {
            assert_eq!(response.error_message.as_deref(), Some(message));
        }
    }
    assert_eq!(world.core().groups().len(), 0, "who is refused leaves nothing behind");
    assert!(world.log().is_empty());
    let response = heartbeat_at(&mut world, 0, with(&|r| r.member_id = "".into()));
    assert_eq!(response.member_id.map(|id| id.len()), Some(22), "the coordinator makes the id");
}

#[test]
fn the_protocol_can_be_switched_off() {
    let mut world = world_with(GroupConfig { consumer_protocol: false, ..GroupConfig::default() });
    let response = heartbeat(&mut world, Client::of("m1", &["a"]).joining());
    assert_eq!(error(&response), ErrorCode::UnsupportedVersion);
}

#[test]
fn members_are_known_by_id_and_epoch() {
    let mut world = world();
    let mut m1 = Client::of("m1", &["a"]);
    let mut m2 = Client::of("m2", &["a"]);
    m1.beat(&mut world);
    m2.beat(&mut world);
    settle(&mut world, &mut [&mut m1, &mut m2]);
    assert_eq!(m1.epoch, 3);
    let at = |epoch: i32, owned: &Owned| ConsumerGroupHeartbeatRequest {
        member_epoch: epoch,
        topic_partitions: Some(to_wire(owned)),
        ..m1.living()
    };
    let everything: Owned = m1.owned.union(&m2.owned).copied().collect();
    let cases = [
        (at(4, &m1.owned), ErrorCode::FencedMemberEpoch),
        (at(3, &m1.owned), ErrorCode::None),
        // The answer with epoch 3 may have been lost; but then it has nothing that it was not given.
        (at(2, &m1.owned), ErrorCode::None),
        (at(2, &everything), ErrorCode::FencedMemberEpoch),
        (
            ConsumerGroupHeartbeatRequest { topic_partitions: None, ..at(2, &m1.owned) },
            ErrorCode::FencedMemberEpoch,
        ),
        (
            ConsumerGroupHeartbeatRequest { member_id: "m9".into(), ..at(3, &m1.owned) },
            ErrorCode::UnknownMemberId,
        ),
        (
            ConsumerGroupHeartbeatRequest { member_id: "m9".into(), ..at(-1, &m1.owned) },
            ErrorCode::UnknownMemberId,
        ),
    ];
    for (request, expected) in cases {
        assert_eq!(error(&heartbeat(&mut world, request.clone())), expected, "{request:?}");
    }
}

#[test]
fn a_full_group_lets_nobody_in() {
    let mut world = world_with(GroupConfig { consumer_size_max: 1, ..GroupConfig::default() });
    let mut m1 = Client::of("m1", &["a"]);
    m1.beat(&mut world);
    let response = heartbeat(&mut world, Client::of("m2", &["a"]).joining());
    assert_eq!(error(&response), ErrorCode::GroupMaxSizeReached);
    assert_eq!(error(&m1.beat(&mut world)), ErrorCode::None);
}

#[test]
fn assignments_are_not_made_too_often() {
    let mut world = world_with(GroupConfig::default());
    let (mut m1, mut m2) = (Client::of("m1", &["a"]), Client::of("m2", &["a"]));
    m1.beat(&mut world);
    world.advance(Duration::from_millis(400));
    m2.beat(&mut world);
    let group = describe(&mut world);
    assert_eq!((group.group_state.as_str(), group.group_epoch, group.assignment_epoch), ("Assigning", 3, 2));
    assert_eq!(m2.epoch, 2, "it is where the group was");
    world.check_against_log();
    let log = world.log().len();
    world.advance(Duration::from_millis(599));
    assert_eq!(kinds(&world, log), [""; 0]);
    world.advance(Duration::from_millis(1));
    assert_eq!(kinds(&world, log), ["target of member", "target of member", "target"]);
    settle(&mut world, &mut [&mut m1, &mut m2]);
    assert_eq!((m1.owned.len(), m2.owned.len()), (2, 2));
}

#[test]
fn topics_that_come_grow_and_go_are_noticed() {
    let mut world = world();
    let mut m1 = Client::of("m1", &["a", "c"]);
    m1.beat(&mut world);
    assert_eq!(m1.owned.len(), 4);
    world.change_topics(|topics| {
        topics.set("c", 2);
    });
    m1.beat(&mut world);
    assert_eq!((m1.owned.len(), m1.epoch), (6, 3));
    world.change_topics(|topics| {
        topics.set("a", 5);
        topics.set("unrelated", 5);
    });
    m1.beat(&mut world);
    assert_eq!((m1.owned.len(), m1.epoch), (7, 4));
    world.change_topics(|topics| topics.delete("c"));
    m1.beat(&mut world);
    m1.give_up();
    m1.beat(&mut world);
    assert_eq!((m1.owned.len(), m1.epoch), (5, 5));
    let log = world.log().len();
    world.change_topics(|topics| topics.delete("unrelated"));
    m1.beat(&mut world);
    assert_eq!(kinds(&world, log), [""; 0]);
    world.check_against_log();
}

#[test]
fn a_subscription_that_shrinks_is_obeyed_at_once() {
    let mut world = world_with(GroupConfig::default());
    let mut m1 = Client::of("m1", &["a", "b"]);
    m1.beat(&mut world);
    m1.subscribe(&["b"]);
    m1.beat(&mut world);
    assert_eq!(m1.assigned.len(), 2, "no assignment is due, but it must not read what it does not want");
    m1.give_up();
    world.advance(Duration::from_secs(1));
    m1.beat(&mut world);
    assert_eq!((m1.owned.len(), m1.epoch), (2, 3));
}

#[test]
fn most_members_choose_the_assignor() {
    let mut world = world();
    let mut clients: Vec<Client> = (0..3).map(|n| Client::of(&format!("m{n}"), &["a"])).collect();
    clients[0].beat(&mut world);
    assert_eq!(describe(&mut world).assignor_name, "uniform");
    for client in &mut clients[1..] {
        client.assignor = Some("range".into());
        client.beat(&mut world);
    }
    assert_eq!(describe(&mut world).assignor_name, "range");
}

#[test]
fn members_get_what_is_near_them() {
    let mut world = world();
    world.change_topics(|topics| {
        topics.set_racks("b", 0, &["r2", "r3"]);
        topics.set_racks("b", 1, &["r1"]);
    });
    let mut members = [Client::of("m1", &["b"]), Client::of("m2", &["b"])];
    for (client, rack) in members.iter_mut().zip(["r1", "r2"]) {
        client.rack = Some(rack.into());
        client.beat(&mut world);
    }
    let [mut m1, mut m2] = members;
    settle(&mut world, &mut [&mut m1, &mut m2]);
    let partitions = |client: &Client| client.owned.iter().map(|(_, index)| *index).collect::<Vec<_>>();
    assert_eq!((partitions(&m1), partitions(&m2)), (vec![1], vec![0]));
}

#[test]
fn the_history_says_why_and_how_long() {
    use ottla_group::history::{Cause, Outcome};
    let mut world = world();
    let (mut m1, mut m2) = (Client::of("m1", &["a"]), Client::of("m2", &["a"]));
    m1.beat(&mut world);
    m2.beat(&mut world);
    settle(&mut world, &mut [&mut m1, &mut m2]);
    m2.leave(&mut world, -1);
    let request = ottla_group::Request::History(GROUP.into());
    let ottla_group::Response::History(history) = world.call(&super::client::caller(0), request) else {
        panic!("another answer");
    };
    let told: Vec<_> = history
        .iter()
        .map(|it| {
            let by = it.by.as_ref().map(|by| by.member.as_str());
            (it.cause, by, it.outcome, it.generation_before, it.generation_after, it.members_after)
        })
        .collect();
    assert_eq!(
        told,
        [
            (Cause::Joined, Some("m1"), Outcome::Completed, 1, Some(2), Some(1)),
            (Cause::Joined, Some("m2"), Outcome::Completed, 2, Some(3), Some(2)),
            (Cause::Left, Some("m2"), Outcome::Running, 3, None, None),
        ]
    );
    let slowest = history[1].phases[1].slowest.as_ref().map(|(who, _)| who.member.as_str());
    assert_eq!(slowest, Some("m2"));
}

#[test]
fn the_last_to_leave_leaves_an_empty_group() {
    let mut world = world();
    let mut m1 = Client::of("m1", &["a"]);
    m1.beat(&mut world);
    let response = m1.leave(&mut world, -1);
    assert_eq!((error(&response), response.member_epoch), (ErrorCode::None, -1));
    let group = describe(&mut world);
    assert_eq!((group.group_state.as_str(), group.group_epoch), ("Empty", 3));
    world.check_against_log();
    m1.beat(&mut world);
    assert_eq!((m1.epoch, m1.owned.len()), (4, 4), "epochs go on");
    m1.leave(&mut world, -1);
    let log = world.log().len();
    let request = ottla_group::Request::DeleteGroup(GROUP.into());
    world.call(&super::client::caller(2), request);
    assert_eq!(kinds(&world, log), ["target", "(epoch)"]);
    assert_eq!(describe(&mut world).error_code, ErrorCode::GroupIdNotFound.code());
    world.check_against_log();
}

/// Kafka before 4.1 kept what it knew of topics in a record: it goes with the next epoch.
#[test]
fn the_old_record_of_topics_goes() {
    use ottla_wire::messages::{
        ConsumerGroupMetadataKey, ConsumerGroupMetadataValue, ConsumerGroupPartitionMetadataKey,
        ConsumerGroupPartitionMetadataValue,
    };
    let epoch = GroupRecord::ConsumerGroup {
        key: ConsumerGroupMetadataKey { group_id: GROUP.into() },
        value: Some(ConsumerGroupMetadataValue { epoch: 7, metadata_hash: 0 }),
    };
    let topics = GroupRecord::ConsumerGroupPartitions {
        key: ConsumerGroupPartitionMetadataKey { group_id: GROUP.into() },
        value: Some(ConsumerGroupPartitionMetadataValue::default()),
    };
    let entry = |record: GroupRecord| crate::world::Entry::Record { producer: None, record: record.encode() };
    let mut world = World::with_log(GroupConfig::default(), vec![entry(epoch), entry(topics)]);
    let mut m1 = Client::of("m1", &[]);
    m1.beat(&mut world);
    assert_eq!(m1.epoch, 7, "nobody wants anything");
    world.change_topics(|topics| {
        topics.set("a", 1);
    });
    m1.subscribe(&["a"]);
    world.advance(Duration::from_secs(1));
    m1.beat(&mut world);
    assert_eq!((m1.epoch, m1.owned.len()), (8, 1));
    assert!(kinds(&world, 0).contains(&"(partitions)"));
    world.check_against_log();
}
