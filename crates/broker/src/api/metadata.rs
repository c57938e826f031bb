//! Metadata (key 3): brokers, and topics with the leaders of their partitions.
//! KIP-516 (topic ids), KIP-430 (authorized operations), KIP-526 and KIP-487 (automatic creation).

use std::collections::BTreeSet;

use ottla_controller::controller::is_topic_name;
use ottla_controller::{Image, Partition, Topic};
use ottla_settings::key;
use ottla_wire::messages::create_topics_request::CreatableTopic;
use ottla_wire::messages::metadata_request::MetadataRequestTopic;
use ottla_wire::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_wire::messages::{CreateTopicsRequest, MetadataRequest, MetadataResponse};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{InternalTopic, PartitionIndex};

use super::authorized;
use super::call::Call;
use crate::published::Published;

/// How long the creation of a topic may take.
const AUTO_CREATE_TIMEOUT_MS: i32 = 10_000;

pub async fn handle(call: &mut Call<'_>, request: MetadataRequest) -> MetadataResponse {
    let asked = Asked::of(&request, call.version);
    let published = call.ctx.published.load();
    if let Asked::These(topics) = &asked
        && request.allow_auto_topic_creation
        && call.ctx.settings().read(key::AUTO_CREATE_TOPICS_ENABLE)
    {
        create_missing(call, &published.image, topics);
    }
    let image = &published.image;
    let operations = authorized::topic(request.include_topic_authorized_operations);
    let describe = |topic: &Topic| describe(image, topic, operations);
    let topics = match asked {
        Asked::All => image.topics().map(|topic| describe(topic)).collect(),
        Asked::These(topics) => topics
            .iter()
            .map(|topic| match find(image, topic) {
                Ok(found) => describe(found),
                Err(code) => unknown(topic, code),
            })
            .collect(),
    };
    MetadataResponse {
        brokers: brokers(call, &published),
        cluster_id: Some(call.ctx.cluster_id.clone()),
        controller_id: call.ctx.controller_id(&published).0,
        topics,
        cluster_authorized_operations: authorized::cluster(request.include_cluster_authorized_operations),
        ..Default::default()
    }
}

/// Which topics a request is about.
enum Asked<'a> {
    All,
    These(&'a [MetadataRequestTopic]),
}

impl Asked<'_> {
    fn of(request: &MetadataRequest, version: i16) -> Asked<'_> {
        match &request.topics {
            None => Asked::All,
            // Version 0 cannot say null: there, an empty list means all.
            Some(topics) if version == 0 && topics.is_empty() => Asked::All,
            Some(topics) => Asked::These(topics),
        }
    }
}

fn find<'a>(image: &'a Image, asked: &MetadataRequestTopic) -> Result<&'a Topic, ErrorCode> {
    match &asked.name {
        // With an id, the name does not count: some clients leave it null, others empty.
        _ if is_by_id(asked) => {
            image.topic_by_id(asked.topic_id).map(|topic| &**topic).ok_or(ErrorCode::UnknownTopicId)
        }
        None => Err(ErrorCode::UnknownTopicId),
        Some(name) if !is_topic_name(name) => Err(ErrorCode::InvalidTopicException),
        Some(name) => image.topic(name).map(|topic| &**topic).ok_or(ErrorCode::UnknownTopicOrPartition),
    }
}

fn is_by_id(asked: &MetadataRequestTopic) -> bool {
    !asked.topic_id.is_zero()
}

fn unknown(asked: &MetadataRequestTopic, code: ErrorCode) -> MetadataResponseTopic {
    // Before version 12 a name cannot be null in an answer.
    let name = Some(asked.name.clone().unwrap_or_default());
    MetadataResponseTopic { error_code: code.code(), name, topic_id: asked.topic_id, ..Default::default() }
}

/// Begins to create the topics that are not there, with the broker's defaults. This answer still says that they are not,
/// as Kafka's does; clients ask again.
fn create_missing(call: &Call<'_>, image: &Image, topics: &[MetadataRequestTopic]) {
    let names = topics.iter().filter(|topic| !is_by_id(topic)).filter_map(|topic| topic.name.as_ref());
    let missing: BTreeSet<&Str> =
        names.filter(|name| image.topic(name).is_none() && is_topic_name(name)).collect();
    if missing.is_empty() {
        return;
    }
    let creatable = |name: &Str| CreatableTopic {
        name: name.detached(),
        num_partitions: -1,
        replication_factor: -1,
        ..Default::default()
    };
    let request = CreateTopicsRequest {
        topics: missing.into_iter().map(creatable).collect(),
        timeout_ms: AUTO_CREATE_TIMEOUT_MS,
        ..Default::default()
    };
    if !call.ctx.controller.offer(request) {
        tracing::warn!("topics are not created on first use: the controller has more to do than it can");
    }
}

/// The brokers that are alive, as reached through the listener that the client came by.
fn brokers(call: &Call<'_>, published: &Published) -> Vec<MetadataResponseBroker> {
    let listener = &*call.session.peer.listener;
    let at = published.image.alive_brokers().filter_map(|broker| Some((broker, broker.listener(listener)?)));
    at.map(|(broker, endpoint)| MetadataResponseBroker {
        node_id: broker.id.0,
        host: endpoint.host.clone(),
        port: i32::from(endpoint.port),
        rack: broker.rack.clone(),
    })
    .collect()
}

fn describe(image: &Image, topic: &Topic, operations: i32) -> MetadataResponseTopic {
    MetadataResponseTopic {
        error_code: ErrorCode::None.code(),
        name: Some(topic.name.clone()),
        topic_id: topic.id,
        is_internal: InternalTopic::is_internal(&topic.name),
        partitions: topic.partitions.iter().map(|(index, p)| describe_partition(image, *index, p)).collect(),
        topic_authorized_operations: operations,
    }
}

fn describe_partition(
    image: &Image,
    index: PartitionIndex,
    partition: &Partition,
) -> MetadataResponsePartition {
    let leader =
        partition.leader.filter(|leader| image.is_active(*leader) || image.broker(*leader).is_some());
    MetadataResponsePartition {
        error_code: leader.map_or(ErrorCode::LeaderNotAvailable, |_| ErrorCode::None).code(),
        partition_index: index.0,
        leader_id: partition.leader_id().0,
        leader_epoch: partition.leader_epoch.0,
        replica_nodes: partition.replicas.iter().map(|id| id.0).collect(),
        isr_nodes: partition.isr.iter().map(|id| id.0).collect(),
        offline_replicas: offline_replicas(image, partition),
    }
}

/// Replicas whose broker is not there.
pub fn offline_replicas(image: &Image, partition: &Partition) -> Vec<i32> {
    let alive = |id| image.broker(id).is_some_and(|broker| !broker.fenced);
    partition.replicas.iter().filter(|id| !alive(**id)).map(|id| id.0).collect()
}
