//! The frames of the load, built before it runs, and where in a frame its changing fields are.
//!
//! Every connection sends the same frames over and over, so a request costs the generator one `send` of
//! memory that is there already. The correlation id of a Produce request is the partition it is for:
//! responses are checked by it, and the raw server finds the partition without decoding. Places of fields are
//! found by encoding a marker, so that the schema stays the only one to know the layout.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use ottla_wire::batch::{BatchBuilder, BatchView};
use ottla_wire::messages::{
    FetchRequest, FetchResponse, ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader,
    fetch_request, fetch_response, produce_request, produce_response,
};
use ottla_wire::primitives::{encode_frame, encode_to_bytes};
use ottla_wire::protocol::{request_header_version, response_header_version};
use ottla_wire::{ApiKey, Message, Records, Str, Timestamp};

/// The newest version that names topics: what a new topic's id is matters to nobody here.
pub const PRODUCE_VERSION: i16 = 11;
/// The newest version that names topics.
pub const FETCH_VERSION: i16 = 12;

/// Where the correlation id stands in a request, its length included.
pub const REQUEST_CORRELATION_AT: usize = 8;
/// Where the correlation id stands in a response, its length included.
pub const RESPONSE_CORRELATION_AT: usize = 4;

const CLIENT: &str = "ottla-bench";
/// The size of a record where the batch has room for several.
const RECORD_BYTES: usize = 1_024;
const TIMEOUT_MS: i32 = 30_000;
const FETCH_WAIT_MS: i32 = 500;

/// A batch of records which no codec makes smaller.
pub struct Batch {
    pub bytes: Bytes,
    pub records: i64,
}

impl Batch {
    /// A batch of exactly `len` bytes, with the wall clock's time `now` in all records.
    pub fn of_len(len: usize, now: Timestamp) -> Result<Batch> {
        let noise = noise(len);
        let count = len.div_ceil(RECORD_BYTES + RECORD_BYTES / 8);
        // Varints make the length of a batch a step function of what its last value has; a few tries find it.
        let mut value = len / count;
        let mut last = value;
        for _ in 0..64 {
            let batch = build(&noise, count, value, last, now)?;
            match len as i64 - batch.len() as i64 {
                0 => return Ok(Batch { bytes: batch, records: count as i64 }),
                more if count > 1 && more.unsigned_abs() as usize >= count => {
                    value = value.saturating_add_signed(more as isize / count as isize);
                    last = value;
                }
                more => last = last.saturating_add_signed(more as isize),
            }
        }
        anyhow::bail!("no batch of {count} records has {len} bytes")
    }
}

fn build(noise: &[u8], count: usize, value: usize, last: usize, now: Timestamp) -> Result<Bytes> {
    let mut builder = BatchBuilder::new();
    for at in 0..count {
        let len = if at + 1 == count { last } else { value };
        let from = (at * value).min(noise.len().saturating_sub(len));
        builder.push(now, None, noise.get(from..from + len));
    }
    Ok(builder.build()?)
}

/// Bytes that look random and are the same in every run.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = Vec::with_capacity(len + 8);
    while noise.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    noise
}

/// A request as it goes over the wire, its length in front.
pub fn request<M: Message>(key: ApiKey, version: i16, correlation_id: i32, body: &M) -> Result<Bytes> {
    let header = RequestHeader {
        request_api_key: key.code(),
        request_api_version: version,
        correlation_id,
        client_id: Some(Str::from_static(CLIENT)),
    };
    Ok(encode_frame((&header, request_header_version(key, version)), (body, version))?.into_bytes()?)
}

/// A response as it goes over the wire, its length in front.
pub fn response<M: Message>(key: ApiKey, version: i16, correlation_id: i32, body: &M) -> Result<Bytes> {
    let header = ResponseHeader { correlation_id };
    Ok(encode_frame((&header, response_header_version(key, version)), (body, version))?.into_bytes()?)
}

/// One Produce request for each partition, one after the other, as often as it takes to hold `frames_min` of
/// them.
pub struct Ring {
    pub bytes: Vec<u8>,
    pub frame_len: usize,
    pub batch_len: usize,
    pub partitions: usize,
}

impl Ring {
    pub fn new(topic: &str, partitions: i32, batch: &Batch, frames_min: usize) -> Result<Ring> {
        let mut cycle = Vec::new();
        for partition in 0..partitions {
            cycle.extend_from_slice(&produce(topic, partition, batch.bytes.clone())?);
        }
        let partitions = partitions as usize;
        let frame_len = cycle.len() / partitions;
        ensure!(frame_len * partitions == cycle.len(), "the frames of a ring are equally long");
        let bytes = cycle.repeat(frames_min.div_ceil(partitions).max(1));
        Ok(Ring { bytes, frame_len, batch_len: batch.bytes.len(), partitions })
    }
}

/// A Produce request (acks=all) with one batch.
fn produce(topic: &str, partition: i32, batch: Bytes) -> Result<Bytes> {
    let data =
        produce_request::PartitionProduceData { index: partition, records: Some(Records::Bytes(batch)) };
    let topic = produce_request::TopicProduceData {
        name: topic.into(),
        partition_data: vec![data],
        ..Default::default()
    };
    let body =
        ProduceRequest { acks: -1, timeout_ms: TIMEOUT_MS, topic_data: vec![topic], ..Default::default() };
    request(ApiKey::Produce, PRODUCE_VERSION, partition, &body)
}

/// The response to one of those, and where its fields are.
pub struct ProduceAnswer {
    pub bytes: Bytes,
    pub index_at: usize,
    pub error_at: usize,
}

impl ProduceAnswer {
    pub fn new(topic: &str) -> Result<ProduceAnswer> {
        let marked = produce_answer(topic, INDEX_MARK, ERROR_MARK)?;
        Ok(ProduceAnswer {
            bytes: produce_answer(topic, 0, 0)?,
            index_at: place(&marked, &INDEX_MARK.to_be_bytes())?,
            error_at: place(&marked, &ERROR_MARK.to_be_bytes())?,
        })
    }
}

fn produce_answer(topic: &str, index: i32, error_code: i16) -> Result<Bytes> {
    let partition = produce_response::PartitionProduceResponse { index, error_code, ..Default::default() };
    let topic = produce_response::TopicProduceResponse {
        name: topic.into(),
        partition_responses: vec![partition],
        ..Default::default()
    };
    let body = ProduceResponse { responses: vec![topic], ..Default::default() };
    response(ApiKey::Produce, PRODUCE_VERSION, 0, &body)
}

/// A Fetch request for one partition, and where its fields are.
#[derive(Clone)]
pub struct FetchAsk {
    pub bytes: Vec<u8>,
    pub partition_at: usize,
    pub offset_at: usize,
    pub max_bytes_at: usize,
}

impl FetchAsk {
    pub fn new(topic: &str, max_bytes: i32) -> Result<FetchAsk> {
        let marked = fetch(topic, INDEX_MARK, OFFSET_MARK, MAX_BYTES_MARK)?;
        Ok(FetchAsk {
            bytes: fetch(topic, 0, 0, max_bytes)?.into(),
            partition_at: place(&marked, &INDEX_MARK.to_be_bytes())?,
            offset_at: place(&marked, &OFFSET_MARK.to_be_bytes())?,
            max_bytes_at: place(&marked, &MAX_BYTES_MARK.to_be_bytes())?,
        })
    }
}

fn fetch(topic: &str, partition: i32, fetch_offset: i64, max_bytes: i32) -> Result<Bytes> {
    let asked = fetch_request::FetchPartition {
        partition,
        fetch_offset,
        partition_max_bytes: max_bytes,
        ..Default::default()
    };
    let topic =
        fetch_request::FetchTopic { topic: topic.into(), partitions: vec![asked], ..Default::default() };
    let body = FetchRequest {
        max_wait_ms: FETCH_WAIT_MS,
        min_bytes: 1,
        // The partition's own limit holds; the same number twice would mark two places.
        max_bytes: i32::MAX,
        topics: vec![topic],
        ..Default::default()
    };
    request(ApiKey::Fetch, FETCH_VERSION, 0, &body)
}

/// Where the fields of a Fetch response are.
pub struct FetchAnswer {
    pub index_at: usize,
    pub error_at: usize,
    /// Where the length of the records stands, plus one, as an unsigned varint; the records follow it.
    pub records_len_at: usize,
}

impl FetchAnswer {
    pub fn new(topic: &str) -> Result<FetchAnswer> {
        let mark = OFFSET_MARK.to_be_bytes();
        let records = Records::Bytes(Bytes::copy_from_slice(&mark));
        let marked = fetch_answer(topic, INDEX_MARK, ERROR_MARK, 0, records)?;
        let records_at = place(&marked, &mark)?;
        Ok(FetchAnswer {
            index_at: place(&marked, &INDEX_MARK.to_be_bytes())?,
            error_at: place(&marked, &ERROR_MARK.to_be_bytes())?,
            // So short a length has one byte.
            records_len_at: records_at - 1,
        })
    }
}

/// A Fetch response that has room for `len` bytes of records: what goes before them, and what after.
pub fn fetch_answer_around(topic: &str, end: i64, len: usize) -> Result<(Vec<u8>, Vec<u8>)> {
    let empty = fetch_answer(topic, 0, 0, end, Records::Bytes(Bytes::new()))?;
    let at = FetchAnswer::new(topic)?.records_len_at;
    let mut head = empty[..at].to_vec();
    put_uvarint(&mut head, len as u32 + 1);
    let tail = empty[at + 1..].to_vec();
    let total = (head.len() - 4 + len + tail.len()) as u32;
    head[..4].copy_from_slice(&total.to_be_bytes());
    Ok((head, tail))
}

fn fetch_answer(topic: &str, index: i32, error_code: i16, end: i64, records: Records) -> Result<Bytes> {
    let partition = fetch_response::PartitionData {
        partition_index: index,
        error_code,
        high_watermark: end,
        last_stable_offset: end,
        log_start_offset: 0,
        records: Some(records),
        ..Default::default()
    };
    let topic = fetch_response::FetchableTopicResponse {
        topic: topic.into(),
        partitions: vec![partition],
        ..Default::default()
    };
    let body = FetchResponse { responses: vec![topic], ..Default::default() };
    response(ApiKey::Fetch, FETCH_VERSION, 0, &body)
}

/// Decodes a whole Fetch response (without its length) and checks every batch in it. Gives the offset of the
/// first.
pub fn check_fetch_response(frame: Bytes) -> Result<i64> {
    let mut reader = ottla_wire::primitives::Reader::new(frame);
    ResponseHeader::decode(&mut reader, response_header_version(ApiKey::Fetch, FETCH_VERSION))?;
    let body = FetchResponse::decode(&mut reader, FETCH_VERSION)?;
    let partition = body.responses.first().and_then(|topic| topic.partitions.first());
    let partition = partition.context("a Fetch response without a partition")?;
    ensure!(partition.error_code == 0, "a Fetch was refused with error {}", partition.error_code);
    let Some(Records::Bytes(records)) = &partition.records else {
        anyhow::bail!("a Fetch response without records")
    };
    let mut first = None;
    let mut rest = records.clone();
    while let Ok(batch) = BatchView::parse(rest.clone()) {
        batch.check_crc()?;
        first = first.or(Some(batch.header().base_offset.0));
        rest = rest.slice(batch.header().total_len()..);
    }
    first.context("a Fetch response without a whole batch")
}

/// Where the batch of a Produce request stands; the topic that the request names. `frame` has its length in
/// front.
pub fn find_batch(frame: &[u8]) -> Result<(Str, std::ops::Range<usize>)> {
    let mut reader = ottla_wire::primitives::Reader::new(Bytes::copy_from_slice(&frame[4..]));
    RequestHeader::decode(&mut reader, request_header_version(ApiKey::Produce, PRODUCE_VERSION))?;
    let body = ProduceRequest::decode(&mut reader, PRODUCE_VERSION)?;
    let topic = body.topic_data.first().context("a Produce request without a topic")?;
    let data = topic.partition_data.first().context("a Produce request without a partition")?;
    let records = data.records.as_ref().context("a Produce request without records")?;
    // One topic, one partition: behind the records there are the tags of those and of the request, and
    // nothing else.
    let after = encode_to_bytes(&ProduceRequest::default(), PRODUCE_VERSION)?.last().copied();
    ensure!(after == Some(0), "no tagged fields in a request of the load");
    let end = frame.len() - 3;
    Ok((topic.name.clone(), end - records.len()..end))
}

const INDEX_MARK: i32 = 0x5a5a_1234;
const ERROR_MARK: i16 = 0x6b4c;
const OFFSET_MARK: i64 = 0x7a7b_7c7d_0102_0304;
const MAX_BYTES_MARK: i32 = 0x3d3e_3f40;

fn place(bytes: &[u8], mark: &[u8]) -> Result<usize> {
    let mut found = bytes.windows(mark.len()).enumerate().filter(|(_, window)| *window == mark);
    let (at, _) = found.next().context("the marker is not in the frame")?;
    ensure!(found.next().is_none(), "the marker is in the frame twice");
    Ok(at)
}

fn put_uvarint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// An unsigned varint at the front of `bytes`, and how many bytes it has.
pub fn uvarint(bytes: &[u8]) -> Option<(u32, usize)> {
    let mut value = 0u32;
    for (at, byte) in bytes.iter().take(5).enumerate() {
        value |= u32::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

/// Four bytes at `at`.
pub fn i32_at(bytes: &[u8], at: usize) -> i32 {
    bytes.get(at..at + 4).and_then(|found| found.try_into().ok()).map_or(-1, i32::from_be_bytes)
}

/// Eight bytes at `at`.
pub fn i64_at(bytes: &[u8], at: usize) -> i64 {
    bytes.get(at..at + 8).and_then(|found| found.try_into().ok()).map_or(-1, i64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{SHAPES, STORED_BATCH_BYTES, ShapeKind};

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    #[test]
    fn every_shape_has_a_batch_of_its_very_length() {
        let produced =
            SHAPES.iter().filter(|shape| shape.kind == ShapeKind::Produce).map(|shape| shape.bytes);
        for len in produced.chain([STORED_BATCH_BYTES, 65_536, 100]) {
            let batch = Batch::of_len(len, NOW).unwrap();
            let view = BatchView::parse(batch.bytes.clone()).unwrap();
            view.check_crc().unwrap();
            assert_eq!((batch.bytes.len(), i64::from(view.header().record_count)), (len, batch.records));
        }
    }

    #[test]
    fn the_batch_of_a_frame_is_found() {
        let batch = Batch::of_len(1_000, NOW).unwrap();
        let ring = Ring::new("some-topic", 3, &batch, 10).unwrap();
        assert_eq!(ring.bytes.len(), 12 * ring.frame_len);
        for (at, frame) in ring.bytes.chunks(ring.frame_len).enumerate() {
            let (topic, range) = find_batch(frame).unwrap();
            assert_eq!((&*topic, &frame[range]), ("some-topic", &*batch.bytes));
            assert_eq!(i32_at(frame, REQUEST_CORRELATION_AT), at as i32 % 3);
        }
    }

    #[test]
    fn fetch_answers_around_records_are_fetch_answers() {
        let batch = Batch::of_len(20_000, NOW).unwrap();
        let (head, tail) = fetch_answer_around("t", 20, batch.bytes.len()).unwrap();
        let whole = [head.as_slice(), &batch.bytes, &tail].concat();
        assert_eq!(i32_at(&whole, 0) as usize, whole.len() - 4);
        assert_eq!(check_fetch_response(Bytes::from(whole.clone()).slice(4..)).unwrap(), 0);
        let places = FetchAnswer::new("t").unwrap();
        assert_eq!(uvarint(&whole[places.records_len_at..]), Some((20_001, 3)));
    }
}
