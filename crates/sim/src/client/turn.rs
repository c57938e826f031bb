//! What goes into a turn of a client, and what comes of it.

use std::time::Duration;

use ottla_replica::Acks;
use ottla_wire::{Instant, Offset, ProducerEpoch, ProducerId, Timestamp};

use super::batch::Value;
use crate::message::{Message, RequestId};
use crate::network::Party;
use crate::rng::Rng;

/// When an answer is not waited for any longer.
pub const ANSWER_WAIT: Duration = Duration::from_millis(1_200);

/// The surroundings of a client's turn.
pub struct Context<'a> {
    pub now: Instant,
    pub wall: Timestamp,
    pub rng: &'a mut Rng,
    /// Whom it takes for the leader.
    pub leader: Party,
    pub sends: &'a mut Vec<(Party, Message)>,
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
