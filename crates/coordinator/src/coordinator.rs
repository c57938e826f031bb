//! The contract of a coordinator's core.

use ottla_wire::primitives::DecodeError;
use ottla_wire::{Instant, Offset, Timestamp, Uuid};

use crate::output::Output;
use crate::record::{Producer, Record};

/// Identifies a request and its waiter. The caller chooses it, and a core only returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// The time of a step, and the randomness that it may need.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub now: Instant,
    pub wall: Timestamp,
    /// Fresh for each step. Used for member ids.
    pub uuid: Uuid,
}

/// A coordinator of one partition of an internal topic.
///
/// After each step the lasting part of the state MUST equal the result of [`Coordinator::replay`] over all
/// records written so far. A coordinator that takes over starts from that state. Anything else (waiters,
/// session deadlines) may be lost with the broker.
///
/// A step is final: the frame either writes its records or gives up the whole core. So a core never reverts
/// anything.
pub trait Coordinator {
    type Request;
    /// The output: answers with their tickets, and other effects.
    type Outbound;

    /// Serves a request. It is answered once, in this step or a later one.
    fn handle(
        &mut self,
        at: &Moment,
        ticket: Ticket,
        request: Self::Request,
        out: &mut Output<Self::Outbound>,
    );

    /// Whether a request changes no records. Such a request is served even while nothing can be written.
    fn only_reads(request: &Self::Request) -> bool;

    /// Handles the passing of time. To be called at [`Coordinator::next_deadline`] or soon after.
    fn tick(&mut self, at: &Moment, out: &mut Output<Self::Outbound>);

    /// When something is next due, or `None`.
    fn next_deadline(&self) -> Option<Instant>;

    /// Replays a record of the log, while loading. `producer` is set for records of a transaction. They count
    /// once its end is replayed.
    fn replay(
        &mut self,
        offset: Offset,
        producer: Option<Producer>,
        record: Record,
    ) -> Result<(), ReplayError>;

    /// Ends a transaction of `producer` in this partition: while loading, and when its marker has been
    /// written.
    fn end_transaction(&mut self, producer: Producer, commit: bool);

    /// Everything is loaded, or the partition can be written to again after a pause. Sessions start again,
    /// because no heartbeat could arrive meanwhile.
    fn start(&mut self, at: &Moment, out: &mut Output<Self::Outbound>);
}

/// Why a record cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    #[error("a record that cannot be read: {0}")]
    Decode(#[from] DecodeError),
    #[error("a record without a key")]
    NoKey,
    /// A type from a newer version. As in Kafka it is skipped, and stays in the log.
    #[error("a record of type {0}, which is not known here")]
    UnknownType(i16),
    #[error("a record that contradicts those before it: {0}")]
    Contradiction(String),
}
