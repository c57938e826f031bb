//! Which leader epoch wrote which offsets (KIP-101, KIP-279): how replicas find where their logs part.

use ottla_wire::{EpochStart, LeaderEpoch, Offset};

/// Up to where (exclusive) an epoch reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    pub epoch: LeaderEpoch,
    pub end: Offset,
}

/// The leader epochs of a log, oldest first; epochs and starts both strictly increase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    starts: Vec<EpochStart>,
}

impl Epochs {
    /// From a checkpoint. Entries that contradict later ones are dropped, as when they had been assigned in
    /// turn.
    pub fn new(checkpoint: impl IntoIterator<Item = EpochStart>) -> Epochs {
        let mut epochs = Epochs::default();
        for entry in checkpoint {
            epochs.assign(entry.epoch, entry.start);
        }
        epochs
    }

    /// For the checkpoint.
    pub fn entries(&self) -> &[EpochStart] {
        &self.starts
    }

    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.starts.last().map(|entry| entry.epoch)
    }

    /// Whether [`Epochs::assign`] would change anything.
    pub fn would_assign(&self, epoch: LeaderEpoch) -> bool {
        epoch >= LeaderEpoch(0) && self.latest().is_none_or(|latest| epoch > latest)
    }

    /// `epoch` begins to write at `start`. Returns whether anything changed: an epoch that is not above the
    /// latest one is known already. Epochs that wrote nothing before `start` are dropped.
    pub fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if !self.would_assign(epoch) {
            return false;
        }
        while self.starts.last().is_some_and(|last| last.start >= start) {
            self.starts.pop();
        }
        self.starts.push(EpochStart { epoch, start });
        true
    }

    /// The end of the largest epoch not above `asked`, as OffsetForLeaderEpoch answers it: `None` when this
    /// log cannot know (an epoch above the latest, or no epochs at all). For an epoch before the first one
    /// known: `asked` with the start of the first.
    pub fn end_of(&self, asked: LeaderEpoch, log_end: Offset) -> Option<EpochEnd> {
        let latest = self.latest()?;
        if asked == latest {
            return Some(EpochEnd { epoch: asked, end: log_end });
        }
        if asked < LeaderEpoch(0) || asked > latest {
            return None;
        }
        let after = self.starts.partition_point(|entry| entry.epoch <= asked);
        let epoch = after.checked_sub(1).map_or(asked, |floor| self.starts[floor].epoch);
        Some(EpochEnd { epoch, end: self.starts[after].start })
    }

    /// Where a follower that asks from `offset`, its last record being of epoch `last_fetched`, has parted
    /// from this log; `None` if it has not (KIP-595's `DivergingEpoch`). An epoch this log cannot know counts
    /// as parted at its end.
    pub fn divergence(&self, last_fetched: LeaderEpoch, offset: Offset, log_end: Offset) -> Option<EpochEnd> {
        match self.end_of(last_fetched, log_end) {
            Some(end) if end.epoch < last_fetched || end.end < offset => Some(end),
            Some(_) => None,
            None => Some(EpochEnd { epoch: LeaderEpoch::NONE, end: Offset(-1) }),
        }
    }

    /// The log was cut back to `end`: epochs that began there or later are gone. Returns whether anything
    /// changed.
    pub fn truncate_from_end(&mut self, end: Offset) -> bool {
        let kept = self.starts.partition_point(|entry| entry.start < end);
        let changed = kept < self.starts.len();
        self.starts.truncate(kept);
        changed
    }

    /// The log starts at `start` now: the epoch that holds it begins there. Returns whether anything changed.
    pub fn truncate_from_start(&mut self, start: Offset) -> bool {
        let below = self.starts.partition_point(|entry| entry.start <= start);
        let Some(holder) = below.checked_sub(1) else { return false };
        if holder == 0 && self.starts[0].start == start {
            return false;
        }
        self.starts.drain(..holder);
        self.starts[0].start = start;
        true
    }

    /// The log was dropped.
    pub fn clear(&mut self) {
        self.starts.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(i32, i64)]) -> Epochs {
        Epochs::new(
            entries
                .iter()
                .map(|&(epoch, start)| EpochStart { epoch: LeaderEpoch(epoch), start: Offset(start) }),
        )
    }

    fn list(epochs: &Epochs) -> Vec<(i32, i64)> {
        epochs.entries().iter().map(|entry| (entry.epoch.0, entry.start.0)).collect()
    }

    #[test]
    fn assigning_keeps_epochs_and_offsets_increasing() {
        for (case, given, expected) in [
            ("in order", &[(0, 0), (1, 5), (4, 9)][..], &[(0, 0), (1, 5), (4, 9)][..]),
            ("an epoch that wrote nothing is dropped", &[(0, 0), (1, 5), (2, 5)], &[(0, 0), (2, 5)]),
            ("an older epoch changes nothing", &[(3, 0), (2, 7)], &[(3, 0)]),
            ("the same epoch keeps its start", &[(3, 0), (3, 7)], &[(3, 0)]),
            ("no epoch changes nothing", &[(-1, 0)], &[]),
        ] {
            assert_eq!(list(&epochs(given)), expected, "{case}");
        }
    }

    #[test]
    fn the_end_of_an_epoch_is_where_the_next_begins() {
        let known = epochs(&[(1, 10), (2, 20), (5, 50)]);
        for (asked, expected) in [
            (0, Some((0, 10))),
            (1, Some((1, 20))),
            (2, Some((2, 50))),
            (3, Some((2, 50))),
            (5, Some((5, 77))),
            (6, None),
            (-1, None),
        ] {
            let found = known.end_of(LeaderEpoch(asked), Offset(77)).map(|end| (end.epoch.0, end.end.0));
            assert_eq!(found, expected, "epoch {asked}");
        }
        assert_eq!(epochs(&[]).end_of(LeaderEpoch(0), Offset(0)), None);
    }

    #[test]
    fn a_follower_has_parted_when_its_epoch_ended_before_its_offset() {
        let known = epochs(&[(1, 10), (2, 20), (5, 50)]);
        for (case, last_fetched, offset, parted) in [
            ("same epoch, within", 5, 60, None),
            ("older epoch, before its end", 2, 40, None),
            ("older epoch, at its end", 2, 50, None),
            ("older epoch, past its end", 2, 51, Some((2, 50))),
            ("an epoch this leader never saw", 4, 45, Some((2, 50))),
            ("an epoch from the future", 9, 60, Some((-1, -1))),
        ] {
            let found = known.divergence(LeaderEpoch(last_fetched), Offset(offset), Offset(77));
            assert_eq!(found.map(|end| (end.epoch.0, end.end.0)), parted, "{case}");
        }
    }

    #[test]
    fn truncation_cuts_epochs_with_the_log() {
        let mut known = epochs(&[(1, 10), (2, 20), (5, 50)]);
        assert!(known.truncate_from_end(Offset(50)));
        assert_eq!(list(&known), [(1, 10), (2, 20)]);
        assert!(!known.truncate_from_end(Offset(50)));
        assert!(known.truncate_from_start(Offset(30)));
        assert_eq!(list(&known), [(2, 30)]);
        assert!(!known.truncate_from_start(Offset(30)));
        assert!(!known.truncate_from_start(Offset(4)));
    }
}
