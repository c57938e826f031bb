//! The calendar of a run: what happens, in order, and what the invariants are told of it.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_coordinator::{Moment, Producer, Ticket};
use ottla_group::{Request, Response};
use ottla_wire::{Instant, Offset, ProducerId, Timestamp, Uuid};

use super::chaos::Chaos;
use super::host::Host;
use super::invariants::{Invariants, Scene, unrest};
use super::member::{Action, Heard, Member, RequestId, Sent, Turn};
use super::mutation::Mutation;
use super::settings::{Protocol, Settings};
use super::topics::SimTopics;
use super::transactions::Transactions;
use super::words::{asked, heard};
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

/// What is going to happen.
pub(super) enum Event {
    Turn(u64),
    Arrive(Box<Letter>),
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
        end: Offset,
    },
    Tick {
        term: u64,
    },
    Mark,
    TransactionExpires(Producer),
    TransactionEnded {
        ended: Producer,
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
    /// It may have arrived before.
    pub repeated: bool,
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
    pub(super) invariants: Invariants,
    /// Who waits for what. Administrators do not wait.
    pub(super) waiting: BTreeMap<Ticket, (u64, RequestId)>,
    pub(super) tickets: u64,
    /// The newest connection and request of each process that the broker has seen.
    pub(super) seen: BTreeMap<u64, (u64, RequestId)>,
    pub(super) chaos: Chaos,
    pub(super) mutation: Option<Mutation>,
    pub(super) append_planned: bool,
    /// The newest commit that will come, and of which leader.
    pub(super) commit_planned: Option<(u64, Offset)>,
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
            host: Host::new(settings.config.clone(), mutation, rng.fork()),
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
            seen: BTreeMap::new(),
            chaos,
            mutation,
            append_planned: false,
            commit_planned: None,
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
            Event::Arrive(letter) => return self.arrive(*letter),
            Event::Answer { process, id, response } => return self.deliver(process, id, *response),
            Event::Append { term } if term == self.host.term() => {
                self.append_planned = false;
                return self.end_turn();
            }
            Event::Commit { term, end } if term == self.host.term() => return self.commit(end),
            Event::Tick { term } if term == self.host.term() => {
                if self.host.next_deadline().is_some_and(|due| due <= self.now) {
                    self.host.tick(self.turn());
                    return self.after_step(false);
                }
            }
            // What a broker of the past had planned.
            Event::Append { .. } | Event::Commit { .. } | Event::Tick { .. } => {}
            Event::Mark => return self.mark(),
            Event::TransactionExpires(producer) => self.end_transaction(producer, false),
            Event::TransactionEnded { ended, next, commit } => {
                let member = self.present(ended.id.0 as usize);
                let heard = member.and_then(|member| {
                    let heard = member.transaction_ended(ended, next, commit)?;
                    Some((member.process, heard))
                });
                if let Some((process, heard)) = heard {
                    return self.keep_books(process, &heard);
                }
            }
            Event::Chaos => return self.wreak(),
            Event::TakeOver => return self.take_over(),
            Event::Writable => {
                self.set_writable(true)?;
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
                let letter = Letter { process, sent: *sent, repeated: false };
                if may_repeat && self.rng.chance(self.chaos.duplicated) {
                    let later = self.now + self.rng.millis(1, 2_000);
                    let again = Letter { repeated: true, ..letter.clone() };
                    self.queue.plan(later, Event::Arrive(Box::new(again)));
                }
                if let Some(delay) = self.chaos.carry(&mut self.rng) {
                    self.queue.plan(self.now + delay, Event::Arrive(Box::new(letter)));
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
        self.turn().moment(Uuid(uuid.to_be_bytes()))
    }

    pub(super) fn turn(&self) -> ottla_partition::Turn {
        let wall = Timestamp(BEGINNING_MS + (self.now.0 / 1_000_000) as i64);
        ottla_partition::Turn { now: self.now, wall }
    }

    pub(super) fn protocol_of(&mut self, slot: usize) -> &mut Protocol {
        &mut self.settings.members[slot].protocol
    }
}
