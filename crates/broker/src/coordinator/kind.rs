//! What the frame must know of a kind of coordinator, and the mail to one.

use std::collections::HashMap;
use std::sync::Arc;

use ottla_coordinator::{Coordinator, Frame, Moment, Output, Ticket};
use ottla_group::GroupCoordinator;
use ottla_partition::{
    AppendOutcome, Claim, Generation, Loaded, Lodger, LodgerAppend, NewUuid, Seen, Turn, Unserved,
};
use ottla_replica::{AppendError, VerificationGuard};
use ottla_txn::TxnCoordinator;
use ottla_wire::compress::Codec;
use ottla_wire::primitives::Str;
use ottla_wire::{Instant, InternalTopic, LeaderEpoch};
use tokio::sync::oneshot;

use super::desk::Coordinators;
use super::host::Hosted;
use super::internal;
use super::kit::Kit;
use super::metered::Metered;
use super::world::World;
use crate::partition::PartitionHandle;
use crate::shard::{LodgerMail, Partition};

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

/// The coordinator of a partition.
pub enum Coordinating {
    Groups(Box<Hosted<GroupCoordinator>>),
    Transactions(Box<Hosted<TxnCoordinator>>),
}

impl Coordinating {
    /// The coordinator that lives in a partition; none if it belongs to another topic.
    pub fn of(partition: &Arc<PartitionHandle>, desk: &Arc<Coordinators>) -> Option<Coordinating> {
        let home = || Home { partition: partition.clone(), kit: desk.kit().clone(), desk: desk.clone() };
        match &*partition.topic {
            internal::OFFSETS_TOPIC => Some(Coordinating::Groups(Box::new(Hosted::new(home())))),
            internal::TRANSACTIONS_TOPIC => Some(Coordinating::Transactions(Box::new(Hosted::new(home())))),
            _ => None,
        }
    }

    /// Takes its mail. Gives back what is for another kind.
    pub fn take(&mut self, at: &Moment, mail: LodgerMail, partition: &Partition) -> Option<LodgerMail> {
        match self {
            Coordinating::Groups(hosted) => hand(hosted, at, mail, partition),
            Coordinating::Transactions(hosted) => hand(hosted, at, mail, partition),
        }
    }

    /// The world has changed, and these topics are gone.
    pub fn learn(&mut self, at: &Moment, deleted: &[Str]) {
        match self {
            Coordinating::Groups(hosted) => hosted.learn(at, deleted),
            Coordinating::Transactions(hosted) => hosted.learn(at, deleted),
        }
    }

    /// Carries out what the coordinator wants, after every turn.
    pub fn carry_out(&mut self) {
        match self {
            Coordinating::Groups(hosted) => hosted.carry_out(),
            Coordinating::Transactions(hosted) => hosted.carry_out(),
        }
    }

    fn lodger(&mut self) -> &mut dyn Lodger {
        match self {
            Coordinating::Groups(hosted) => hosted.lodger(),
            Coordinating::Transactions(hosted) => hosted.lodger(),
        }
    }
}

impl Lodger for Coordinating {
    fn next_batch(&mut self, turn: Turn) -> Option<LodgerAppend> {
        self.lodger().next_batch(turn)
    }

    fn appended(&mut self, generation: Generation, outcome: AppendOutcome) {
        self.lodger().appended(generation, outcome);
    }

    fn settle(&mut self, turn: Turn, uuids: &mut NewUuid<'_>, seen: &Seen<'_>) -> bool {
        self.lodger().settle(turn, uuids, seen)
    }

    fn tick(&mut self, at: &Moment) {
        self.lodger().tick(at);
    }

    fn next_deadline(&self) -> Option<Instant> {
        match self {
            Coordinating::Groups(hosted) => hosted.as_lodger().next_deadline(),
            Coordinating::Transactions(hosted) => hosted.as_lodger().next_deadline(),
        }
    }

    fn resign(&mut self) {
        self.lodger().resign();
    }
}

/// Hands a letter over, if it is for this kind.
fn hand<K: Kind>(
    hosted: &mut Hosted<K>,
    at: &Moment,
    mail: LodgerMail,
    partition: &Partition,
) -> Option<LodgerMail> {
    let letter = match mail.downcast::<Letter<K>>() {
        Ok(letter) => letter,
        Err(mail) => return Some(mail),
    };
    hosted.take(at, *letter, partition);
    None
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
