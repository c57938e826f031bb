//! The calendar: what happens, when, and what goes wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_coordinator::Moment;
use ottla_partition::{MarkerRequest, Turn};
use ottla_txn::{Call, MarkerOutcome, MarkersAnswer, TransactionVersion};
use ottla_wire::{ErrorCode, Instant, Offset, Timestamp, Uuid};

use super::TxnMutation;
use super::client::{Client, Next, Told, Wish};
use super::coordinator::{Asker, Coordinator};
use super::leaders::{Verification, Write};
use super::ledger::Ledger;
use super::offsets::GroupLeader;
use super::partition::Partition;
use super::wire;
use crate::queue::Queue;
use crate::rng::Rng;
use crate::trace::Trace;

const PARTITIONS: usize = 3;
/// The number of the partition that keeps the offsets of groups.
pub(super) const OFFSETS: usize = PARTITIONS;
const TRANSACTIONAL_IDS: usize = 2;
/// How many producers want the same id.
const RIVALS: usize = 2;
pub(super) const TOPIC: &str = "t";
/// `transaction.timeout.ms` of all clients.
pub(super) const TIMEOUT_MS: i32 = 3_000;
/// When a client sends again what was not answered. Longer than any message in time takes.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);
/// How long things go wrong.
pub(super) const CHAOS: Duration = Duration::from_secs(20);
/// How long everything is given to come to rest: timeouts, late messages, retries.
pub(super) const REST: Duration = Duration::from_secs(30);
const DAWN: i64 = 1_700_000_000_000;

#[derive(Debug)]
pub(super) enum Event {
    /// A client says what it wants, unless it is to do so at another time.
    Turn {
        client: usize,
        turn: u64,
    },
    Starts {
        client: usize,
    },
    AtCoordinator {
        asker: Asker,
        call: Call,
    },
    AtPartition {
        client: usize,
        attempt: u64,
        id: String,
        write: Write,
    },
    FetchOffset {
        client: usize,
        attempt: u64,
        id: String,
    },
    Verified {
        verification: u64,
        code: ErrorCode,
    },
    Answered {
        client: usize,
        attempt: u64,
        code: ErrorCode,
        told: Told,
    },
    /// The log of the coordinator that leads in this term.
    Committed {
        term: u64,
        end: Offset,
    },
    Tick {
        term: u64,
    },
    ProducerIds {
        term: u64,
        count: usize,
    },
    TakesOver,
    /// The coordinator's replicas are enough again.
    Writable {
        term: u64,
    },
    Marker {
        partition: usize,
        marker: MarkerRequest,
        gathering: Option<u64>,
        heard: bool,
    },
    MarkerAnswered {
        gathering: u64,
        partition: usize,
        outcome: MarkerOutcome,
    },
    GroupsTakenOver,
    /// A client or a coordinator fails, a client or a log pauses, or `transaction.version` changes.
    Mishap,
}

/// Markers that were asked for together.
#[derive(Debug)]
pub(super) struct Gathering {
    pub(super) term: u64,
    pub(super) answer: MarkersAnswer,
    pub(super) left: usize,
}

pub(super) struct World<'t> {
    pub(super) now: Instant,
    pub(super) rng: Rng,
    pub(super) queue: Queue<Event>,
    pub(super) trace: &'t mut Trace,
    /// Whether clients speak version 2 of transactions.
    pub(super) v2: bool,
    /// Whether messages may come late.
    pub(super) late: bool,
    pub(super) mutation: Option<TxnMutation>,
    pub(super) coordinator: Coordinator,
    pub(super) partitions: Vec<Partition>,
    pub(super) offsets: GroupLeader,
    pub(super) clients: Vec<Client>,
    /// The number of what each client wants now.
    pub(super) attempts: Vec<u64>,
    /// The number of the next time that each client says what it wants.
    pub(super) turns: Vec<u64>,
    /// Until when a client neither hears nor says anything.
    pub(super) paused: Vec<Instant>,
    pub(super) verifications: BTreeMap<u64, Verification>,
    pub(super) gatherings: BTreeMap<u64, Gathering>,
    pub(super) count: u64,
    pub(super) next_producer_id: i64,
    /// When the last batch of the coordinator's log is committed.
    pub(super) commits_at: Instant,
    pub(super) ticks_at: Option<Instant>,
    pub(super) ledger: Ledger,
    steps: u64,
}

impl<'t> World<'t> {
    pub(super) fn new(
        seed: u64,
        mutation: Option<TxnMutation>,
        trace: &'t mut Trace,
    ) -> Result<World<'t>, String> {
        let mut rng = Rng::new(seed);
        let v2 = !rng.chance(300) && mutation != Some(TxnMutation::LateInVersion1);
        let version = level(&mut rng);
        let now = Instant(0);
        let clients: Vec<Client> = (0..TRANSACTIONAL_IDS * RIVALS)
            .map(|n| Client::new(format!("id-{}", n % TRANSACTIONAL_IDS), v2, PARTITIONS, rng.fork()))
            .collect();
        let mut world = World {
            now,
            queue: Queue::default(),
            trace,
            v2,
            late: v2 || mutation == Some(TxnMutation::LateInVersion1),
            mutation,
            coordinator: Coordinator::new(version, mutation, rng.fork()),
            partitions: (0..PARTITIONS).map(|_| Partition::new(TOPIC, mutation, rng.fork())).collect(),
            offsets: GroupLeader::new(mutation, rng.fork()),
            attempts: vec![0; clients.len()],
            turns: vec![0; clients.len()],
            paused: vec![now; clients.len()],
            clients,
            verifications: BTreeMap::new(),
            gatherings: BTreeMap::new(),
            count: 0,
            next_producer_id: 1,
            commits_at: now,
            ticks_at: None,
            ledger: Ledger::default(),
            steps: 0,
            rng,
        };
        let turn = world.broker_turn();
        for partition in &mut world.partitions {
            partition.leader.start(turn, None)?;
        }
        world.queue.plan(now, Event::TakesOver);
        world.queue.plan(now, Event::GroupsTakenOver);
        for client in 0..world.clients.len() {
            let at = now + world.rng.millis(0, 3000);
            world.queue.plan(at, Event::Starts { client });
        }
        world.plan_mishap();
        Ok(world)
    }

    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    /// How many transactions clients know to be committed.
    pub(super) fn committed(&self) -> i64 {
        i64::try_from(self.ledger.committed()).unwrap_or(i64::MAX)
    }

    pub(super) fn run(&mut self) -> Result<(), String> {
        let end = Instant(0) + CHAOS + REST;
        while let Some((now, event)) = self.queue.take_next()
            && now <= end
        {
            self.now = now;
            self.steps += 1;
            self.step(event)?;
        }
        self.ledger.check(&self.partitions, &self.offsets)
    }

    fn step(&mut self, event: Event) -> Result<(), String> {
        self.trace.note(self.now, format_args!("{event:?}"));
        let term = self.coordinator.term();
        match event {
            Event::Starts { client } => self.starts(client),
            Event::Turn { client, turn } => self.turn(client, turn),
            Event::AtCoordinator { asker, call } => return self.at_coordinator(asker, call),
            Event::AtPartition { client, attempt, id, write } => {
                return self.at_partition(client, attempt, id, write);
            }
            Event::FetchOffset { client, attempt, id } => return self.fetch_offset(client, attempt, &id),
            Event::Verified { verification, code } => return self.verified(verification, code),
            Event::Answered { client, attempt, code, told } => {
                self.answered(client, attempt, code, told);
            }
            Event::Committed { term: of, end } if of == term => {
                self.coordinator.commit(self.broker_turn(), end)?;
                return self.follow_up();
            }
            Event::Tick { term: of } if of == term => {
                self.ticks_at = None;
                self.coordinator.tick(self.broker_turn());
                return self.follow_up();
            }
            Event::ProducerIds { term: of, count } if of == term => return self.supply(count),
            Event::Writable { term: of } if of == term => return self.set_writable(true),
            // Of a broker that has failed.
            Event::Committed { .. }
            | Event::Tick { .. }
            | Event::ProducerIds { .. }
            | Event::Writable { .. } => {}
            Event::TakesOver => return self.take_over(),
            Event::Marker { partition, marker, gathering, heard } => {
                return self.write_marker(partition, &marker, gathering, heard);
            }
            Event::MarkerAnswered { gathering, partition, outcome } => {
                return self.marker_answered(gathering, partition, outcome);
            }
            Event::GroupsTakenOver => return self.offsets.take_over(self.broker_turn()),
            Event::Mishap => return self.mishap(),
        }
        Ok(())
    }

    /// By its number.
    pub(super) fn partition(&mut self, number: usize) -> &mut Partition {
        if number == OFFSETS { &mut self.offsets.partition } else { &mut self.partitions[number] }
    }

    pub(super) fn is_chaotic(&self) -> bool {
        self.now < Instant(0) + CHAOS
    }

    pub(super) fn broker_turn(&self) -> Turn {
        Turn { now: self.now, wall: self.wall() }
    }

    pub(super) fn wall(&self) -> Timestamp {
        Timestamp(DAWN + (self.now.0 / 1_000_000) as i64)
    }

    pub(super) fn moment(&mut self) -> Moment {
        let uuid = Uuid((u128::from(self.rng.draw()) << 64 | u128::from(self.rng.draw())).to_be_bytes());
        Moment { now: self.now, wall: self.wall(), uuid }
    }

    pub(super) fn next_count(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// Sends a message: it may be lost, come late, or come twice.
    pub(super) fn send(&mut self, make: impl Fn() -> Event) {
        if self.is_chaotic() && self.rng.chance(40) {
            return;
        }
        let delay = self.rng.millis(1, 20);
        self.queue.plan(self.now + delay, make());
        if self.late && self.is_chaotic() && self.rng.chance(60) {
            let delay = self.rng.millis(20, 4000);
            self.queue.plan(self.now + delay, make());
        }
    }

    // Clients.

    fn starts(&mut self, client: usize) {
        if self.is_chaotic() && self.clients[client].wish().is_none() {
            self.clients[client].start();
            self.wants(client);
        }
    }

    /// A client wants something else than before.
    fn wants(&mut self, client: usize) {
        self.attempts[client] += 1;
        self.plan_turn(client, self.now);
    }

    fn plan_turn(&mut self, client: usize, at: Instant) {
        self.turns[client] += 1;
        let turn = self.turns[client];
        self.queue.plan(at, Event::Turn { client, turn });
    }

    fn turn(&mut self, client: usize, turn: u64) {
        if turn != self.turns[client] {
            return;
        }
        if !self.is_chaotic() {
            self.clients[client].stop(); // whatever it has left open is to be cleared away without it
            return;
        }
        let resumes = self.paused[client];
        if resumes > self.now {
            self.plan_turn(client, resumes);
            return;
        }
        let Some(wish) = self.clients[client].wish().copied() else { return };
        self.plan_turn(client, self.now + PATIENCE);
        let attempt = self.attempts[client];
        let id = self.clients[client].transactional_id.clone();
        if let Some(write) = Write::of(&wish) {
            self.send(|| Event::AtPartition { client, attempt, id: id.clone(), write });
            return;
        }
        if let Wish::FetchOffset = wish {
            self.send(|| Event::FetchOffset { client, attempt, id: id.clone() });
            return;
        }
        if let Some(call) = wire::call(&id, self.v2, &wish, self.clients[client].producer()) {
            let asker = Asker::Client { client, attempt };
            self.send(|| Event::AtCoordinator { asker, call: call.clone() });
        }
    }

    fn answered(&mut self, client: usize, attempt: u64, code: ErrorCode, told: Told) {
        if attempt != self.attempts[client] || self.paused[client] > self.now {
            return;
        }
        match self.clients[client].answered(code, told, &mut self.ledger) {
            Next::GoOn => self.wants(client),
            Next::Again => {
                let pause = self.rng.millis(10, 40);
                self.plan_turn(client, self.now + pause);
            }
            Next::Die => self.restart_later(client),
        }
    }

    fn restart_later(&mut self, client: usize) {
        self.attempts[client] += 1;
        self.turns[client] += 1;
        let pause = self.rng.millis(50, 3000);
        self.queue.plan(self.now + pause, Event::Starts { client });
    }

    pub(super) fn answer(&mut self, client: usize, attempt: u64, code: ErrorCode, told: Told) {
        self.send(|| Event::Answered { client, attempt, code, told });
    }

    // What goes wrong.

    fn plan_mishap(&mut self) {
        let pause = self.rng.millis(50, 1500);
        self.queue.plan(self.now + pause, Event::Mishap);
    }

    fn mishap(&mut self) -> Result<(), String> {
        if !self.is_chaotic() {
            return Ok(());
        }
        let client = self.rng.index(self.clients.len());
        match self.rng.below(7) {
            0 => {
                self.clients[client].stop();
                self.restart_later(client);
            }
            1 => {
                let pause = self.rng.millis(100, 5000);
                self.paused[client] = self.now + pause;
            }
            2 => {
                let (at, version) = (self.moment(), level(&mut self.rng));
                self.coordinator.set_version(&at, version);
            }
            3 | 4 => {
                self.offsets.fail(&mut self.rng)?;
                let pause = self.rng.millis(0, 200);
                self.queue.plan(self.now + pause, Event::GroupsTakenOver);
            }
            5 => {
                self.set_writable(false)?;
                let pause = self.rng.millis(5, 1000);
                self.queue.plan(self.now + pause, Event::Writable { term: self.coordinator.term() });
            }
            _ => {
                self.coordinator.fail(&mut self.rng)?;
                let pause = self.rng.millis(5, 400);
                self.queue.plan(self.now + pause, Event::TakesOver);
            }
        }
        self.plan_mishap();
        Ok(())
    }
}

/// A level of `transaction.version`. At level 0 clients of version 2 are refused, but for what they have
/// open.
fn level(rng: &mut Rng) -> TransactionVersion {
    match rng.below(8) {
        0 => TransactionVersion::V0,
        1..4 => TransactionVersion::V1,
        _ => TransactionVersion::V2,
    }
}
