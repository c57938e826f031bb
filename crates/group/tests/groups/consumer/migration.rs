//! Groups that change their kind, and members of both protocols in one group.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_group::classic::ClassicGroup;
use ottla_group::config::Migration;
use ottla_group::consumer::ConsumerGroup;
use ottla_group::{GroupConfig, GroupRecord, Request, Response};
use ottla_wire::messages::{JoinGroupRequest, join_group_request};
use ottla_wire::primitives::Str;
use ottla_wire::{ErrorCode, TopicId};
use proptest::prelude::*;

use super::classic_client::{ClassicClient, Standing};
use super::client::{Client, GROUP, caller, describe, error, heartbeat};
use crate::world::World;

fn world(config: GroupConfig) -> World {
    let mut world = World::new(config);
    world.change_topics(|topics| {
        topics.set("a", 4);
    });
    world
}

/// A classic group of `members`, stable.
fn classic_group(world: &mut World, members: usize) -> Vec<ClassicClient> {
    let mut clients = vec![ClassicClient::of(&["a"]); members];
    for _ in 0..6 {
        clients.iter_mut().for_each(|client| client.step(world));
        world.advance(Duration::from_secs(3));
    }
    assert!(clients.iter().all(|client| client.standing == Standing::Stable), "{clients:?}");
    clients
}

fn kind(world: &World) -> &'static str {
    let groups = world.core().groups();
    if groups.get_as::<ClassicGroup>(GROUP).is_some() {
        "classic"
    } else if groups.get_as::<ConsumerGroup>(GROUP).is_some() {
        "consumer"
    } else {
        "none"
    }
}

fn rest(world: &mut World, classic: &mut [ClassicClient], consumer: &mut [Client]) {
    for _ in 0..12 {
        classic.iter_mut().for_each(|client| client.step(world));
        for client in consumer.iter_mut() {
            client.beat(world);
            client.give_up();
        }
        world.advance(Duration::from_secs(1));
    }
}

/// With metadata that cannot be read, or to a group that lets no classic member in: a member is first told
/// its id, unless it could never join, and who is refused as inconsistent is not named.
#[test]
fn classic_members_that_a_consumer_group_refuses() {
    let join = |member: &str, kind: &str, metadata: &'static [u8]| JoinGroupRequest {
        group_id: GROUP.into(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 60_000,
        member_id: member.into(),
        protocol_type: kind.into(),
        protocols: vec![join_group_request::JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: bytes::Bytes::from_static(metadata),
        }],
        ..Default::default()
    };
    let (inconsistent, id_required) = (ErrorCode::InconsistentGroupProtocol, ErrorCode::MemberIdRequired);
    let cases = [
        (Migration::Bidirectional, 9, join("", "consumer", b""), id_required),
        (Migration::Bidirectional, 9, join("", "consumer", b"x"), id_required),
        (Migration::Bidirectional, 3, join("", "consumer", b""), inconsistent),
        (Migration::Bidirectional, 9, join("m", "consumer", b""), inconsistent),
        (Migration::Bidirectional, 9, join("", "connect", b""), inconsistent),
        (Migration::Bidirectional, 9, join("m", "connect", b""), inconsistent),
        (Migration::Upgrade, 9, join("", "consumer", b""), id_required),
        (Migration::Downgrade, 9, join("", "consumer", b""), id_required),
        (Migration::Disabled, 9, join("", "consumer", b""), inconsistent),
        (Migration::Disabled, 9, join("m", "consumer", b""), inconsistent),
    ];
    for (migration, version, request, expected) in cases {
        let mut world = world(GroupConfig { migration, ..GroupConfig::default() });
        Client::of("c", &["a"]).beat(&mut world);
        let what = format!("{migration:?} {version} {request:?}");
        let Response::JoinGroup(answer) = world.call(&caller(version), Request::JoinGroup(request)) else {
            panic!("another answer");
        };
        assert_eq!(ErrorCode::from_code(answer.error_code), Some(expected), "{what}");
        assert_eq!(answer.member_id.is_empty(), expected == inconsistent, "{what}");
    }
}

/// What a member has been asked to give up is told as its own until it says that it has given it up.
#[test]
fn partitions_that_are_given_up_are_told_of() {
    let mut world = world(GroupConfig { assignment_interval: Duration::ZERO, ..GroupConfig::default() });
    let (mut one, mut other) = (Client::of("one", &["a"]), Client::of("other", &["a"]));
    one.beat(&mut world);
    other.beat(&mut world);
    one.beat(&mut world);
    let held = |world: &mut World, member: &str| -> usize {
        let described = super::client::described(world, member);
        described.assignment.topic_partitions.iter().map(|topic| topic.partitions.len()).sum()
    };
    assert_eq!((held(&mut world, "one"), held(&mut world, "other")), (4, 0));
    one.give_up();
    one.beat(&mut world);
    other.beat(&mut world);
    assert_eq!((held(&mut world, "one"), held(&mut world, "other")), (2, 2));
}

/// The assignment of a classic group was made from the topics as its leader saw them. A static member that
/// comes over does not change the group's subscription, and still is given what has come since.
#[test]
fn partitions_that_came_since_the_classic_assignment_find_an_owner() {
    let mut world = world(GroupConfig::default());
    let mut old = ClassicClient { instance: Some("i".into()), ..ClassicClient::of(&["a"]) };
    for _ in 0..6 {
        old.step(&mut world);
        world.advance(Duration::from_secs(3));
    }
    assert_eq!((old.standing, old.owned.len()), (Standing::Stable, 4));
    world.change_topics(|topics| {
        topics.set("a", 6);
    });
    let mut new = [Client::of("new", &["a"]).instance("i")];
    rest(&mut world, &mut [], &mut new);
    assert_eq!((kind(&world), new[0].owned.len()), ("consumer", 6));
    world.check_against_log();
}

#[test]
fn a_rolling_upgrade_and_back() {
    let mut world = world(GroupConfig::default());
    let mut classic = classic_group(&mut world, 2);
    assert_eq!(kind(&world), "classic");

    let mut new = [Client::of("new", &["a"])];
    let response = new[0].beat(&mut world);
    assert_eq!((error(&response), kind(&world)), (ErrorCode::None, "consumer"));
    assert_eq!(new[0].owned.len(), 0, "the others have everything still");
    assert_eq!(classic[0].heartbeat(&mut world), ErrorCode::RebalanceInProgress);
    rest(&mut world, &mut classic, &mut new);
    let group = describe(&mut world);
    assert_eq!(group.group_state, "Stable", "{group:?}");
    let types: Vec<i8> = group.members.iter().map(|member| member.member_type).collect();
    assert_eq!(types.iter().filter(|kind| **kind == 0).count(), 2);
    assert_eq!(types.iter().filter(|kind| **kind == 1).count(), 1);
    let sizes: Vec<usize> = classic.iter().map(|client| client.owned.len()).collect();
    assert_eq!(sizes.iter().sum::<usize>() + new[0].owned.len(), 4);
    assert!(new[0].owned.len() == 1 || new[0].owned.len() == 2);
    world.check_against_log();

    let log = world.log().len();
    new[0].leave(&mut world, -1);
    assert_eq!(kind(&world), "classic");
    let written = world.written_since(log);
    assert!(matches!(written.last(), Some(GroupRecord::Group { value: Some(_), .. })), "{written:?}");
    rest(&mut world, &mut classic, &mut []);
    assert!(classic.iter().all(|client| client.owned.len() == 2), "{classic:?}");
    world.check_against_log();
    world.reload();
    rest(&mut world, &mut classic, &mut []);
    assert_eq!(kind(&world), "classic");
}

/// What the last member of the consumer protocol had is not forgotten if the coordinator moves just then.
#[test]
fn a_group_that_has_just_become_classic_rebalances_on_another_broker_too() {
    let mut world = world(GroupConfig::default());
    let mut classic = classic_group(&mut world, 1);
    let mut new = [Client::of("new", &["a"])];
    rest(&mut world, &mut classic, &mut new);
    assert_eq!(new[0].owned.len(), 2);
    new[0].leave(&mut world, -1);
    world.reload();
    assert_eq!(classic[0].heartbeat(&mut world), ErrorCode::RebalanceInProgress);
    rest(&mut world, &mut classic, &mut []);
    assert_eq!(classic[0].owned.len(), 4);
}

#[test]
fn the_policy_says_who_may_change() {
    for (policy, up, down) in [
        (Migration::Disabled, false, false),
        (Migration::Upgrade, true, false),
        (Migration::Downgrade, false, true),
        (Migration::Bidirectional, true, true),
    ] {
        let mut world = world(GroupConfig { migration: policy, ..GroupConfig::default() });
        classic_group(&mut world, 1);
        let mut new = Client::of("new", &["a"]);
        let response = new.beat(&mut world);
        let expected = if up { ErrorCode::None } else { ErrorCode::GroupIdNotFound };
        assert_eq!(error(&response), expected, "{policy:?}");
        world.configure(|config| config.migration = Migration::Bidirectional);
        new.beat(&mut world);
        assert_eq!(kind(&world), "consumer");
        world.configure(|config| config.migration = policy);
        new.leave(&mut world, -1);
        assert_eq!(kind(&world), if down { "classic" } else { "consumer" }, "{policy:?}");
    }
}

#[test]
fn groups_of_others_than_consumers_stay() {
    let mut world = world(GroupConfig::default());
    let request = ottla_wire::messages::JoinGroupRequest {
        group_id: GROUP.into(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        protocol_type: "connect".into(),
        protocols: vec![ottla_wire::messages::join_group_request::JoinGroupRequestProtocol::default()],
        ..Default::default()
    };
    world.ask(&caller(3), Request::JoinGroup(request));
    let response = heartbeat(&mut world, Client::of("new", &["a"]).joining());
    assert_eq!(error(&response), ErrorCode::GroupIdNotFound);
    assert_eq!(kind(&world), "classic");
}

#[test]
fn empty_groups_take_either_kind() {
    let mut world = world(GroupConfig { migration: Migration::Disabled, ..GroupConfig::default() });
    let mut classic = classic_group(&mut world, 1);
    classic[0].leave(&mut world);
    let mut new = Client::of("new", &["a"]);
    assert_eq!(error(&new.beat(&mut world)), ErrorCode::None);
    assert_eq!(kind(&world), "consumer");
    assert_eq!(new.owned.len(), 4);
    world.check_against_log();
    new.leave(&mut world, -1);
    assert_eq!(kind(&world), "consumer");
    rest(&mut world, &mut classic, &mut []);
    assert_eq!((kind(&world), classic[0].owned.len()), ("classic", 4));
    world.check_against_log();
}

/// A static member that comes back with the classic protocol is the last of the consumer protocol: the group
/// is classic then.
#[test]
fn a_static_member_comes_back_as_a_classic_one() {
    let mut world = world(GroupConfig::default());
    let mut classic = classic_group(&mut world, 1);
    let mut new = [Client::of("new", &["a"]).instance("i")];
    rest(&mut world, &mut classic, &mut new);
    assert_eq!(kind(&world), "consumer");
    new[0].leave(&mut world, -2);
    let mut back = ClassicClient::of(&["a"]);
    back.instance = Some("i".into());
    back.join(&mut world);
    assert_eq!(kind(&world), "classic");
    world.check_against_log();
    classic.push(back);
    rest(&mut world, &mut classic, &mut []);
    assert!(classic.iter().all(|client| client.owned.len() == 2), "{classic:?}");
}

/// A cooperative member never stops to read what it keeps, and gives up before another gets.
#[test]
fn cooperative_classic_members_keep_what_they_keep() {
    let mut world = world(GroupConfig { assignment_interval: Duration::ZERO, ..GroupConfig::default() });
    let mut first = Client::of("first", &[]);
    first.beat(&mut world);
    let mut classic = ClassicClient::of(&["a"]);
    classic.is_cooperative = true;
    for _ in 0..3 {
        classic.step(&mut world);
    }
    assert_eq!(classic.owned.len(), 4);
    first.subscribe(&["a"]);
    first.beat(&mut world);
    assert_eq!(first.owned.len(), 0);
    classic.step(&mut world);
    assert_eq!((classic.standing, classic.owned.len()), (Standing::MustJoin, 4), "a heartbeat says so");
    classic.step(&mut world);
    assert_eq!((classic.standing, classic.owned.len()), (Standing::MustJoin, 2), "it has given up two");
    first.beat(&mut world);
    assert_eq!(first.owned.len(), 0, "the broker does not know yet");
    let generation = classic.generation;
    classic.step(&mut world);
    assert_eq!((classic.standing, classic.owned.len()), (Standing::Stable, 2));
    assert!(classic.generation > generation);
    first.beat(&mut world);
    assert_eq!(first.owned.len(), 2);
    assert!(first.owned.is_disjoint(&classic.owned));
    assert_eq!(classic.heartbeat(&mut world), ErrorCode::None);
    world.check_against_log();
}

/// A classic member that is told to join again and does not is out, and so is one that does not sync.
#[test]
fn classic_members_have_their_time_to_join_and_to_sync() {
    let mut world = world(GroupConfig::default());
    let mut classic = classic_group(&mut world, 2);
    let mut new = Client::of("new", &["a"]);
    new.beat(&mut world);
    for _ in 0..4 {
        world.advance(Duration::from_secs(20));
        new.beat(&mut world);
        let error = classic[0].heartbeat(&mut world);
        assert!(matches!(error, ErrorCode::RebalanceInProgress | ErrorCode::UnknownMemberId));
        classic[1].heartbeat(&mut world);
    }
    assert_eq!(describe_members(&mut world), [new.id.clone()]);
    classic.iter_mut().for_each(|client| client.forget());
    world.check_against_log();
}

fn describe_members(world: &mut World) -> Vec<Str> {
    describe(world).members.into_iter().map(|member| member.member_id).collect()
}

/// Something that happens to a group of both kinds of members.
#[derive(Clone, Debug)]
enum Event {
    Classic(usize),
    Consumer(usize),
    GiveUp(usize),
    CrashClassic(usize),
    LeaveClassic(usize),
    LeaveConsumer(usize),
    Grow,
    Pass(u64),
    Reload,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        10 => (0..3_usize).prop_map(Event::Classic),
        6 => (0..2_usize).prop_map(Event::Consumer),
        3 => (0..2_usize).prop_map(Event::GiveUp),
        1 => (0..3_usize).prop_map(Event::CrashClassic),
        1 => (0..3_usize).prop_map(Event::LeaveClassic),
        2 => (0..2_usize).prop_map(Event::LeaveConsumer),
        1 => Just(Event::Grow),
        3 => prop_oneof![Just(300), Just(3_000), Just(20_000)].prop_map(Event::Pass),
        1 => Just(Event::Reload),
    ]
}

struct Game {
    world: World,
    classic: Vec<ClassicClient>,
    consumer: Vec<Client>,
}

impl Game {
    fn play(&mut self, event: &Event) {
        let Game { world, classic, consumer } = self;
        match *event {
            Event::Classic(client) => classic[client].step(world),
            Event::Consumer(client) => {
                consumer[client].beat(world);
            }
            Event::GiveUp(client) => consumer[client].give_up(),
            Event::CrashClassic(client) => classic[client].forget(),
            Event::LeaveClassic(client) => {
                classic[client].leave(world);
            }
            Event::LeaveConsumer(client) => {
                consumer[client].leave(world, -1);
            }
            Event::Grow => world.change_topics(|topics| {
                let now = ottla_group::Topics::by_name(topics, "a").map_or(0, |facts| facts.partitions);
                topics.set("a", (now + 1).min(9));
            }),
            Event::Pass(ms) => world.advance(Duration::from_millis(ms)),
            Event::Reload => {
                world.reload();
                // What waited for an answer waits in vain: connections broke.
                for client in classic.iter_mut().filter(|client| client.standing != Standing::Stable) {
                    client.standing = Standing::MustJoin;
                }
            }
        }
        self.check();
    }

    fn check(&self) {
        self.world.check_against_log();
        let members = self.members();
        let classic = self.classic.iter().map(|client| (&client.id, &client.owned));
        let consumer = self.consumer.iter().map(|client| (&client.id, &client.owned));
        let mut readers: BTreeMap<(TopicId, i32), &Str> = BTreeMap::new();
        for (id, owned) in classic.chain(consumer).filter(|(id, _)| members.contains(*id)) {
            for partition in owned {
                let other = readers.insert(*partition, id);
                assert_eq!(other, None, "{partition:?} is read by {id} too");
            }
        }
    }

    fn members(&self) -> BTreeSet<Str> {
        if let Some(group) = self.world.core().groups().get_as::<ClassicGroup>(GROUP) {
            return group.members().map(|(id, _)| id.clone()).collect();
        }
        let records = self.world.core().records().records;
        let members = records.into_iter().filter_map(|record| match record {
            GroupRecord::ConsumerGroupMember { key, .. } => Some(key.member_id),
            _ => None,
        });
        members.collect()
    }

    fn come_to_rest(&mut self) {
        for _ in 0..60 {
            self.classic.iter_mut().for_each(|client| client.step(&mut self.world));
            for client in &mut self.consumer {
                client.beat(&mut self.world);
                client.give_up();
            }
            self.world.advance(Duration::from_secs(3));
        }
        self.check();
        let classic = self.classic.iter().map(|client| client.owned.len());
        let read: usize = classic.chain(self.consumer.iter().map(|client| client.owned.len())).sum();
        let there = ottla_group::Topics::by_name(self.world.topics(), "a").map(|facts| facts.partitions);
        assert_eq!(Some(read as i32), there, "{:?} {:?}", self.classic, self.consumer);
        match self.world.call(&caller(5), Request::ListGroups(Default::default())) {
            Response::ListGroups(listed) => assert_eq!(listed.groups[0].group_state, "Stable"),
            other => panic!("another answer: {other:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn members_of_both_kinds_never_share_a_partition(events in prop::collection::vec(event(), 1..120)) {
        let config = GroupConfig { assignment_interval: Duration::ZERO, ..GroupConfig::default() };
        let mut game = Game {
            world: world(config),
            classic: vec![ClassicClient::of(&["a"]); 3],
            consumer: vec![Client::of("n1", &["a"]), Client::of("n2", &["a"])],
        };
        for event in &events {
            game.play(event);
        }
        game.come_to_rest();
    }
}
