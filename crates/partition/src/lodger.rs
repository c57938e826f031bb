//! Who lives beside a replica and writes to its log: the coordinator of a partition of an internal topic, for
//! one.

use ottla_coordinator::Moment;
use ottla_replica::View;
use ottla_wire::batch::ValidatedBatch;
use ottla_wire::{Instant, LeaderEpoch, Uuid};

use crate::marker::Marker;
use crate::partition::{AppendOutcome, Turn};

/// Numbers the lives of a lodger: what an earlier life has asked for means nothing to a later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation(pub u64);

/// A batch of a lodger, acknowledged by all in-sync replicas however long that takes.
#[derive(Debug)]
pub struct LodgerAppend {
    pub batch: ValidatedBatch,
    pub generation: Generation,
    /// It is refused in any other epoch.
    pub epoch: LeaderEpoch,
}

/// Gives an id that nobody has had before.
pub type NewUuid<'a> = dyn FnMut() -> Uuid + 'a;

/// What a turn of the partition has come to, as its lodgers see it.
#[derive(Debug)]
pub struct Seen<'a> {
    pub view: &'a View,
    /// There is room on the disk for what it writes.
    pub has_room: bool,
    /// Markers that have become committed, in the order of the log.
    pub ended: &'a [Marker],
}

/// In a turn: whatever happens to it and ticks, then [`Lodger::next_batch`] until there is none, the turn of
/// the partition, [`Lodger::appended`] for what became of batches of this turn and of earlier ones, and
/// [`Lodger::settle`].
pub trait Lodger {
    /// The next batch that it wants appended.
    fn next_batch(&mut self, turn: Turn) -> Option<LodgerAppend>;

    /// What became of a batch. Batches of one life are told of in order, but for those that were refused at
    /// once.
    fn appended(&mut self, generation: Generation, outcome: AppendOutcome);

    /// Takes in what the turn has come to. True: there is more to write, so another turn is due at once.
    fn settle(&mut self, turn: Turn, uuids: &mut NewUuid<'_>, seen: &Seen<'_>) -> bool;

    /// Time has passed.
    fn tick(&mut self, at: &Moment);

    /// When [`Lodger::tick`] is due.
    fn next_deadline(&self) -> Option<Instant>;

    /// The broker stops: nothing is served any more.
    fn resign(&mut self);
}
