//! Giving a validated batch its place in the log, and packing it anew.

use bytes::{Buf, Bytes, BytesMut};

use super::attributes::TimestampType;
use super::error::BatchError;
use super::header::{BatchHeader, HEADER_LEN};
use super::validate::Scratch;
use super::view::BatchView;
use crate::compress::{Codec, compress};
use crate::ids::{LeaderEpoch, Offset, Timestamp};

/// A batch that has passed every check of [`validate`](super::validate()). Only that function makes one, so
/// what holds one need not check again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ValidatedBatch {
    bytes: Bytes,
    header: BatchHeader,
    /// `header` says something else than `bytes` do, so the CRC must be computed anew.
    corrected: bool,
}

impl ValidatedBatch {
    /// `max_timestamp` is what the records say. Some clients put something else in the header; Kafka sets it
    /// right.
    pub(super) fn new(batch: BatchView, max_timestamp: Timestamp) -> ValidatedBatch {
        let mut header = *batch.header();
        header.max_timestamp = max_timestamp;
        header.attributes = header.attributes.with_timestamp_type(TimestampType::CreateTime);
        let corrected = header != *batch.header();
        ValidatedBatch { bytes: batch.into_bytes(), header, corrected }
    }

    /// The header as it will be stored, but for what [`ValidatedBatch::assign`] sets: base offset, leader
    /// epoch, append time and CRC.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The batch as it came.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Bytes of the whole batch, before and after [`ValidatedBatch::assign`].
    pub fn total_len(&self) -> usize {
        self.bytes.len()
    }

    /// Gives the batch its place: `base_offset` for the first record, the epoch of the leader that appends
    /// it, and with `log_append_time` (for topics with that `message.timestamp.type`) the time of the append.
    /// The records are neither copied nor looked at; the CRC is computed again only if a field that it covers
    /// has changed.
    pub fn assign(
        self,
        base_offset: Offset,
        leader_epoch: LeaderEpoch,
        log_append_time: Option<Timestamp>,
    ) -> AppendBatch {
        let mut header = self.header;
        let mut body = self.bytes;
        body.advance(HEADER_LEN);
        header.base_offset = base_offset;
        header.partition_leader_epoch = leader_epoch;
        if let Some(now) = log_append_time {
            header.attributes = header.attributes.with_timestamp_type(TimestampType::LogAppendTime);
            header.max_timestamp = now;
        }
        if self.corrected || log_append_time.is_some() {
            let sealed = header.seal(&body);
            assert!(sealed.is_ok(), "the length of a batch that was parsed has not changed");
        }
        AppendBatch { body, header }
    }
}

/// A batch ready for the log: the encoded header and `body` written one after the other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppendBatch {
    /// The records, packed if the batch is; shared with the request that brought them.
    pub body: Bytes,
    pub header: BatchHeader,
}

impl AppendBatch {
    /// Bytes of the whole batch.
    pub fn total_len(&self) -> usize {
        HEADER_LEN + self.body.len()
    }

    /// The batch in one piece: a copy.
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(self.total_len());
        bytes.extend_from_slice(&self.header.encode());
        bytes.extend_from_slice(&self.body);
        bytes.freeze()
    }
}

/// Packs a batch with `codec` at `level` (`None`: the codec's default), for topics whose `compression.type`
/// is not `producer`. A batch that has this codec already is left as it is. Everything but the packing stays
/// the same: records, timestamps, producer fields, flags.
///
/// The result may be larger than what came: the caller checks [`ValidatedBatch::total_len`] against the
/// topic's limit. Control batches are never packed.
pub fn recompress(
    batch: ValidatedBatch,
    codec: Codec,
    level: Option<i32>,
    max_decompressed: usize,
    scratch: &mut Scratch,
) -> Result<ValidatedBatch, BatchError> {
    let from = batch.header.codec()?;
    if from == codec || batch.header.is_control() {
        return Ok(batch);
    }
    let body = &batch.bytes[HEADER_LEN..];
    let mut out = vec![0; HEADER_LEN];
    match from {
        Codec::None => compress(codec, level, body, &mut out)?,
        _ => scratch.unpack(from, body, max_decompressed, |records| {
            compress(codec, level, records, &mut out).map_err(BatchError::from)
        })?,
    }
    let mut header = batch.header;
    header.attributes = header.attributes.with_codec(codec);
    header.seal(&out[HEADER_LEN..])?;
    out[..HEADER_LEN].copy_from_slice(&header.encode());
    Ok(ValidatedBatch { bytes: Bytes::from(out), header, corrected: false })
}
