//! The calendar: what happens, when, and what goes wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_coordinator::{Moment, Producer};
use ottla_replica::{AppendError, ReplyId, VerificationGuard, WriteMarker};
use ottla_txn::{
    Call, MarkerOutcome, MarkersAnswer, Outbound, Outcome, Request, Response, TransactionVersion,
    WriteMarkers,
};
use ottla_wire::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use ottla_wire::messages::add_partitions_to_txn_response::AddPartitionsToTxnResult;
use ottla_wire::messages::{EndTxnRequest, InitProducerIdRequest};
use ottla_wire::{ErrorCode, Instant, PartitionIndex, ProducerEpoch, ProducerId, Str, Timestamp, Uuid};

use super::TxnMutation;
use super::client::{Client, Next, Wish};
use super::coordinator::{Asker, Coordinator};
use super::ledger::Ledger;
use super::partition::Partition;
use crate::client::batch::{Numbered, Value};
use crate::queue::Queue;
use crate::rng::Rng;
use crate::trace::Trace;

const PARTITIONS: usize = 3;
const TRANSACTIONAL_IDS: usize = 2;
/// How many producers want the same id.
const RIVALS: usize = 2;
const TOPIC: Str = Str::from_static("t");
/// `transaction.timeout.ms` of all clients.
const TIMEOUT_MS: i32 = 3_000;
/// When a client sends again what was not answered. Longer than any message in time takes.
const PATIENCE: Duration = Duration::from_millis(250);
/// How long things go wrong.
const CHAOS: Duration = Duration::from_secs(20);
/// How long everything is given to come to rest: timeouts, late messages, retries.
const REST: Duration = Duration::from_secs(30);
const DAWN: i64 = 1_700_000_000_000;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct TxnReport {
    pub seed: u64,
    pub broken: Option<String>,
    /// Transactions that clients know to be committed.
    pub committed: usize,
    pub steps: u64,
    pub trace_hash: u64,
    pub last_lines: Vec<String>,
}

#[derive(Debug)]
enum Event {
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
        partition: usize,
        numbered: Numbered,
        value: Value,
    },
    Verified {
        verification: u64,
        code: ErrorCode,
    },
    Answered {
        client: usize,
        attempt: u64,
        code: ErrorCode,
        producer: Option<Producer>,
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
    /// A client or the coordinator fails, or a client pauses.
    Mishap,
}

/// A batch that waits for its verification.
#[derive(Debug)]
struct Verification {
    client: usize,
    attempt: u64,
    partition: usize,
    numbered: Numbered,
    value: Value,
    guard: VerificationGuard,
}

/// Markers that were asked for together.
#[derive(Debug)]
struct Gathering {
    life: u64,
    answer: MarkersAnswer,
    left: usize,
}

struct World {
    now: Instant,
    rng: Rng,
    queue: Queue<Event>,
    trace: Trace,
    v2: bool,
    /// Whether messages may come late.
    late: bool,
    mutation: Option<TxnMutation>,
    coordinator: Coordinator,
    partitions: Vec<Partition>,
    clients: Vec<Client>,
    /// The number of what each client wants now.
    attempts: Vec<u64>,
    /// The number of the next time that each client says what it wants.
    turns: Vec<u64>,
    /// Until when a client neither hears nor says anything.
    paused: Vec<Instant>,
    verifications: BTreeMap<u64, Verification>,
    gatherings: BTreeMap<u64, Gathering>,
    count: u64,
    next_producer_id: i64,
    /// When the last batch of the coordinator's log is committed.
    commits_at: Instant,
    ticks_at: Option<Instant>,
    ledger: Ledger,
}

/// One run.
pub fn run(seed: u64, mutation: Option<TxnMutation>, print: bool) -> TxnReport {
    let mut world = World::new(seed, mutation, print);
    let mut steps = 0;
    let mut broken = None;
    let end = Instant(0) + CHAOS + REST;
    while let Some((now, event)) = world.queue.take_next() {
        if now > end {
            break;
        }
        world.now = now;
        steps += 1;
        if let Err(why) = world.step(event) {
            broken = Some(why);
            break;
        }
    }
    let broken = broken.or_else(|| world.ledger.check(&world.partitions).err());
    TxnReport {
        seed,
        broken,
        committed: world.ledger.committed(),
        steps,
        trace_hash: world.trace.hash(),
        last_lines: world.trace.last_lines(),
    }
}

impl World {
    fn new(seed: u64, mutation: Option<TxnMutation>, print: bool) -> World {
        let mut rng = Rng::new(seed);
        let v2 = !rng.chance(300) && mutation != Some(TxnMutation::LateInVersion1);
        let version = if v2 { TransactionVersion::V2 } else { TransactionVersion::V1 };
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
            partitions: (0..PARTITIONS).map(|_| Partition::new(now, wall, verify)).collect(),
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
        for client in 0..world.clients.len() {
            let at = now + world.rng.millis(0, 3000);
            world.queue.plan(at, Event::Starts { client });
        }
        world.plan_mishap();
        world
    }

    fn step(&mut self, event: Event) -> Result<(), String> {
        self.trace.note(self.now, format_args!("{event:?}"));
        match event {
            Event::Starts { client } => self.starts(client),
            Event::Turn { client, turn } => self.turn(client, turn),
            Event::AtCoordinator { asker, call } => self.at_coordinator(asker, call),
            Event::AtPartition { client, attempt, id, partition, numbered, value } => {
                self.at_partition(client, attempt, &id, partition, numbered, value);
            }
            Event::Verified { verification, code } => self.verified(verification, code),
            Event::Answered { client, attempt, code, producer } => {
                self.answered(client, attempt, code, producer);
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
            Event::Mishap => self.mishap(),
        }
        Ok(())
    }

    fn is_chaotic(&self) -> bool {
        self.now < Instant(0) + CHAOS
    }

    fn wall(&self) -> Timestamp {
        Timestamp(DAWN + (self.now.0 / 1_000_000) as i64)
    }

    fn moment(&mut self) -> Moment {
        let uuid = Uuid((u128::from(self.rng.draw()) << 64 | u128::from(self.rng.draw())).to_be_bytes());
        Moment { now: self.now, wall: self.wall(), uuid }
    }

    fn next_count(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// Sends a message: it may be lost, come late, or come twice.
    fn send(&mut self, make: impl Fn() -> Event) {
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
        if let Wish::Produce { partition, numbered, value } = wish {
            self.send(|| Event::AtPartition { client, attempt, id: id.clone(), partition, numbered, value });
            return;
        }
        if let Some(call) = call(&id, self.v2, &wish, self.clients[client].producer()) {
            let asker = Asker::Client { client, attempt };
            self.send(|| Event::AtCoordinator { asker, call: call.clone() });
        }
    }

    fn answered(&mut self, client: usize, attempt: u64, code: ErrorCode, producer: Option<Producer>) {
        if attempt != self.attempts[client] || self.paused[client] > self.now {
            return;
        }
        match self.clients[client].answered(code, producer, &mut self.ledger) {
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

    fn answer(&mut self, client: usize, attempt: u64, code: ErrorCode, producer: Option<Producer>) {
        self.send(|| Event::Answered { client, attempt, code, producer });
    }

    // The coordinator.

    fn at_coordinator(&mut self, asker: Asker, call: Call) {
        let at = self.moment();
        if let Err(code) = self.coordinator.ask(&at, asker, call) {
            self.tell(asker, code, None);
        }
        self.follow_up();
    }

    fn tell(&mut self, asker: Asker, code: ErrorCode, producer: Option<Producer>) {
        match asker {
            Asker::Client { client, attempt } => self.answer(client, attempt, code, producer),
            Asker::Partition { verification } => self.send(|| Event::Verified { verification, code }),
        }
    }

    /// What a step of the coordinator leads to.
    fn follow_up(&mut self) {
        for _ in 0..self.coordinator.append() {
            let at = (self.now + self.rng.millis(1, 15)).max(self.commits_at);
            self.commits_at = at;
            self.queue.plan(at, Event::Committed { life: self.coordinator.life });
        }
        for outbound in self.coordinator.take_released() {
            match outbound {
                Outbound::Reply { to, response } => {
                    if let Some(asker) = self.coordinator.asker(to) {
                        let (code, producer) = read(response);
                        self.tell(asker, code, producer);
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

    // Markers.

    fn send_markers(&mut self, asked: WriteMarkers) {
        let gathering = self.next_count();
        let partitions: Vec<usize> = asked.partitions.iter().map(|(_, p)| p as usize).collect();
        let answer = MarkersAnswer {
            transactional_id: asked.transactional_id,
            token: asked.token,
            partitions: Vec::new(),
        };
        self.gatherings
            .insert(gathering, Gathering { life: self.coordinator.life, answer, left: partitions.len() });
        let marker = WriteMarker {
            producer: asked.producer.id,
            producer_epoch: asked.producer.epoch,
            coordinator_epoch: asked.coordinator_epoch.0,
            commit: asked.outcome == Outcome::Commit,
            transaction_version: asked.transaction_version.level() as i8,
            deadline: self.now,
            reply: ReplyId(0),
        };
        for partition in partitions {
            self.send_marker(partition, marker, gathering);
        }
    }

    /// One marker: lost, written without the answer being heard, or written; and perhaps once more, much later.
    fn send_marker(&mut self, partition: usize, marker: WriteMarker, gathering: u64) {
        let delay = self.rng.millis(1, 40);
        let chaotic = self.is_chaotic();
        if chaotic && self.rng.chance(150) {
            let trusts = self.mutation == Some(TxnMutation::TrustMarkers);
            let outcome = if trusts { MarkerOutcome::Done } else { MarkerOutcome::Retry };
            self.queue.plan(self.now + PATIENCE, Event::MarkerAnswered { gathering, partition, outcome });
        } else {
            let heard = !(chaotic && self.rng.chance(150));
            self.queue.plan(
                self.now + delay,
                Event::Marker { partition, marker, gathering: Some(gathering), heard },
            );
        }
        if self.late && chaotic && self.rng.chance(200) {
            let delay = self.rng.millis(40, 4000);
            self.queue
                .plan(self.now + delay, Event::Marker { partition, marker, gathering: None, heard: false });
        }
    }

    fn write_marker(&mut self, partition: usize, marker: &WriteMarker, gathering: Option<u64>, heard: bool) {
        let (now, wall) = (self.now, self.wall());
        let written = self.partitions[partition].write_marker(now, wall, marker);
        self.trace.note(now, format_args!("  {written:?}"));
        let Some(gathering) = gathering else { return };
        let outcome = match written {
            _ if !heard => MarkerOutcome::Retry,
            Ok(()) => MarkerOutcome::Done,
            Err(why) => MarkerOutcome::from(ErrorCode::from(why)),
        };
        let pause = if heard { self.rng.millis(1, 40) } else { PATIENCE };
        self.queue.plan(now + pause, Event::MarkerAnswered { gathering, partition, outcome });
    }

    fn marker_answered(&mut self, gathering: u64, partition: usize, outcome: MarkerOutcome) {
        let Some(gathered) = self.gatherings.get_mut(&gathering) else { return };
        gathered.answer.partitions.push((TOPIC, PartitionIndex(partition as i32), outcome));
        gathered.left -= 1;
        if gathered.left > 0 {
            return;
        }
        let Some(Gathering { life, answer, .. }) = self.gatherings.remove(&gathering) else { return };
        if life != self.coordinator.life {
            return; // who asked has failed
        }
        let at = self.moment();
        if let Some(frame) = self.coordinator.frame() {
            frame.act(|core, out| core.markers_answered(&at, &answer, out));
        }
        self.follow_up();
    }

    // Partitions.

    fn at_partition(
        &mut self,
        client: usize,
        attempt: u64,
        id: &str,
        partition: usize,
        numbered: Numbered,
        value: Value,
    ) {
        let wall = self.wall();
        let verifies = self.mutation != Some(TxnMutation::SkipVerification);
        let guard = self.partitions[partition].begin_verification(wall, numbered, self.v2);
        match guard.filter(|_| verifies) {
            Some(guard) => {
                let verification = self.next_count();
                self.verifications.insert(
                    verification,
                    Verification { client, attempt, partition, numbered, value, guard },
                );
                let producer = Producer { id: numbered.producer, epoch: numbered.epoch };
                // For clients of version 2 the partition is added by the broker.
                let call = Call { version: 5, request: add(id, producer, partition, !self.v2) };
                let asker = Asker::Partition { verification };
                self.send(|| Event::AtCoordinator { asker, call: call.clone() });
            }
            None => self.append(client, attempt, partition, numbered, value, None),
        }
    }

    fn verified(&mut self, verification: u64, code: ErrorCode) {
        let Some(waiting) = self.verifications.remove(&verification) else { return };
        let Verification { client, attempt, partition, numbered, value, guard } = waiting;
        match code {
            ErrorCode::None => self.append(client, attempt, partition, numbered, value, Some(guard)),
            _ => self.answer(client, attempt, code, None),
        }
    }

    fn append(
        &mut self,
        client: usize,
        attempt: u64,
        partition: usize,
        numbered: Numbered,
        value: Value,
        guard: Option<VerificationGuard>,
    ) {
        let (now, wall) = (self.now, self.wall());
        let appended = self.partitions[partition].append(now, wall, numbered, value, guard);
        self.trace.note(now, format_args!("  {appended:?}"));
        let code = match appended {
            Ok(()) | Err(AppendError::DuplicateSequence { .. }) => ErrorCode::None,
            Err(why) => ErrorCode::from(why),
        };
        self.answer(client, attempt, code, None);
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
        match self.rng.below(3) {
            0 => {
                self.clients[client].stop();
                self.restart_later(client);
            }
            1 => {
                let pause = self.rng.millis(100, 5000);
                self.paused[client] = self.now + pause;
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

/// What a client asks the coordinator for; `None` if it cannot ask for that.
fn call(id: &str, v2: bool, wish: &Wish, producer: Option<Producer>) -> Option<Call> {
    let none = Producer { id: ProducerId::NONE, epoch: ProducerEpoch(-1) };
    Some(match *wish {
        Wish::Init(goes_on) => {
            let Producer { id: producer_id, epoch } = goes_on.unwrap_or(none);
            let request = InitProducerIdRequest {
                transactional_id: Some(Str::from(id)),
                transaction_timeout_ms: TIMEOUT_MS,
                producer_id: producer_id.0,
                producer_epoch: epoch.0,
                ..InitProducerIdRequest::default()
            };
            Call { version: 5, request: Request::InitProducerId(request) }
        }
        Wish::Add { partition } => Call { version: 3, request: add(id, producer?, partition, false) },
        Wish::End(outcome) => {
            let producer = producer?;
            let request = EndTxnRequest {
                transactional_id: Str::from(id),
                producer_id: producer.id.0,
                producer_epoch: producer.epoch.0,
                committed: outcome == Outcome::Commit,
            };
            Call { version: if v2 { 5 } else { 4 }, request: Request::EndTxn(request) }
        }
        Wish::Produce { .. } => return None,
    })
}

fn add(id: &str, producer: Producer, partition: usize, verify_only: bool) -> Request {
    Request::AddPartitionsToTxn(AddPartitionsToTxnTransaction {
        transactional_id: Str::from(id),
        producer_id: producer.id.0,
        producer_epoch: producer.epoch.0,
        verify_only,
        topics: vec![AddPartitionsToTxnTopic { name: TOPIC, partitions: vec![partition as i32] }],
    })
}

/// What clients look at in an answer.
fn read(response: Response) -> (ErrorCode, Option<Producer>) {
    let (code, producer) = match response {
        Response::InitProducerId(r) => (r.error_code, Some((r.producer_id, r.producer_epoch))),
        Response::EndTxn(r) => (r.error_code, Some((r.producer_id, r.producer_epoch))),
        Response::AddPartitionsToTxn(result) => (first_code(&result), None),
        Response::AddOffsetsToTxn(r) => (r.error_code, None),
        Response::DescribeTransaction(r) => (r.error_code, None),
        Response::ListTransactions(r) => (r.error_code, None),
    };
    let producer = producer.map(|(id, epoch)| Producer { id: ProducerId(id), epoch: ProducerEpoch(epoch) });
    (ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError), producer)
}

fn first_code(result: &AddPartitionsToTxnResult) -> i16 {
    let mut partitions = result.topic_results.iter().flat_map(|topic| &topic.results_by_partition);
    partitions.next().map_or(ErrorCode::UnknownServerError.code(), |partition| partition.partition_error_code)
}
