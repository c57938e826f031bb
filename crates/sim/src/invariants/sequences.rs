//! Idempotent producers: in the log, the records of each of their epochs are numbered from 0 without a gap,
//! and each record is there once, in the order in which it was sent.
//!
//! Excused: a replica that begins behind deleted records knows nothing of who wrote them, and if it comes to
//! lead, takes any sequence for the first (KIP-360). So what is deleted may be appended once more, and a
//! producer whose sequence such a leader does not take starts over; what it had under way then may be there
//! twice.

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::{Offset, ProducerEpoch, ProducerId, Sequence};

use super::ledger::{Committed, Ledger};
use super::promise::Invariant;
use super::scene::{Scene, Verdict};
use crate::client::{ClientFact, Value};

#[derive(Default)]
pub struct SequencesAreGapless {
    last: BTreeMap<ProducerId, (ProducerEpoch, Sequence)>,
    last_value: BTreeMap<u32, Value>,
    offsets: BTreeMap<Value, Offset>,
    /// May be there twice, and out of order.
    excused: BTreeSet<Value>,
    forgotten: BTreeSet<ProducerId>,
}

impl Invariant for SequencesAreGapless {
    fn name(&self) -> &'static str {
        "sequences are gapless"
    }

    fn committed(&mut self, batch: &Committed, ledger: &Ledger) -> Verdict {
        let header = &batch.header;
        if !header.has_producer() {
            return Ok(());
        }
        let (producer, epoch) = (header.producer_id, header.producer_epoch);
        let last = self.last.get(&producer).copied();
        if last.is_some_and(|(known, _)| epoch < known) {
            return Err(format!("{header:?} is of an epoch before {last:?}"));
        }
        if header.is_control() {
            if last.is_none_or(|(known, _)| known < epoch) {
                self.last.insert(producer, (epoch, Sequence::NONE));
            }
            return Ok(());
        }
        let expected = match last {
            Some((known, Sequence::NONE)) if known == epoch => Sequence(0),
            Some((known, last)) if known == epoch => last.plus(1),
            Some(_) | None => Sequence(0),
        };
        self.last.insert(producer, (epoch, header.last_sequence()));
        if self.is_of_deleted(batch, ledger) {
            self.forgotten.insert(producer);
            self.excused.extend(&batch.values);
        }
        for (n, value) in (0..).zip(&batch.values) {
            self.offsets.insert(*value, header.base_offset.plus(n));
        }
        if header.base_sequence != expected && !self.forgotten.contains(&producer) {
            return Err(format!("{header:?} comes where sequence {expected} is due"));
        }
        batch.values.iter().try_for_each(|value| self.once(*value))
    }

    fn client(&mut self, fact: &ClientFact, scene: &Scene<'_>, ledger: &Ledger) -> Verdict {
        let ClientFact::Forgotten { producer, values } = fact else { return Ok(()) };
        if ledger.trimmed_to() == Offset::ZERO {
            return Err(format!(
                "producer {producer} was forgotten, though nothing was deleted: {:?}",
                scene.settings
            ));
        }
        self.forgotten.insert(*producer);
        self.excused.extend(values);
        Ok(())
    }
}

impl SequencesAreGapless {
    /// All of these records were committed before, and deleted.
    fn is_of_deleted(&self, batch: &Committed, ledger: &Ledger) -> bool {
        let mut before = batch.values.iter().map(|value| self.offsets.get(value));
        before.all(|offset| offset.is_some_and(|offset| *offset < ledger.trimmed_to()))
    }

    fn once(&mut self, value: Value) -> Verdict {
        if self.excused.contains(&value) {
            return Ok(());
        }
        let before = self.last_value.insert(value.producer, value);
        match before {
            Some(before) if before >= value => Err(format!("{value:?} comes after {before:?}")),
            _ => Ok(()),
        }
    }
}
