//! Clients: they never crash, they ask whom they believe to lead, and they try again.
//!
//! - [`batch`]: what they send.
//! - `turn`: what goes into a turn of a client, and what comes of it.
//! - `producer`: plain, idempotent and transactional producers.
//! - `consumer`: readers of everything, and readers of what is committed.
//! - `admin`: DeleteRecords.

mod admin;
pub mod batch;
mod consumer;
mod producer;
mod turn;

use ottla_wire::Offset;

use crate::message::Message;

pub use admin::Admin;
pub use batch::Value;
pub use consumer::Consumer;
pub use producer::Producer;
pub use turn::{ClientFact, Context};

/// One client.
pub enum Client {
    Producer(Box<Producer>),
    Consumer(Consumer),
    Admin(Admin),
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
