//! The calendar of a run: what happens, in order, and what the invariants are told of it.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_coordinator::{Moment, Producer, Ticket};
use ottla_group::{Call, Caller, Reply, Request, Response, Topics, door};
use ottla_wire::primitives::Str;
use ottla_wire::{ErrorCode, Instant, ProducerId, Timestamp, Uuid};

use super::chaos::Chaos;
use super::host::Host;
use super::invariants::{Invariants, Scene, unrest};
use super::member::{Action, Heard, Member, Protocol, RequestId, Sent, Turn};
use super::mutation::Mutation;
use super::settings::Settings;
use super::topics::SimTopics;
use super::transactions::Transactions;
use crate::invariants::Broken;
use crate::queue::Queue;
use crate::rng::Rng;
use crate::trace::Trace;

/// Wall clock at the beginning.
const BEGINNING_MS: i64 = 1_700_000_000_000;

/// How often a member looks around.
const TURN_MS: (u64, u64) = (60, 140);

/// How long things may take to come to rest: sessions end, rebalances are waited for, one after the other.
const REST_MAX: Duration = Duration::from_secs(90);

/// How long a transaction may last.
const TRANSACTION_MAX: Duration = Duration::from_secs(6);

/// What is going to happen.
pub(super) enum Event {
    Turn(u64),
    Arrive(Letter),
    Answer {
        process: u64,
        id: RequestId,
        response: Box<Response>,
    },
    /// The leader of this term takes its batches to the log.
    Append {
        term: u64,
    },
    /// The log is replicated up to here.
    Commit {
        term: u64,
        end: usize,
    },
    Tick {
        term: u64,
    },
    Mark,
    TransactionExpires(Producer),
    TransactionEnded {
        slot: usize,
        next: Producer,
        commit: bool,
    },
    Chaos,
    TakeOver,
    Writable,
    /// A process of this slot starts.
    Start(usize),
    LookForRest,
}

/// A request on its way to the broker.
#[derive(Clone)]
pub(super) struct Letter {
    pub process: u64,
    pub sent: Sent,
}

/// Everything of a run.
pub struct World<'t> {
    pub(super) now: Instant,
    pub(super) rng: Rng,
    pub(super) trace: &'t mut Trace,
    pub(super) settings: Settings,
    pub(super) topics: SimTopics,
    pub(super) host: Host,
    pub(super) transactions: Transactions,
    /// All processes that run. The last of a slot is its present one.
    pub(super) members: Vec<Member>,
    /// The slot of each process that ever was.
    slots: Vec<usize>,
    pub(super) queue: Queue<Event>,
    invariants: Invariants,
    /// Who waits for what. Administrators do not wait.
    waiting: BTreeMap<Ticket, (u64, RequestId)>,
    tickets: u64,
    /// The newest connection of each process that the broker has seen.
    connections: BTreeMap<u64, u64>,
    pub(super) chaos: Chaos,
    mutation: Option<Mutation>,
    append_planned: bool,
    rest_by: Option<Instant>,
    steps: u64,
    commits: i64,
}

impl<'t> World<'t> {
    pub fn new(seed: u64, mutation: Option<Mutation>, trace: &'t mut Trace) -> Result<World<'t>, Broken> {
        let mut rng = Rng::new(seed);
        let settings = Settings::draw(&mut rng);
        let mut topics = SimTopics::default();
        for (name, partitions) in settings.topics.iter().filter(|(_, partitions)| *partitions > 0) {
            topics.set(name, *partitions);
        }
        let chaos = Chaos::new(&settings);
        let mut world = World {
            now: Instant(0),
            host: Host::new(settings.config.clone(), mutation),
            rng,
            trace,
            settings,
            topics,
            transactions: Transactions::default(),
            members: Vec::new(),
            slots: Vec::new(),
            queue: Queue::default(),
            invariants: Invariants::default(),
            waiting: BTreeMap::new(),
            tickets: 0,
            connections: BTreeMap::new(),
            chaos,
            mutation,
            append_planned: false,
            rest_by: None,
            steps: 0,
            commits: 0,
        };
        world.queue.plan(world.now, Event::TakeOver);
        world.queue.plan(world.now, Event::Chaos);
        for slot in 0..world.settings.members.len() {
            let at = world.now + world.rng.millis(0, 2_000);
            world.queue.plan(at, Event::Start(slot));
        }
        Ok(world)
    }

    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Offsets that members were told to be committed.
    pub fn commits(&self) -> i64 {
        self.commits
    }

    pub fn run(&mut self, steps_max: u64) -> Result<(), Broken> {
        while let Some((at, event)) = self.queue.take_next() {
            self.now = at;
            self.steps += 1;
            if self.steps > steps_max {
                let why = format!("still busy after {steps_max} events");
                return Err(Broken { invariant: super::invariants::REST, why });
            }
            if matches!(event, Event::LookForRest) {
                if self.has_come_to_rest()? {
                    return Ok(());
                }
                continue;
            }
            self.happen(event)?;
        }
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), Broken> {
        match event {
            Event::Turn(process) => self.take_turn(process),
            Event::Arrive(letter) => return self.arrive(letter),
            Event::Answer { process, id, response } => return self.deliver(process, id, *response),
            Event::Append { term } if term == self.host.term() => {
                self.append_planned = false;
                self.host.append();
                self.plan_commit();
            }
            Event::Commit { term, end } if term == self.host.term() => return self.commit(end),
            Event::Tick { term } if term == self.host.term() => {
                if self.host.next_deadline().is_some_and(|due| due <= self.now) {
                    let at = self.moment();
                    self.host.tick(&at);
                    return self.after_step(false);
                }
            }
            // What a broker of the past had planned.
            Event::Append { .. } | Event::Commit { .. } | Event::Tick { .. } => {}
            Event::Mark => self.mark(),
            Event::TransactionExpires(producer) => self.end_transaction(producer, false),
            Event::TransactionEnded { slot, next, commit } => {
                let process = self.present(slot).map(|member| member.process);
                let heard = self.present(slot).and_then(|member| member.transaction_ended(next, commit));
                if let (Some(process), Some(heard)) = (process, heard) {
                    return self.keep_books(process, &heard);
                }
            }
            Event::Chaos => return self.wreak(),
            Event::TakeOver => return self.take_over(),
            Event::Writable => {
                let at = self.moment();
                self.host.set_writable(&at, &self.topics, true);
                return self.after_step(true);
            }
            Event::Start(slot) => self.start(slot),
            Event::LookForRest => {}
        }
        Ok(())
    }

    /// A new process of a slot.
    pub(super) fn start(&mut self, slot: usize) {
        let process = self.slots.len() as u64;
        self.slots.push(slot);
        let settings = self.settings.members[slot].clone();
        let producer = settings.transactional.then(|| {
            let producer = self.transactions.producer(ProducerId(slot as i64));
            // Whoever had it before is cut off; the transaction that it had begun comes to nothing.
            self.end_transaction(producer, false);
            producer
        });
        self.trace.note(
            self.now,
            format_args!("process {process} of {} starts, {:?}", settings.group, settings.protocol),
        );
        let mut turn = Turn { now: self.now, rng: &mut self.rng, topics: &self.topics };
        let member = Member::new(settings, process, producer, &mut turn);
        self.members.push(member);
        if self.chaos.is_over(self.now) {
            self.end_leftovers();
        }
        self.queue.plan(self.now, Event::Turn(process));
    }

    /// The present process of a slot.
    pub(super) fn present(&mut self, slot: usize) -> Option<&mut Member> {
        let slots = &self.slots;
        self.members.iter_mut().rev().find(|member| slots[member.process as usize] == slot)
    }

    pub(super) fn slot_of(&self, process: u64) -> usize {
        self.slots[process as usize]
    }

    /// Processes that are not the present ones of their slots.
    pub(super) fn end_leftovers(&mut self) {
        let slots = &self.slots;
        let mut newest: BTreeMap<usize, u64> = BTreeMap::new();
        for member in &self.members {
            newest.insert(slots[member.process as usize], member.process);
        }
        self.members.retain(|member| newest[&slots[member.process as usize]] == member.process);
    }

    fn take_turn(&mut self, process: u64) {
        let Some(member) = self.members.iter_mut().find(|member| member.process == process) else { return };
        let mut turn = Turn { now: self.now, rng: &mut self.rng, topics: &self.topics };
        let actions = member.turn(&mut turn);
        let next = self.now + self.rng.millis(TURN_MS.0, TURN_MS.1);
        self.queue.plan(next, Event::Turn(process));
        for action in actions {
            self.act(process, action);
        }
    }

    pub(super) fn act(&mut self, process: u64, action: Action) {
        match action {
            Action::Send(sent) => {
                self.trace.note(self.now, format_args!("process {process} asks {}", asked(&sent.request)));
                let may_repeat = !matches!(
                    sent.request,
                    Request::ConsumerGroupHeartbeat(_)
                        | Request::OffsetCommit(_)
                        | Request::TxnOffsetCommit(_)
                );
                let letter = Letter { process, sent };
                if may_repeat && self.rng.chance(self.chaos.duplicated) {
                    let later = self.now + self.rng.millis(1, 2_000);
                    self.queue.plan(later, Event::Arrive(letter.clone()));
                }
                if let Some(delay) = self.chaos.carry(&mut self.rng) {
                    self.queue.plan(self.now + delay, Event::Arrive(letter));
                }
            }
            Action::End { producer, commit } => self.end_transaction(producer, commit),
        }
    }

    fn end_transaction(&mut self, producer: Producer, commit: bool) {
        self.trace.note(self.now, format_args!("transaction {producer:?} is to end, commit {commit}"));
        self.transactions.end(producer, commit);
        let at = self.now + self.rng.millis(1, 50);
        self.queue.plan(at, Event::Mark);
    }

    fn arrive(&mut self, letter: Letter) -> Result<(), Broken> {
        let Letter { process, sent } = letter;
        let newest = self.connections.entry(process).or_default();
        if sent.connection < *newest {
            return Ok(()); // the connection is closed
        }
        *newest = sent.connection;
        let Some(request) = self.check(process, sent.request, sent.id) else { return Ok(()) };
        let caller = Caller {
            client_id: Str::from_static("sim"),
            client_host: Str::from_static("/host"),
            version: sent.version,
        };
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.waiting.insert(ticket, (process, sent.id));
        let at = self.moment();
        let deletes = matches!(request, Request::OffsetDelete(_) | Request::DeleteGroup(_));
        let call = Call { caller, request: request.clone() };
        if let Err(refusal) = self.host.handle(&at, ticket, call) {
            self.waiting.remove(&ticket);
            let error = match refusal {
                ottla_coordinator::Refusal::Loading => ErrorCode::CoordinatorLoadInProgress,
                ottla_coordinator::Refusal::Unavailable => ErrorCode::CoordinatorNotAvailable,
                ottla_coordinator::Refusal::NotCoordinator => ErrorCode::NotCoordinator,
            };
            self.answer(process, sent.id, door::refusal(request, error));
            return Ok(());
        }
        self.after_step(deletes)
    }

    /// An administrator asks; nobody waits for the answer.
    pub(super) fn ask(&mut self, request: Request) -> Result<(), Broken> {
        self.trace.note(self.now, format_args!("the administrator asks {}", asked(&request)));
        self.tickets += 1;
        let at = self.moment();
        let call = Call { caller: Caller::default(), request };
        match self.host.handle(&at, Ticket(self.tickets), call) {
            Ok(()) => self.after_step(true),
            Err(_) => Ok(()),
        }
    }

    /// What the broker checks before the coordinator is asked: topics exist, transactions are open.
    fn check(&mut self, process: u64, request: Request, id: RequestId) -> Option<Request> {
        match request {
            Request::OffsetCommit(mut request) => {
                request.topics.retain(|topic| self.topics.by_name(&topic.name).is_some());
                if self.mutation == Some(Mutation::CommitUnfenced) {
                    self.unfence(&mut request);
                }
                Some(Request::OffsetCommit(request))
            }
            Request::TxnOffsetCommit(mut request) => {
                request.topics.retain(|topic| self.topics.by_name(&topic.name).is_some());
                let producer = Producer {
                    id: ProducerId(request.producer_id),
                    epoch: ottla_wire::ProducerEpoch(request.producer_epoch),
                };
                if !self.transactions.is_open(producer) {
                    let refused =
                        door::refusal(Request::TxnOffsetCommit(request), ErrorCode::InvalidTxnState);
                    self.answer(process, id, refused);
                    return None;
                }
                self.queue.plan(self.now + TRANSACTION_MAX, Event::TransactionExpires(producer));
                Some(Request::TxnOffsetCommit(request))
            }
            Request::ConsumerGroupHeartbeat(mut request) => {
                if self.mutation == Some(Mutation::TrustRevocations) && request.member_epoch > 0 {
                    request.topic_partitions = Some(Vec::new());
                }
                Some(Request::ConsumerGroupHeartbeat(request))
            }
            other => Some(other),
        }
    }

    fn answer(&mut self, process: u64, id: RequestId, mut response: Response) {
        if self.mutation == Some(Mutation::HideRebalances)
            && let Response::Heartbeat(response) = &mut response
            && response.error_code == ErrorCode::RebalanceInProgress.code()
        {
            response.error_code = ErrorCode::None.code();
        }
        if let Some(delay) = self.chaos.carry(&mut self.rng) {
            let response = Box::new(response);
            self.queue.plan(self.now + delay, Event::Answer { process, id, response });
        }
    }

    fn deliver(&mut self, process: u64, id: RequestId, response: Response) -> Result<(), Broken> {
        let Some(member) = self.members.iter_mut().find(|member| member.process == process) else {
            return Ok(());
        };
        self.trace.note(self.now, format_args!("process {process} hears {}", heard(&response)));
        let mut turn = Turn { now: self.now, rng: &mut self.rng, topics: &self.topics };
        if let Some(heard) = member.answered(id, response, &mut turn) {
            self.keep_books(process, &heard)?;
        }
        self.members.retain(|member| !member.is_fenced());
        self.observe(false)
    }

    fn keep_books(&mut self, process: u64, heard: &Heard) -> Result<(), Broken> {
        let Heard::Committed(offsets) = heard;
        self.commits += offsets.len() as i64;
        let slot = self.slot_of(process);
        let group = &self.settings.members[slot].group;
        self.invariants.heard(group, heard, &self.topics)
    }

    /// The coordinator had its turn.
    pub(super) fn after_step(&mut self, deletes: bool) -> Result<(), Broken> {
        self.observe(deletes)?;
        self.release();
        if !self.append_planned {
            self.append_planned = true;
            let at = self.now + self.rng.millis(0, 1);
            self.queue.plan(at, Event::Append { term: self.host.term() });
        }
        if let Some(due) = self.host.next_deadline() {
            self.queue.plan(due.max(self.now), Event::Tick { term: self.host.term() });
        }
        Ok(())
    }

    fn observe(&mut self, deletes: bool) -> Result<(), Broken> {
        let Some(core) = self.host.core() else { return Ok(()) };
        let scene = Scene { core, host: &self.host, members: &self.members, topics: &self.topics };
        self.invariants.step(&scene, deletes)
    }

    fn release(&mut self) {
        for Reply { to, response } in self.host.take_released() {
            if let Some((process, id)) = self.waiting.remove(&to) {
                self.answer(process, id, response);
            }
        }
    }

    fn plan_commit(&mut self) {
        let (end, committed) = self.host.ends();
        if end > committed {
            let at = self.now + self.chaos.replication(&mut self.rng);
            self.queue.plan(at, Event::Commit { term: self.host.term(), end });
        }
        self.release();
    }

    fn commit(&mut self, end: usize) -> Result<(), Broken> {
        self.host.commit(end);
        for (ended, commit) in self.transactions.committed(end) {
            self.trace.note(self.now, format_args!("transaction {ended:?} has ended, commit {commit}"));
            let next = self.transactions.producer(ended.id);
            let at = self.now + self.rng.millis(1, 20);
            let slot = ended.id.0 as usize;
            self.queue.plan(at, Event::TransactionEnded { slot, next, commit });
        }
        self.after_step(false)?;
        if self.rng.chance(50) {
            return self.look_whether_caught_up();
        }
        Ok(())
    }

    /// If nothing is under way, what is known must be what the log says.
    fn look_whether_caught_up(&mut self) -> Result<(), Broken> {
        self.host.append();
        self.plan_commit();
        let (end, committed) = self.host.ends();
        let Some(core) = self.host.core().filter(|_| end == committed) else { return Ok(()) };
        let scene = Scene { core, host: &self.host, members: &self.members, topics: &self.topics };
        self.invariants.caught_up(&scene)
    }

    /// Writes the markers of transactions that are decided. While nobody leads they wait for the next broker.
    fn mark(&mut self) {
        while let Some((producer, commit)) = self.transactions.unmarked()
            && let Some(at) = self.host.append_marker(producer, commit)
        {
            self.trace.note(self.now, format_args!("marker of {producer:?}, commit {commit}"));
            self.transactions.marked(producer, at);
        }
        self.plan_commit();
    }

    /// The broker is gone, and with it whatever was not committed, or a part of it. Another takes over.
    pub(super) fn lose_broker(&mut self, append_failed: bool, down: Duration) {
        if !self.host.is_led() {
            return;
        }
        if append_failed {
            self.host.append();
            self.host.fail_append(&mut self.rng);
        } else {
            self.host.crash(&mut self.rng);
        }
        self.transactions.cut(self.host.ends().0);
        self.waiting.clear();
        self.trace.note(self.now, format_args!("the broker is gone, append failed: {append_failed}"));
        self.queue.plan(self.now + down, Event::TakeOver);
    }

    fn take_over(&mut self) -> Result<(), Broken> {
        let at = self.moment();
        self.append_planned = false;
        self.host
            .start(&at, &self.topics)
            .map_err(|why| Broken { invariant: "the log can be read", why: why.to_string() })?;
        let (end, _) = self.host.ends();
        self.trace.note(self.now, format_args!("a broker takes over, the log has {end} batches"));
        if let Some(core) = self.host.core() {
            let scene = Scene { core, host: &self.host, members: &self.members, topics: &self.topics };
            self.invariants.taken_over(&scene)?;
        }
        // What the log has was committed by that.
        self.commit(end)?;
        self.queue.plan(self.now + Duration::from_millis(50), Event::Mark);
        Ok(())
    }

    /// Faults are over.
    pub(super) fn begin_rest(&mut self) {
        self.rest_by = Some(self.now + REST_MAX);
        self.queue.plan(self.now + Duration::from_secs(5), Event::LookForRest);
    }

    fn has_come_to_rest(&mut self) -> Result<bool, Broken> {
        let reason = match self.host.core() {
            None => Some("nobody leads".to_owned()),
            Some(core) => {
                unrest(&Scene { core, host: &self.host, members: &self.members, topics: &self.topics })
            }
        };
        let Some(why) = reason else {
            self.trace.note(self.now, format_args!("at rest"));
            self.look_whether_caught_up()?;
            return Ok(true);
        };
        if self.rest_by.is_some_and(|by| self.now >= by) {
            return Err(Broken { invariant: super::invariants::REST, why });
        }
        self.queue.plan(self.now + Duration::from_secs(1), Event::LookForRest);
        Ok(false)
    }

    pub(super) fn moment(&mut self) -> Moment {
        let uuid = (u128::from(self.rng.draw()) << 64) | u128::from(self.rng.draw());
        let wall = Timestamp(BEGINNING_MS + (self.now.0 / 1_000_000) as i64);
        Moment { now: self.now, wall, uuid: Uuid(uuid.to_be_bytes()) }
    }

    pub(super) fn protocol_of(&mut self, slot: usize) -> &mut Protocol {
        &mut self.settings.members[slot].protocol
    }
}

/// What the trace says of a request: all that must not differ between two runs.
fn asked(request: &Request) -> String {
    match request {
        Request::JoinGroup(request) => format!("JoinGroup as {}", request.member_id),
        Request::SyncGroup(request) => format!("SyncGroup in {}", request.generation_id),
        Request::Heartbeat(request) => format!("Heartbeat in {}", request.generation_id),
        Request::LeaveGroup(_) => "LeaveGroup".to_owned(),
        Request::ConsumerGroupHeartbeat(request) => {
            let holds = request.topic_partitions.as_ref();
            let holds = holds.map(|topics| topics.iter().map(|topic| topic.partitions.len()).sum::<usize>());
            format!("ConsumerGroupHeartbeat in {} holding {holds:?}", request.member_epoch)
        }
        Request::OffsetCommit(request) => {
            let offsets = request.topics.iter().flat_map(|topic| &topic.partitions);
            let offsets: Vec<i64> = offsets.map(|partition| partition.committed_offset).collect();
            format!("OffsetCommit in {} {offsets:?}", request.generation_id_or_member_epoch)
        }
        Request::TxnOffsetCommit(request) => {
            let offsets = request.topics.iter().flat_map(|topic| &topic.partitions);
            let offsets: Vec<i64> = offsets.map(|partition| partition.committed_offset).collect();
            format!(
                "TxnOffsetCommit in {} epoch {} {offsets:?}",
                request.generation_id, request.producer_epoch
            )
        }
        Request::OffsetFetch { .. } => "OffsetFetch".to_owned(),
        Request::OffsetDelete(request) => format!("OffsetDelete {:?}", request.topics),
        Request::ListGroups(_) => "ListGroups".to_owned(),
        Request::DescribeGroup(id) => format!("DescribeGroup {id}"),
        Request::ConsumerGroupDescribe(id) => format!("ConsumerGroupDescribe {id}"),
        Request::DeleteGroup(id) => format!("DeleteGroup {id}"),
        Request::History(id) => format!("History {id}"),
    }
}

fn heard(response: &Response) -> String {
    match response {
        Response::JoinGroup(response) => format!(
            "JoinGroup error {} generation {} leader {}",
            response.error_code,
            response.generation_id,
            response.leader == response.member_id
        ),
        Response::SyncGroup(response) => {
            format!("SyncGroup error {} {} bytes", response.error_code, response.assignment.len())
        }
        Response::Heartbeat(response) => format!("Heartbeat error {}", response.error_code),
        Response::ConsumerGroupHeartbeat(response) => {
            let topics = response.assignment.as_ref().map(|assignment| &assignment.topic_partitions);
            let assigned: Option<Vec<_>> =
                topics.map(|topics| topics.iter().map(|topic| (topic.topic_id, &topic.partitions)).collect());
            format!(
                "ConsumerGroupHeartbeat error {} epoch {} assigned {assigned:?}",
                response.error_code, response.member_epoch
            )
        }
        Response::OffsetCommit(response) => {
            let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            let errors: Vec<i16> = partitions.map(|partition| partition.error_code).collect();
            format!("OffsetCommit errors {errors:?}")
        }
        Response::TxnOffsetCommit(response) => {
            let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            let errors: Vec<i16> = partitions.map(|partition| partition.error_code).collect();
            format!("TxnOffsetCommit errors {errors:?}")
        }
        Response::OffsetFetch(response) => {
            let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            let found: Vec<_> = partitions.map(|one| (one.committed_offset, one.error_code)).collect();
            format!("OffsetFetch error {} {found:?}", response.error_code)
        }
        Response::LeaveGroup(response) => format!("LeaveGroup error {}", response.error_code),
        Response::OffsetDelete(_)
        | Response::ListGroups(_)
        | Response::DescribeGroup(_)
        | Response::ConsumerGroupDescribe(_)
        | Response::DeleteGroup(_)
        | Response::History(_) => "something for administrators".to_owned(),
    }
}
