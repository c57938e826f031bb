//! What goes into a turn of a member, and what comes of it.

use ottla_coordinator::Producer;
use ottla_group::Request;
use ottla_wire::Instant;
use ottla_wire::primitives::Str;

use super::holdings::Partition;
use crate::group::topics::SimTopics;
use crate::rng::Rng;

/// What a turn is given.
pub struct Turn<'a> {
    pub now: Instant,
    pub rng: &'a mut Rng,
    pub topics: &'a SimTopics,
}

/// What a member does in a turn.
#[derive(Debug)]
pub enum Action {
    Send(Box<Sent>),
    /// Ends its transaction.
    End {
        producer: Producer,
        commit: bool,
    },
}

/// A request on its way.
#[derive(Clone, Debug)]
pub struct Sent {
    pub id: RequestId,
    pub request: Request,
    /// Of the API.
    pub version: i16,
    /// A member that waits too long for an answer begins another connection.
    pub connection: u64,
}

/// What a member has heard, for those who keep the books.
#[derive(Debug)]
pub enum Heard {
    /// Its offsets are committed.
    Committed(Vec<(Partition, i64)>),
}

/// Names a request of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Who a member is to the coordinator.
pub struct Identity<'a> {
    pub member: &'a Str,
    pub instance: Option<&'a Str>,
    pub generation_or_epoch: i32,
}
