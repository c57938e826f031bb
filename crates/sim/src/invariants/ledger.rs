//! Logs agree below the high watermark, byte for byte, on every replica and for ever: the ledger holds what
//! was committed first, and everything that is called committed later is held against it.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_wire::Offset;
use ottla_wire::batch::{BatchHeader, BatchView, ControlRecord, batches};

use super::scene::Sight;
use crate::client::Value;
use crate::node::read_all;

pub const NAME: &str = "logs agree below the high watermark";

const RECORDS_BYTES_MAX: usize = 1 << 20;

/// A committed batch.
#[derive(Clone, Debug)]
pub struct Committed {
    pub header: BatchHeader,
    pub bytes: Bytes,
    /// What its records say; empty for control batches.
    pub values: Vec<Value>,
    /// Of a marker: whether it commits.
    pub marker: Option<bool>,
}

/// Everything that was ever committed.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By base offset.
    batches: BTreeMap<Offset, Committed>,
    end: Offset,
    /// The highest log start of any replica: what is before it may be gone.
    trimmed_to: Offset,
    /// By node: its process, and up to where it was looked at.
    seen: BTreeMap<usize, (u64, Offset)>,
}

impl Ledger {
    pub fn end(&self) -> Offset {
        self.end
    }

    pub fn trimmed_to(&self) -> Offset {
        self.trimmed_to
    }

    pub fn batches(&self) -> impl DoubleEndedIterator<Item = &Committed> {
        self.batches.values()
    }

    /// The batch that holds `offset`.
    pub fn holding(&self, offset: Offset) -> Option<&Committed> {
        let (_, batch) = self.batches.range(..=offset).next_back()?;
        (batch.header.last_offset() >= offset).then_some(batch)
    }

    /// The value of the record at `offset`.
    pub fn value(&self, offset: Offset) -> Option<Value> {
        let batch = self.holding(offset)?;
        batch.values.get((offset.0 - batch.header.base_offset.0) as usize).copied()
    }

    /// Looks at what a broker calls committed that it did not before. Gives back what is new to everyone.
    pub fn observe(&mut self, sight: &Sight<'_>) -> Result<Vec<Committed>, String> {
        let view = sight.view;
        self.trimmed_to = self.trimmed_to.max(view.log_start);
        let seen = self.seen.get(&sight.node).filter(|(process, _)| *process == sight.process);
        let from = seen.map_or(view.log_start, |(_, seen)| (*seen).max(view.log_start));
        let mut new = Vec::new();
        if from < view.high_watermark {
            for run in read_all(sight.partition, from, view.high_watermark)? {
                for batch in batches(run).map_while(Result::ok) {
                    new.extend(self.hold(sight, &batch)?);
                }
            }
        }
        self.seen.insert(sight.node, (sight.process, from.max(view.high_watermark)));
        Ok(new)
    }

    fn hold(&mut self, sight: &Sight<'_>, batch: &BatchView) -> Result<Option<Committed>, String> {
        let header = *batch.header();
        if let Some(known) = self.batches.get(&header.base_offset) {
            if known.bytes != *batch.bytes() {
                let why = format!(
                    "broker {} holds {header:?} where {:?} was committed",
                    sight.node + 1,
                    known.header
                );
                return Err(why);
            }
            return Ok(None);
        }
        if header.base_offset < self.end {
            return Err(format!(
                "broker {} holds {header:?} where nothing like it was committed",
                sight.node + 1
            ));
        }
        batch
            .check_crc()
            .map_err(|error| format!("broker {} holds a damaged batch: {error}", sight.node + 1))?;
        let committed = read(batch).ok_or_else(|| format!("{header:?} cannot be read"))?;
        self.batches.insert(header.base_offset, committed.clone());
        self.end = header.next_offset();
        Ok(Some(committed))
    }
}

fn read(batch: &BatchView) -> Option<Committed> {
    let header = *batch.header();
    let (mut values, mut marker) = (Vec::new(), None);
    for record in batch.records(RECORDS_BYTES_MAX).ok()? {
        let record = record.ok()?;
        if header.is_control() {
            let control = ControlRecord::parse(record.key.as_ref(), record.value.as_ref()).ok()??;
            marker = Some(matches!(control, ControlRecord::Commit { .. }));
        } else {
            values.push(Value::decode(&record.value?)?);
        }
    }
    Some(Committed { header, bytes: batch.bytes().clone(), values, marker })
}
