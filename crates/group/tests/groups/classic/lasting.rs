//! What lasts: the record of a group, and what a coordinator that reads it knows.

use bytes::Bytes;
use ottla_coordinator::{Coordinator, Record, ReplayError};
use ottla_group::{GroupConfig, GroupCoordinator, GroupRecord, Request};
use ottla_wire::messages::group_metadata_value::MemberMetadata;
use ottla_wire::messages::{GroupMetadataKey, GroupMetadataValue};
use ottla_wire::{ErrorCode, Offset};
use proptest::prelude::*;

use super::client::*;
use crate::world::{Entry, TestTopics, World};

fn value_of(record: &GroupRecord) -> &GroupMetadataValue {
    match record {
        GroupRecord::Group { value: Some(value), .. } => value,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_rebalance_writes_one_record_when_it_is_through() {
    let mut world = world();
    let (mut a, mut s) = (Client::new("a"), Client::new("s").instance("i"));
    settle(&mut world, &mut [&mut a, &mut s]);
    let records = world.written_since(0);
    assert_eq!(records.len(), 1);
    let value = value_of(&records[0]);
    assert_eq!((value.generation, value.protocol_type.as_str()), (1, "consumer"));
    assert_eq!((value.protocol.as_deref(), value.leader.as_ref()), (Some("range"), Some(&a.id)));
    assert_eq!(value.current_state_timestamp, world.wall().0);
    let expected = MemberMetadata {
        member_id: s.id.clone(),
        group_instance_id: Some("i".into()),
        client_id: "s".into(),
        client_host: "/10.0.0.1".into(),
        rebalance_timeout: 60_000,
        session_timeout: 10_000,
        subscription: subscription(&["t"]),
        assignment: Bytes::from_static(b"s"),
    };
    assert!(value.members.contains(&expected), "{value:?}");
    assert_eq!(records[0].encode().value.expect("a value")[..2], [0, 3], "Kafka's version");
}

#[test]
fn a_group_that_becomes_empty_is_recorded_as_empty() {
    let mut world = world();
    let mut a = Client::new("a");
    settle(&mut world, &mut [&mut a]);
    world.advance(SESSION / 2);
    a.leave(&mut world);
    let records = world.written_since(1);
    let expected = GroupMetadataValue {
        protocol_type: "consumer".into(),
        generation: 2,
        protocol: None,
        leader: None,
        current_state_timestamp: world.wall().0,
        members: vec![],
    };
    assert_eq!(records.iter().map(value_of).collect::<Vec<_>>(), [&expected]);
}

#[test]
fn members_outlive_the_broker() {
    let mut world = world();
    let (mut a, mut b) = (Client::new("a"), Client::new("b").reads(&["u"]));
    settle(&mut world, &mut [&mut a, &mut b]);
    let before = describe_at(&mut world, GROUP, 6);
    world.advance(SESSION - std::time::Duration::from_millis(1));
    world.reload();
    assert_eq!(describe_at(&mut world, GROUP, 6), before);
    world.advance(SESSION - std::time::Duration::from_millis(1));
    assert_eq!(a.heartbeat(&mut world), ErrorCode::None, "sessions begin anew");
    assert_eq!(b.heartbeat(&mut world), ErrorCode::None);
    let again = b.join(&mut world);
    b.joined(&mut world, again);
    let sync = b.sync(&mut world, &[]);
    assert_eq!(sync_answer(&mut world, sync).assignment, "b");
    world.advance(SESSION);
    assert_eq!(state(&mut world), "Empty", "and end");
}

#[test]
fn a_rebalance_does_not_outlive_the_broker() {
    let mut world = world();
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    settle(&mut world, &mut [&mut a]);
    b.join(&mut world);
    world.reload();
    assert_eq!(state(&mut world), "Stable");
    assert_eq!(a.heartbeat(&mut world), ErrorCode::None);
    let ticket = world.ask(&b.caller, Request::JoinGroup(b.join_request()));
    assert_eq!(error(join_answer(&mut world, ticket).error_code), ErrorCode::UnknownMemberId);
}

#[test]
fn a_group_that_is_too_large_when_it_is_loaded_rebalances() {
    let mut world = world();
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    settle(&mut world, &mut [&mut a, &mut b]);
    world.configure(|config| config.classic_size_max = 1);
    world.reload();
    assert_eq!(state(&mut world), "PreparingRebalance");
    let of_b = b.join(&mut world);
    assert_eq!(a.join_error(&mut world), ErrorCode::GroupMaxSizeReached);
    b.joined(&mut world, of_b);
    assert_eq!(members(&mut world).keys().collect::<Vec<_>>(), ["b"]);
}

#[test]
fn topics_of_the_subscription_are_known_while_the_group_lasts() {
    let mut world = world();
    let (mut a, mut b) = (Client::new("a").reads(&["t"]), Client::new("b").reads(&["u"]));
    settle(&mut world, &mut [&mut a, &mut b]);
    let subscribed =
        |world: &World, topic: &str| world.core().groups().get(GROUP).expect("there").is_subscribed_to(topic);
    for _ in 0..2 {
        assert!(subscribed(&world, "t") && subscribed(&world, "u") && !subscribed(&world, "v"));
        world.reload();
    }
    b.leave(&mut world);
    rejoin(&mut world, &mut [&mut a]);
    assert!(subscribed(&world, "t") && !subscribed(&world, "u"));
    a.leave(&mut world);
    assert!(!subscribed(&world, "t"));
}

#[test]
fn a_subscription_that_cannot_be_read_may_be_to_anything() {
    let mut world = world();
    let mut a = Client::new("a");
    a.protocols[0].1 = Bytes::from_static(b"garbage");
    settle(&mut world, &mut [&mut a]);
    let subscribed = |world: &World| world.core().groups().get(GROUP).expect("there").is_subscribed_to("t");
    assert!(subscribed(&world));
    world.reload();
    assert!(subscribed(&world));

    let mut connect = Client::new("c").of_group("connect");
    connect.protocol_type = "connect".into();
    settle(&mut world, &mut [&mut connect]);
    assert!(!world.core().groups().get("connect").expect("there").is_subscribed_to("t"));
}

#[test]
fn older_records_are_read() {
    let member = MemberMetadata {
        member_id: "m".into(),
        client_id: "c".into(),
        client_host: "/h".into(),
        session_timeout: 10_000,
        subscription: subscription(&["t"]),
        assignment: Bytes::from_static(b"x"),
        ..Default::default()
    };
    let value = GroupMetadataValue {
        protocol_type: "consumer".into(),
        generation: 7,
        protocol: Some("range".into()),
        leader: Some("m".into()),
        members: vec![member],
        ..Default::default()
    };
    for version in 0..=4 {
        let key = GroupMetadataKey { group: GROUP.into() };
        let record = Record::set(GroupMetadataKey::RECORD_TYPE, &key, &value, version).expect("writable");
        let mut world =
            World::with_log(GroupConfig::default(), vec![Entry::Record { producer: None, record }]);
        let client = Client { id: "m".into(), generation: 7, ..Client::new("c") };
        assert_eq!(client.heartbeat(&mut world), ErrorCode::None, "version {version}");
        let sync = client.sync(&mut world, &[]);
        assert_eq!(sync_answer(&mut world, sync).assignment, "x", "version {version}");
        world.advance(SESSION);
        assert_eq!(client.heartbeat(&mut world), ErrorCode::UnknownMemberId, "version {version}");
    }
}

#[test]
fn records_that_make_no_sense_are_errors() {
    let mut coordinator =
        GroupCoordinator::new(GroupConfig::default(), std::sync::Arc::new(TestTopics::default()));
    let mut replay = |record: Record| coordinator.replay(Offset(0), None, record);
    let twice = |instance: Option<&str>, ids: [&str; 2]| {
        let member = |id: &str| MemberMetadata {
            member_id: id.into(),
            group_instance_id: instance.map(|instance| instance.into()),
            ..Default::default()
        };
        let value = GroupMetadataValue { members: ids.map(member).to_vec(), ..Default::default() };
        GroupRecord::Group { key: GroupMetadataKey { group: GROUP.into() }, value: Some(value) }.encode()
    };
    assert!(matches!(replay(twice(None, ["m", "m"])), Err(ReplayError::Contradiction(_))));
    assert!(matches!(replay(twice(Some("i"), ["m", "n"])), Err(ReplayError::Contradiction(_))));
    assert_eq!(replay(twice(None, ["m", "n"])), Ok(()));
    // Only the flexible version can hold this.
    let value = GroupMetadataValue { leader: Some("m".repeat(40_000).into()), ..Default::default() };
    let key = GroupMetadataKey { group: GROUP.into() };
    let long = Record::set(GroupMetadataKey::RECORD_TYPE, &key, &value, 4).expect("writable");
    assert!(matches!(replay(long), Err(ReplayError::Contradiction(_))));
    let unknown = Record { key: Bytes::from_static(&[0x7f, 0xff]), value: None };
    assert!(matches!(replay(unknown), Err(ReplayError::UnknownType(0x7fff))));
    let damaged = Record { key: Bytes::from_static(&[0, 2, 0]), value: None };
    assert!(matches!(replay(damaged), Err(ReplayError::Decode(_))));
    let mut newer = twice(None, ["m", "n"]);
    newer.value = newer.value.map(|value| [&[0, 5], &value[2..]].concat().into());
    assert!(matches!(replay(newer), Err(ReplayError::Decode(_))));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A record with damage is an error or another group, and either way the coordinator goes on.
    #[test]
    fn damaged_records_do_no_harm(
        version in 0..=4i16,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut world = world();
        let (mut a, mut s) = (Client::new("a"), Client::new("s").instance("i"));
        settle(&mut world, &mut [&mut a, &mut s]);
        let value = value_of(&world.written_since(0)[0]).clone();
        let key = GroupMetadataKey { group: GROUP.into() };
        let record = Record::set(GroupMetadataKey::RECORD_TYPE, &key, &value, version).expect("writable");
        let mut bytes = record.value.expect("a value").to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let record = Record { key: record.key, value: Some(bytes.into()) };
        let mut probe = GroupCoordinator::new(GroupConfig::default(), std::sync::Arc::new(TestTopics::default()));
        if probe.replay(Offset(0), None, record.clone()).is_ok() {
            let mut world = World::with_log(GroupConfig::default(), vec![Entry::Record { producer: None, record }]);
            describe_at(&mut world, GROUP, 6);
            a.heartbeat(&mut world);
            a.leave(&mut world);
            world.advance(REBALANCE * 2);
        }
    }
}
