//! One record: its bytes, and what a reader gets.

use bytes::Bytes;

use super::error::RecordFault;
use super::varint::{len_i32, len_i64, read_i32, read_i64, write_i32, write_i64};
use crate::ids::{Offset, Timestamp};

/// The fewest bytes of a record: its length and one byte for each field.
pub(super) const RECORD_LEN_MIN: usize = 7;

/// A record as a reader sees it. Key, value and headers share the bytes of the batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    pub offset: Offset,
    pub timestamp: Timestamp,
    pub key: Option<Bytes>,
    /// `None` is a tombstone for compaction.
    pub value: Option<Bytes>,
    pub headers: Vec<Header>,
}

/// A record header. Keys may repeat; their order is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// UTF-8 by agreement of clients; brokers pass it on as it is.
    pub key: Bytes,
    pub value: Option<Bytes>,
}

/// A well-formed record, borrowed: every length in it has been checked.
#[derive(Clone, Copy)]
pub(super) struct RawRecord<'a> {
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    header_count: i32,
    headers: &'a [u8],
}

/// Takes the record at the start of `bytes` and moves `bytes` behind it.
#[inline]
pub(super) fn read_record<'a>(bytes: &mut &'a [u8]) -> Result<RawRecord<'a>, RecordFault> {
    let len = read_i32(bytes).ok_or(RecordFault::Number)?;
    let len = usize::try_from(len).map_err(|_| RecordFault::Number)?;
    let (mut body, rest) = bytes.split_at_checked(len).ok_or(RecordFault::Truncated)?;
    *bytes = rest;
    // The attributes of a record have no bits in use.
    (_, body) = body.split_first().ok_or(RecordFault::Length)?;
    let timestamp_delta = read_i64(&mut body).ok_or(RecordFault::Number)?;
    let offset_delta = read_i32(&mut body).ok_or(RecordFault::Number)?;
    let key = read_nullable(&mut body)?;
    let value = read_nullable(&mut body)?;
    let header_count = read_i32(&mut body).ok_or(RecordFault::Number)?;
    let record = RawRecord { timestamp_delta, offset_delta, key, value, header_count, headers: body };
    if header_count != 0 {
        body = check_headers(header_count, body)?;
    }
    if body.is_empty() { Ok(record) } else { Err(RecordFault::Length) }
}

impl<'a> RawRecord<'a> {
    /// The headers as shares of `owner`, which MUST hold this record's bytes.
    pub fn headers(&self, owner: &Bytes) -> Result<Vec<Header>, RecordFault> {
        let mut rest = self.headers;
        // The count is believed: `read_record` has walked that many headers.
        let mut headers = Vec::with_capacity(self.header_count as usize);
        for _ in 0..self.header_count {
            let (key, value) = read_header(&mut rest)?;
            headers.push(Header { key: owner.slice_ref(key), value: value.map(|v| owner.slice_ref(v)) });
        }
        Ok(headers)
    }
}

/// Appends a record. `None` if it is too long for its length to be said.
pub(super) fn write_record(
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[Header],
    out: &mut Vec<u8>,
) -> Option<()> {
    let header_count = i32::try_from(headers.len()).ok()?;
    let mut len = 1 + len_i64(timestamp_delta) + len_i32(offset_delta);
    len += len_nullable(key)? + len_nullable(value)? + len_i32(header_count);
    for header in headers {
        len += len_nullable(Some(&header.key))? + len_nullable(header.value.as_deref())?;
    }
    write_i32(i32::try_from(len).ok()?, out);
    out.push(0);
    write_i64(timestamp_delta, out);
    write_i32(offset_delta, out);
    write_nullable(key, out);
    write_nullable(value, out);
    write_i32(header_count, out);
    for header in headers {
        write_nullable(Some(&header.key), out);
        write_nullable(header.value.as_deref(), out);
    }
    Some(())
}

/// Walks the headers and gives what follows them. Their count need not be bounded: each takes two bytes or
/// fails.
fn check_headers(count: i32, mut rest: &[u8]) -> Result<&[u8], RecordFault> {
    if count < 0 {
        return Err(RecordFault::Header);
    }
    for _ in 0..count {
        read_header(&mut rest)?;
    }
    Ok(rest)
}

fn read_header<'a>(rest: &mut &'a [u8]) -> Result<(&'a [u8], Option<&'a [u8]>), RecordFault> {
    let key = read_nullable(rest).map_err(|_| RecordFault::Header)?.ok_or(RecordFault::Header)?;
    let value = read_nullable(rest).map_err(|_| RecordFault::Header)?;
    Ok((key, value))
}

/// Bytes with their length in front; -1 is null. (Kafka takes any negative length for null; some clients fail
/// on it, so it is not let in.)
#[inline(always)]
fn read_nullable<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, RecordFault> {
    let len = read_i32(rest).ok_or(RecordFault::Number)?;
    if len == -1 {
        return Ok(None);
    }
    let len = usize::try_from(len).map_err(|_| RecordFault::Number)?;
    let (bytes, tail) = rest.split_at_checked(len).ok_or(RecordFault::Length)?;
    *rest = tail;
    Ok(Some(bytes))
}

fn write_nullable(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    match bytes {
        None => write_i32(-1, out),
        Some(bytes) => {
            write_i32(bytes.len() as i32, out); // `len_nullable` has checked it
            out.extend_from_slice(bytes);
        }
    }
}

fn len_nullable(bytes: Option<&[u8]>) -> Option<usize> {
    let Some(bytes) = bytes else { return Some(1) };
    Some(len_i32(i32::try_from(bytes.len()).ok()?) + bytes.len())
}
