//! The frame around a toy: counters by name that can be raised, read, and set to rise by themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ottla_wire::{Instant, Offset, ProducerEpoch, ProducerId, Timestamp, Uuid};

use crate::frame::BATCH_BYTES_TARGET;
use crate::{Coordinator, Frame, Moment, Output, Producer, Record, Refusal, ReplayError, Ticket};

/// Counters, and the amounts added by open transactions.
#[derive(Debug, Default, PartialEq)]
struct Counters {
    values: BTreeMap<Bytes, u64>,
    pending: BTreeMap<Producer, Vec<Bytes>>,
    rises_at: Option<Instant>,
    starts: u32,
}

enum Ask {
    Raise(&'static str),
    RaiseIn(Producer, &'static str),
    Read(&'static str),
}

/// A ticket and the value of its answer.
type CounterAnswer = (Ticket, u64);

const PERIOD: Duration = Duration::from_secs(10);

impl Counters {
    fn value(&self, name: &str) -> u64 {
        self.values.get(name.as_bytes()).copied().unwrap_or(0)
    }

    fn raise(&mut self, name: Bytes) -> u64 {
        let value = self.values.entry(name).or_default();
        *value += 1;
        *value
    }
}

fn raised(name: &[u8]) -> Record {
    Record { key: Bytes::copy_from_slice(name), value: Some(Bytes::from_static(b"+1")) }
}

impl Coordinator for Counters {
    type Request = Ask;
    type Outbound = CounterAnswer;

    fn handle(&mut self, at: &Moment, ticket: Ticket, request: Ask, out: &mut Output<CounterAnswer>) {
        match request {
            Ask::Raise(name) => {
                out.write(raised(name.as_bytes()));
                self.rises_at = Some(at.now + PERIOD);
                let value = self.raise(Bytes::from_static(name.as_bytes()));
                out.send((ticket, value));
            }
            Ask::RaiseIn(producer, name) => {
                out.write_in(producer, raised(name.as_bytes()));
                self.pending.entry(producer).or_default().push(Bytes::from_static(name.as_bytes()));
                out.send((ticket, self.value(name)));
            }
            Ask::Read(name) => out.send((ticket, self.value(name))),
        }
    }

    fn only_reads(request: &Ask) -> bool {
        matches!(request, Ask::Read(_))
    }

    fn tick(&mut self, at: &Moment, out: &mut Output<CounterAnswer>) {
        if self.rises_at.is_some_and(|due| due <= at.now) {
            self.rises_at = Some(at.now + PERIOD);
            out.write(raised(b"tick"));
            self.raise(Bytes::from_static(b"tick"));
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.rises_at
    }

    fn replay(&mut self, _: Offset, producer: Option<Producer>, record: Record) -> Result<(), ReplayError> {
        if record.value.is_none() {
            return Err(ReplayError::Contradiction("a counter does not go".into()));
        }
        match producer {
            Some(producer) => self.pending.entry(producer).or_default().push(record.key),
            None => drop(self.raise(record.key)),
        }
        Ok(())
    }

    fn end_transaction(&mut self, producer: Producer, commit: bool) {
        for name in self.pending.remove(&producer).unwrap_or_default() {
            if commit {
                self.raise(name);
            }
        }
    }

    fn start(&mut self, at: &Moment, _: &mut Output<CounterAnswer>) {
        self.starts += 1;
        self.rises_at = Some(at.now + PERIOD);
    }
}

fn at(seconds: u64) -> Moment {
    Moment { now: Instant(0) + Duration::from_secs(seconds), wall: Timestamp(0), uuid: Uuid::ZERO }
}

fn active() -> Frame<Counters> {
    let mut frame = Frame::loading(Counters::default());
    frame.loaded(&at(0));
    frame
}

fn names(frame: &mut Frame<Counters>) -> Vec<Vec<Bytes>> {
    let keys = |batch: crate::Batch| batch.records.into_iter().map(|record| record.key).collect();
    std::iter::from_fn(|| frame.next_batch()).map(keys).collect()
}

const PRODUCER: Producer = Producer { id: ProducerId(7), epoch: ProducerEpoch(1) };

#[test]
fn an_answer_leaves_when_its_records_are_committed() {
    let mut frame = active();
    frame.handle(&at(0), Ticket(1), Ask::Raise("a")).unwrap();
    assert_eq!(frame.take_released(), []);
    assert!(frame.next_batch().is_some());
    assert_eq!(frame.take_released(), []);
    frame.committed();
    assert_eq!(frame.take_released(), [(Ticket(1), 1)]);
}

/// A read must not show something that a crash can still undo.
#[test]
fn a_read_waits_for_the_writes_before_it() {
    let mut frame = active();
    frame.handle(&at(0), Ticket(1), Ask::Read("a")).unwrap();
    assert_eq!(frame.take_released(), [(Ticket(1), 0)], "nothing is under way");
    frame.handle(&at(0), Ticket(2), Ask::Raise("a")).unwrap();
    assert!(frame.next_batch().is_some());
    frame.handle(&at(0), Ticket(3), Ask::Read("b")).unwrap();
    assert_eq!(frame.take_released(), []);
    frame.committed();
    assert_eq!(frame.take_released(), [(Ticket(2), 1), (Ticket(3), 0)]);
}

#[test]
fn the_records_of_a_turn_share_a_batch_and_those_of_transactions_have_their_own() {
    let mut frame = active();
    for ask in [Ask::Raise("a"), Ask::Raise("b"), Ask::RaiseIn(PRODUCER, "c"), Ask::Raise("d")] {
        frame.handle(&at(0), Ticket(0), ask).unwrap();
    }
    assert!(frame.has_batches());
    assert_eq!(names(&mut frame), [vec!["a", "b"], vec!["c"], vec!["d"]]);
    assert!(!frame.has_batches());
    frame.committed();
    assert_eq!(frame.take_released().len(), 2, "the answers that hang on the first batch");
}

#[test]
fn a_batch_that_is_full_takes_no_further_step() {
    let mut frame = active();
    let step = raised(b"a").len();
    let fit = BATCH_BYTES_TARGET / step;
    for _ in 0..fit + 1 {
        frame.handle(&at(0), Ticket(0), Ask::Raise("a")).unwrap();
    }
    let sizes: Vec<usize> = names(&mut frame).iter().map(Vec::len).collect();
    assert_eq!(sizes, [fit, 1]);
}

#[test]
fn the_state_is_that_of_the_log() {
    let mut frame = active();
    for ask in [Ask::Raise("a"), Ask::RaiseIn(PRODUCER, "b"), Ask::Raise("a")] {
        frame.handle(&at(0), Ticket(0), ask).unwrap();
    }
    let mut loaded = Frame::loading(Counters::default());
    while let Some(batch) = frame.next_batch() {
        for record in batch.records {
            loaded.replay(Offset(0), batch.producer, record).unwrap();
        }
    }
    frame.end_transaction(PRODUCER, true);
    loaded.end_transaction(PRODUCER, true);
    loaded.loaded(&at(0));
    assert_eq!(loaded.core().values, frame.core().values);
    assert_eq!(loaded.core().value("b"), 1);
}

#[test]
fn nothing_is_served_while_loading_and_what_cannot_be_replayed_is_told() {
    let mut frame = Frame::loading(Counters::default());
    assert_eq!(frame.handle(&at(0), Ticket(1), Ask::Read("a")), Err(Refusal::Loading));
    let tombstone = Record { key: Bytes::from_static(b"a"), value: None };
    assert!(matches!(frame.replay(Offset(0), None, tombstone), Err(ReplayError::Contradiction(_))));
    assert_eq!(frame.next_deadline(), None);
    frame.loaded(&at(0));
    assert!(frame.handle(&at(0), Ticket(1), Ask::Read("a")).is_ok());
}

/// Sessions start again after a pause, because no heartbeat could arrive.
#[test]
fn without_a_log_to_write_to_reads_are_served_and_time_stands_still() {
    let mut frame = active();
    frame.set_writable(&at(5), false);
    assert_eq!(frame.handle(&at(5), Ticket(1), Ask::Raise("a")), Err(Refusal::Unavailable));
    assert!(frame.handle(&at(5), Ticket(2), Ask::Read("a")).is_ok());
    assert_eq!(frame.next_deadline(), None);
    frame.tick(&at(100));
    assert_eq!(frame.core().value("tick"), 0);
    frame.set_writable(&at(100), true);
    assert_eq!(frame.core().starts, 2);
    assert_eq!(frame.next_deadline(), Some(at(110).now));
}

#[test]
fn time_writes_records_too() {
    let mut frame = active();
    assert_eq!(frame.next_deadline(), Some(at(10).now));
    frame.tick(&at(9));
    assert!(!frame.has_batches());
    frame.tick(&at(10));
    assert_eq!(names(&mut frame), [["tick"]]);
}

/// The core has answered for records that the log does not hold. Nothing that depends on them may leave.
#[test]
fn a_failed_append_breaks_the_frame_and_drops_what_waits() {
    let mut frame = active();
    frame.handle(&at(0), Ticket(1), Ask::Raise("a")).unwrap();
    assert!(frame.next_batch().is_some());
    frame.handle(&at(0), Ticket(2), Ask::Raise("a")).unwrap();
    frame.fail();
    assert!(frame.is_broken() && !frame.has_batches());
    frame.committed();
    assert_eq!(frame.take_released(), []);
    assert_eq!(frame.handle(&at(0), Ticket(3), Ask::Read("a")), Err(Refusal::NotCoordinator));
    frame.set_writable(&at(1), true);
    assert!(frame.is_broken(), "only loading helps");
}
