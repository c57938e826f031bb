use super::*;

const ID: ProducerId = ProducerId(7);

struct Story {
    sequences: Sequences,
    of: TopicPartition,
    ids: Vec<BatchId>,
}

impl Story {
    fn new() -> Story {
        let mut sequences = Sequences::default();
        sequences.identify(ID, ProducerEpoch(0));
        let ids = std::iter::successors(Some(BatchId::FIRST), |id| Some(id.next())).take(10).collect();
        Story { sequences, of: TopicPartition::new("t", 0), ids }
    }

    /// A story that begins after a first batch (the ninth) was stored.
    fn under_way() -> Story {
        let mut story = Story::new();
        story.send(9);
        story.acked(9);
        story
    }

    /// Sends batch `n` of ten records and gives what it carries: epoch and number.
    fn send(&mut self, n: usize) -> (i16, i32) {
        assert!(self.sequences.may_start(&self.of), "batch {n} may not start");
        self.sequences.assign(&self.of, self.ids[n], 10);
        self.carries(n)
    }

    fn send_all(&mut self, batches: impl IntoIterator<Item = usize>) {
        for n in batches {
            self.send(n);
        }
    }

    fn carries(&self, n: usize) -> (i16, i32) {
        let stamp = self.stamp(n);
        (stamp.epoch.0, stamp.sequence.0)
    }

    fn stamp(&self, n: usize) -> Stamp {
        self.sequences.stamp(&self.of, self.ids[n]).unwrap()
    }

    fn acked(&mut self, n: usize) {
        let stamp = self.stamp(n);
        self.sequences.acked(&self.of, self.ids[n], stamp);
    }

    fn answer(&mut self, n: usize, sent: Stamp, error: ErrorCode) -> Verdict {
        self.sequences.judge(&self.of, self.ids[n], sent, error, Some(Offset(0)))
    }

    fn failed(&mut self, n: usize, maybe_stored: bool) {
        self.sequences.failed(&self.of, self.ids[n], maybe_stored);
        self.sequences.settle();
    }

    fn may_resend(&self, n: usize) -> bool {
        self.sequences.may_resend(&self.of, self.ids[n])
    }
}

#[test]
fn numbers_follow_each_other_and_stay_over_retries() {
    let mut story = Story::under_way();
    assert_eq!([story.send(0), story.send(1), story.send(2)], [(0, 10), (0, 20), (0, 30)]);
    story.acked(0);
    assert!(story.may_resend(1) && !story.may_resend(2), "the first in line goes first");
    assert_eq!(story.carries(2), (0, 30));
}

#[test]
fn the_first_batch_goes_alone() {
    let mut story = Story::new();
    assert_eq!(story.send(0), (0, 0));
    assert!(!story.sequences.may_start(&story.of));
    story.acked(0);
    story.send(1);
    assert!(story.sequences.may_start(&story.of));
}

#[test]
fn a_gap_behind_a_failed_batch_is_not_proof_of_loss() {
    let mut story = Story::under_way();
    let sent = [story.send(0), story.send(1)];
    let (first, second) = (story.stamp(0), story.stamp(1));
    assert_eq!(story.answer(0, first, ErrorCode::NotEnoughReplicas), Verdict::Retry);
    assert_eq!(story.answer(1, second, ErrorCode::OutOfOrderSequenceNumber), Verdict::Retry);
    story.sequences.settle();
    assert_eq!([story.carries(0), story.carries(1)], sent);
}

#[test]
fn a_broker_that_lost_its_state_gets_a_new_epoch_once() {
    for error in [ErrorCode::UnknownProducerId, ErrorCode::OutOfOrderSequenceNumber] {
        let mut story = Story::under_way();
        story.send_all([1, 2]);
        let (first, second) = (story.stamp(1), story.stamp(2));
        assert_eq!(story.answer(1, first, error), Verdict::Retry);
        story.sequences.settle();
        assert_eq!([story.carries(1), story.carries(2)], [(1, 0), (1, 10)]);
        // The answer to what was sent in the old epoch comes late and changes nothing.
        assert_eq!(story.answer(2, second, error), Verdict::Retry);
        story.sequences.settle();
        assert_eq!([story.carries(1), story.carries(2)], [(1, 0), (1, 10)]);
    }
}

#[test]
fn a_refused_batch_leaves_no_gap() {
    let mut story = Story::under_way();
    story.send_all([0, 1]);
    let first = story.stamp(0);
    assert_eq!(story.answer(0, first, ErrorCode::InvalidRecord), Verdict::Fail);
    story.failed(0, false);
    assert_eq!(story.carries(1), (1, 0));
}

/// A broker that stored it, and whose answer was lost, would take it for another under a new number.
#[test]
fn what_is_in_line_before_a_gap_keeps_its_number() {
    let mut story = Story::under_way();
    story.send_all([0, 1, 2]);
    story.failed(1, false);
    assert_eq!([story.carries(0), story.carries(2)], [(0, 10), (0, 30)]);
    assert!(story.may_resend(0) && !story.may_resend(2));
    assert!(!story.sequences.may_start(&story.of), "its number would lie behind the gap");
    story.acked(0);
    story.sequences.settle();
    assert_eq!(story.carries(2), (1, 0));

    let mut story = Story::under_way();
    story.send_all([0, 1, 2]);
    story.failed(2, false);
    story.failed(0, true);
    assert_eq!(story.carries(1), (0, 20), "it may show what became of the one before");
    story.failed(1, true);
    assert_eq!(story.send(3), (1, 0));
}

#[test]
fn a_batch_stored_under_old_numbers_does_not_leave_a_gap_in_the_new() {
    let mut story = Story::under_way();
    story.send_all([0, 1, 2]);
    let second = story.stamp(1);
    story.failed(0, false);
    story.sequences.acked(&story.of, story.ids[1], second);
    story.sequences.settle();
    assert_eq!(story.carries(2), (2, 0));
}

#[test]
fn after_an_unknown_outcome_nothing_new_starts_before_the_rest_is_settled() {
    let mut story = Story::under_way();
    story.send_all([0, 1]);
    story.failed(0, true);
    assert!(!story.sequences.may_start(&story.of));
    // What followed it was stored, so it was stored, too.
    story.acked(1);
    story.sequences.settle();
    assert_eq!(story.send(2), (0, 30));
    // This time nothing shows it: a new epoch, where whatever the broker has does no harm.
    story.failed(2, true);
    assert_eq!(story.send(3), (1, 0));
}

#[test]
fn the_batch_after_one_of_unknown_fate_proves_the_gap() {
    let mut story = Story::under_way();
    story.send_all([0, 1]);
    let second = story.stamp(1);
    story.failed(0, true);
    assert_eq!(story.answer(1, second, ErrorCode::OutOfOrderSequenceNumber), Verdict::Retry);
    story.sequences.settle();
    assert_eq!(story.carries(1), (1, 0));
}

#[test]
fn another_partition_moves_to_the_new_epoch_when_nothing_of_it_is_in_flight() {
    let mut story = Story::under_way();
    let other = TopicPartition::new("t", 1);
    story.sequences.assign(&other, story.ids[7], 5);
    let stamp = story.sequences.stamp(&other, story.ids[7]).unwrap();
    story.send(0);
    story.failed(0, false);
    assert!(!story.sequences.may_start(&other), "the old epoch is in flight");
    assert!(story.sequences.may_resend(&other, story.ids[7]));
    story.sequences.acked(&other, story.ids[7], stamp);
    assert!(story.sequences.may_start(&other));
    story.sequences.assign(&other, story.ids[8], 5);
    let stamp = story.sequences.stamp(&other, story.ids[8]).unwrap();
    assert_eq!((stamp.epoch, stamp.sequence), (ProducerEpoch(1), Sequence(0)));
}

#[test]
fn used_up_epochs_ask_for_another_id() {
    let mut story = Story::new();
    story.sequences.identify(ID, ProducerEpoch(i16::MAX));
    story.send(2);
    story.acked(2);
    story.send_all([0, 1]);
    story.failed(0, false);
    assert!(story.sequences.needs_id() && !story.may_resend(1));
    story.sequences.identify(ProducerId(8), ProducerEpoch(0));
    let fresh = Stamp { id: ProducerId(8), epoch: ProducerEpoch(0), sequence: Sequence(0) };
    assert_eq!(story.stamp(1), fresh);
}

#[test]
fn halves_of_a_batch_share_its_numbers() {
    let mut story = Story::under_way();
    story.send_all([0, 1]);
    let half = story.ids[5];
    story.sequences.split(&story.of, story.ids[0], 4, half);
    let second = story.sequences.stamp(&story.of, half).unwrap();
    assert_eq!((story.carries(0).1, second.sequence.0, story.carries(1).1), (10, 14, 20));
    assert!(!story.sequences.may_resend(&story.of, half));
    story.acked(0);
    assert!(story.sequences.may_resend(&story.of, half));
}

#[test]
fn numbers_wrap() {
    assert!(follows_or_equals(Some(Sequence(5)), Sequence(i32::MAX - 3)));
    assert!(!follows_or_equals(Some(Sequence(i32::MAX - 3)), Sequence(5)));
    assert!(follows_or_equals(Some(Sequence(9)), Sequence(9)) && !follows_or_equals(None, Sequence(0)));
}
