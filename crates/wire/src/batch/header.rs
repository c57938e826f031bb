//! The header of a batch: the 61 bytes before the records.

use super::attributes::{Attributes, TimestampType};
use super::error::BatchError;
use crate::compress::Codec;
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

/// Bytes of a batch before its records.
pub const HEADER_LEN: usize = 61;

/// Bytes of a batch that its length field does not count: base offset and length.
pub const LOG_OVERHEAD: usize = 12;

/// The format of batches that is read and written here.
pub const MAGIC: i8 = 2;

/// Where the magic is, in this format and in the two before it.
const MAGIC_AT: usize = 16;
/// The least length field of formats 0 and 1: anything below is no batch of any format.
const OLDEST_MIN_LENGTH: i32 = 14;
/// The CRC covers the batch from here, so that base offset and leader epoch can be set without computing it
/// again.
const CRC_COVERS_FROM: usize = 21;

/// The header of a batch, as it is: a parsed header says nothing about whether its fields make sense
/// together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchHeader {
    pub base_offset: Offset,
    /// Bytes of the batch after this field: [`BatchHeader::total_len`] less [`LOG_OVERHEAD`].
    pub batch_length: i32,
    pub partition_leader_epoch: LeaderEpoch,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    pub attributes: Attributes,
    pub last_offset_delta: i32,
    /// What the timestamps of the records are relative to; with a delete horizon, that horizon.
    pub base_timestamp: Timestamp,
    pub max_timestamp: Timestamp,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub base_sequence: Sequence,
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`, which need not hold the rest of the batch.
    ///
    /// Checks the magic and that the length has room for a header; nothing else.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        check_length_and_magic(bytes)?;
        let Some(head) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(BatchError::Truncated { need: HEADER_LEN, have: bytes.len() });
        };
        let mut fields = Fields(&head[..]);
        Ok(BatchHeader {
            base_offset: Offset(i64::from_be_bytes(fields.take())),
            batch_length: i32::from_be_bytes(fields.take()),
            partition_leader_epoch: LeaderEpoch(i32::from_be_bytes(fields.take())),
            crc: {
                let [_magic] = fields.take();
                u32::from_be_bytes(fields.take())
            },
            attributes: Attributes(i16::from_be_bytes(fields.take())),
            last_offset_delta: i32::from_be_bytes(fields.take()),
            base_timestamp: Timestamp(i64::from_be_bytes(fields.take())),
            max_timestamp: Timestamp(i64::from_be_bytes(fields.take())),
            producer_id: ProducerId(i64::from_be_bytes(fields.take())),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(fields.take())),
            base_sequence: Sequence(i32::from_be_bytes(fields.take())),
            record_count: i32::from_be_bytes(fields.take()),
        })
    }

    /// The header as bytes, with the CRC that the field holds.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut head = [0; HEADER_LEN];
        let mut rest = &mut head[..];
        put(&mut rest, self.base_offset.0.to_be_bytes());
        put(&mut rest, self.batch_length.to_be_bytes());
        put(&mut rest, self.partition_leader_epoch.0.to_be_bytes());
        put(&mut rest, MAGIC.to_be_bytes());
        put(&mut rest, self.crc.to_be_bytes());
        put(&mut rest, self.attributes.0.to_be_bytes());
        put(&mut rest, self.last_offset_delta.to_be_bytes());
        put(&mut rest, self.base_timestamp.0.to_be_bytes());
        put(&mut rest, self.max_timestamp.0.to_be_bytes());
        put(&mut rest, self.producer_id.0.to_be_bytes());
        put(&mut rest, self.producer_epoch.0.to_be_bytes());
        put(&mut rest, self.base_sequence.0.to_be_bytes());
        put(&mut rest, self.record_count.to_be_bytes());
        assert!(rest.is_empty(), "the fields are the whole header");
        head
    }

    /// Sets length and CRC to what belongs to `body` (the records, packed or not). The caller keeps to
    /// batches whose length an `i32` can say; a longer one is [`BatchError::TooLarge`].
    pub fn seal(&mut self, body: &[u8]) -> Result<(), BatchError> {
        let len = HEADER_LEN - LOG_OVERHEAD + body.len();
        let max = i32::MAX as usize;
        self.batch_length = i32::try_from(len).map_err(|_| BatchError::TooLarge { len, max })?;
        let head = self.encode();
        self.crc = crc32c::crc32c_append(crc32c::crc32c(&head[CRC_COVERS_FROM..]), body);
        Ok(())
    }

    /// Bytes of the whole batch.
    pub fn total_len(&self) -> usize {
        // A parsed or sealed header has a positive length.
        self.batch_length as usize + LOG_OVERHEAD
    }

    /// The offset of the last record, or of the one that was last before compaction took it.
    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0.wrapping_add(i64::from(self.last_offset_delta)))
    }

    /// The offset after the batch.
    pub fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.wrapping_add(1))
    }

    /// True if a producer id is given (idempotent or transactional producer, or a transaction marker).
    pub fn has_producer(&self) -> bool {
        self.producer_id.0 > ProducerId::NONE.0
    }

    /// The sequence number of the last record; [`Sequence::NONE`] if the batch has none (markers).
    pub fn last_sequence(&self) -> Sequence {
        match self.base_sequence {
            Sequence::NONE => Sequence::NONE,
            base => base.plus(self.last_offset_delta),
        }
    }

    /// See [`Attributes::codec`].
    pub fn codec(&self) -> Result<Codec, BatchError> {
        self.attributes.codec()
    }

    pub fn timestamp_type(&self) -> TimestampType {
        self.attributes.timestamp_type()
    }

    pub fn is_control(&self) -> bool {
        self.attributes.is_control()
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes.is_transactional()
    }

    /// The time from which compaction may drop the batch's tombstones and markers, if it has set one
    /// (KIP-534).
    pub fn delete_horizon(&self) -> Option<Timestamp> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp)
    }
}

/// The CRC-32C that `batch` (one whole batch) should have.
pub(super) fn crc_of(batch: &[u8]) -> u32 {
    crc32c::crc32c(&batch[CRC_COVERS_FROM..])
}

/// Length and magic come first: they stand at the same place in formats 0 and 1, which are shorter.
fn check_length_and_magic(bytes: &[u8]) -> Result<(), BatchError> {
    let truncated = BatchError::Truncated { need: HEADER_LEN, have: bytes.len() };
    let Some(length) = bytes.get(8..LOG_OVERHEAD).and_then(|b| b.first_chunk()) else {
        return Err(truncated);
    };
    let length = i32::from_be_bytes(*length);
    if length < OLDEST_MIN_LENGTH {
        return Err(BatchError::Length(length));
    }
    match bytes.get(MAGIC_AT).map(|b| i8::from_be_bytes([*b])) {
        None => Err(truncated),
        Some(MAGIC) if (length as usize) < HEADER_LEN - LOG_OVERHEAD => Err(BatchError::Length(length)),
        Some(MAGIC) => Ok(()),
        Some(magic) => Err(BatchError::Magic(magic)),
    }
}

/// The bytes of a header that are still to be read.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let Some((field, rest)) = self.0.split_first_chunk::<N>() else {
            unreachable!("a header has {HEADER_LEN} bytes and that is what its fields add up to");
        };
        self.0 = rest;
        *field
    }
}

fn put<const N: usize>(rest: &mut &mut [u8], field: [u8; N]) {
    let (place, tail) = std::mem::take(rest).split_at_mut(N);
    place.copy_from_slice(&field);
    *rest = tail;
}
