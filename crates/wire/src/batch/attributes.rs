//! The attribute bits of a batch.

use super::error::BatchError;
use crate::compress::Codec;

const CODEC: i16 = 0b111;
const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;
const DELETE_HORIZON: i16 = 1 << 6;

/// The attributes of a batch. Bits that Kafka does not use are kept and ignored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Attributes(pub i16);

/// Whose clock a batch's timestamps are from (`message.timestamp.type`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum TimestampType {
    /// The client's; each record has its own.
    #[default]
    CreateTime,
    /// The leader's, when it appended the batch; all records share the batch's max timestamp.
    LogAppendTime,
}

impl Attributes {
    /// The codec, or [`BatchError::UnknownCodec`] for an id that Kafka has not given out.
    pub fn codec(self) -> Result<Codec, BatchError> {
        let id = (self.0 & CODEC) as u8; // three bits
        Codec::from_id(id).ok_or(BatchError::UnknownCodec(id))
    }

    pub fn timestamp_type(self) -> TimestampType {
        match self.has(LOG_APPEND_TIME) {
            true => TimestampType::LogAppendTime,
            false => TimestampType::CreateTime,
        }
    }

    pub fn is_transactional(self) -> bool {
        self.has(TRANSACTIONAL)
    }

    pub fn is_control(self) -> bool {
        self.has(CONTROL)
    }

    /// True if the base timestamp is the time from which compaction may drop the batch's tombstones and
    /// markers (KIP-534).
    pub fn has_delete_horizon(self) -> bool {
        self.has(DELETE_HORIZON)
    }

    pub fn with_codec(self, codec: Codec) -> Attributes {
        Attributes(self.0 & !CODEC | i16::from(codec.id()))
    }

    pub fn with_timestamp_type(self, timestamp_type: TimestampType) -> Attributes {
        self.with(LOG_APPEND_TIME, timestamp_type == TimestampType::LogAppendTime)
    }

    pub fn with_transactional(self, on: bool) -> Attributes {
        self.with(TRANSACTIONAL, on)
    }

    pub fn with_control(self, on: bool) -> Attributes {
        self.with(CONTROL, on)
    }

    pub fn with_delete_horizon(self, on: bool) -> Attributes {
        self.with(DELETE_HORIZON, on)
    }

    fn has(self, bit: i16) -> bool {
        self.0 & bit != 0
    }

    fn with(self, bit: i16, on: bool) -> Attributes {
        if on { Attributes(self.0 | bit) } else { Attributes(self.0 & !bit) }
    }
}
