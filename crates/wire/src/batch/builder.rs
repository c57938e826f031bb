//! Building batches.

use bytes::Bytes;

use super::attributes::{Attributes, TimestampType};
use super::control::ControlRecord;
use super::error::BatchError;
use super::header::{BatchHeader, HEADER_LEN};
use super::record::{Header, Record, write_record};
use crate::compress::{Codec, compress};
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

/// Builds one batch: settings first (they take and give the builder), then records, then
/// [`BatchBuilder::build`].
///
/// A record that a batch cannot hold (an offset that goes back, or lies 2^31 or more after the base) is
/// remembered and makes `build` fail, so that pushing needs no check at each record.
///
/// ```
/// # use ottla_wire::{Timestamp, batch::{BatchBuilder, BatchView}, compress::Codec};
/// let mut builder = BatchBuilder::new().codec(Codec::Lz4);
/// builder.push(Timestamp(1_700_000_000_000), Some(b"key"), Some(b"value"));
/// let batch = BatchView::parse(builder.build()?)?;
/// assert_eq!(batch.header().record_count, 1);
/// # Ok::<(), ottla_wire::batch::BatchError>(())
/// ```
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    header: BatchHeader,
    codec: Codec,
    level: Option<i32>,
    /// For LogAppendTime, and for a batch without records: there is no record to take it from.
    max_timestamp: Option<Timestamp>,
    /// Kept even if the record that was last is gone (compaction).
    last_offset: Option<Offset>,
    next_offset: Offset,
    /// Room for the header, then the records unpacked.
    buffer: Vec<u8>,
    failed: Option<BatchError>,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchBuilder {
    /// An empty batch as a plain client sends it: base offset 0, no leader epoch, no producer, CreateTime,
    /// not packed.
    pub fn new() -> BatchBuilder {
        let header = BatchHeader {
            base_offset: Offset(0),
            batch_length: 0,
            partition_leader_epoch: LeaderEpoch::NONE,
            crc: 0,
            attributes: Attributes::default(),
            last_offset_delta: 0,
            base_timestamp: Timestamp::NONE,
            max_timestamp: Timestamp::NONE,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch(-1),
            base_sequence: Sequence::NONE,
            record_count: 0,
        };
        BatchBuilder {
            header,
            codec: Codec::None,
            level: None,
            max_timestamp: None,
            last_offset: None,
            next_offset: Offset(0),
            buffer: vec![0; HEADER_LEN],
            failed: None,
        }
    }

    /// An empty batch in the place of another one, for compaction: offsets (the last one too, whatever
    /// records are kept), leader epoch, producer fields, flags, codec, timestamp type and delete horizon are
    /// those of `old`.
    pub fn in_place_of(old: &BatchHeader) -> Result<BatchBuilder, BatchError> {
        let mut builder = BatchBuilder::new()
            .base_offset(old.base_offset)
            .leader_epoch(old.partition_leader_epoch)
            .producer(old.producer_id, old.producer_epoch, old.base_sequence)
            .codec(old.codec()?);
        builder.header.attributes = old.attributes;
        builder.last_offset = Some(old.last_offset());
        builder.max_timestamp = Some(old.max_timestamp);
        if let Some(horizon) = old.delete_horizon() {
            builder = builder.delete_horizon(horizon);
        }
        Ok(builder)
    }

    /// The offset of the first record. Clients leave it 0.
    pub fn base_offset(mut self, offset: Offset) -> Self {
        self.header.base_offset = offset;
        self.next_offset = offset;
        self
    }

    pub fn leader_epoch(mut self, epoch: LeaderEpoch) -> Self {
        self.header.partition_leader_epoch = epoch;
        self
    }

    /// How the records are packed; the level is the codec's default.
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// The compression level. `build` fails if the codec does not take it.
    pub fn level(mut self, level: i32) -> Self {
        self.level = Some(level);
        self
    }

    /// The producer and the sequence number of the first record.
    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: Sequence) -> Self {
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    pub fn transactional(mut self) -> Self {
        self.header.attributes = self.header.attributes.with_transactional(true);
        self
    }

    /// Readers see this time for each record, whatever the records say.
    pub fn log_append_time(mut self, time: Timestamp) -> Self {
        let attributes = self.header.attributes;
        self.header.attributes = attributes.with_timestamp_type(TimestampType::LogAppendTime);
        self.max_timestamp = Some(time);
        self
    }

    /// The time from which compaction may drop tombstones and markers (KIP-534). Timestamps are then relative
    /// to it, so it MUST be set before a record is pushed.
    pub fn delete_horizon(mut self, horizon: Timestamp) -> Self {
        self.header.attributes = self.header.attributes.with_delete_horizon(true);
        self.header.base_timestamp = horizon;
        self
    }

    /// Appends a record without headers at the next offset.
    pub fn push(&mut self, timestamp: Timestamp, key: Option<&[u8]>, value: Option<&[u8]>) -> &mut Self {
        self.push_at(self.next_offset, timestamp, key, value, &[])
    }

    /// Appends a record at the next offset.
    pub fn push_with_headers(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> &mut Self {
        self.push_at(self.next_offset, timestamp, key, value, headers)
    }

    /// Appends a control record at the next offset. The batch becomes a control batch, which holds nothing
    /// else.
    pub fn push_control(&mut self, timestamp: Timestamp, record: &ControlRecord) -> &mut Self {
        self.header.attributes = self.header.attributes.with_control(true);
        self.push(timestamp, Some(&record.key()), Some(&record.value()))
    }

    /// Appends a record where it was, for compaction.
    pub fn push_record(&mut self, record: &Record) -> &mut Self {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        self.push_at(record.offset, record.timestamp, key, value, &record.headers)
    }

    /// Appends a record at an offset, which MUST be at or after [`BatchBuilder::next_offset`].
    pub fn push_at(
        &mut self,
        offset: Offset,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> &mut Self {
        if let Err(error) = self.try_push(offset, timestamp, key, value, headers) {
            self.failed.get_or_insert(error);
        }
        self
    }

    /// How many records have been pushed.
    pub fn record_count(&self) -> i32 {
        self.header.record_count
    }

    /// The offset that the next record gets.
    pub fn next_offset(&self) -> Offset {
        self.next_offset
    }

    /// Bytes of the batch if it were not packed.
    pub fn unpacked_len(&self) -> usize {
        self.buffer.len()
    }

    /// The batch. Fails if a record did not fit, the codec does not take the level, or the batch is larger
    /// than 2 GiB.
    pub fn build(mut self) -> Result<Bytes, BatchError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let empty = self.header.record_count == 0;
        let codec = if empty { Codec::None } else { self.codec };
        self.header.attributes = self.header.attributes.with_codec(codec);
        if let Some(last) = self.last_offset {
            if self.next_offset > Offset(last.0.saturating_add(1)) {
                return Err(BatchError::Build("a record lies after the last offset"));
            }
            self.header.last_offset_delta = delta(self.header.base_offset, last)?;
        }
        if empty {
            // As Kafka's cleaner writes what it has emptied: such a batch carries producer state and nothing
            // else.
            self.header.attributes = self.header.attributes.with_delete_horizon(false);
            self.header.base_timestamp = Timestamp::NONE;
        }
        if empty || self.header.timestamp_type() == TimestampType::LogAppendTime {
            self.header.max_timestamp = self.max_timestamp.unwrap_or(Timestamp::NONE);
        }
        let mut out = self.buffer;
        if codec != Codec::None {
            let mut packed = vec![0; HEADER_LEN];
            compress(codec, self.level, &out[HEADER_LEN..], &mut packed)?;
            out = packed;
        }
        self.header.seal(&out[HEADER_LEN..])?;
        out[..HEADER_LEN].copy_from_slice(&self.header.encode());
        Ok(Bytes::from(out))
    }

    fn try_push(
        &mut self,
        offset: Offset,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> Result<(), BatchError> {
        if offset < self.next_offset {
            return Err(BatchError::Build("offsets must rise"));
        }
        let offset_delta = delta(self.header.base_offset, offset)?;
        let header = &mut self.header;
        if header.record_count == 0 && !header.attributes.has_delete_horizon() {
            header.base_timestamp = timestamp;
        }
        let timestamp_delta = timestamp.0.wrapping_sub(header.base_timestamp.0);
        write_record(timestamp_delta, offset_delta, key, value, headers, &mut self.buffer)
            .ok_or(BatchError::Build("a record is larger than 2 GiB"))?;
        // Offsets rise, so the delta bounds the count too.
        header.record_count += 1;
        header.last_offset_delta = offset_delta;
        header.max_timestamp = header.max_timestamp.max(timestamp);
        self.next_offset = Offset(offset.0.saturating_add(1));
        Ok(())
    }
}

fn delta(base: Offset, offset: Offset) -> Result<i32, BatchError> {
    let delta = offset.0.checked_sub(base.0).and_then(|delta| i32::try_from(delta).ok());
    // The count of records of a batch, one more than the last delta, must be an i32 too.
    delta.filter(|delta| (0..i32::MAX).contains(delta)).ok_or(BatchError::Build("offsets are too far apart"))
}
