//! What a leader asks of a batch before it appends it.
//!
//! The rules are those of Kafka's log validator for format 2, with these differences, each to keep out what
//! no client writes: offset deltas of uncompressed batches must be consecutive too; a client cannot set a
//! delete horizon; lengths below -1 are not null; bytes after the batch are refused instead of cut off.
//!
//! Producer fields are looked at only where a producer id is given. Without one, KafkaJS and Sarama send
//! sequence 0 (KafkaJS also epoch 0), and Kafka takes that.

use bytes::Bytes;

use super::append::ValidatedBatch;
use super::attributes::TimestampType;
use super::error::{BatchError, HeaderFault, RecordError, RecordFault};
use super::header::{BatchHeader, HEADER_LEN};
use super::record::{RECORD_LEN_MIN, RawRecord, read_record};
use super::view::BatchView;
use crate::compress::{Codec, ZstdContext, decompress_with};
use crate::ids::Timestamp;

/// How many rejected records an error lists. A Produce response names them; a client that sent a million bad
/// ones learns nothing from the rest.
pub const RECORD_ERRORS_MAX: usize = 100;

/// How much room a [`Scratch`] keeps between batches: enough for what clients commonly pack into one.
pub const SCRATCH_KEEP_BYTES: usize = 4 << 20;

/// Who wrote a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Origin {
    #[default]
    Client,
    /// A coordinator or another part of the broker: it may write control batches, and for a producer without
    /// a sequence.
    Broker,
}

/// What a topic takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchLimits {
    pub origin: Origin,
    /// Bytes of the whole batch (`max.message.bytes`).
    pub max_bytes: usize,
    /// Bytes of the records of a packed batch when unpacked.
    pub max_decompressed_bytes: usize,
    /// Every record must have a key (compacted topics).
    pub require_key: bool,
    /// With [`TimestampType::LogAppendTime`] the timestamps of clients are not looked at.
    pub timestamp_type: TimestampType,
    /// The time by which timestamps are judged.
    pub now: Timestamp,
    /// How far before `now` a timestamp may be (`message.timestamp.before.max.ms`).
    pub before_max_ms: i64,
    /// How far after `now` a timestamp may be (`message.timestamp.after.max.ms`).
    pub after_max_ms: i64,
}

impl Default for BatchLimits {
    /// Kafka's default size and any timestamp.
    fn default() -> Self {
        BatchLimits {
            origin: Origin::Client,
            max_bytes: 1_048_588,
            max_decompressed_bytes: 64 << 20,
            require_key: false,
            timestamp_type: TimestampType::CreateTime,
            now: Timestamp(0),
            before_max_ms: i64::MAX,
            after_max_ms: i64::MAX,
        }
    }
}

/// Room to unpack into, kept from batch to batch by one who validates many.
#[derive(Debug, Default)]
pub struct Scratch {
    unpacked: Vec<u8>,
    zstd: ZstdContext,
}

impl Scratch {
    /// Bytes that are kept between batches: at most [`SCRATCH_KEEP_BYTES`].
    pub fn room(&self) -> usize {
        self.unpacked.capacity()
    }

    /// Unpacks `body` and gives the records to `then`.
    pub(super) fn unpack<T>(
        &mut self,
        codec: Codec,
        body: &[u8],
        max: usize,
        then: impl FnOnce(&[u8]) -> Result<T, BatchError>,
    ) -> Result<T, BatchError> {
        let unpacked = decompress_with(&mut self.zstd, codec, body, max, &mut self.unpacked);
        let result = unpacked.map_err(BatchError::from).and_then(|()| then(&self.unpacked));
        if self.unpacked.capacity() > SCRATCH_KEEP_BYTES {
            self.unpacked = Vec::new();
        }
        result
    }
}

/// Checks that `bytes` are exactly one batch that a topic with these limits takes: length, magic, size, CRC,
/// header, and each record. The records are walked in place, packed ones in `scratch`; nothing is copied.
pub fn validate(
    bytes: Bytes,
    limits: &BatchLimits,
    scratch: &mut Scratch,
) -> Result<ValidatedBatch, BatchError> {
    let len = bytes.len();
    let batch = BatchView::parse(bytes)?;
    let header = *batch.header();
    let total = header.total_len();
    if len > total {
        return Err(BatchError::NotAlone(len - total));
    }
    // Size before CRC: a batch that is refused anyway should cost little.
    if total > limits.max_bytes {
        return Err(BatchError::TooLarge { len: total, max: limits.max_bytes });
    }
    batch.check_crc()?;
    check_header(&header, limits.origin)?;
    let body = &batch.bytes()[HEADER_LEN..];
    let max_timestamp = match header.codec()? {
        Codec::None => walk(body, &header, limits)?,
        codec => scratch
            .unpack(codec, body, limits.max_decompressed_bytes, |records| walk(records, &header, limits))?,
    };
    Ok(ValidatedBatch::new(batch, max_timestamp))
}

fn check_header(header: &BatchHeader, origin: Origin) -> Result<(), BatchError> {
    let fault = |fault| Err(BatchError::Header(fault));
    let (records, last_offset_delta) = (header.record_count, header.last_offset_delta);
    if records <= 0 {
        return fault(HeaderFault::RecordCount(records));
    }
    if last_offset_delta != records - 1 {
        return fault(HeaderFault::OffsetRange { records, last_offset_delta });
    }
    if origin == Origin::Client && header.is_control() {
        return fault(HeaderFault::Control);
    }
    if header.is_control() && header.codec()? != Codec::None {
        return fault(HeaderFault::CompressedControl);
    }
    if origin == Origin::Client && header.attributes.has_delete_horizon() {
        return fault(HeaderFault::DeleteHorizon);
    }
    check_producer(header, origin)
}

fn check_producer(header: &BatchHeader, origin: Origin) -> Result<(), BatchError> {
    let fault = |fault| Err(BatchError::Header(fault));
    if header.producer_id.0 < -1 {
        return fault(HeaderFault::ProducerId(header.producer_id.0));
    }
    if !header.has_producer() {
        return match header.is_transactional() {
            true => fault(HeaderFault::TransactionalWithoutProducer),
            false => Ok(()),
        };
    }
    if header.producer_epoch.0 < 0 {
        return fault(HeaderFault::ProducerEpoch(header.producer_epoch.0));
    }
    // What coordinators write for a producer (markers, offsets committed in a transaction) is outside its
    // sequence.
    if header.base_sequence.0 < 0 && origin == Origin::Client {
        return fault(HeaderFault::Sequence(header.base_sequence.0));
    }
    Ok(())
}

/// Goes through the records once and gives the largest timestamp, -1 if none has one.
fn walk(records: &[u8], header: &BatchHeader, limits: &BatchLimits) -> Result<Timestamp, BatchError> {
    let rules = Rules::of(limits);
    let mut rest = records;
    let mut rejected = Vec::new();
    let mut max_timestamp = Timestamp::NONE;
    if records.len() / RECORD_LEN_MIN < header.record_count as usize {
        return Err(BatchError::Record { index: 0, fault: RecordFault::Truncated });
    }
    for index in 0..header.record_count {
        let record = read_record(&mut rest).map_err(|fault| BatchError::Record { index, fault })?;
        if record.offset_delta != index {
            let fault = RecordFault::OffsetDelta { found: record.offset_delta, expected: index };
            return Err(BatchError::Record { index, fault });
        }
        let timestamp = Timestamp(header.base_timestamp.0.wrapping_add(record.timestamp_delta));
        max_timestamp = max_timestamp.max(timestamp);
        if let Err(fault) = rules.check(&record, timestamp)
            && rejected.len() < RECORD_ERRORS_MAX
        {
            rejected.push(RecordError { index, fault });
        }
    }
    if !rest.is_empty() {
        return Err(BatchError::BytesAfterRecords(rest.len()));
    }
    if rejected.is_empty() { Ok(max_timestamp) } else { Err(BatchError::Rejected(rejected)) }
}

/// What each record must satisfy.
struct Rules {
    require_key: bool,
    earliest: Timestamp,
    latest: Timestamp,
}

impl Rules {
    fn of(limits: &BatchLimits) -> Rules {
        let (earliest, latest) = match limits.timestamp_type {
            TimestampType::LogAppendTime => (i64::MIN, i64::MAX),
            TimestampType::CreateTime => (
                limits.now.0.saturating_sub(limits.before_max_ms),
                limits.now.0.saturating_add(limits.after_max_ms),
            ),
        };
        Rules { require_key: limits.require_key, earliest: Timestamp(earliest), latest: Timestamp(latest) }
    }

    #[inline]
    fn check(&self, record: &RawRecord<'_>, timestamp: Timestamp) -> Result<(), RecordFault> {
        let Rules { require_key, earliest, latest } = *self;
        if require_key && record.key.is_none() {
            return Err(RecordFault::MissingKey);
        }
        if (timestamp < earliest || timestamp > latest) && timestamp != Timestamp::NONE {
            return Err(RecordFault::Timestamp { timestamp, earliest, latest });
        }
        Ok(())
    }
}
