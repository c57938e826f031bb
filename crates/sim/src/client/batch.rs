//! Batches as clients make them.

use ottla_wire::batch::{BatchBuilder, BatchLimits, Scratch, ValidatedBatch, validate};
use ottla_wire::{ProducerEpoch, ProducerId, Sequence, Timestamp};

/// Who numbers the records of a batch, and how.
#[derive(Clone, Copy, Debug)]
pub struct Numbered {
    pub producer: ProducerId,
    pub epoch: ProducerEpoch,
    pub first: Sequence,
    pub transactional: bool,
}

/// Names a record: the producer that made it, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Value {
    pub producer: u32,
    pub number: u32,
}

impl Value {
    pub fn encode(self) -> String {
        format!("{}:{}", self.producer, self.number)
    }

    pub fn decode(bytes: &[u8]) -> Option<Value> {
        let (producer, number) = std::str::from_utf8(bytes).ok()?.split_once(':')?;
        Some(Value { producer: producer.parse().ok()?, number: number.parse().ok()? })
    }
}

/// `None` if it could not be built, which the caller reports as a bug.
pub fn build(values: &[Value], numbered: Option<Numbered>, wall: Timestamp) -> Option<ValidatedBatch> {
    let mut builder = BatchBuilder::new();
    if let Some(numbered) = numbered {
        builder = builder.producer(numbered.producer, numbered.epoch, numbered.first);
        if numbered.transactional {
            builder = builder.transactional();
        }
    }
    for value in values {
        builder.push(wall, None, Some(value.encode().as_bytes()));
    }
    validate(builder.build().ok()?, &BatchLimits::default(), &mut Scratch::default()).ok()
}
