//! Reading batches without copying them.

use bytes::Bytes;

use super::attributes::TimestampType;
use super::error::{BatchError, RecordFault};
use super::header::{BatchHeader, HEADER_LEN, crc_of};
use super::record::{RawRecord, Record, read_record};
use crate::compress::{Codec, decompress};
use crate::ids::{Offset, Timestamp};

/// One whole batch, shared with the frame or file it came in. Length and magic are right; nothing else is
/// known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BatchView {
    bytes: Bytes,
    header: BatchHeader,
}

impl BatchView {
    /// The first batch of `bytes`, whatever follows it. [`BatchError::Truncated`] if it is not there as a
    /// whole.
    pub fn parse(bytes: Bytes) -> Result<BatchView, BatchError> {
        let header = BatchHeader::parse(&bytes)?;
        let need = header.total_len();
        if bytes.len() < need {
            return Err(BatchError::Truncated { need, have: bytes.len() });
        }
        Ok(BatchView { bytes: bytes.slice(..need), header })
    }

    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The records, packed if the batch is.
    pub fn body(&self) -> Bytes {
        self.bytes.slice(HEADER_LEN..)
    }

    /// [`BatchError::Crc`] if a byte that the CRC covers has changed. (It does not cover base offset, length,
    /// leader epoch and magic.)
    pub fn check_crc(&self) -> Result<(), BatchError> {
        let computed = crc_of(&self.bytes);
        let stored = self.header.crc;
        if computed == stored { Ok(()) } else { Err(BatchError::Crc { stored, computed }) }
    }

    /// The records in order. A packed batch is unpacked first, to at most `max_decompressed` bytes.
    pub fn records(&self, max_decompressed: usize) -> Result<RecordIter, BatchError> {
        let codec = self.header.codec()?;
        let body = match codec {
            // A batch that compaction has emptied has no body to unpack.
            _ if self.header.record_count == 0 => self.body(),
            Codec::None => self.body(),
            _ => {
                let mut out = Vec::new();
                decompress(codec, &self.bytes[HEADER_LEN..], max_decompressed, &mut out)?;
                Bytes::from(out)
            }
        };
        Ok(RecordIter { header: self.header, body, at: 0, index: 0 })
    }

    /// Offset and time of each record, as [`BatchView::records`] has them: whatever else a record holds,
    /// nothing is allocated for it.
    pub fn stamps(&self, max_decompressed: usize) -> Result<Stamps, BatchError> {
        self.records(max_decompressed).map(Stamps)
    }
}

/// The records of one batch. Ends after the first error.
#[derive(Clone, Debug)]
pub struct RecordIter {
    header: BatchHeader,
    body: Bytes,
    /// How much of `body` has been read.
    at: usize,
    index: i32,
}

impl RecordIter {
    /// What `keep` makes of the next record.
    fn next_as<T>(
        &mut self,
        keep: impl FnOnce(&RecordIter, &RawRecord<'_>) -> Result<T, RecordFault>,
    ) -> Option<Result<T, BatchError>> {
        if self.index < self.header.record_count {
            let record = self.read(keep);
            if record.is_err() {
                self.end();
            }
            return Some(record);
        }
        let left = self.body.len() - self.at;
        self.end();
        (left > 0).then_some(Err(BatchError::BytesAfterRecords(left)))
    }

    fn read<T>(
        &mut self,
        keep: impl FnOnce(&RecordIter, &RawRecord<'_>) -> Result<T, RecordFault>,
    ) -> Result<T, BatchError> {
        let fault = |fault: RecordFault| BatchError::Record { index: self.index, fault };
        let mut rest = &self.body[self.at..];
        let raw = read_record(&mut rest).map_err(fault)?;
        let kept = keep(self, &raw).map_err(fault)?;
        self.at = self.body.len() - rest.len();
        self.index += 1;
        Ok(kept)
    }

    fn stamp(&self, raw: &RawRecord<'_>) -> Stamp {
        Stamp {
            offset: Offset(self.header.base_offset.0.wrapping_add(i64::from(raw.offset_delta))),
            timestamp: match self.header.timestamp_type() {
                TimestampType::CreateTime => {
                    Timestamp(self.header.base_timestamp.0.wrapping_add(raw.timestamp_delta))
                }
                TimestampType::LogAppendTime => self.header.max_timestamp,
            },
        }
    }

    fn record(&self, raw: &RawRecord<'_>) -> Result<Record, RecordFault> {
        let Stamp { offset, timestamp } = self.stamp(raw);
        Ok(Record {
            offset,
            timestamp,
            key: raw.key.map(|key| self.body.slice_ref(key)),
            value: raw.value.map(|value| self.body.slice_ref(value)),
            headers: raw.headers(&self.body)?,
        })
    }

    fn end(&mut self) {
        self.index = self.header.record_count;
        self.at = self.body.len();
    }
}

impl Iterator for RecordIter {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_as(RecordIter::record)
    }
}

/// Where a record is, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub offset: Offset,
    pub timestamp: Timestamp,
}

/// See [`BatchView::stamps`]. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Stamps(RecordIter);

impl Iterator for Stamps {
    type Item = Result<Stamp, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_as(|records, raw| Ok(records.stamp(raw)))
    }
}

/// Goes through a run of batches, as a Fetch response or a segment holds it.
pub fn batches(bytes: Bytes) -> Batches {
    Batches { rest: bytes }
}

/// See [`batches`]. Ends after the first error. A run that ends in the middle of a batch (a Fetch response
/// may) gives [`BatchError::Truncated`] last.
#[derive(Clone, Debug)]
pub struct Batches {
    rest: Bytes,
}

impl Iterator for Batches {
    type Item = Result<BatchView, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let batch = BatchView::parse(self.rest.clone());
        match &batch {
            Ok(view) => self.rest = self.rest.slice(view.bytes.len()..),
            Err(_) => self.rest = Bytes::new(),
        }
        Some(batch)
    }
}
