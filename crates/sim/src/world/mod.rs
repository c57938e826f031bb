//! The world: everybody in it, one clock, one calendar. Nothing happens but what the calendar holds.

use std::rc::Rc;
use std::time::Duration;

use ottla_log::Faults;
use ottla_settings::BrokerSettings;
use ottla_wire::{Instant, Timestamp};

use crate::client::{Admin, Client, ClientFact, Consumer, Context, Producer};
use crate::controller::ControllerNode;
use crate::faults::{Fault, plan};
use crate::invariants::{Broken, Invariants, Scene, Sight, unrest};
use crate::message::Message;
use crate::mutation::Mutation;
use crate::network::{Network, Party};
use crate::node::{Node, Outbox, Process, Setup, Timer, Turn, index_of};
use crate::queue::Queue;
use crate::rng::Rng;
use crate::settings::{BROKERS, Settings};
use crate::trace::Trace;

/// The wall clock when the run begins.
const WALL_START_MS: i64 = 1_700_000_000_000;
const CLIENT_TICK: Duration = Duration::from_millis(40);
/// When the topic must exist.
const SET_UP_WITHIN: Duration = Duration::from_secs(20);
/// How long it may take until all is well again after the last fault.
const REST_WITHIN: Duration = Duration::from_secs(60);

mod chaos;
mod control;

/// Something that happens.
enum Event {
    /// The processes are those of brokers; a message reaches the one that it was sent to, or nobody.
    Message {
        from: (Party, u64),
        to: (Party, u64),
        message: Message,
    },
    Timer {
        node: usize,
        process: u64,
        timer: Timer,
    },
    ClientTick(usize),
    ControllerTick,
    Fault(Fault),
    /// A fault ends.
    Over(Fault),
    Start(usize),
    /// Faults are over: everything is made sound, and clients finish what they began.
    Calm,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The cluster comes up, in peace.
    SetUp,
    Chaos,
    /// From then on.
    Calm(Instant),
}

/// A whole cluster and its clients.
pub struct World<'a> {
    setup: Rc<Setup>,
    rng: Rng,
    now: Instant,
    queue: Queue<Event>,
    network: Network,
    nodes: Vec<Node>,
    controller: ControllerNode,
    clients: Vec<Client>,
    invariants: Invariants,
    trace: &'a mut Trace,
    phase: Phase,
    steps: u64,
    broken: Option<Broken>,
}

impl<'a> World<'a> {
    pub fn new(seed: u64, mutation: Option<Mutation>, trace: &'a mut Trace) -> Result<World<'a>, String> {
        let mut rng = Rng::new(seed);
        let settings = Settings::draw(&mut rng);
        let broker_settings = broker_settings()?;
        trace.note(Instant(0), format_args!("{settings:?}"));
        let controller = ControllerNode::new(broker_settings.clone(), &settings, mutation, rng.fork())?;
        let mut clients: Vec<Client> = (0..)
            .zip(&settings.producers)
            .map(|(index, kind)| Client::Producer(Box::new(Producer::new(index, *kind))))
            .collect();
        clients.extend([false, true].map(|committed| Client::Consumer(Consumer::new(committed))));
        clients.push(Client::Admin(Admin::new(settings.deletes)));
        let mut world = World {
            setup: Rc::new(Setup { settings, broker_settings, mutation }),
            rng,
            now: Instant(0),
            queue: Queue::default(),
            network: Network::sound(),
            nodes: (0..BROKERS).map(Node::new).collect(),
            controller,
            clients,
            invariants: Invariants::default(),
            trace,
            phase: Phase::SetUp,
            steps: 0,
            broken: None,
        };
        for node in 0..BROKERS {
            world.queue.plan(Instant(0), Event::Start(node));
        }
        world.queue.plan(Instant(0), Event::ControllerTick);
        Ok(world)
    }

    /// Lets things happen until all is at rest after the faults, something breaks, or `steps_max` events have
    /// passed.
    pub fn run(&mut self, steps_max: u64) -> Result<(), Broken> {
        while self.steps < steps_max {
            let Some((at, event)) = self.queue.take_next() else { return Ok(()) };
            self.now = at;
            self.steps += 1;
            self.happen(event);
            if self.broken.is_none() && self.is_over() {
                let scene = scene(&self.setup, &self.nodes, &self.controller);
                self.broken = self.invariants.at_rest(&scene).err();
                return self.broken.take().map_or(Ok(()), Err);
            }
            if let Some(broken) = self.broken.take() {
                return Err(broken);
            }
        }
        Ok(())
    }

    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// How much was committed, for those who want to know whether anything happened.
    pub fn committed(&self) -> i64 {
        self.invariants.ledger().end().0
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Message { from, to, message } => self.deliver(from, to, message),
            Event::Timer { node, process, timer } => self.wake(node, process, timer),
            Event::ClientTick(client) => {
                self.client_turn(client, |client, context| client.woken(context));
                self.queue.plan(self.now + CLIENT_TICK, Event::ClientTick(client));
            }
            Event::ControllerTick => self.controller_tick(),
            Event::Fault(fault) => self.fault(fault),
            Event::Over(fault) => self.over(fault),
            Event::Start(node) => self.start(node),
            Event::Calm => self.calm(),
        }
    }

    fn deliver(&mut self, sender: (Party, u64), receiver: (Party, u64), message: Message) {
        if self.waits_for_pause(sender, receiver, &message) {
            return;
        }
        let (from, (to, process)) = (sender.0, receiver);
        match to {
            Party::Controller => {
                self.note(format_args!("{from:?} -> controller: {}", message.describe()));
                self.ask_controller(sender, &message);
            }
            Party::Broker(node) => {
                if self.nodes[node].starts != process || self.nodes[node].process.is_none() {
                    return; // the connection went with the process
                }
                self.note(format_args!("{from:?} -> broker {}: {}", node + 1, message.describe()));
                if let Message::DeleteRecords { .. } = message {
                    self.end_turn_of(node);
                }
                self.node_turn(node, |process, turn, out| process.receive(turn, from, message, out));
            }
            Party::Client(client) => {
                self.note(format_args!("{from:?} -> client {client}: {}", message.describe()));
                self.client_turn(client, |client, context| client.receive(context, message));
            }
        }
    }

    /// What reaches a stopped process waits.
    fn waits_for_pause(&mut self, from: (Party, u64), to: (Party, u64), message: &Message) -> bool {
        let Party::Broker(node) = to.0 else { return false };
        match self.nodes[node].paused_until.filter(|until| *until > self.now) {
            Some(until) => {
                self.queue.plan(until, Event::Message { from, to, message: message.clone() });
                true
            }
            None => false,
        }
    }

    fn wake(&mut self, node: usize, process: u64, timer: Timer) {
        if self.nodes[node].starts != process || self.nodes[node].process.is_none() {
            return;
        }
        if let Some(until) = self.nodes[node].paused_until.filter(|until| *until > self.now) {
            return self.queue.plan(until, Event::Timer { node, process, timer });
        }
        if let Timer::Tick = timer {
            self.end_turn_of(node);
        }
        self.node_turn(node, |process, turn, out| process.woken(turn, timer, out));
    }

    /// Before records are deleted: what goes in the turn in which it was committed, no invariant would have
    /// seen.
    fn end_turn_of(&mut self, node: usize) {
        self.node_turn(node, |process, turn, out| process.end_open_turn(turn, out));
    }

    fn node_turn(&mut self, node: usize, with: impl FnOnce(&mut Process, Turn, &mut Outbox)) {
        let turn = self.turn_of(node);
        let mut out = Outbox::default();
        if let Some(process) = &mut self.nodes[node].process {
            with(process, turn, &mut out);
        }
        self.carry_out(node, out);
    }

    fn carry_out(&mut self, node: usize, out: Outbox) {
        let starts = self.nodes[node].starts;
        for (after, timer) in out.timers {
            self.queue.plan(self.now + after, Event::Timer { node, process: starts, timer });
        }
        self.look_at(node, &out.facts);
        for (to, message) in out.sends {
            self.send(Party::Broker(node), to, message);
        }
        if out.exits {
            self.exit(node);
        }
    }

    /// Holds a broker's turn against the invariants.
    fn look_at(&mut self, node: usize, facts: &[crate::node::Fact]) {
        let Some(process) = &self.nodes[node].process else { return };
        if let Some(why) = process.complaint() {
            let why = format!("broker {}: {why}", node + 1);
            self.broken.get_or_insert(Broken { invariant: "brokers work", why });
            return;
        }
        let scene = scene(&self.setup, &self.nodes, &self.controller);
        let mut verdict = Ok(());
        if let Some(partition) = process.partition().filter(|_| !process.is_in_turn()) {
            let sight = Sight { node, process: self.nodes[node].starts, view: partition.view(), partition };
            verdict = self.invariants.turn(&sight, &scene);
        }
        for fact in facts {
            verdict = verdict.and_then(|()| self.invariants.promised(fact, &scene));
        }
        if let Err(broken) = verdict {
            self.broken.get_or_insert(broken);
        }
    }

    /// A process ends by itself: its disk has failed, or the controller has let it go.
    fn exit(&mut self, node: usize) {
        let failed = self.nodes[node].process.as_ref().is_some_and(Process::has_failed);
        self.note(format_args!("broker {} exits, disk failed: {failed}", node + 1));
        if failed {
            // What the kernel could not write it may have dropped.
            self.nodes[node].end_process(true, &mut self.rng);
        } else {
            self.close(node);
        }
        let after = self.rng.millis(100, 3_000);
        self.queue.plan(self.now + after, Event::Start(node));
    }

    fn close(&mut self, node: usize) {
        if let Some(process) = self.nodes[node].process.take() {
            self.nodes[node].last_epoch = process.epoch().or(self.nodes[node].last_epoch);
            let end = process.partition().map(|one| one.log().written_end());
            let closed = process.close(self.turn_of(node));
            self.nodes[node].durable_then = end.unwrap_or(self.nodes[node].durable_then);
            if let Err(why) = closed {
                self.note(format_args!("broker {}: {why}", node + 1));
                self.nodes[node].end_process(false, &mut self.rng);
            }
        }
    }

    fn start(&mut self, node: usize) {
        if self.nodes[node].process.is_some() {
            return;
        }
        self.nodes[node].disk.set_faults(Faults::default());
        let mut out = Outbox::default();
        let mut rng = self.rng.fork();
        match Process::start(&mut self.nodes[node], &self.setup, &mut rng, &mut out) {
            Ok(process) => {
                let starts = self.nodes[node].starts;
                self.note(format_args!("broker {} starts, process {starts}", node + 1));
                self.nodes[node].process = Some(process);
                self.carry_out(node, out);
            }
            Err(why) => {
                let why = format!("broker {}: {why}", node + 1);
                self.broken.get_or_insert(Broken { invariant: "brokers work", why });
            }
        }
    }

    /// Waits for the brokers, makes the topic, then lets clients and faults loose.
    fn set_up(&mut self) {
        if self.controller.image().alive_brokers().count() < BROKERS {
            if self.now > Instant(0) + SET_UP_WITHIN {
                self.broken.get_or_insert(Broken {
                    invariant: "it comes to rest",
                    why: "brokers do not register".into(),
                });
            }
            return;
        }
        if let Err(why) = self.controller.create_topic(self.now, &self.setup.settings) {
            return self.controller_failed(why);
        }
        self.controller_decided(None, true);
        for client in 0..self.clients.len() {
            self.queue.plan(self.now + self.rng.millis(1, 40), Event::ClientTick(client));
        }
        self.phase = Phase::Chaos;
        let faults = plan(&mut self.rng, &self.setup.settings, self.now);
        for (at, fault) in faults {
            self.queue.plan(at, Event::Fault(fault));
        }
        self.queue.plan(self.now + Duration::from_millis(self.setup.settings.chaos_ms), Event::Calm);
    }

    fn calm(&mut self) {
        self.note(format_args!("calm"));
        self.phase = Phase::Calm(self.now);
        self.network = Network::sound();
        for node in &mut self.nodes {
            node.paused_until = None;
            node.flush_ms_max = 3;
            // A disk that was broken and has not been written to since is sound again before anyone has
            // noticed.
            node.disk.set_faults(Faults::default());
            if let Some(process) = &mut node.process {
                process.flush_ms_max = 3;
            }
        }
        for node in 0..BROKERS {
            let after = self.rng.millis(0, 100);
            self.queue.plan(self.now + after, Event::Start(node));
        }
        self.clients.iter_mut().for_each(Client::wind_down);
    }

    fn is_over(&mut self) -> bool {
        let Phase::Calm(since) = self.phase else { return false };
        let end = self.invariants.ledger().end();
        let scene = scene(&self.setup, &self.nodes, &self.controller);
        if self.now.since(since) > REST_WITHIN {
            return true;
        }
        let calm = self.now.since(since) > Duration::from_secs(2);
        calm && unrest(&scene).is_none() && self.clients.iter().all(|client| client.is_done(end))
    }

    fn client_turn(&mut self, client: usize, with: impl FnOnce(&mut Client, &mut Context<'_>)) {
        let leader = self.supposed_leader();
        let (mut sends, mut facts) = (Vec::new(), Vec::new());
        let wall = wall(self.now, 0);
        let (now, rng) = (self.now, &mut self.rng);
        with(
            &mut self.clients[client],
            &mut Context { now, wall, rng, leader, sends: &mut sends, facts: &mut facts },
        );
        for (to, message) in sends {
            self.send(Party::Client(client), to, message);
        }
        self.client_facts(&facts);
    }

    fn client_facts(&mut self, facts: &[ClientFact]) {
        let scene = scene(&self.setup, &self.nodes, &self.controller);
        for fact in facts {
            if let Err(broken) = self.invariants.client(fact, &scene) {
                self.broken.get_or_insert(broken);
                return;
            }
        }
    }

    /// Clients know who leads, most of the time.
    fn supposed_leader(&mut self) -> Party {
        let leader = self.controller.partition().and_then(|partition| partition.leader);
        match leader {
            Some(leader) if !self.rng.chance(50) => Party::Broker(index_of(leader)),
            _ => Party::Broker(self.rng.index(BROKERS)),
        }
    }

    fn send(&mut self, from: Party, to: Party, message: Message) {
        self.send_to(from, (to, self.process_at(to)), message);
    }

    fn send_to(&mut self, from: Party, to: (Party, u64), message: Message) {
        if let Some(after) = self.network.carry(&mut self.rng, from, to.0) {
            let from = (from, self.process_at(from));
            self.queue.plan(self.now + after, Event::Message { from, to, message });
        }
    }

    fn process_at(&self, place: Party) -> u64 {
        match place {
            Party::Broker(node) => self.nodes[node].starts,
            Party::Controller | Party::Client(_) => 0,
        }
    }

    fn turn_of(&self, node: usize) -> Turn {
        Turn { now: self.now, wall: wall(self.now, self.nodes[node].clock_off_ms) }
    }

    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        self.trace.note(self.now, what);
    }
}

fn scene<'a>(setup: &'a Setup, nodes: &'a [Node], controller: &'a ControllerNode) -> Scene<'a> {
    let (image, assigned) = (controller.image(), controller.partition());
    Scene { settings: &setup.settings, nodes, image, assigned }
}

fn wall(now: Instant, off_ms: i64) -> Timestamp {
    Timestamp(WALL_START_MS + (now.0 / 1_000_000) as i64 + off_ms)
}

/// What every broker and the controller is started with.
fn broker_settings() -> Result<BrokerSettings, String> {
    let pairs = [
        ("node.id", "1"),
        ("broker.session.timeout.ms", "1500"),
        ("broker.heartbeat.interval.ms", "300"),
        ("leader.imbalance.check.interval.seconds", "4"),
    ];
    BrokerSettings::from_pairs(pairs).map_err(|error| error.to_string())
}
