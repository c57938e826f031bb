//! Packs the records of a coordinator's turn into a batch.

use std::cell::RefCell;

use ottla_coordinator::Batch;
use ottla_wire::batch::{self, BatchBuilder, BatchError, BatchLimits, Origin, Scratch, ValidatedBatch};
use ottla_wire::compress::Codec;
use ottla_wire::{Sequence, Timestamp};

/// The most bytes of a coordinator's batch. One step is never split, and the metadata of a large group is one
/// record. So this is far above the limit for producers (`max.message.bytes`).
const BATCH_BYTES_MAX: usize = 64 << 20;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::default());
}

/// The batch for the partition. Coordinators use no sequence numbers.
pub fn seal(batch: &Batch, wall: Timestamp, codec: Codec) -> Result<ValidatedBatch, BatchError> {
    let mut builder = BatchBuilder::new().codec(codec);
    if let Some(producer) = batch.producer {
        builder = builder.producer(producer.id, producer.epoch, Sequence::NONE).transactional();
    }
    for record in &batch.records {
        builder.push(wall, Some(&record.key), record.value.as_deref());
    }
    let limits = BatchLimits {
        origin: Origin::Broker,
        max_bytes: BATCH_BYTES_MAX,
        max_decompressed_bytes: BATCH_BYTES_MAX,
        require_key: true,
        now: wall,
        ..BatchLimits::default()
    };
    SCRATCH.with_borrow_mut(|scratch| batch::validate(builder.build()?, &limits, scratch))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ottla_coordinator::{Producer, Record};
    use ottla_wire::batch::BatchView;
    use ottla_wire::{ProducerEpoch, ProducerId};

    use super::*;

    #[test]
    fn a_batch_holds_the_records_in_order_and_the_producer_of_their_transaction() {
        let record = |key: &'static str, value: Option<&'static str>| Record {
            key: Bytes::from_static(key.as_bytes()),
            value: value.map(|value| Bytes::from_static(value.as_bytes())),
        };
        let producer = Producer { id: ProducerId(7), epoch: ProducerEpoch(2) };
        let records = vec![record("a", Some("1")), record("b", None)];
        for codec in [Codec::None, Codec::Lz4] {
            let batch = Batch { producer: Some(producer), records: records.clone() };
            let sealed = seal(&batch, Timestamp(1000), codec).unwrap();
            let header = sealed.header();
            assert!(header.is_transactional() && header.codec() == Ok(codec));
            assert_eq!((header.producer_id, header.producer_epoch), (producer.id, producer.epoch));
            let view = BatchView::parse(sealed.bytes().clone()).unwrap();
            let read: Vec<_> = view.records(1 << 20).unwrap().map(Result::unwrap).collect();
            let pairs: Vec<_> = read.into_iter().map(|r| (r.key.unwrap(), r.value, r.timestamp)).collect();
            let expected = records.iter().map(|r| (r.key.clone(), r.value.clone(), Timestamp(1000)));
            assert!(pairs.into_iter().eq(expected));
        }
    }
}
