//! A batch on its way: open while records are added, sealed once it is first sent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_wire::batch::{BatchBuilder, BatchError, BatchHeader, BatchView, HEADER_LEN};
use ottla_wire::compress::Codec;
use ottla_wire::primitives::Records;
use ottla_wire::{LeaderEpoch, ProducerEpoch, ProducerId, Sequence, Timestamp};

use super::batch_id::BatchId;
use super::delivery::{Outcome, Settlement};
use super::record::{ProduceError, ProducerRecord};
use super::sequences::Stamp;
use crate::cluster::TopicPartition;
use crate::error::Error;
use crate::seam::Instant;

/// How batches are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packing {
    pub(super) codec: Codec,
    pub(super) level: Option<i32>,
    pub(super) transactional: bool,
}

impl Packing {
    fn builder(self) -> BatchBuilder {
        let mut builder = BatchBuilder::new().codec(self.codec);
        if let Some(level) = self.level {
            builder = builder.level(level);
        }
        if self.transactional {
            builder = builder.transactional();
        }
        builder
    }
}

/// The largest batch that is unpacked to be split. It was built here, so this bounds nothing that is not
/// bounded already.
const UNPACKED_BYTES_MAX: usize = i32::MAX as usize;

pub(super) struct Batch {
    pub(super) id: BatchId,
    /// Ids from `id` on that belong to this batch and its parts.
    span: u64,
    pub(super) partition: TopicPartition,
    content: Content,
    /// Of `buffer.memory`.
    pub(super) reserved: usize,
    pub(super) created: Instant,
    pub(super) attempts: u32,
    pub(super) last_attempt: Option<Attempt>,
    /// What went wrong last.
    pub(super) last_error: Option<Box<Error>>,
    /// An attempt ended so that the broker may have the batch.
    pub(super) maybe_stored: bool,
    pub(super) settlement: Arc<Settlement>,
    /// Those who sent its records know what became of them, although the batch is not over.
    pub(super) is_told: bool,
}

/// When the batch was last sent, and to the leader of which epoch.
#[derive(Clone, Copy)]
pub(super) struct Attempt {
    pub(super) at: Instant,
    /// How long to wait before the next one. Drawn once: whoever asks when that is must get the same answer.
    pub(super) pause: Duration,
    pub(super) leader_epoch: LeaderEpoch,
}

enum Content {
    Open(BatchBuilder),
    /// Part of a batch that was split. Its records have numbers, and those behind it have the next: it takes
    /// no more.
    Part(BatchBuilder),
    Sealed {
        bytes: Bytes,
        records: i32,
        stamp: Option<Stamp>,
    },
}

impl Batch {
    pub(super) fn new(id: BatchId, partition: TopicPartition, packing: Packing, now: Instant) -> Batch {
        Batch {
            id,
            span: BatchId::SPAN,
            partition,
            content: Content::Open(packing.builder()),
            reserved: 0,
            created: now,
            attempts: 0,
            last_attempt: None,
            last_error: None,
            maybe_stored: false,
            settlement: Arc::default(),
            is_told: false,
        }
    }

    pub(super) fn record_count(&self) -> i32 {
        match &self.content {
            Content::Open(builder) | Content::Part(builder) => builder.record_count(),
            Content::Sealed { records, .. } => *records,
        }
    }

    /// Bytes it takes in a request; before it is sealed, the most.
    pub(super) fn len(&self) -> usize {
        match &self.content {
            Content::Open(builder) | Content::Part(builder) => builder.unpacked_len(),
            Content::Sealed { bytes, .. } => bytes.len(),
        }
    }

    /// Whether a record of `size` bytes may be added. An empty batch takes any.
    pub(super) fn has_room(&self, size: usize, batch_size: usize) -> bool {
        match &self.content {
            Content::Open(builder) => {
                builder.record_count() == 0
                    || builder.unpacked_len() + size <= batch_size && builder.record_count() < i32::MAX
            }
            Content::Part(_) | Content::Sealed { .. } => false,
        }
    }

    /// Adds a record and gives its place. MUST have been allowed by [`Batch::has_room`].
    pub(super) fn push(&mut self, record: &ProducerRecord, timestamp: Timestamp) -> usize {
        let Content::Open(builder) = &mut self.content else { unreachable!("a sealed batch has no room") };
        let index = builder.record_count() as usize;
        builder.push_with_headers(timestamp, record.key.as_deref(), record.value.as_deref(), &record.headers);
        index
    }

    /// The bytes to send. Seals the batch the first time; later a changed `stamp` is put into the header.
    pub(super) fn records(&mut self, stamp: Option<Stamp>) -> Result<Records, BatchError> {
        match &mut self.content {
            Content::Open(builder) | Content::Part(builder) => {
                let records = builder.record_count();
                let (id, epoch, sequence) = fields(stamp);
                let bytes = std::mem::take(builder).producer(id, epoch, sequence).build()?;
                self.content = Content::Sealed { bytes: bytes.clone(), records, stamp };
                Ok(Records::Bytes(bytes))
            }
            Content::Sealed { bytes, stamp: sealed, .. } if *sealed == stamp => {
                Ok(Records::Bytes(bytes.clone()))
            }
            Content::Sealed { bytes, .. } => {
                let mut header = BatchHeader::parse(bytes)?;
                (header.producer_id, header.producer_epoch, header.base_sequence) = fields(stamp);
                let body = bytes.slice(HEADER_LEN..);
                header.seal(&body)?;
                Ok(Records::Chain(vec![Bytes::copy_from_slice(&header.encode()), body]))
            }
        }
    }

    /// Splits a sealed batch that the broker found too large into two halves, each with its share of the
    /// memory. The first keeps the id. With the outcome that is given, those who wait for the records of this
    /// one wait for the halves.
    pub(super) fn split(&self, packing: Packing) -> Result<([Batch; 2], Outcome), BatchError> {
        let Content::Sealed { bytes, records, .. } = &self.content else {
            unreachable!("a batch is sealed before a broker can refuse it")
        };
        assert!(*records > 1, "a batch of one record cannot be split");
        let at = *records as usize / 2;
        let half = self.span / 2;
        let mut builders = [packing.builder(), packing.builder()];
        for (index, record) in BatchView::parse(bytes.clone())?.records(UNPACKED_BYTES_MAX)?.enumerate() {
            let record = record?;
            let (key, value) = (record.key.as_deref(), record.value.as_deref());
            let builder = &mut builders[usize::from(index >= at)];
            builder.push_with_headers(record.timestamp, key, value, &record.headers);
        }
        let part = |id, span, reserved, builder| {
            let empty = Batch::new(id, self.partition.clone(), packing, self.created);
            let content = Content::Part(builder);
            Batch { span, reserved, content, maybe_stored: self.maybe_stored, ..empty }
        };
        let [first, second] = builders;
        let first = part(self.id, half, self.reserved / 2, first);
        let (rest, reserved) = (self.span - half, self.reserved - self.reserved / 2);
        let second = part(self.id.within(half), rest, reserved, second);
        let (into_first, into_second) = (first.settlement.clone(), second.settlement.clone());
        Ok(([first, second], Outcome::Split { at, first: into_first, second: into_second }))
    }

    /// How the batch ends when it was sent and no answer says what became of it.
    pub(super) fn unknown(&self) -> Outcome {
        Outcome::Failed(ProduceError::OutcomeUnknown { last: self.last_error.clone() })
    }

    /// How the batch ends when it is given up: what was never sent, or refused each time, is not stored.
    pub(super) fn given_up(&self, otherwise: ProduceError) -> ProduceError {
        if self.maybe_stored {
            ProduceError::OutcomeUnknown { last: self.last_error.clone() }
        } else {
            otherwise
        }
    }
}

fn fields(stamp: Option<Stamp>) -> (ProducerId, ProducerEpoch, Sequence) {
    match stamp {
        Some(stamp) => (stamp.id, stamp.epoch, stamp.sequence),
        None => (ProducerId::NONE, ProducerEpoch(-1), Sequence::NONE),
    }
}
