//! Topics and what is in them: created, written and read with plain requests.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ottla_wire::batch::{BatchBuilder, BatchError, BatchHeader, Record, batches};
use ottla_wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use ottla_wire::messages::create_topics_response::CreatableTopicResult;
use ottla_wire::messages::delete_topics_request::DeleteTopicState;
use ottla_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_wire::messages::fetch_response::PartitionData;
use ottla_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_wire::messages::list_offsets_response::ListOffsetsPartitionResponse;
use ottla_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_wire::messages::produce_response::PartitionProduceResponse;
use ottla_wire::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, FetchRequest, ListOffsetsRequest, ProduceRequest,
};
use ottla_wire::primitives::Records;
use ottla_wire::{Timestamp, TopicId};

use super::broker::files;
use super::{Closed, Wire, eventually};

/// The last versions that name topics.
const PRODUCE_VERSION: i16 = 12;
const FETCH_VERSION: i16 = 12;

const TIMEOUT_MS: i32 = 30_000;

/// Packed batches in these tests are no larger than this.
const UNPACKED_BYTES_MAX: usize = 64 << 20;

pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp(i64::try_from(since.as_millis()).unwrap())
}

pub fn create_topic(wire: &mut Wire, name: &str, partitions: i32, configs: &[(&str, &str)]) -> TopicId {
    let created = create_topic_with(wire, name, partitions, configs);
    assert_eq!(created.error_code, 0, "{name}: {:?}", created.error_message);
    created.topic_id
}

pub fn create_topic_with(
    wire: &mut Wire,
    name: &str,
    partitions: i32,
    configs: &[(&str, &str)],
) -> CreatableTopicResult {
    let config = |(name, value): &(&str, &str)| CreatableTopicConfig {
        name: (*name).into(),
        value: Some((*value).into()),
    };
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: -1,
        configs: configs.iter().map(config).collect(),
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: TIMEOUT_MS, validate_only: false };
    wire.call(&request, 7).topics.remove(0)
}

/// Deletes a topic; the error code.
pub fn delete_topic(wire: &mut Wire, name: &str) -> i16 {
    let topic = DeleteTopicState { name: Some(name.into()), ..Default::default() };
    let request = DeleteTopicsRequest { topics: vec![topic], timeout_ms: TIMEOUT_MS, ..Default::default() };
    wire.call(&request, 6).responses[0].error_code
}

/// A plain batch with these values.
pub fn batch<V: AsRef<[u8]>>(values: impl IntoIterator<Item = V>) -> Bytes {
    batch_of(BatchBuilder::new(), values)
}

/// A batch with these values, with whatever else the builder has been told.
pub fn batch_of<V: AsRef<[u8]>>(mut builder: BatchBuilder, values: impl IntoIterator<Item = V>) -> Bytes {
    for value in values {
        builder.push(now(), None, Some(value.as_ref()));
    }
    builder.build().unwrap()
}

/// A Produce request with one batch.
pub fn produce(topic: &str, partition: i32, batch: Bytes, acks: i16) -> ProduceRequest {
    let data = PartitionProduceData { index: partition, records: Some(Records::from(batch)) };
    let topic = TopicProduceData { name: topic.into(), partition_data: vec![data], ..Default::default() };
    ProduceRequest { acks, timeout_ms: TIMEOUT_MS, topic_data: vec![topic], ..Default::default() }
}

/// Sends a batch with acks=all and gives the broker's answer.
pub fn try_produce(
    wire: &mut Wire,
    topic: &str,
    partition: i32,
    batch: Bytes,
) -> Result<PartitionProduceResponse, Closed> {
    let mut response = wire.try_call(&produce(topic, partition, batch, -1), PRODUCE_VERSION)?;
    Ok(response.responses.remove(0).partition_responses.remove(0))
}

/// Stores a batch with acks=all and gives the offset of its first record.
#[track_caller]
pub fn produced(wire: &mut Wire, topic: &str, partition: i32, batch: Bytes) -> i64 {
    let answer = try_produce(wire, topic, partition, batch).unwrap();
    assert_eq!(answer.error_code, 0, "{topic}-{partition}: {:?}", answer.error_message);
    answer.base_offset
}

/// What one partition answers to a fetch that does not wait.
#[track_caller]
pub fn fetch(wire: &mut Wire, topic: &str, partition: i32, offset: i64) -> PartitionData {
    try_fetch(wire, topic, partition, offset).unwrap()
}

pub fn try_fetch(wire: &mut Wire, topic: &str, partition: i32, offset: i64) -> Result<PartitionData, Closed> {
    let asked = FetchPartition {
        partition,
        fetch_offset: offset,
        current_leader_epoch: -1,
        partition_max_bytes: 8 << 20,
        ..Default::default()
    };
    let topic = FetchTopic { topic: topic.into(), partitions: vec![asked], ..Default::default() };
    let request = FetchRequest { max_wait_ms: 0, min_bytes: 1, topics: vec![topic], ..Default::default() };
    let mut response = wire.try_call(&request, FETCH_VERSION)?;
    assert_eq!(response.error_code, 0);
    Ok(response.responses.remove(0).partitions.remove(0))
}

/// A partition as a consumer sees it.
#[derive(Default)]
pub struct Read {
    pub headers: Vec<BatchHeader>,
    pub records: Vec<Record>,
    pub log_start: i64,
    pub high_watermark: i64,
}

/// Reads a partition from its start to its high watermark and holds every batch against the rules: whole,
/// with a right CRC, right after the one before it.
#[track_caller]
pub fn read_all(wire: &mut Wire, topic: &str, partition: i32) -> Read {
    let start = earliest(wire, topic, partition);
    read_from(wire, topic, partition, start)
}

#[track_caller]
pub fn read_from(wire: &mut Wire, topic: &str, partition: i32, start: i64) -> Read {
    // A leader that has just begun may not know yet how far its log is committed; with this answer it does.
    let end = latest(wire, topic, partition);
    let mut read = Read::default();
    let mut next = start;
    loop {
        let answer = fetch(wire, topic, partition, next);
        assert_eq!(answer.error_code, 0, "{topic}-{partition} at {next}");
        (read.log_start, read.high_watermark) = (answer.log_start_offset, answer.high_watermark);
        let Some(Records::Bytes(bytes)) = answer.records.filter(|records| !records.is_empty()) else { break };
        let before = next;
        for batch in batches(bytes) {
            let batch = match batch {
                Ok(batch) => batch,
                // The last one of an answer may be cut off, the first one may not.
                Err(BatchError::Truncated { .. }) if next > before => break,
                Err(error) => panic!("{topic}-{partition} at {next}: {error}"),
            };
            batch.check_crc().unwrap();
            let header = *batch.header();
            if next == start {
                assert!(header.base_offset.0 <= start && start <= header.last_offset().0, "{header:?}");
            } else {
                assert_eq!(header.base_offset.0, next, "{topic}-{partition}: no hole and no overlap");
            }
            read.headers.push(header);
            for record in batch.records(UNPACKED_BYTES_MAX).unwrap() {
                let record = record.unwrap();
                if record.offset.0 >= start {
                    read.records.push(record);
                }
            }
            next = header.next_offset().0;
        }
        assert!(next > before, "{topic}-{partition}: no progress at {next}");
    }
    assert_eq!(next, read.high_watermark, "{topic}-{partition} is readable up to its high watermark");
    assert!(next >= end, "{topic}-{partition}: {end} was its end, now it is {next}");
    read
}

/// The values of records, as text.
pub fn values(read: &Read) -> Vec<String> {
    let text = |record: &Record| String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap();
    read.records.iter().map(text).collect()
}

/// The offset that the next record gets, as consumers see it.
#[track_caller]
pub fn latest(wire: &mut Wire, topic: &str, partition: i32) -> i64 {
    offset_at(wire, topic, partition, -1)
}

/// The first offset that can be read.
#[track_caller]
pub fn earliest(wire: &mut Wire, topic: &str, partition: i32) -> i64 {
    offset_at(wire, topic, partition, -2)
}

/// What a leader says that does not know yet how far its log is committed (KIP-207). Clients ask again.
const OFFSET_NOT_AVAILABLE: i16 = 78;

#[track_caller]
fn offset_at(wire: &mut Wire, topic: &str, partition: i32, timestamp: i64) -> i64 {
    let asked = ListOffsetsPartition { partition_index: partition, timestamp, current_leader_epoch: -1 };
    let topics = vec![ListOffsetsTopic { name: topic.into(), partitions: vec![asked] }];
    let request = ListOffsetsRequest { replica_id: -1, topics, timeout_ms: TIMEOUT_MS, ..Default::default() };
    let mut answer = ListOffsetsPartitionResponse::default();
    eventually("the leader knows its end", || {
        answer = wire.call(&request, 10).topics.remove(0).partitions.remove(0);
        answer.error_code != OFFSET_NOT_AVAILABLE
    });
    assert_eq!(answer.error_code, 0, "{topic}-{partition} at {timestamp}");
    answer.offset
}

/// The segments of a partition in a data directory, oldest first.
pub fn segments(data: &Path, topic: &str, partition: i32) -> Vec<PathBuf> {
    files(&data.join(format!("{topic}-{partition}")), ".log")
}
