//! What the fake broker answers to each API.

use std::time::Duration;

use bytes::Bytes;
use ottla_wire::batch::{BatchHeader, BatchView};
use ottla_wire::messages::*;
use ottla_wire::primitives::{Records, Request, Str, decode_from};
use ottla_wire::protocol::{ApiKey, ErrorCode};

use super::broker::{Brokers, Fault, World};
use super::wire::ReceivedRequest;

pub struct Call<'a> {
    pub brokers: &'a Brokers,
    pub broker: usize,
    pub asked: ReceivedRequest,
}

/// The isolation level of a fetch.
const READ_COMMITTED: i8 = 1;

const SERVED: [ApiKey; 32] = [
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
    ApiKey::Metadata,
    ApiKey::ApiVersions,
    ApiKey::InitProducerId,
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::DescribeConfigs,
    ApiKey::DescribeCluster,
    ApiKey::DeleteRecords,
    ApiKey::FindCoordinator,
    ApiKey::JoinGroup,
    ApiKey::SyncGroup,
    ApiKey::Heartbeat,
    ApiKey::LeaveGroup,
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
    ApiKey::OffsetDelete,
    ApiKey::ListGroups,
    ApiKey::DescribeGroups,
    ApiKey::DeleteGroups,
    ApiKey::ConsumerGroupHeartbeat,
    ApiKey::ConsumerGroupDescribe,
    ApiKey::AddPartitionsToTxn,
    ApiKey::AddOffsetsToTxn,
    ApiKey::TxnOffsetCommit,
    ApiKey::EndTxn,
    ApiKey::DescribeTransactions,
    ApiKey::ListTransactions,
    ApiKey::DescribeProducers,
    ApiKey::WriteTxnMarkers,
];

impl Call<'_> {
    /// The answer with its length in front; empty for silence, none to hang up.
    pub async fn answer(&self) -> Option<Bytes> {
        let (key, body) = (self.asked.key, self.asked.body.clone());
        match key {
            ApiKey::ApiVersions => Some(self.api_versions()),
            ApiKey::Metadata => self.respond(body, |world, request| self.metadata(world, request)),
            ApiKey::InitProducerId
            | ApiKey::AddPartitionsToTxn
            | ApiKey::AddOffsetsToTxn
            | ApiKey::TxnOffsetCommit
            | ApiKey::EndTxn
            | ApiKey::DescribeTransactions
            | ApiKey::ListTransactions
            | ApiKey::DescribeProducers
            | ApiKey::WriteTxnMarkers => self.about_transactions(key, body),
            ApiKey::Produce => self.produce(body).await,
            ApiKey::Fetch => self.fetch(body).await,
            ApiKey::ListOffsets => self.respond(body, |world, request| self.list_offsets(world, request)),
            ApiKey::CreateTopics => self.respond(body, create_topics),
            ApiKey::DeleteTopics => self.respond(body, |world, request| self.delete_topics(world, request)),
            ApiKey::DescribeConfigs => self.respond(body, describe_configs),
            ApiKey::DescribeCluster => self.respond(body, describe_cluster),
            ApiKey::DeleteRecords => self.respond(body, delete_records),
            other => self.about_groups(other, body).await,
        }
    }

    pub fn respond<R: Request>(
        &self,
        body: Bytes,
        answer: impl FnOnce(&mut World, R) -> R::Response,
    ) -> Option<Bytes> {
        let request: R = decode_from(body, self.asked.version).unwrap();
        let response = answer(&mut self.brokers.world(), request);
        Some(self.asked.answer(&response))
    }

    fn api_versions(&self) -> Bytes {
        let world = self.brokers.world();
        let feature = api_versions_response::FinalizedFeatureKey {
            name: "transaction.version".into(),
            max_version_level: world.transaction_version,
            min_version_level: 0,
        };
        let response = ApiVersionsResponse {
            finalized_features_epoch: 1,
            finalized_features: vec![feature],
            ..Default::default()
        };
        self.asked.api_versions(SERVED, &world.version_max, response)
    }

    fn metadata(&self, world: &mut World, request: MetadataRequest) -> MetadataResponse {
        let names: Vec<String> = match &request.topics {
            None => world.topics.keys().cloned().collect(),
            Some(topics) => {
                let named = |topic: &metadata_request::MetadataRequestTopic| {
                    world
                        .name(topic.name.as_deref().unwrap_or(""), topic.topic_id)
                        .or(topic.name.as_ref().map(Str::to_string))
                };
                topics.iter().filter_map(named).collect()
            }
        };
        if let Some(partitions) = world.auto_create.filter(|_| request.allow_auto_topic_creation) {
            for name in &names {
                if !world.topics.contains_key(name) {
                    world.create(name, partitions);
                }
            }
        }
        let topic = |name: &String| match world.topics.get(name) {
            None => metadata_response::MetadataResponseTopic {
                error_code: ErrorCode::UnknownTopicOrPartition.code(),
                name: Some(Str::from(name)),
                ..Default::default()
            },
            Some(topic) => metadata_response::MetadataResponseTopic {
                name: Some(Str::from(name)),
                topic_id: topic.id,
                partitions: topic
                    .partitions
                    .iter()
                    .zip(0..)
                    .map(|(partition, partition_index)| metadata_response::MetadataResponsePartition {
                        partition_index,
                        leader_id: partition.leader as i32,
                        leader_epoch: partition.leader_epoch,
                        replica_nodes: vec![partition.leader as i32],
                        isr_nodes: vec![partition.leader as i32],
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            },
        };
        let broker =
            |(node_id, address): (i32, &std::net::SocketAddr)| metadata_response::MetadataResponseBroker {
                node_id,
                host: Str::from(address.ip().to_string()),
                port: address.port().into(),
                ..Default::default()
            };
        MetadataResponse {
            brokers: (0..).zip(&world.addresses).map(broker).collect(),
            cluster_id: Some("fake".into()),
            controller_id: 0,
            topics: names.iter().map(topic).collect(),
            ..Default::default()
        }
    }

    async fn produce(&self, body: Bytes) -> Option<Bytes> {
        let request: ProduceRequest = decode_from(body, self.asked.version).unwrap();
        let fault = self.brokers.world().faults.pop_front().unwrap_or(Fault::None);
        match fault {
            Fault::HangUp => return None,
            Fault::Late(delay) => tokio::time::sleep(delay).await,
            Fault::Forget => {
                for topic in self.brokers.world().topics.values_mut() {
                    topic.partitions.iter_mut().for_each(|partition| partition.producers.clear());
                }
            }
            _ => {}
        }
        let mut response = ProduceResponse::default();
        for topic in &request.topic_data {
            let mut world = self.brokers.world();
            let name = world.name(&topic.name, topic.topic_id).expect("the topic is known");
            let mut answers = Vec::new();
            for data in &topic.partition_data {
                let Some(Records::Bytes(batch)) = &data.records else { panic!("no records") };
                answers.push(self.append(&mut world, &name, data.index, batch.clone(), &fault));
            }
            response.responses.push(produce_response::TopicProduceResponse {
                name: topic.name.clone(),
                topic_id: topic.topic_id,
                partition_responses: answers,
            });
        }
        match fault {
            Fault::StoreAndHangUp => None,
            Fault::StoreAndStaySilent => Some(Bytes::new()),
            _ if request.acks == 0 => Some(Bytes::new()),
            _ => Some(self.asked.answer(&response)),
        }
    }

    fn append(
        &self,
        world: &mut World,
        topic: &str,
        index: i32,
        batch: Bytes,
        fault: &Fault,
    ) -> produce_response::PartitionProduceResponse {
        let mut answer = produce_response::PartitionProduceResponse {
            index,
            base_offset: -1,
            log_start_offset: 0,
            ..Default::default()
        };
        let poisoned = poisoned(world.poison, &batch);
        let (too_large, lenient) = (batch.len() > world.message_bytes_max, world.lenient);
        let header = BatchHeader::parse(&batch).unwrap();
        let fenced = match header.is_transactional() {
            true => world.admit(self.asked.version, &header, (topic, index)),
            false => Ok(()),
        };
        let partition = world.partition(topic, index as usize);
        let outcome = match fault {
            Fault::Refuse(code) => Err(*code),
            _ if partition.leader != self.broker => Err(ErrorCode::NotLeaderOrFollower),
            _ if too_large => Err(ErrorCode::MessageTooLarge),
            _ if !poisoned.is_empty() => Err(ErrorCode::InvalidRecord),
            _ => fenced.and_then(|()| partition.append(batch, lenient)),
        };
        match outcome {
            Ok((base, duplicate)) => {
                answer.base_offset = base;
                world.accepted_batches += usize::from(!duplicate);
                world.duplicates += usize::from(duplicate);
            }
            Err(code) => {
                answer.error_code = code.code();
                answer.record_errors = poisoned
                    .into_iter()
                    .map(|batch_index| produce_response::BatchIndexAndErrorMessage {
                        batch_index,
                        batch_index_error_message: Some("poison".into()),
                    })
                    .collect();
            }
        }
        answer
    }

    async fn fetch(&self, body: Bytes) -> Option<Bytes> {
        let request: FetchRequest = decode_from(body, self.asked.version).unwrap();
        let mut response = self.fetch_now(&request);
        let empty = |response: &FetchResponse| {
            let mut partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
            partitions.all(|p| p.error_code == 0 && p.records.as_ref().is_none_or(Records::is_empty))
        };
        if empty(&response) {
            tokio::time::sleep(Duration::from_millis(request.max_wait_ms.min(20) as u64)).await;
            response = self.fetch_now(&request);
        }
        Some(self.asked.answer(&response))
    }

    fn fetch_now(&self, request: &FetchRequest) -> FetchResponse {
        let mut world = self.brokers.world();
        let mut response = FetchResponse::default();
        for topic in &request.topics {
            let name = world.name(&topic.topic, topic.topic_id).expect("the topic is known");
            let read = |asked: &fetch_request::FetchPartition| {
                let partition = world.partition(&name, asked.partition as usize);
                let mut data = fetch_response::PartitionData {
                    partition_index: asked.partition,
                    high_watermark: partition.next_offset,
                    last_stable_offset: partition.stable_end(),
                    ..Default::default()
                };
                let range = partition.log_start..=partition.next_offset;
                if partition.leader != self.broker {
                    data.error_code = ErrorCode::NotLeaderOrFollower.code();
                } else if !range.contains(&asked.fetch_offset) {
                    data.error_code = ErrorCode::OffsetOutOfRange.code();
                } else {
                    let end = match request.isolation_level {
                        READ_COMMITTED => partition.stable_end(),
                        _ => partition.next_offset,
                    };
                    let wanted = |batch: &&Bytes| {
                        let next = BatchView::parse((*batch).clone()).unwrap().header().next_offset().0;
                        next > asked.fetch_offset && next <= end
                    };
                    if request.isolation_level == READ_COMMITTED {
                        let overlaps =
                            |&&(_, first, last): &&(i64, i64, i64)| last >= asked.fetch_offset && first < end;
                        let of = |&(producer_id, first_offset, _): &(i64, i64, i64)| {
                            fetch_response::AbortedTransaction { producer_id, first_offset }
                        };
                        data.aborted_transactions =
                            Some(partition.aborted.iter().filter(overlaps).map(of).collect());
                    }
                    let run: Vec<Bytes> = partition.batches.iter().filter(wanted).cloned().collect();
                    let mut run = Bytes::from(run.concat());
                    let first = run.first_chunk::<12>().map_or(0, |head| {
                        12 + i32::from_be_bytes([head[8], head[9], head[10], head[11]]) as usize
                    });
                    run.truncate(first.max(asked.partition_max_bytes as usize));
                    data.records = Some(Records::Bytes(run));
                }
                data
            };
            response.responses.push(fetch_response::FetchableTopicResponse {
                topic: topic.topic.clone(),
                topic_id: topic.topic_id,
                partitions: topic.partitions.iter().map(read).collect(),
            });
        }
        response
    }

    fn list_offsets(&self, world: &mut World, request: ListOffsetsRequest) -> ListOffsetsResponse {
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|asked| {
                let partition = world.partition(&topic.name, asked.partition_index as usize);
                let mut answer = list_offsets_response::ListOffsetsPartitionResponse {
                    partition_index: asked.partition_index,
                    leader_epoch: if self.asked.version >= 4 { partition.leader_epoch } else { -1 },
                    ..Default::default()
                };
                if partition.leader != self.broker {
                    answer.error_code = ErrorCode::NotLeaderOrFollower.code();
                    return answer;
                }
                match asked.timestamp {
                    -1 => answer.offset = partition.next_offset,
                    -2 => answer.offset = partition.log_start,
                    time => {
                        let batches = partition.batches.iter().cloned();
                        let mut records = batches.flat_map(|batch| {
                            BatchView::parse(batch).unwrap().records(1 << 20).unwrap().map(Result::unwrap)
                        });
                        if let Some(found) = records.find(|record| record.timestamp.0 >= time) {
                            (answer.offset, answer.timestamp) = (found.offset.0, found.timestamp.0);
                        }
                    }
                }
                answer
            });
            let partitions = partitions.collect();
            list_offsets_response::ListOffsetsTopicResponse { name: topic.name.clone(), partitions }
        });
        ListOffsetsResponse { topics: topics.collect(), ..Default::default() }
    }

    fn delete_topics(&self, world: &mut World, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
        let by_state = request.topics.iter().filter_map(|topic| topic.name.clone());
        let names: Vec<Str> = by_state.chain(request.topic_names.iter().cloned()).collect();
        let delete = |name: Str| {
            let known = world.topics.remove(name.as_str()).is_some();
            let error = if known { ErrorCode::None } else { ErrorCode::UnknownTopicOrPartition };
            delete_topics_response::DeletableTopicResult {
                name: Some(name),
                error_code: error.code(),
                ..Default::default()
            }
        };
        DeleteTopicsResponse { responses: names.into_iter().map(delete).collect(), ..Default::default() }
    }
}

fn poisoned(poison: Option<&'static [u8]>, batch: &Bytes) -> Vec<i32> {
    let Some(poison) = poison else { return Vec::new() };
    let records = BatchView::parse(batch.clone()).unwrap().records(1 << 20).unwrap();
    let of = |(record, index): (Result<ottla_wire::batch::Record, _>, i32)| {
        (record.unwrap().value.as_deref() == Some(poison)).then_some(index)
    };
    records.zip(0..).filter_map(of).collect()
}

fn create_topics(world: &mut World, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let create = |topic: &create_topics_request::CreatableTopic| {
        let mut result = create_topics_response::CreatableTopicResult {
            name: topic.name.clone(),
            num_partitions: topic.num_partitions,
            replication_factor: 1,
            ..Default::default()
        };
        if world.topics.contains_key(topic.name.as_str()) {
            result.error_code = ErrorCode::TopicAlreadyExists.code();
            result.error_message = Some("there it is".into());
        } else if !request.validate_only {
            world.create(&topic.name, topic.num_partitions as usize);
            result.topic_id = world.topics[topic.name.as_str()].id;
        }
        result
    };
    CreateTopicsResponse { topics: request.topics.iter().map(create).collect(), ..Default::default() }
}

fn describe_configs(_: &mut World, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let describe = |resource: describe_configs_request::DescribeConfigsResource| {
        let entry = describe_configs_response::DescribeConfigsResourceResult {
            name: "retention.ms".into(),
            value: Some("604800000".into()),
            config_source: 5,
            ..Default::default()
        };
        describe_configs_response::DescribeConfigsResult {
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
            configs: vec![entry],
            ..Default::default()
        }
    };
    DescribeConfigsResponse {
        results: request.resources.into_iter().map(describe).collect(),
        ..Default::default()
    }
}

fn describe_cluster(world: &mut World, _: DescribeClusterRequest) -> DescribeClusterResponse {
    let broker = |(broker_id, address): (i32, &std::net::SocketAddr)| {
        describe_cluster_response::DescribeClusterBroker {
            broker_id,
            host: Str::from(address.ip().to_string()),
            port: address.port().into(),
            ..Default::default()
        }
    };
    DescribeClusterResponse {
        cluster_id: "fake".into(),
        controller_id: 0,
        brokers: (0..).zip(&world.addresses).map(broker).collect(),
        ..Default::default()
    }
}

fn delete_records(world: &mut World, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let partition = world.partition(&topic.name, asked.partition_index as usize);
            partition.log_start = if asked.offset < 0 { partition.next_offset } else { asked.offset };
            delete_records_response::DeleteRecordsPartitionResult {
                partition_index: asked.partition_index,
                low_watermark: partition.log_start,
                ..Default::default()
            }
        });
        let partitions = partitions.collect();
        delete_records_response::DeleteRecordsTopicResult { name: topic.name.clone(), partitions }
    });
    DeleteRecordsResponse { topics: topics.collect(), ..Default::default() }
}
