//! Batches for tests.

use bytes::Bytes;
use ottla_wire::batch::{BatchBuilder, BatchLimits, Origin, Scratch, ValidatedBatch, validate};
use ottla_wire::{ProducerEpoch, ProducerId, Sequence, Timestamp};

/// One record with this value, from nobody in particular.
pub fn plain(value: &str) -> ValidatedBatch {
    let mut builder = BatchBuilder::new();
    builder.push(Timestamp(1_000), None, Some(value.as_bytes()));
    checked(builder.build().unwrap())
}

/// `count` records of a producer.
#[derive(Clone, Copy, Debug)]
pub struct Produced {
    pub id: i64,
    pub epoch: i16,
    pub sequence: i32,
    pub count: i32,
    pub transactional: bool,
    pub timestamp: i64,
}

impl Produced {
    pub fn batch(&self) -> ValidatedBatch {
        let mut builder = BatchBuilder::new().producer(
            ProducerId(self.id),
            ProducerEpoch(self.epoch),
            Sequence(self.sequence),
        );
        if self.transactional {
            builder = builder.transactional();
        }
        for _ in 0..self.count {
            builder.push(Timestamp(self.timestamp), None, Some(b"v"));
        }
        checked(builder.build().unwrap())
    }
}

fn checked(bytes: Bytes) -> ValidatedBatch {
    let limits = BatchLimits { origin: Origin::Broker, ..BatchLimits::default() };
    validate(bytes, &limits, &mut Scratch::default()).unwrap()
}
