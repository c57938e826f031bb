//! A partition with those who live in it, and the order of their turns.

use ottla_replica::ViewRole;
use ottla_wire::{Instant, LeaderEpoch};

use crate::lodger::{Generation, Lodger, NewUuid, Seen};
use crate::marker::Marker;
use crate::partition::{AppendOutcome, Ended, MarkerRequest, Partition, Turn};

/// A partition and its lodgers.
#[derive(Debug)]
pub struct Slot<W, D, L> {
    partition: Partition<W, D>,
    lodgers: Vec<L>,
    /// The epoch in which this replica leads.
    led: Option<LeaderEpoch>,
    /// Room that is kept from turn to turn.
    outcomes: Vec<(usize, Generation, AppendOutcome)>,
    ended: Vec<Marker>,
}

/// What a turn leads to.
#[must_use]
#[derive(Debug)]
pub struct SlotEnded<'a, W, D> {
    /// Of the partition, if anything happened to it. What the lodgers want is to be carried out after that.
    pub partition: Option<Ended<'a, W, D>>,
    /// When lodgers must be told that time has passed.
    pub due: Option<Instant>,
    /// Somebody waits for an answer of the partition.
    pub has_waiters: bool,
    /// There is more to write: the next turn is due at once.
    pub again: bool,
}

impl<W, D, L: Lodger> Slot<W, D, L> {
    pub fn new(mut partition: Partition<W, D>, lodgers: Vec<L>) -> Slot<W, D, L> {
        partition.keep_markers(!lodgers.is_empty());
        Slot { partition, lodgers, led: None, outcomes: Vec::new(), ended: Vec::new() }
    }

    pub fn partition(&self) -> &Partition<W, D> {
        &self.partition
    }

    /// For whatever happens to the partition; `write_marker` has a method of its own here.
    pub fn partition_mut(&mut self) -> &mut Partition<W, D> {
        &mut self.partition
    }

    pub fn into_partition(self) -> Partition<W, D> {
        self.partition
    }

    pub fn lodgers(&self) -> &[L] {
        &self.lodgers
    }

    /// For what happens to a lodger: it may look at the partition.
    pub fn lodgers_mut(&mut self) -> (&mut [L], &Partition<W, D>) {
        (&mut self.lodgers, &self.partition)
    }

    /// The end of a transaction. What lodgers have written for the transaction comes before it.
    pub fn write_marker(&mut self, turn: Turn, marker: &MarkerRequest, waiter: W) {
        self.write(turn);
        self.partition.touch();
        self.partition.write_marker(turn, marker, waiter);
    }

    /// Time has passed for the lodgers.
    pub fn tick_lodgers(&mut self, turn: Turn, uuids: &mut NewUuid<'_>) {
        for lodger in &mut self.lodgers {
            lodger.tick(&turn.moment(uuids()));
        }
    }

    /// Ends the turn: what lodgers have written goes to the partition, the partition writes, and what came of it goes
    /// back.
    pub fn end_turn(&mut self, turn: Turn, uuids: &mut NewUuid<'_>) -> SlotEnded<'_, W, D> {
        self.write(turn);
        let ended = self.partition.is_touched().then(|| self.partition.finish_turn(turn));
        let again = !self.lodgers.is_empty() && self.settle(turn, uuids);
        let due = self.lodgers.iter().filter_map(Lodger::next_deadline).min();
        let has_waiters = self.partition.has_waiters();
        let partition = ended.map(|(view, flush)| self.partition.hand_out(view, flush));
        SlotEnded { partition, due, has_waiters, again }
    }

    fn write(&mut self, turn: Turn) {
        for (number, lodger) in self.lodgers.iter_mut().enumerate() {
            while let Some(append) = lodger.next_batch(turn) {
                self.partition.touch();
                self.partition.append_for_lodger(turn, number, append);
            }
        }
    }

    fn settle(&mut self, turn: Turn, uuids: &mut NewUuid<'_>) -> bool {
        let view = self.partition.replica_view();
        let led = (view.role == ViewRole::Leader).then_some(view.leader_epoch);
        if led != self.led {
            self.led = led;
            // What this replica has written and not committed before may be cut off: the log says what is left.
            self.partition.forget_markers();
        }
        self.partition.take_outcomes(&mut self.outcomes);
        for (number, generation, outcome) in self.outcomes.drain(..) {
            self.lodgers[number].appended(generation, outcome);
        }
        self.ended.clear();
        self.partition.take_markers(view.high_watermark, &mut self.ended);
        let seen = Seen { view: &view, ended: &self.ended };
        let mut again = false;
        for lodger in &mut self.lodgers {
            again |= lodger.settle(turn, uuids, &seen);
        }
        again
    }
}
