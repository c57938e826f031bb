//! The contract of those who live beside a replica and write to its log, such as coordinators.

use ottla_coordinator::Moment;
use ottla_replica::View;
use ottla_wire::batch::ValidatedBatch;
use ottla_wire::{Instant, LeaderEpoch, Uuid};

use crate::marker::Marker;
use crate::partition::{AppendOutcome, Turn};

/// Numbers the lives of a lodger. The results of an earlier life mean nothing to a later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation(pub u64);

/// A batch of a lodger. It waits for all in-sync replicas, however long that takes.
#[derive(Debug)]
pub struct LodgerAppend {
    pub batch: ValidatedBatch,
    pub generation: Generation,
    /// It is refused in any other epoch.
    pub epoch: LeaderEpoch,
}

/// Returns a new unique id each time.
pub type NewUuid<'a> = dyn FnMut() -> Uuid + 'a;

/// The result of a partition's turn, for its lodgers.
#[derive(Debug)]
pub struct Seen<'a> {
    pub view: &'a View,
    /// There is room on the disk for what it writes.
    pub has_room: bool,
    /// Markers that have become committed, in the order of the log.
    pub ended: &'a [Marker],
}

/// The order of a turn: events and ticks; [`Lodger::next_batch`] until there is none; the turn of the
/// partition; [`Lodger::appended`] for the outcomes of this turn's batches and earlier ones;
/// [`Lodger::settle`].
pub trait Lodger {
    /// The next batch that it wants appended.
    fn next_batch(&mut self, turn: Turn) -> Option<LodgerAppend>;

    /// Reports the outcome of a batch. Those of one life come in order, except for batches refused at once.
    fn appended(&mut self, generation: Generation, outcome: AppendOutcome);

    /// Takes in the result of the turn. True if there is more to write, so another turn is due at once.
    fn settle(&mut self, turn: Turn, uuids: &mut NewUuid<'_>, seen: &Seen<'_>) -> bool;

    /// Time has passed.
    fn tick(&mut self, at: &Moment);

    /// When [`Lodger::tick`] is due.
    fn next_deadline(&self) -> Option<Instant>;

    /// The broker stops. Nothing is served any more.
    fn resign(&mut self);
}
