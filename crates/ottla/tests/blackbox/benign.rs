//! A request of every served API in every version, that a broker with one small topic answers without an
//! error.

use bytes::Bytes;
use ottla_wire::messages::create_partitions_request::CreatePartitionsTopic;
use ottla_wire::messages::create_topics_request::CreatableTopic;
use ottla_wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use ottla_wire::messages::describe_configs_request::DescribeConfigsResource;
use ottla_wire::messages::describe_log_dirs_request::DescribableLogDirTopic;
use ottla_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_wire::messages::metadata_request::MetadataRequestTopic;
use ottla_wire::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use ottla_wire::messages::*;
use ottla_wire::primitives::{Message, Reader, Request, Str};
use ottla_wire::protocol::{ApiKey, response_header_version};
use ottla_wire::{Records, TopicId};

use crate::harness::{batch, frame};

/// A request ready to be sent, and what its answer has to be.
#[derive(Clone)]
pub struct Benign {
    pub key: ApiKey,
    pub version: i16,
    /// With its length.
    pub frame: Bytes,
    pub read: ReadAnswer,
}

/// Reads an answer as a whole; its correlation id and the error codes in it.
pub type ReadAnswer = fn(Bytes, i16) -> Result<(i32, Vec<i16>), String>;

/// The id that every frame of [`all`] has.
pub const CORRELATION_ID: i32 = 0x0b5e;

/// An error code in answers to requests that ask for nothing, which say so.
const INVALID_REQUEST: i16 = 42;

/// The topic that the requests are about. It has one partition, and MUST hold a record.
pub struct Subject {
    pub name: &'static str,
    pub id: TopicId,
}

/// One request for each served key and version.
pub fn all(of: &Subject) -> Vec<Benign> {
    let mut all = Vec::new();
    data(of, &mut all);
    topics(of, &mut all);
    groups::offsets(of, &mut all);
    groups::members(of, &mut all);
    transactions::transactions(of, &mut all);
    groups::groups(of, &mut all);
    configs(of, &mut all);
    cluster(of, &mut all);
    all.sort_by_key(|one| (one.key.code(), one.version));
    all
}

macro_rules! add {
    ($all:ident, $request:ident, |$version:pat_param| $build:expr, |$answer:pat_param| $errors:expr) => {{
        fn read(frame: Bytes, version: i16) -> Result<(i32, Vec<i16>), String> {
            let (correlation_id, answer) = decode::<$request>(frame, version)?;
            let $answer = answer;
            Ok((correlation_id, $errors.into_iter().collect()))
        }
        for version in $request::KEY.versions() {
            let $version = version;
            let request: $request = $build;
            let frame = frame(&request, version, CORRELATION_ID);
            $all.push(Benign { key: $request::KEY, version, frame, read });
        }
    }};
}

mod groups;
mod transactions;

fn decode<R: Request>(frame: Bytes, version: i16) -> Result<(i32, R::Response), String> {
    let mut reader = Reader::new(frame);
    let header = ResponseHeader::decode(&mut reader, response_header_version(R::KEY, version));
    let header = header.map_err(|error| error.to_string())?;
    let answer = R::Response::decode(&mut reader, version).map_err(|error| error.to_string())?;
    reader.finish(R::NAME).map_err(|error| error.to_string())?;
    Ok((header.correlation_id, answer))
}

/// A name in the versions that know topics by name, else nothing.
fn name_if(by_name: bool, of: &Subject) -> Str {
    if by_name { of.name.into() } else { Str::default() }
}

fn data(of: &Subject, all: &mut Vec<Benign>) {
    add!(
        all,
        ProduceRequest,
        |version| {
            let data = produce_request::PartitionProduceData {
                index: 0,
                records: Some(Records::from(batch(["benign"]))),
            };
            let topic = produce_request::TopicProduceData {
                name: name_if(version < 13, of),
                topic_id: if version < 13 { TopicId::ZERO } else { of.id },
                partition_data: vec![data],
            };
            ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data: vec![topic], ..Default::default() }
        },
        |answer| answer.responses.into_iter().flat_map(|t| t.partition_responses).map(|p| p.error_code)
    );
    add!(
        all,
        FetchRequest,
        |version| {
            let partition = FetchPartition {
                current_leader_epoch: -1,
                partition_max_bytes: 1 << 20,
                ..Default::default()
            };
            let topic = FetchTopic {
                topic: name_if(version < 13, of),
                topic_id: if version < 13 { TopicId::ZERO } else { of.id },
                partitions: vec![partition],
            };
            FetchRequest { min_bytes: 1, max_bytes: 1 << 20, topics: vec![topic], ..Default::default() }
        },
        |answer| {
            assert!(!answer.responses.is_empty());
            let partitions = answer.responses.into_iter().flat_map(|topic| topic.partitions);
            partitions.map(|p| p.error_code).chain([answer.error_code])
        }
    );
    add!(
        all,
        ListOffsetsRequest,
        |_| {
            let partition =
                ListOffsetsPartition { timestamp: -1, current_leader_epoch: -1, ..Default::default() };
            let topics = vec![ListOffsetsTopic { name: of.name.into(), partitions: vec![partition] }];
            ListOffsetsRequest { replica_id: -1, topics, ..Default::default() }
        },
        |answer| answer.topics.into_iter().flat_map(|topic| topic.partitions).map(|p| p.error_code)
    );
    add!(
        all,
        OffsetForLeaderEpochRequest,
        |_| {
            let partition =
                OffsetForLeaderPartition { current_leader_epoch: -1, leader_epoch: 0, ..Default::default() };
            let topic = OffsetForLeaderTopic { topic: of.name.into(), partitions: vec![partition] };
            OffsetForLeaderEpochRequest { replica_id: -1, topics: vec![topic] }
        },
        |answer| answer.topics.into_iter().flat_map(|topic| topic.partitions).map(|p| p.error_code)
    );
    add!(
        all,
        DeleteRecordsRequest,
        |_| {
            let partitions = vec![DeleteRecordsPartition::default()];
            let topics = vec![DeleteRecordsTopic { name: of.name.into(), partitions }];
            DeleteRecordsRequest { topics, timeout_ms: 10_000 }
        },
        |answer| answer.topics.into_iter().flat_map(|topic| topic.partitions).map(|p| p.error_code)
    );
    add!(
        all,
        InitProducerIdRequest,
        |_| InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            ..Default::default()
        },
        |answer| [answer.error_code]
    );
    add!(
        all,
        DescribeProducersRequest,
        |_| {
            let topic =
                describe_producers_request::TopicRequest { name: of.name.into(), partition_indexes: vec![0] };
            DescribeProducersRequest { topics: vec![topic] }
        },
        |answer| answer.topics.into_iter().flat_map(|topic| topic.partitions).map(|p| p.error_code)
    );
}

fn topics(of: &Subject, all: &mut Vec<Benign>) {
    add!(
        all,
        MetadataRequest,
        |_| {
            let topic = MetadataRequestTopic { name: Some(of.name.into()), ..Default::default() };
            MetadataRequest { topics: Some(vec![topic]), ..Default::default() }
        },
        |answer| {
            assert!(answer.brokers.len() == 1 && answer.topics.len() == 1, "{answer:?}");
            answer.topics.into_iter().map(|topic| topic.error_code)
        }
    );
    add!(
        all,
        CreateTopicsRequest,
        |version| {
            // Before version 4 there is no default for partitions and replicas; before 1 no dry run.
            let name = if version == 0 { "made-by-version-0" } else { "not-made" };
            let topic = CreatableTopic {
                name: name.into(),
                num_partitions: 1,
                replication_factor: 1,
                ..Default::default()
            };
            CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, validate_only: version > 0 }
        },
        |answer| answer.topics.into_iter().map(|topic| topic.error_code)
    );
    add!(
        all,
        DeleteTopicsRequest,
        |_| DeleteTopicsRequest { timeout_ms: 10_000, ..Default::default() },
        |answer| answer.responses.into_iter().map(|topic| topic.error_code)
    );
    add!(
        all,
        CreatePartitionsRequest,
        |_| {
            let topic = CreatePartitionsTopic { name: of.name.into(), count: 2, assignments: None };
            CreatePartitionsRequest { topics: vec![topic], timeout_ms: 10_000, validate_only: true }
        },
        |answer| answer.results.into_iter().map(|topic| topic.error_code)
    );
    add!(
        all,
        DescribeTopicPartitionsRequest,
        |_| {
            let topics = vec![describe_topic_partitions_request::TopicRequest { name: of.name.into() }];
            DescribeTopicPartitionsRequest { topics, response_partition_limit: 10, cursor: None }
        },
        |answer| answer.topics.into_iter().map(|topic| topic.error_code)
    );
    add!(
        all,
        DescribeLogDirsRequest,
        |_| {
            let topic = DescribableLogDirTopic { topic: of.name.into(), partitions: vec![0] };
            DescribeLogDirsRequest { topics: Some(vec![topic]) }
        },
        |answer| answer.results.into_iter().map(|dir| dir.error_code)
    );
}

/// The type of topics in requests about configs.
const TOPIC: i8 = 2;

fn configs(of: &Subject, all: &mut Vec<Benign>) {
    add!(
        all,
        DescribeConfigsRequest,
        |_| {
            let resource = DescribeConfigsResource {
                resource_type: TOPIC,
                resource_name: of.name.into(),
                configuration_keys: None,
            };
            DescribeConfigsRequest { resources: vec![resource], ..Default::default() }
        },
        |answer| answer.results.into_iter().map(|resource| resource.error_code)
    );
    add!(
        all,
        AlterConfigsRequest,
        |_| {
            let configs = vec![alter_configs_request::AlterableConfig {
                name: "retention.ms".into(),
                value: Some("1000".into()),
            }];
            let resource = alter_configs_request::AlterConfigsResource {
                resource_type: TOPIC,
                resource_name: of.name.into(),
                configs,
            };
            AlterConfigsRequest { resources: vec![resource], validate_only: true }
        },
        |answer| answer.responses.into_iter().map(|resource| resource.error_code)
    );
    add!(
        all,
        IncrementalAlterConfigsRequest,
        |_| {
            let configs = vec![incremental_alter_configs_request::AlterableConfig {
                name: "retention.ms".into(),
                config_operation: 0,
                value: Some("1000".into()),
            }];
            let resource = incremental_alter_configs_request::AlterConfigsResource {
                resource_type: TOPIC,
                resource_name: of.name.into(),
                configs,
            };
            IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: true }
        },
        |answer| answer.responses.into_iter().map(|resource| resource.error_code)
    );
    add!(all, ListConfigResourcesRequest, |_| ListConfigResourcesRequest::default(), |answer| [
        answer.error_code
    ]);
}

fn cluster(_: &Subject, all: &mut Vec<Benign>) {
    add!(
        all,
        ApiVersionsRequest,
        |version| match version {
            ..3 => ApiVersionsRequest::default(),
            3.. => ApiVersionsRequest {
                client_software_name: "blackbox".into(),
                client_software_version: "1.0".into(),
            },
        },
        |answer| [answer.error_code]
    );
    add!(all, DescribeClusterRequest, |_| DescribeClusterRequest::default(), |answer| [answer.error_code]);
    add!(
        all,
        UpdateFeaturesRequest,
        |_| UpdateFeaturesRequest { timeout_ms: 10_000, ..Default::default() },
        // A request without updates is refused, as in Kafka; what counts is that it is answered.
        |answer| [answer.error_code].into_iter().filter(|code| *code != INVALID_REQUEST)
    );
}
