//! The contract of a coordinator's core.

use ottla_wire::primitives::DecodeError;
use ottla_wire::{Instant, Offset, Timestamp, Uuid};

use crate::output::Output;
use crate::record::{Producer, Record};

/// Names a request and who waits for its answer. Chosen by the caller; a core only gives it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// When a step happens, and the randomness that it may need.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub now: Instant,
    pub wall: Timestamp,
    /// Fresh for each step: for ids of members.
    pub uuid: Uuid,
}

/// A coordinator of one partition of an internal topic.
///
/// After each step the lasting part of its state MUST be what [`Coordinator::replay`] of all records written
/// so far leads to: the state of a coordinator that takes over is the state of the one before. What is not in
/// the records (who waits for an answer, when a session ends) may be lost with the broker.
///
/// A step is final: the frame writes its records or gives the whole core up. So a core never takes anything
/// back.
pub trait Coordinator {
    type Request;
    /// What leaves: answers with their tickets, and effects if there are any.
    type Outbound;

    /// Serves a request. It is answered in this step or in a later one, once.
    fn handle(
        &mut self,
        at: &Moment,
        ticket: Ticket,
        request: Self::Request,
        out: &mut Output<Self::Outbound>,
    );

    /// Whether a request leaves the records as they are. Such a request is served even while nothing can be
    /// written.
    fn only_reads(request: &Self::Request) -> bool;

    /// Time has passed. To be called at [`Coordinator::next_deadline`] or soon after it.
    fn tick(&mut self, at: &Moment, out: &mut Output<Self::Outbound>);

    /// When something is due next; `None` if nothing is.
    fn next_deadline(&self) -> Option<Instant>;

    /// Takes in a record of the log, while loading. `producer` is set for records of a transaction: they
    /// count once its end is replayed.
    fn replay(
        &mut self,
        offset: Offset,
        producer: Option<Producer>,
        record: Record,
    ) -> Result<(), ReplayError>;

    /// A transaction of `producer` has ended in this partition: while loading, and when its marker has been
    /// written.
    fn end_transaction(&mut self, producer: Producer, commit: bool);

    /// Everything is loaded, or the partition can be written to again after a pause. No heartbeat could come
    /// in meanwhile, so sessions begin anew.
    fn start(&mut self, at: &Moment, out: &mut Output<Self::Outbound>);
}

/// Why a record cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    #[error("a record that cannot be read: {0}")]
    Decode(#[from] DecodeError),
    #[error("a record without a key")]
    NoKey,
    /// Kafka skips what newer versions have brought, and so do we; it is kept in the log.
    #[error("a record of type {0}, which is not known here")]
    UnknownType(i16),
    #[error("a record that contradicts those before it: {0}")]
    Contradiction(String),
}
