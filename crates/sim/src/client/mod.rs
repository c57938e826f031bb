//! Clients: they never crash, they ask whom they believe to lead, and they try again.
//!
//! - [`batch`]: what they send.
//! - `producer`: plain, idempotent and transactional producers.
//! - `consumer`: readers of everything, and readers of what is committed.
//! - `admin`: DeleteRecords.

mod admin;
pub mod batch;
mod consumer;
mod producer;

use std::time::Duration;

use ottla_replica::Acks;
use ottla_wire::{Instant, Offset, ProducerEpoch, ProducerId, Timestamp};

use crate::message::{Message, RequestId};
use crate::network::Place;
use crate::rng::Rng;

pub use admin::Admin;
pub use batch::Value;
pub use consumer::Consumer;
pub use producer::Producer;

/// When an answer is not waited for any longer.
pub const ANSWER_WAIT: Duration = Duration::from_millis(1_200);

/// One client.
pub enum Client {
    Producer(Box<Producer>),
    Consumer(Consumer),
    Admin(Admin),
}

/// The surroundings of a client's turn.
pub struct Context<'a> {
    pub now: Instant,
    pub wall: Timestamp,
    pub rng: &'a mut Rng,
    /// Whom it takes for the leader.
    pub leader: Place,
    pub sends: &'a mut Vec<(Place, Message)>,
    pub facts: &'a mut Vec<ClientFact>,
}

/// What a client did or was told.
#[derive(Clone, Debug)]
pub enum ClientFact {
    /// A produce request was answered with success.
    Acked { values: Vec<Value>, acks: Acks, base_offset: Offset },
    /// A numbered batch that came next was refused for its sequence: its producer is not known any more.
    Forgotten { producer: ProducerId, values: Vec<Value> },
    /// A transaction will be committed, or aborted.
    Decided { producer: ProducerId, epoch: ProducerEpoch, commit: bool },
    Delivered {
        committed: bool,
        offset: Offset,
        value: Value,
        transaction: Option<(ProducerId, ProducerEpoch)>,
    },
    /// A consumer goes on further ahead: what it wanted is deleted.
    Skipped { committed: bool, to: Offset },
    /// No client should ever see this.
    Surprise(String),
}

impl Client {
    /// Does what is due. Called every now and then.
    pub fn woken(&mut self, context: &mut Context<'_>) {
        match self {
            Client::Producer(producer) => producer.woken(context),
            Client::Consumer(consumer) => consumer.woken(context),
            Client::Admin(admin) => admin.woken(context),
        }
    }

    pub fn receive(&mut self, context: &mut Context<'_>, message: Message) {
        match (self, message) {
            (Client::Producer(producer), Message::Produced { id, outcome }) => {
                producer.answered(context, id, outcome)
            }
            (Client::Consumer(consumer), Message::Consumed { id, found }) => {
                consumer.answered(context, id, found)
            }
            (Client::Admin(admin), Message::RecordsDeleted { id, outcome }) => admin.answered(id, outcome),
            (_, _) => {} // nothing that it has asked for
        }
    }

    /// From now on nothing new is begun.
    pub fn wind_down(&mut self) {
        match self {
            Client::Producer(producer) => producer.wind_down(),
            Client::Admin(admin) => admin.wind_down(),
            Client::Consumer(_) => {}
        }
    }

    /// Everything it began is done; a consumer has read up to `end`.
    pub fn is_done(&self, end: Offset) -> bool {
        match self {
            Client::Producer(producer) => producer.is_done(),
            Client::Consumer(consumer) => consumer.position() >= end,
            Client::Admin(admin) => admin.is_done(),
        }
    }
}

/// A request that may be under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// To be made, not before this time.
    Due(Instant),
    Asked {
        id: RequestId,
        until: Instant,
    },
    Done,
}

impl Attempt {
    pub fn is_asked(self, id: RequestId) -> bool {
        matches!(self, Attempt::Asked { id: asked, .. } if asked == id)
    }

    /// Whether to ask now: it is due, or the answer has been waited for long enough.
    pub fn is_due(self, now: Instant) -> bool {
        match self {
            Attempt::Due(at) => at <= now,
            Attempt::Asked { until, .. } => until <= now,
            Attempt::Done => false,
        }
    }
}
