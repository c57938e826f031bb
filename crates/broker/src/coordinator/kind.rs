//! What the frame must know of a kind of coordinator, and the mail to one.

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

/// A kind of coordinator: its core, and how it is joined to the broker.
pub trait Kind: Coordinator<Request: Send, Outbound: Send> + Send + Sized + 'static {
    /// What the log calls it.
    const NAME: &'static str;

    /// The topic that it lives in.
    const TOPIC: InternalTopic;

    /// What it can be asked, and what that is answered.
    type Question;
    type Answer: Send + 'static;

    /// A core that knows the world and has nothing loaded, of a leader in this epoch.
    fn create(world: &World, epoch: LeaderEpoch) -> Self;

    /// Tells a frame that is active of the world as it is now; `deleted` names topics that have gone since it
    /// was told last, also where one of the same name has come.
    fn learn(frame: &mut Frame<Self>, at: &Moment, world: &World, deleted: &[Str]);

    /// Has a core and its broker tell each other what memory is taken, if it is metered. Before every
    /// request.
    fn meter(core: &mut Self, metered: &mut Metered);

    /// How its batches are packed.
    fn codec(world: &World) -> Codec;

    /// Carries out what a core at `home` says to the outside.
    fn deliver(outbound: Vec<Self::Outbound>, waiting: &mut Waiting<Self::Answer>, home: &Home);
}

/// Where a coordinator lives, and what it shares with the others.
#[derive(Clone)]
pub struct Home {
    pub partition: Arc<PartitionHandle>,
    pub kit: Arc<Kit>,
    /// Who carries out what the coordinator says to the outside.
    pub desk: Arc<Coordinators>,
}

/// Something that a core is to do which no client has asked for.
pub type Act<K> = dyn FnOnce(&mut K, &Moment, &mut Output<<K as Coordinator>::Outbound>) + Send;

/// What a coordinator is told.
pub enum Letter<K: Kind> {
    Ask(Box<Asked<K>>),
    /// Somebody has done what the core had asked for. Dropped if it cannot write now: it then asks again.
    Act(Box<Act<K>>),
    /// Somebody wants to look at the core. Dropped if it does not serve.
    Look(Box<dyn FnOnce(&K) + Send>),
    /// Its state has been read.
    Loaded(Box<Loaded<K>>),
}

/// A request and who waits for the answer. Dropped unanswered, it says that this broker is not the
/// coordinator.
pub struct Asked<K: Kind> {
    pub request: K::Request,
    /// For a write that is part of a producer's transaction: that this partition is part of it, too.
    pub proof: Option<Proof>,
    pub answer: oneshot::Sender<Result<K::Answer, Unserved>>,
}

/// What a producer claims whose transaction a write is part of, and what is known of it (KIP-890).
#[derive(Clone, Copy, Debug)]
pub struct Proof {
    pub claim: Claim,
    /// Whether the partition must be known to be part of the transaction.
    pub verify: bool,
    /// Of a verification; `None` if the transaction was open in the partition already.
    pub guard: Option<VerificationGuard>,
}

impl Proof {
    /// Whether it holds still. What was taken and then refused by the partition would cost the coordinator
    /// its state.
    pub fn check(&self, partition: &Partition) -> Result<(), AppendError> {
        partition.check_claim(&self.claim, self.guard, self.verify)
    }
}

/// Who waits for which answer.
pub struct Waiting<A> {
    next: u64,
    by_ticket: HashMap<Ticket, oneshot::Sender<Result<A, Unserved>>>,
}

impl<A> Default for Waiting<A> {
    fn default() -> Waiting<A> {
        Waiting { next: 0, by_ticket: HashMap::new() }
    }
}

impl<A> Waiting<A> {
    /// A ticket for one who waits. Tickets are not reused, so that an answer never reaches somebody else.
    pub fn add(&mut self, waiter: oneshot::Sender<Result<A, Unserved>>) -> Ticket {
        self.next += 1;
        let ticket = Ticket(self.next);
        self.by_ticket.insert(ticket, waiter);
        ticket
    }

    /// Answers a request. One whose asker has gone away is answered to nobody.
    pub fn answer(&mut self, ticket: Ticket, answer: A) {
        self.send(ticket, Ok(answer));
    }

    pub fn refuse(&mut self, ticket: Ticket, unserved: Unserved) {
        self.send(ticket, Err(unserved));
    }

    /// Lets one go unanswered.
    pub fn forget(&mut self, ticket: Ticket) {
        self.by_ticket.remove(&ticket);
    }

    /// Lets everybody go unanswered: they look for the coordinator again.
    pub fn clear(&mut self) {
        self.by_ticket.clear();
    }

    fn send(&mut self, ticket: Ticket, answer: Result<A, Unserved>) {
        if let Some(waiter) = self.by_ticket.remove(&ticket) {
            let _gone = waiter.send(answer);
        }
    }
}
