//! Requests that prepare a load, one at a time on a connection that blocks.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use ottla_wire::messages::{
    ApiVersionsRequest, CreateTopicsRequest, FindCoordinatorRequest, ListOffsetsRequest, OffsetFetchRequest,
    ProduceRequest, ResponseHeader, create_topics_request, list_offsets_request, offset_fetch_request,
    produce_request,
};
use ottla_wire::primitives::{Reader, decode_from};
use ottla_wire::protocol::response_header_version;
use ottla_wire::{ErrorCode, Message, Records, Request, Str};

use crate::frames::{PRODUCE_VERSION, request};

const ANSWER_MAX: Duration = Duration::from_secs(60);
const FRAME_BYTES_MAX: usize = 100 << 20;
const LATEST: i64 = -1;

/// Versions that name topics, and that every broker under test serves.
const API_VERSIONS_VERSION: i16 = 3;
const CREATE_TOPICS_VERSION: i16 = 7;
const LIST_OFFSETS_VERSION: i16 = 7;
const FIND_COORDINATOR_VERSION: i16 = 4;
const OFFSET_FETCH_VERSION: i16 = 8;

/// A connection for such requests.
pub struct Admin {
    socket: TcpStream,
}

impl Admin {
    pub fn connect(addr: SocketAddr) -> Result<Admin> {
        let socket = TcpStream::connect_timeout(&addr, ANSWER_MAX)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(ANSWER_MAX))?;
        Ok(Admin { socket })
    }

    /// Sends a request and waits for its response.
    pub fn call<R: Request>(&mut self, body: &R, version: i16) -> Result<R::Response> {
        self.socket.write_all(&request(R::KEY, version, 0, body)?)?;
        let mut len = [0; 4];
        self.socket.read_exact(&mut len).with_context(|| format!("no response to {}", R::NAME))?;
        let len = u32::from_be_bytes(len) as usize;
        ensure!(len <= FRAME_BYTES_MAX, "a response of {len} bytes");
        let mut frame = vec![0; len];
        self.socket.read_exact(&mut frame)?;
        let frame = Bytes::from(frame);
        let mut reader = Reader::new(frame.clone());
        ResponseHeader::decode(&mut reader, response_header_version(R::KEY, version))?;
        Ok(decode_from(frame.slice(len - reader.remaining()..), version)?)
    }

    /// Whether the broker serves requests.
    pub fn api_versions(&mut self) -> Result<()> {
        let body = ApiVersionsRequest {
            client_software_name: "ottla-bench".into(),
            client_software_version: env!("CARGO_PKG_VERSION").into(),
        };
        let answer = self.call(&body, API_VERSIONS_VERSION)?;
        ensure!(answer.error_code == 0, "ApiVersions: {}", name(answer.error_code));
        Ok(())
    }

    pub fn create_topic(&mut self, topic: &str, partitions: i32, configs: &[(&str, String)]) -> Result<()> {
        let config = |(name, value): &(&str, String)| create_topics_request::CreatableTopicConfig {
            name: (*name).into(),
            value: Some(value.as_str().into()),
        };
        let topic = create_topics_request::CreatableTopic {
            name: topic.into(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: configs.iter().map(config).collect(),
            ..Default::default()
        };
        let body = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        let answer = self.call(&body, CREATE_TOPICS_VERSION)?;
        let result = answer.topics.first().context("no answer for the topic")?;
        let message = result.error_message.as_deref().unwrap_or_default();
        ensure!(result.error_code == 0, "CreateTopics: {} {message}", name(result.error_code));
        Ok(())
    }

    /// Whether these keys (groups: type 0, transactional ids: 1) have coordinators. Makes the topic that they
    /// need.
    pub fn has_coordinators(&mut self, key_type: i8, keys: Vec<Str>) -> Result<bool> {
        let body = FindCoordinatorRequest { key_type, coordinator_keys: keys, ..Default::default() };
        let found = self.call(&body, FIND_COORDINATOR_VERSION)?;
        Ok(found.coordinators.iter().all(|one| one.error_code == 0))
    }

    /// Whether the coordinators of these groups are loaded.
    pub fn serves_groups(&mut self, groups: Vec<Str>) -> Result<bool> {
        let group = |group_id| offset_fetch_request::OffsetFetchRequestGroup {
            group_id,
            topics: None,
            ..Default::default()
        };
        let body =
            OffsetFetchRequest { groups: groups.into_iter().map(group).collect(), ..Default::default() };
        let fetched = self.call(&body, OFFSET_FETCH_VERSION)?;
        Ok(fetched.groups.iter().all(|group| group.error_code == 0))
    }

    /// Appends a batch to each of `partitions`. Gives those that were not ready to take it.
    pub fn produce_to(&mut self, topic: &str, partitions: &[i32], batch: &Bytes) -> Result<Vec<i32>> {
        let data = |index: &i32| produce_request::PartitionProduceData {
            index: *index,
            records: Some(Records::Bytes(batch.clone())),
        };
        let topic = produce_request::TopicProduceData {
            name: topic.into(),
            partition_data: partitions.iter().map(data).collect(),
            ..Default::default()
        };
        let body =
            ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
        let answer = self.call(&body, PRODUCE_VERSION)?;
        let mut refused = Vec::new();
        for partition in answer.responses.iter().flat_map(|topic| &topic.partition_responses) {
            match ErrorCode::from_code(partition.error_code) {
                Some(ErrorCode::None) => {}
                Some(ErrorCode::UnknownTopicOrPartition | ErrorCode::NotLeaderOrFollower) => {
                    refused.push(partition.index);
                }
                _ => bail!("Produce to partition {}: {}", partition.index, name(partition.error_code)),
            }
        }
        Ok(refused)
    }

    /// The end of each partition, in order; `None` if one of them is not served yet.
    pub fn ends(&mut self, topic: &str, partitions: i32) -> Result<Option<Vec<i64>>> {
        let asked = |partition_index| list_offsets_request::ListOffsetsPartition {
            partition_index,
            timestamp: LATEST,
            ..Default::default()
        };
        let topic = list_offsets_request::ListOffsetsTopic {
            name: topic.into(),
            partitions: (0..partitions).map(asked).collect(),
        };
        let body = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        let answer = self.call(&body, LIST_OFFSETS_VERSION)?;
        let found: Vec<_> = answer.topics.iter().flat_map(|topic| &topic.partitions).collect();
        let served = found.len() == partitions as usize && found.iter().all(|found| found.error_code == 0);
        Ok(served.then(|| found.iter().map(|found| found.offset).collect()))
    }
}

/// Kafka's name of an error.
fn name(code: i16) -> String {
    ErrorCode::from_code(code).map_or_else(|| format!("error {code}"), |error| error.name().to_owned())
}
