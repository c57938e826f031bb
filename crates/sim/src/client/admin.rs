//! An admin that deletes records from the front of the partition.

use ottla_replica::{DeleteError, DeleteTo};
use ottla_wire::Offset;

use super::turn::{ANSWER_WAIT, Attempt, Context};
use crate::message::{Message, RequestId};

/// Sends DeleteRecords now and then.
#[derive(Debug)]
pub struct Admin {
    attempt: Attempt,
    requests: u64,
    /// The last low watermark that it was told.
    deleted_to: Offset,
    active: bool,
}

impl Admin {
    pub fn new(active: bool) -> Admin {
        Admin { attempt: Attempt::Done, requests: 0, deleted_to: Offset::ZERO, active }
    }

    pub fn woken(&mut self, context: &mut Context<'_>) {
        let free = !matches!(self.attempt, Attempt::Asked { until, .. } if until > context.now);
        if !self.active || !free || !context.rng.chance(40) {
            return;
        }
        self.requests += 1;
        let id = RequestId(self.requests);
        self.attempt = Attempt::Asked { id, until: context.now + ANSWER_WAIT };
        let before = match context.rng.chance(300) {
            true => DeleteTo::HighWatermark,
            false => DeleteTo::Offset(self.deleted_to.plus(context.rng.between(1, 60) as i64)),
        };
        context.sends.push((context.leader, Message::DeleteRecords { id, before }));
    }

    pub fn answered(&mut self, id: RequestId, outcome: Result<Offset, DeleteError>) {
        if self.attempt.is_asked(id) {
            self.attempt = Attempt::Done;
            self.deleted_to = outcome.unwrap_or(self.deleted_to);
        }
    }

    pub fn wind_down(&mut self) {
        self.active = false;
    }

    pub fn is_done(&self) -> bool {
        !self.active
    }
}
