//! What holds of consumer groups whatever happens: members that come, go, crash, give up slowly, subscribe
//! anew; topics that come, grow and go; coordinators that move.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_group::{GroupConfig, GroupRecord};
use ottla_wire::TopicId;
use ottla_wire::primitives::Str;
use proptest::prelude::*;

use super::client::{Client, describe, settle};
use crate::world::World;

const TOPICS: [&str; 4] = ["a1", "a2", "b1", "b2"];
const REGEXES: [&str; 3] = ["a.*", "b.*|a1", ""];

/// Something that happens. Clients are named by their place.
#[derive(Clone, Debug)]
enum Event {
    Beat(usize),
    GiveUp(usize),
    /// A beat whose answer is lost.
    Lost(usize),
    Subscribe(usize, usize),
    Match(usize, usize),
    Leave(usize),
    GoForAWhile(usize),
    /// Another process with the same instance id.
    Replace(usize),
    Crash(usize),
    Topic(usize, i32),
    Delete(usize),
    Pass(u64),
    Reload,
    Pause,
}

fn event() -> impl Strategy<Value = Event> {
    let client = 0..CLIENTS;
    prop_oneof![
        12 => client.clone().prop_map(Event::Beat),
        6 => client.clone().prop_map(Event::GiveUp),
        2 => client.clone().prop_map(Event::Lost),
        2 => (client.clone(), 0..16_usize).prop_map(|(client, topics)| Event::Subscribe(client, topics)),
        1 => (client.clone(), 0..3_usize).prop_map(|(client, regex)| Event::Match(client, regex)),
        1 => client.clone().prop_map(Event::Leave),
        1 => client.clone().prop_map(Event::GoForAWhile),
        1 => client.clone().prop_map(Event::Replace),
        1 => client.prop_map(Event::Crash),
        1 => (0..4_usize, 1..6_i32).prop_map(|(topic, partitions)| Event::Topic(topic, partitions)),
        1 => (0..4_usize).prop_map(Event::Delete),
        3 => prop_oneof![Just(1), Just(300), Just(2_000), Just(20_000), Just(50_000)].prop_map(Event::Pass),
        1 => Just(Event::Reload),
        1 => Just(Event::Pause),
    ]
}

const CLIENTS: usize = 5;

struct Game {
    world: World,
    clients: Vec<Client>,
    incarnations: usize,
    epoch: i32,
}

impl Game {
    fn new(config: GroupConfig) -> Game {
        let mut world = World::new(config);
        world.change_topics(|topics| {
            topics.set("a1", 3);
            topics.set("a2", 2);
            topics.set("b1", 4);
        });
        let mut clients: Vec<Client> =
            (0..CLIENTS).map(|client| Client::of(&format!("m{client}"), &["a1", "a2", "b1", "b2"])).collect();
        clients[0].instance = Some("i0".into());
        clients[1].instance = Some("i1".into());
        Game { world, clients, incarnations: 0, epoch: 0 }
    }

    fn play(&mut self, event: &Event) {
        let Game { world, clients, .. } = self;
        match *event {
            Event::Beat(client) => {
                clients[client].beat(world);
            }
            Event::GiveUp(client) => clients[client].give_up(),
            Event::Lost(client) => {
                clients[client].clone().beat(world);
                clients[client].is_unsure = true;
            }
            Event::Subscribe(client, topics) => {
                let named = TOPICS.iter().enumerate().filter(|(topic, _)| topics & (1 << topic) != 0);
                clients[client].subscribe(&named.map(|(_, name)| *name).collect::<Vec<_>>());
            }
            Event::Match(client, regex) => clients[client].regex = Some(REGEXES[regex].into()),
            Event::Leave(client) => {
                clients[client].leave(world, -1);
            }
            Event::GoForAWhile(client) if clients[client].instance.is_some() => {
                clients[client].leave(world, -2);
            }
            Event::Replace(client) => {
                self.incarnations += 1;
                clients[client].id = format!("m{client}.{}", self.incarnations).as_str().into();
                clients[client].forget();
            }
            Event::Crash(client) => clients[client].forget(),
            Event::Topic(topic, partitions) => world.change_topics(|topics| {
                let now = ottla_group::Topics::by_name(topics, TOPICS[topic]);
                topics.set(TOPICS[topic], partitions.max(now.map_or(0, |facts| facts.partitions)));
            }),
            Event::Delete(topic) => world.change_topics(|topics| topics.delete(TOPICS[topic])),
            Event::Pass(ms) => world.advance(Duration::from_millis(ms)),
            Event::Reload => world.reload(),
            Event::Pause => {
                world.set_writable(false);
                world.set_writable(true);
            }
            Event::GoForAWhile(_) => {}
        }
        self.check();
    }

    fn check(&mut self) {
        self.world.check_against_log();
        let lasting = self.world.core().records().records;
        let mut owners: BTreeMap<(TopicId, i32), Str> = BTreeMap::new();
        let mut members = BTreeSet::new();
        for record in &lasting {
            match record {
                GroupRecord::CurrentAssignment { key, value: Some(value) } => {
                    members.insert(key.member_id.clone());
                    for topic in value.assigned_partitions.iter().chain(&value.partitions_pending_revocation)
                    {
                        for partition in &topic.partitions {
                            let owner = owners.insert((topic.topic_id, *partition), key.member_id.clone());
                            assert_eq!(owner, None, "partition {partition} has two owners");
                        }
                    }
                }
                GroupRecord::ConsumerGroup { value: Some(value), .. } => {
                    assert!(value.epoch >= self.epoch, "the group's epoch went back");
                    self.epoch = value.epoch;
                }
                _ => {}
            }
        }
        let mut readers: BTreeMap<(TopicId, i32), &Str> = BTreeMap::new();
        for client in self.clients.iter().filter(|client| members.contains(&client.id)) {
            for partition in &client.owned {
                let other = readers.insert(*partition, &client.id);
                assert_eq!(other, None, "{partition:?} is read by {} too", client.id);
            }
        }
    }

    /// Nothing happens but heartbeats. Each partition that somebody wants has one reader in the end.
    fn come_to_rest(&mut self) {
        // Those that went away without a word time out.
        for _ in 0..12 {
            for client in &mut self.clients {
                client.beat(&mut self.world);
                client.give_up();
            }
            self.world.advance(Duration::from_secs(5));
        }
        let mut all: Vec<&mut Client> = self.clients.iter_mut().collect();
        settle(&mut self.world, &mut all);
        self.check();
        let group = describe(&mut self.world);
        assert_eq!(group.group_state, "Stable", "{group:?}");
        assert_eq!(group.members.len(), CLIENTS);
        for topic in &group.members {
            assert_eq!(topic.assignment, topic.target_assignment);
        }
        let wanted: BTreeSet<(TopicId, i32)> = self.wanted();
        let read: BTreeSet<(TopicId, i32)> =
            self.clients.iter().flat_map(|client| client.owned.iter().copied()).collect();
        assert_eq!(read, wanted);
        let log = self.world.log().len();
        for client in &mut self.clients {
            client.beat(&mut self.world);
        }
        assert_eq!(self.world.log().len(), log, "heartbeats that change nothing write nothing");
    }

    fn wanted(&mut self) -> BTreeSet<(TopicId, i32)> {
        let mut wanted = BTreeSet::new();
        let mut known = Vec::new();
        self.world.change_topics(|topics| {
            ottla_group::Topics::each_name(topics, &mut |name| {
                known.extend(ottla_group::Topics::by_name(topics, name));
            });
        });
        for facts in known {
            let matches = |client: &Client| {
                let by_name = client.topics.as_ref().is_some_and(|topics| topics.contains(&facts.name));
                let by_regex = match client.regex.as_deref() {
                    Some("a.*") => facts.name.starts_with('a'),
                    Some("b.*|a1") => facts.name.starts_with('b') || facts.name == *"a1",
                    _ => false,
                };
                by_name || by_regex
            };
            if self.clients.iter().any(matches) {
                wanted.extend((0..facts.partitions).map(|partition| (facts.id, partition)));
            }
        }
        wanted
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_partition_has_two_readers_and_in_the_end_each_has_one(
        events in prop::collection::vec(event(), 1..120), range in any::<bool>(), interval in any::<bool>()
    ) {
        let mut config = GroupConfig::default();
        if range {
            config.assignors.reverse();
        }
        if !interval {
            config.assignment_interval = Duration::ZERO;
        }
        let mut game = Game::new(config);
        for event in &events {
            game.play(event);
        }
        game.come_to_rest();
    }
}
