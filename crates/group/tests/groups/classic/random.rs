//! Random clients, random time, and brokers that go: laws that hold whatever happens.

use ottla_group::timers::GroupTimers;
use std::collections::BTreeMap;
use std::time::Duration;

use ottla_coordinator::Ticket;
use ottla_group::{Caller, Request, Response};
use ottla_wire::ErrorCode;
use ottla_wire::messages::leave_group_request::MemberIdentity;
use ottla_wire::primitives::Str;
use proptest::prelude::*;

use super::client::*;
use crate::world::World;

const CLIENTS: usize = 5;

#[derive(Clone, Debug)]
enum Act {
    /// Everybody does what a client does: beats, joins, joins again with its id, syncs.
    Round,
    Join(usize),
    Sync(usize),
    Heartbeat(usize),
    Leave(usize),
    /// The administrator removes a static member.
    Remove(usize),
    /// The process starts again: it knows nothing but its settings.
    Restart(usize),
    /// The client takes other protocols or topics from now on.
    Change(usize, usize),
    Wait(Duration),
    /// The broker goes, and another one takes over.
    Reload,
    Pause(Duration),
    Delete,
    Resize(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let client = 0..CLIENTS;
    let act = prop_oneof![
        4 => Just(Act::Round),
        8 => client.clone().prop_map(Act::Join),
        8 => client.clone().prop_map(Act::Sync),
        4 => client.clone().prop_map(Act::Heartbeat),
        1 => client.clone().prop_map(Act::Leave),
        1 => client.clone().prop_map(Act::Remove),
        2 => client.clone().prop_map(Act::Restart),
        1 => (client, 0..4usize).prop_map(|(client, to)| Act::Change(client, to)),
        4 => (1..8000u64).prop_map(|ms| Act::Wait(Duration::from_millis(ms))),
        1 => Just(Act::Wait(REBALANCE)),
        1 => Just(Act::Reload),
        1 => (1..100_000u64).prop_map(|ms| Act::Pause(Duration::from_millis(ms))),
        1 => Just(Act::Delete),
        1 => (1..CLIENTS).prop_map(Act::Resize),
    ];
    proptest::collection::vec(act, 1..120)
}

/// A client as it sees itself.
struct Player {
    client: Client,
    waiting: Option<Ticket>,
    /// Set while it leads: everybody it was told of.
    leads: Vec<Str>,
}

struct Game {
    world: World,
    players: Vec<Player>,
    /// Requests that nobody waits for any more, and that must be answered all the same.
    abandoned: Vec<Ticket>,
    /// The highest generation that was told since the broker or the group changed.
    generation: i32,
}

impl Game {
    fn new() -> Game {
        let players = (0..CLIENTS).map(|i| {
            let client = Client::new(&format!("c{i}")).version(if i == 0 { 3 } else { 9 });
            // Two of them are static, and two processes claim to be the same instance.
            let client = match i {
                3 => client.instance("s"),
                4 => client.instance("s"),
                _ => client,
            };
            Player { client, waiting: None, leads: Vec::new() }
        });
        Game { world: world(), players: players.collect(), abandoned: Vec::new(), generation: 0 }
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Round => self.round(),
            Act::Join(i) => {
                let request = Request::JoinGroup(self.players[*i].client.join_request());
                self.ask(*i, 9, request);
            }
            Act::Sync(i) => {
                let player = &self.players[*i];
                let all: Vec<Client> = player
                    .leads
                    .iter()
                    .map(|id| Client { id: id.clone(), ..player.client.clone() })
                    .collect();
                let assignments: Vec<_> = all.iter().map(|client| (client, client.id.as_str())).collect();
                let mut request = player.client.sync_request(&assignments);
                request.protocol_name = None;
                self.ask(*i, 4, Request::SyncGroup(request));
            }
            Act::Heartbeat(i) => {
                let client = self.players[*i].client.clone();
                let outcome = client.heartbeat(&mut self.world);
                self.told(*i, outcome);
            }
            Act::Leave(i) => {
                self.players[*i].client.leave(&mut self.world);
            }
            Act::Remove(i) => {
                let instance = self.players[*i].client.instance.clone();
                let member = MemberIdentity { group_instance_id: instance, ..Default::default() };
                leave(&mut self.world, &Caller { version: 5, ..Caller::default() }, GROUP, vec![member]);
            }
            Act::Restart(i) => self.forget(*i),
            Act::Change(i, to) => {
                let player = &mut self.players[*i];
                player.client =
                    player.client.clone().knows(if *to % 2 == 0 { &["range"] } else { &["rr", "range"] });
                player.client = player.client.clone().reads(if *to < 2 { &["t"] } else { &["t", "u"] });
            }
            Act::Wait(time) => self.world.advance(*time),
            Act::Reload => {
                self.world.reload();
                self.generation = 0;
                self.abandoned.clear();
                for player in &mut self.players {
                    player.waiting = None;
                }
            }
            Act::Pause(time) => {
                self.world.set_writable(false);
                self.world.advance(*time);
                self.world.set_writable(true);
            }
            Act::Delete => {
                let response = self.world.call(&Caller::default(), Request::DeleteGroup(GROUP.into()));
                let Response::DeleteGroup(result) = response else { panic!("{response:?}") };
                if error(result.error_code) == ErrorCode::None {
                    self.generation = 0;
                }
            }
            Act::Resize(len) => self.world.configure(|config| config.classic_size_max = *len),
        }
        self.take_answers();
    }

    fn round(&mut self) {
        for i in 0..CLIENTS {
            self.act(&Act::Heartbeat(i));
        }
        for _ in 0..2 {
            for i in 0..CLIENTS {
                if self.players[i].waiting.is_none() {
                    self.act(&Act::Join(i));
                }
            }
        }
        self.act(&Act::Wait(INITIAL_DELAY));
        for i in (0..CLIENTS).rev() {
            if self.players[i].waiting.is_none() {
                self.act(&Act::Sync(i));
            }
        }
    }

    fn ask(&mut self, i: usize, version: i16, request: Request) {
        let player = &mut self.players[i];
        let caller =
            Caller { version: version.min(player.client.caller.version), ..player.client.caller.clone() };
        let ticket = self.world.ask(&caller, request);
        self.abandoned.extend(player.waiting.replace(ticket));
    }

    fn forget(&mut self, i: usize) {
        let player = &mut self.players[i];
        self.abandoned.extend(player.waiting.take());
        player.client.id = Str::default();
        player.client.generation = -1;
        player.leads.clear();
    }

    fn told(&mut self, i: usize, error: ErrorCode) {
        match error {
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => self.forget(i),
            _ => {}
        }
    }

    fn take_answers(&mut self) {
        for i in 0..self.players.len() {
            let Some(answer) = self.players[i].waiting.and_then(|ticket| self.world.answer(ticket)) else {
                continue;
            };
            self.players[i].waiting = None;
            match answer {
                Response::JoinGroup(response) => match error(response.error_code) {
                    ErrorCode::None => {
                        assert!(response.generation_id >= self.generation, "generations go up");
                        self.generation = response.generation_id;
                        let player = &mut self.players[i];
                        player.client.id = response.member_id.clone();
                        player.client.generation = response.generation_id;
                        let told: Vec<Str> = response.members.iter().map(|it| it.member_id.clone()).collect();
                        if !told.is_empty() {
                            assert!(
                                response.leader == response.member_id && told.contains(&response.member_id)
                            );
                        }
                        player.leads = told;
                    }
                    ErrorCode::MemberIdRequired => self.players[i].client.id = response.member_id,
                    other => self.told(i, other),
                },
                Response::SyncGroup(response) => {
                    let outcome = error(response.error_code);
                    if outcome == ErrorCode::None && !response.assignment.is_empty() {
                        let id = self.players[i].client.id.as_bytes();
                        let is_static = self.players[i].client.instance.is_some();
                        assert!(
                            is_static || response.assignment == id,
                            "an assignment goes to whom it was made for"
                        );
                    }
                    self.told(i, outcome);
                }
                other => panic!("{other:?}"),
            }
        }
        let world = &mut self.world;
        self.abandoned.retain(|ticket| world.answer(*ticket).is_none());
    }

    /// Nobody says anything any more.
    fn end(&mut self) {
        self.world.advance(REBALANCE * 60);
        self.take_answers();
        let waiting: Vec<_> = self.players.iter().filter_map(|player| player.waiting).collect();
        assert!(waiting.is_empty(), "every request is answered: {waiting:?}");
        assert!(self.abandoned.is_empty(), "every request is answered: {:?}", self.abandoned);
        assert!(self.world.core().timers().of_group(GROUP).is_empty(), "no timer is left");
        if let Some(group) = self.world.core().groups().get(GROUP) {
            assert!(group.is_empty() && !group.is_unrecorded());
        }
    }
}

/// At most one member is a given instance, in the record and in what the administrator sees.
fn check_instances(world: &mut World) {
    let mut instances: BTreeMap<Str, usize> = BTreeMap::new();
    for instance in describe_at(world, GROUP, 5).members.into_iter().filter_map(|it| it.group_instance_id) {
        *instances.entry(instance).or_default() += 1;
    }
    assert!(instances.values().all(|count| *count == 1), "{instances:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_group_is_what_its_log_says_and_answers_everybody(acts in acts()) {
        let mut game = Game::new();
        for act in &acts {
            game.act(act);
            // A group that is too large to be loaded as it is begins a rebalance at once: that is tested
            // elsewhere.
            let size = game.world.set_size(usize::MAX);
            game.world.check_against_log();
            game.world.set_size(size);
            check_instances(&mut game.world);
        }
        game.end();
        game.world.check_against_log();
        game.act(&Act::Delete);
        prop_assert_eq!(game.world.core().bytes(), 0, "what is gone takes no memory");
    }
}
