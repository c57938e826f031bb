//! What brokers do with batches, by Kafka's rules of idempotence: partitions whose state moves along with
//! their leader.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use ottla_wire::batch::{BatchHeader, BatchView};
use ottla_wire::primitives::Records;
use ottla_wire::protocol::ErrorCode;

/// Batches that a broker remembers of each producer.
const REMEMBERED: usize = 5;

/// A number that names a record.
pub type Uid = u32;

/// A record as it is stored.
#[derive(Clone, Copy, Debug)]
pub struct Stored {
    pub uid: Uid,
    pub fate: Fate,
}

/// Whether readers of committed records see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Open,
    Committed,
    Aborted,
}

#[derive(Default)]
pub struct Partition {
    pub log: Vec<Stored>,
    producers: BTreeMap<i64, Producer>,
    /// A producer that is not known may begin with any number, as in Kafka before transaction version 2.
    pub lenient: bool,
    /// Whose record each number was, by producer and epoch.
    numbers: BTreeMap<(i64, i16, i32), Uid>,
}

#[derive(Default)]
struct Producer {
    epoch: i16,
    /// First and last number, and base offset.
    batches: VecDeque<(i32, i32, i64)>,
}

/// One batch as it was sent.
#[derive(Clone, Debug)]
pub struct Arriving {
    header: BatchHeader,
    pub uids: Vec<Uid>,
}

impl Arriving {
    pub fn read(records: &Records) -> Arriving {
        let bytes: Bytes = match records {
            Records::Bytes(bytes) => bytes.clone(),
            Records::Chain(parts) => parts.concat().into(),
            Records::Gap { .. } => panic!("a producer leaves no gaps"),
        };
        let view = BatchView::parse(bytes.clone()).unwrap();
        view.check_crc().unwrap();
        let uid = |value: Bytes| Uid::from_be_bytes(value[..4].try_into().unwrap());
        let uids = view.records(1 << 20).unwrap().map(|record| uid(record.unwrap().value.unwrap()));
        Arriving { header: BatchHeader::parse(&bytes).unwrap(), uids: uids.collect() }
    }
}

impl Partition {
    /// Law: no number is given to two records.
    pub fn check_numbers(&mut self, batch: &Arriving) {
        if !batch.header.has_producer() {
            return;
        }
        let (id, epoch) = (batch.header.producer_id.0, batch.header.producer_epoch.0);
        for (&uid, at) in batch.uids.iter().zip(0..) {
            let number = batch.header.base_sequence.plus(at).0;
            let first = *self.numbers.entry((id, epoch, number)).or_insert(uid);
            assert_eq!(first, uid, "number {number} of epoch {epoch} was given to two records");
        }
    }

    /// Stores a batch, or says why not; a repeat has the offset it had.
    pub fn append(&mut self, batch: &Arriving) -> Result<i64, ErrorCode> {
        let header = &batch.header;
        if header.has_producer()
            && let Some(base) = self.check(header)?
        {
            return Ok(base);
        }
        let base = self.log.len() as i64;
        let fate = if header.is_transactional() { Fate::Open } else { Fate::Committed };
        self.log.extend(batch.uids.iter().map(|&uid| Stored { uid, fate }));
        if header.has_producer() {
            let producer = self.producers.entry(header.producer_id.0).or_default();
            producer.batches.push_back((header.base_sequence.0, header.last_sequence().0, base));
            while producer.batches.len() > REMEMBERED {
                producer.batches.pop_front();
            }
        }
        Ok(base)
    }

    /// Ends what is open, in an epoch that older ones are refused from then on.
    pub fn mark(&mut self, id: i64, epoch: i16, fate: Fate) {
        let producer = self.producers.entry(id).or_default();
        if epoch > producer.epoch {
            *producer = Producer { epoch, ..Producer::default() };
        }
        self.log.iter_mut().filter(|stored| stored.fate == Fate::Open).for_each(|stored| stored.fate = fate);
    }

    fn check(&mut self, header: &BatchHeader) -> Result<Option<i64>, ErrorCode> {
        let (first, last) = (header.base_sequence.0, header.last_sequence().0);
        let epoch = header.producer_epoch.0;
        let Some(known) = self.producers.get_mut(&header.producer_id.0) else {
            if first != 0 && !self.lenient {
                return Err(ErrorCode::OutOfOrderSequenceNumber);
            }
            self.producers.insert(header.producer_id.0, Producer { epoch, ..Producer::default() });
            return Ok(None);
        };
        if epoch < known.epoch {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        if epoch > known.epoch {
            if first != 0 {
                return Err(ErrorCode::OutOfOrderSequenceNumber);
            }
            *known = Producer { epoch, ..Producer::default() };
            return Ok(None);
        }
        if let Some(repeat) = known.batches.iter().find(|of| (of.0, of.1) == (first, last)) {
            return Ok(Some(repeat.2));
        }
        match first.cmp(&known.batches.back().map_or(0, |of| of.1 + 1)) {
            std::cmp::Ordering::Equal => Ok(None),
            std::cmp::Ordering::Less => Err(ErrorCode::DuplicateSequenceNumber),
            std::cmp::Ordering::Greater => Err(ErrorCode::OutOfOrderSequenceNumber),
        }
    }
}
