//! The calendar: what happens, when, and what goes wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_coordinator::Moment;
use ottla_partition::Turn;
use ottla_replica::WriteMarker;
use ottla_txn::{Call, MarkerOutcome, MarkersAnswer, Outbound, TransactionVersion};
use ottla_wire::{ErrorCode, Instant, ProducerId, Str, Timestamp, Uuid};

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
pub(super) const TOPIC: Str = Str::from_static("t");
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
    Committed {
        life: u64,
    },
    Tick {
        life: u64,
    },
    ProducerIds {
        life: u64,
        count: usize,
    },
    TakesOver {
        life: u64,
    },
    Marker {
        partition: usize,
        marker: WriteMarker,
        gathering: Option<u64>,
        heard: bool,
    },
    MarkerAnswered {
        gathering: u64,
        partition: usize,
        outcome: MarkerOutcome,
    },
    GroupsTakenOver,
    /// A client or a coordinator fails, a client pauses, or `transaction.version` changes.
    Mishap,
}

/// Markers that were asked for together.
#[derive(Debug)]
pub(super) struct Gathering {
    pub(super) life: u64,
    pub(super) answer: MarkersAnswer,
    pub(super) left: usize,
}

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) rng: Rng,
    pub(super) queue: Queue<Event>,
    pub(super) trace: Trace,
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
}

impl World {
    pub(super) fn new(seed: u64, mutation: Option<TxnMutation>, print: bool) -> Result<World, String> {
        let mut rng = Rng::new(seed);
        let v2 = !rng.chance(300) && mutation != Some(TxnMutation::LateInVersion1);
        let version = level(&mut rng);
        let verify = mutation != Some(TxnMutation::SkipVerification);
        let (now, wall) = (Instant(0), Timestamp(DAWN));
        let clients: Vec<Client> = (0..TRANSACTIONAL_IDS * RIVALS)
            .map(|n| Client::new(format!("id-{}", n % TRANSACTIONAL_IDS), v2, PARTITIONS, rng.fork()))
            .collect();
        let mut world = World {
            now,
            queue: Queue::default(),
            trace: Trace::new(print),
            v2,
            late: v2 || mutation == Some(TxnMutation::LateInVersion1),
            mutation,
            coordinator: Coordinator::new(version),
            partitions: (0..PARTITIONS)
                .map(|_| Partition::new(now, wall, verify))
                .collect::<Result<_, _>>()?,
            offsets: GroupLeader::new(now, wall, mutation)?,
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
            rng,
        };
        world.queue.plan(now, Event::TakesOver { life: 0 });
        world.queue.plan(now, Event::GroupsTakenOver);
        for client in 0..world.clients.len() {
            let at = now + world.rng.millis(0, 3000);
            world.queue.plan(at, Event::Starts { client });
        }
        world.plan_mishap();
        Ok(world)
    }

    pub(super) fn step(&mut self, event: Event) -> Result<(), String> {
        self.trace.note(self.now, format_args!("{event:?}"));
        match event {
            Event::Starts { client } => self.starts(client),
            Event::Turn { client, turn } => self.turn(client, turn),
            Event::AtCoordinator { asker, call } => self.at_coordinator(asker, call),
            Event::AtPartition { client, attempt, id, write } => {
                self.at_partition(client, attempt, id, write);
            }
            Event::FetchOffset { client, attempt, id } => self.fetch_offset(client, attempt, &id),
            Event::Verified { verification, code } => self.verified(verification, code),
            Event::Answered { client, attempt, code, told } => {
                self.answered(client, attempt, code, told);
            }
            Event::Committed { life } if life == self.coordinator.life => {
                self.coordinator.commit();
                self.follow_up();
            }
            Event::Tick { life } if life == self.coordinator.life => {
                self.ticks_at = None;
                let at = self.moment();
                if let Some(frame) = self.coordinator.frame() {
                    frame.tick(&at);
                }
                self.follow_up();
            }
            Event::ProducerIds { life, count } if life == self.coordinator.life => self.supply(count),
            Event::TakesOver { life } if life == self.coordinator.life => self.take_over()?,
            // Of a broker that has failed.
            Event::Committed { .. }
            | Event::Tick { .. }
            | Event::ProducerIds { .. }
            | Event::TakesOver { .. } => {}
            Event::Marker { partition, marker, gathering, heard } => {
                self.write_marker(partition, &marker, gathering, heard);
            }
            Event::MarkerAnswered { gathering, partition, outcome } => {
                self.marker_answered(gathering, partition, outcome);
            }
            Event::GroupsTakenOver => {
                let at = self.moment();
                self.offsets.take_over(&at)?;
            }
            Event::Mishap => self.mishap(),
        }
        Ok(())
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

    // The coordinator.

    fn at_coordinator(&mut self, asker: Asker, call: Call) {
        let at = self.moment();
        if let Err(code) = self.coordinator.ask(&at, asker, call) {
            self.tell(asker, code, Told::Nothing);
        }
        self.follow_up();
    }

    fn tell(&mut self, asker: Asker, code: ErrorCode, told: Told) {
        match asker {
            Asker::Client { client, attempt } => self.answer(client, attempt, code, told),
            Asker::Partition { verification } => self.send(|| Event::Verified { verification, code }),
        }
    }

    /// What a step of the coordinator leads to.
    pub(super) fn follow_up(&mut self) {
        for _ in 0..self.coordinator.append() {
            let at = (self.now + self.rng.millis(1, 15)).max(self.commits_at);
            self.commits_at = at;
            self.queue.plan(at, Event::Committed { life: self.coordinator.life });
        }
        for outbound in self.coordinator.take_released() {
            match outbound {
                Outbound::Reply { to, response } => {
                    if let Some(asker) = self.coordinator.asker(to) {
                        let (code, told) = wire::read(response);
                        self.tell(asker, code, told);
                    }
                }
                Outbound::WriteMarkers(markers) => self.send_markers(markers),
                Outbound::WantProducerIds { count } => {
                    let at = self.now + self.rng.millis(1, 50);
                    let count = if self.rng.chance(100) { 0 } else { count };
                    self.queue.plan(at, Event::ProducerIds { life: self.coordinator.life, count });
                }
            }
        }
        if let Some(due) = self.coordinator.next_deadline().map(|due| due.max(self.now))
            && self.ticks_at.is_none_or(|planned| due < planned)
        {
            self.ticks_at = Some(due);
            self.queue.plan(due, Event::Tick { life: self.coordinator.life });
        }
    }

    fn supply(&mut self, count: usize) {
        let first = self.next_producer_id;
        self.next_producer_id += count as i64;
        let ids: Vec<ProducerId> = (first..self.next_producer_id).map(ProducerId).collect();
        let at = self.moment();
        if let Some(frame) = self.coordinator.frame() {
            frame.act(|core, out| core.producer_ids(&at, ids, out));
        }
        self.follow_up();
    }

    fn take_over(&mut self) -> Result<(), String> {
        self.ticks_at = None;
        self.commits_at = self.now;
        let at = self.moment();
        self.coordinator.take_over(&at)?;
        if self.mutation == Some(TxnMutation::ForgetDecisions) {
            let released = self.coordinator.take_released();
            let asks = released.iter().any(|outbound| matches!(outbound, Outbound::WantProducerIds { .. }));
            if asks {
                let at = self.now + self.rng.millis(1, 50);
                self.queue.plan(at, Event::ProducerIds { life: self.coordinator.life, count: 16 });
            }
        }
        self.follow_up();
        Ok(())
    }

    // What goes wrong.

    fn plan_mishap(&mut self) {
        let pause = self.rng.millis(50, 1500);
        self.queue.plan(self.now + pause, Event::Mishap);
    }

    fn mishap(&mut self) {
        if !self.is_chaotic() {
            return;
        }
        let client = self.rng.index(self.clients.len());
        match self.rng.below(6) {
            0 => {
                self.clients[client].stop();
                self.restart_later(client);
            }
            1 => {
                let pause = self.rng.millis(100, 5000);
                self.paused[client] = self.now + pause;
            }
            2 => {
                let version = level(&mut self.rng);
                self.coordinator.set_version(version);
            }
            3 | 4 => {
                self.offsets.fail();
                let pause = self.rng.millis(0, 200);
                self.queue.plan(self.now + pause, Event::GroupsTakenOver);
            }
            _ => {
                let lose = if self.mutation == Some(TxnMutation::LoseCommitted) { 2 } else { 0 };
                self.coordinator.fail(&mut self.rng, lose);
                let pause = self.rng.millis(5, 400);
                self.queue.plan(self.now + pause, Event::TakesOver { life: self.coordinator.life });
            }
        }
        self.plan_mishap();
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
