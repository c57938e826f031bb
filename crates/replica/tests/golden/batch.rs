//! Batches as scripts write them: one record each.

use ottla_wire::batch::{BatchBuilder, BatchLimits, Origin, Scratch, ValidatedBatch, validate};
use ottla_wire::{ProducerEpoch, ProducerId, Sequence, Timestamp};

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
