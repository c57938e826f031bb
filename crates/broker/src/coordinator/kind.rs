//! What the frame must know of a kind of coordinator, and the mail to one.

use std::collections::HashMap;
use std::sync::Arc;

use ottla_coordinator::{Coordinator, Frame, Moment, Refusal, Ticket};
use ottla_group::GroupCoordinator;
use ottla_wire::primitives::Str;
use tokio::sync::oneshot;

use super::host::{Host, Hosted};
use super::internal;
use super::kit::{Kit, World};
use super::load::Loaded;
use crate::partition::PartitionHandle;

/// A kind of coordinator: its core, and how it is joined to the broker.
pub trait Kind: Coordinator<Request: Send, Outbound: Send> + Send + Sized + 'static {
    /// What the log calls it.
    const NAME: &'static str;

    /// What a request is answered.
    type Answer: Send + 'static;

    /// A core that knows the world and has nothing loaded.
    fn create(world: &World) -> Self;

    /// Tells a frame that is active of the world as it is now; `deleted` names topics that have gone since it was told last,
    /// also where one of the same name has come.
    fn learn(frame: &mut Frame<Self>, at: &Moment, world: &World, deleted: &[Str]);

    /// Carries out what a core says to the outside.
    fn deliver(outbound: Self::Outbound, waiting: &mut Waiting<Self::Answer>);

    /// Addresses a letter to coordinators of this kind.
    fn mail(letter: Letter<Self>) -> CoordinatorMail;
}

/// What a coordinator is told.
pub enum Letter<K: Kind> {
    Ask(Asked<K>),
    /// Somebody wants to look at the core. Dropped if it does not serve.
    Look(Box<dyn FnOnce(&K) + Send>),
    /// Its state has been read.
    Loaded(Box<Loaded<K>>),
}

/// A request and who waits for the answer. Dropped unanswered, it says that this broker is not the coordinator.
pub struct Asked<K: Kind> {
    pub request: K::Request,
    pub answer: oneshot::Sender<Result<K::Answer, Refusal>>,
}

/// A letter to a coordinator of some kind.
pub enum CoordinatorMail {
    Groups(Letter<GroupCoordinator>),
}

/// The coordinator of a partition.
pub enum Coordinating {
    Groups(Box<Host<GroupCoordinator>>),
}

impl Coordinating {
    /// The coordinator that lives in a partition; none if it belongs to another topic.
    pub fn of(partition: &Arc<PartitionHandle>, kit: &Arc<Kit>) -> Option<Coordinating> {
        match &*partition.topic {
            internal::OFFSETS_TOPIC => {
                Some(Coordinating::Groups(Box::new(Host::new(partition.clone(), kit.clone()))))
            }
            _ => None,
        }
    }

    pub fn take(&mut self, at: &Moment, mail: CoordinatorMail) {
        match (self, mail) {
            (Coordinating::Groups(host), CoordinatorMail::Groups(letter)) => host.take(at, letter),
        }
    }

    /// What can be done with a coordinator of any kind.
    pub fn host(&mut self) -> &mut dyn Hosted {
        match self {
            Coordinating::Groups(host) => &mut **host,
        }
    }
}

/// Who waits for which answer.
pub struct Waiting<A> {
    next: u64,
    by_ticket: HashMap<Ticket, oneshot::Sender<Result<A, Refusal>>>,
}

impl<A> Default for Waiting<A> {
    fn default() -> Waiting<A> {
        Waiting { next: 0, by_ticket: HashMap::new() }
    }
}

impl<A> Waiting<A> {
    /// A ticket for one who waits. Tickets are not reused, so that an answer never reaches somebody else.
    pub fn add(&mut self, waiter: oneshot::Sender<Result<A, Refusal>>) -> Ticket {
        self.next += 1;
        let ticket = Ticket(self.next);
        self.by_ticket.insert(ticket, waiter);
        ticket
    }

    /// Answers a request. One whose asker has gone away is answered to nobody.
    pub fn answer(&mut self, ticket: Ticket, answer: A) {
        self.send(ticket, Ok(answer));
    }

    pub fn refuse(&mut self, ticket: Ticket, refusal: Refusal) {
        self.send(ticket, Err(refusal));
    }

    /// Lets everybody go unanswered: they look for the coordinator again.
    pub fn clear(&mut self) {
        self.by_ticket.clear();
    }

    fn send(&mut self, ticket: Ticket, answer: Result<A, Refusal>) {
        if let Some(waiter) = self.by_ticket.remove(&ticket) {
            let _gone = waiter.send(answer);
        }
    }
}
