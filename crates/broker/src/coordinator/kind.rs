//! The broker's part of a kind of coordinator, and the mail to one.

use std::collections::HashMap;
use std::sync::Arc;

use ottla_coordinator::{Coordinator, Frame, Moment, Output, Ticket};
use ottla_partition::{Claim, Loaded, Unserved};
use ottla_replica::{AppendError, VerificationGuard};
use ottla_wire::compress::Codec;
use ottla_wire::primitives::Str;
use ottla_wire::{InternalTopic, LeaderEpoch};
use tokio::sync::oneshot;

use super::desk::Coordinators;
use super::kit::{Kit, Metered};
use super::world::World;
use crate::partition::PartitionHandle;
use crate::shard::Partition;

/// A kind of coordinator: its core, and its connection to the broker.
pub trait CoordinatorKind: Coordinator<Request: Send, Outbound: Send> + Send + Sized + 'static {
    /// Its name in the log.
    const NAME: &'static str;

    /// The topic that holds its state.
    const TOPIC: InternalTopic;

    /// The requests that clients can make.
    type Question;
    type Answer: Send + 'static;

    /// A core of a leader in this epoch. It has the settings of `world` and nothing loaded.
    fn create(world: &World, epoch: LeaderEpoch) -> Self;

    /// Brings an active frame up to date with the world. `deleted` names the topics deleted since the last
    /// call, even if a new topic has the same name.
    fn learn(frame: &mut Frame<Self>, at: &Moment, world: &World, deleted: &[Str]);

    /// Exchanges memory figures between a core and its broker, if the kind is metered. Runs before every
    /// request.
    fn meter(core: &mut Self, metered: &mut Metered);

    /// The compression of its batches.
    fn codec(world: &World) -> Codec;

    /// Carries out the outbound effects of a core at `home`.
    fn deliver(outbound: Vec<Self::Outbound>, waiting: &mut AnswerWaiters<Self::Answer>, home: &Home);
}

/// The place of a coordinator, and the state it shares with the others.
#[derive(Clone)]
pub struct Home {
    pub partition: Arc<PartitionHandle>,
    pub kit: Arc<Kit>,
    /// Carries out effects outside of the shard.
    pub desk: Arc<Coordinators>,
}

/// Work for a core that does not come from a client.
pub type Act<K> = dyn FnOnce(&mut K, &Moment, &mut Output<<K as Coordinator>::Outbound>) + Send;

/// A message to a coordinator.
pub enum Letter<K: CoordinatorKind> {
    Ask(Box<PendingRequest<K>>),
    /// The result of work that the core asked for. Dropped if the core cannot write now: it asks again later.
    Act(Box<Act<K>>),
    /// A look at the core. Dropped if the coordinator does not serve.
    Look(Box<dyn FnOnce(&K) + Send>),
    /// Its state has been read.
    Loaded(Box<Loaded<K>>),
}

/// A request and the waiter for its answer. If it is dropped, the waiter learns that this broker is not the
/// coordinator.
pub struct PendingRequest<K: CoordinatorKind> {
    pub request: K::Request,
    /// For a write in a producer's transaction: evidence that this partition is part of it, too.
    pub proof: Option<Proof>,
    pub answer: oneshot::Sender<Result<K::Answer, Unserved>>,
}

/// The producer's claim for a transactional write, and how far it is confirmed (KIP-890).
#[derive(Clone, Copy, Debug)]
pub struct Proof {
    pub claim: Claim,
    /// Whether the partition must be part of the transaction.
    pub verify: bool,
    /// The result of the verification. `None` if the transaction was already open in the partition.
    pub guard: Option<VerificationGuard>,
}

impl Proof {
    /// Whether it still holds. If the coordinator accepted the write and the partition then refused it, the
    /// coordinator would have to reload its state.
    pub fn check(&self, partition: &Partition) -> Result<(), AppendError> {
        partition.check_claim(&self.claim, self.guard, self.verify)
    }
}

/// The waiters for answers, by ticket.
pub struct AnswerWaiters<A> {
    next: u64,
    by_ticket: HashMap<Ticket, oneshot::Sender<Result<A, Unserved>>>,
}

impl<A> Default for AnswerWaiters<A> {
    fn default() -> AnswerWaiters<A> {
        AnswerWaiters { next: 0, by_ticket: HashMap::new() }
    }
}

impl<A> AnswerWaiters<A> {
    /// Issues a ticket for a waiter. Tickets are not reused, so no answer reaches the wrong waiter.
    pub fn add(&mut self, waiter: oneshot::Sender<Result<A, Unserved>>) -> Ticket {
        self.next += 1;
        let ticket = Ticket(self.next);
        self.by_ticket.insert(ticket, waiter);
        ticket
    }

    /// Answers a request. If its waiter has gone, the answer is dropped.
    pub fn answer(&mut self, ticket: Ticket, answer: A) {
        self.send(ticket, Ok(answer));
    }

    pub fn refuse(&mut self, ticket: Ticket, unserved: Unserved) {
        self.send(ticket, Err(unserved));
    }

    /// Drops one waiter without an answer.
    pub fn forget(&mut self, ticket: Ticket) {
        self.by_ticket.remove(&ticket);
    }

    /// Drops all waiters without an answer. They look for the coordinator again.
    pub fn clear(&mut self) {
        self.by_ticket.clear();
    }

    fn send(&mut self, ticket: Ticket, answer: Result<A, Unserved>) {
        if let Some(waiter) = self.by_ticket.remove(&ticket) {
            let _gone = waiter.send(answer);
        }
    }
}
