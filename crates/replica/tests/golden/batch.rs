//! Batches as scripts write them: one record each.

use ottla_wire::batch::{
    AppendBatch, BatchBuilder, BatchLimits, BatchView, ControlRecord, Origin, Scratch, ValidatedBatch,
    validate,
};
use ottla_wire::{ProducerEpoch, ProducerId, Sequence, Timestamp};

/// More than any record of a script.
const RECORDS_BYTES_MAX: usize = 1024;

/// A producer that numbers its batches.
#[derive(Clone, Copy, Debug)]
pub struct Produced {
    pub id: ProducerId,
    pub epoch: ProducerEpoch,
    pub sequence: Sequence,
    pub transactional: bool,
}

pub fn build(value: &str, produced: Option<Produced>) -> Result<ValidatedBatch, String> {
    let mut builder = BatchBuilder::new();
    if let Some(produced) = produced {
        builder = builder.producer(produced.id, produced.epoch, produced.sequence);
        if produced.transactional {
            builder = builder.transactional();
        }
    }
    builder.push(Timestamp(1_000), None, Some(value.as_bytes()));
    let bytes = builder.build().map_err(|why| why.to_string())?;
    validate(
        bytes,
        &BatchLimits { origin: Origin::Client, ..BatchLimits::default() },
        &mut Scratch::default(),
    )
    .map_err(|why| why.to_string())
}

/// The value of a batch's record.
pub fn value(batch: &AppendBatch) -> Option<String> {
    let record = first_record(batch)?;
    Some(String::from_utf8_lossy(&record.value.unwrap_or_default()).into_owned())
}

/// The control record of a batch, if it is a control batch.
pub fn control(batch: &AppendBatch) -> Option<ControlRecord> {
    if !batch.header.is_control() {
        return None;
    }
    let record = first_record(batch)?;
    ControlRecord::parse(record.key.as_ref(), record.value.as_ref()).ok()?
}

fn first_record(batch: &AppendBatch) -> Option<ottla_wire::batch::Record> {
    BatchView::parse(batch.to_bytes()).ok()?.records(RECORDS_BYTES_MAX).ok()?.next()?.ok()
}
