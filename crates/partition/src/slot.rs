//! A partition with its lodgers, and the order of their turns.

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
    /// Capacity kept from turn to turn.
    outcomes: Vec<(usize, Generation, AppendOutcome)>,
    ended: Vec<Marker>,
}

/// The result of a turn.
#[must_use]
#[derive(Debug)]
pub struct SlotEnded<'a, W, D> {
    /// From the partition, if anything happened to it. The lodgers' effects are to be carried out after it.
    pub partition: Option<Ended<'a, W, D>>,
    /// When to tell lodgers that time has passed.
    pub due: Option<Instant>,
    /// Whether the partition has waiters.
    pub has_waiters: bool,
    /// There is more to write, so the next turn is due at once.
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

    /// For events of the partition. `write_marker` has a method of its own here.
    pub fn partition_mut(&mut self) -> &mut Partition<W, D> {
        &mut self.partition
    }

    pub fn into_partition(self) -> Partition<W, D> {
        self.partition
    }

    pub fn lodgers(&self) -> &[L] {
        &self.lodgers
    }

    /// For events of a lodger, which may look at the partition.
    pub fn lodgers_mut(&mut self) -> (&mut [L], &Partition<W, D>) {
        (&mut self.lodgers, &self.partition)
    }

    /// Writes the end of a transaction, after the lodgers' records for that transaction.
    pub fn write_marker(&mut self, turn: Turn, marker: &MarkerRequest, waiter: W) {
        self.write_lodgers(turn);
        self.partition.touch();
        self.partition.write_marker(turn, marker, waiter);
    }

    /// Tells the lodgers that time has passed.
    pub fn tick_lodgers(&mut self, turn: Turn, uuids: &mut NewUuid<'_>) {
        for lodger in &mut self.lodgers {
            lodger.tick(&turn.moment(uuids()));
        }
    }

    /// Ends the turn: lodgers' batches go to the partition, the partition writes, and the results go back.
    pub fn end_turn(&mut self, turn: Turn, uuids: &mut NewUuid<'_>) -> SlotEnded<'_, W, D> {
        self.write_lodgers(turn);
        let ended = self.partition.is_touched().then(|| self.partition.finish_turn(turn));
        let again = !self.lodgers.is_empty() && self.settle(turn, uuids);
        let due = self.lodgers.iter().filter_map(Lodger::next_deadline).min();
        let has_waiters = self.partition.has_waiters();
        let partition = ended.map(|(view, flush)| self.partition.hand_out(view, flush));
        SlotEnded { partition, due, has_waiters, again }
    }

    /// Moves the lodgers' batches to the partition.
    pub fn write_lodgers(&mut self, turn: Turn) {
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
            // Uncommitted records that this replica wrote earlier may be cut off. The log decides what is
            // left.
            self.partition.forget_markers();
        }
        self.partition.take_outcomes(&mut self.outcomes);
        for (number, generation, outcome) in self.outcomes.drain(..) {
            self.lodgers[number].appended(generation, outcome);
        }
        self.ended.clear();
        self.partition.take_markers(view.high_watermark, &mut self.ended);
        let has_room = self.partition.log().room().is_left_for_broker();
        let seen = Seen { view: &view, has_room, ended: &self.ended };
        let mut again = false;
        for lodger in &mut self.lodgers {
            again |= lodger.settle(turn, uuids, &seen);
        }
        again
    }
}

#[cfg(test)]
mod tests {
    use ottla_coordinator::{Moment, Producer};
    use ottla_log::MemDisk;
    use ottla_replica::Durability;
    use ottla_wire::batch::ValidatedBatch;
    use ottla_wire::{Offset, ProducerEpoch, ProducerId, Uuid};

    use super::*;
    use crate::lodger::LodgerAppend;
    use crate::tests::{TURN, commit, in_memory, leader, log, of_coordinator};

    /// Appends given batches, and remembers the reports.
    #[derive(Clone, Debug, Default)]
    struct Writer {
        queued: Vec<ValidatedBatch>,
        heard: Vec<i64>,
        ended: Vec<Marker>,
    }

    impl Lodger for Writer {
        fn next_batch(&mut self, _: Turn) -> Option<LodgerAppend> {
            let batch = self.queued.pop()?;
            Some(LodgerAppend { batch, generation: Generation(1), epoch: LeaderEpoch(3) })
        }

        fn appended(&mut self, generation: Generation, outcome: AppendOutcome) {
            assert_eq!(generation, Generation(1));
            self.heard.push(outcome.unwrap().base_offset.0);
        }

        fn settle(&mut self, _: Turn, _: &mut NewUuid<'_>, seen: &Seen<'_>) -> bool {
            self.ended.extend(seen.ended);
            !self.queued.is_empty()
        }

        fn tick(&mut self, _: &Moment) {}

        fn next_deadline(&self) -> Option<Instant> {
            None
        }

        fn resign(&mut self) {}
    }

    #[test]
    fn each_lodger_hears_of_its_own_batches_and_all_hear_of_markers() {
        let producer = Producer { id: ProducerId(5), epoch: ProducerEpoch(1) };
        let partition = leader(log(&in_memory(&MemDisk::new())), Durability::PageCache);
        let writer = |count| Writer { queued: vec![of_coordinator(producer); count], ..Writer::default() };
        let mut slot = Slot::new(partition, vec![writer(0), writer(0)]);
        // They see that the replica leads. Anything older they find in the log.
        assert!(slot.end_turn(TURN, &mut || Uuid([1; 16])).partition.is_none());
        slot.lodgers_mut().0.clone_from_slice(&[writer(2), writer(1)]);
        slot.write_marker(TURN, &commit(producer), "marker");
        let outcomes: Vec<_> = {
            let ended = slot.end_turn(TURN, &mut || Uuid([1; 16])).partition.unwrap();
            ended.appends.collect()
        };
        assert!(matches!(outcomes[..], [("marker", Ok(appended))] if appended.base_offset == Offset(33)));
        let heard: Vec<&[i64]> = slot.lodgers().iter().map(|writer| &writer.heard[..]).collect();
        assert_eq!(heard, [&[30, 31][..], &[32]]);
        let marker = Marker { offset: Offset(33), producer, commit: true };
        assert!(slot.lodgers().iter().all(|writer| writer.ended == [marker]));
        // Nothing has happened to the partition since, so it is not published again.
        assert!(slot.end_turn(TURN, &mut || Uuid([1; 16])).partition.is_none());
    }
}
