//! Metadata (key 3): brokers, and topics with the leaders of their partitions.
//!
//! - 1: null means all topics, an empty list none; racks, the controller, internal topics.
//! - 2: the cluster's id (KIP-78).
//! - 3: the throttle time.
//! - 4: whether topics may be created (KIP-204).
//! - 5: offline replicas (KIP-112).
//! - 7: leader epochs (KIP-320).
//! - 8: authorized operations (KIP-430).
//! - 9: flexible.
//! - 10: topic ids (KIP-516).
//! - 11: the operations on the cluster moved to DescribeCluster (KIP-700).
//! - 12: topics by their ids.
//! - 13: an error for the whole request (KIP-1102), which a serving broker never has.

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

use super::call::Call;
use crate::door::{Operation, Resource};
use crate::published::Published;

/// How long the creation of a topic may take.
const AUTO_CREATE_TIMEOUT_MS: i32 = 10_000;

pub async fn handle(call: &mut Call<'_>, request: MetadataRequest) -> MetadataResponse {
    let asked = RequestedTopics::of(&request, call.version);
    let published = call.ctx.published.load();
    if let RequestedTopics::These(topics) = &asked
        && request.allow_auto_topic_creation
        && auto_creates(call)
    {
        create_missing(call, &published.image, topics);
    }
    let image = &published.image;
    let with_operations = request.include_topic_authorized_operations;
    let may_see = |topic: &Topic| call.may(Operation::Describe, Resource::Topic(&topic.name));
    let describe = |topic: &Topic| {
        let operations = call.authorized_operations(with_operations, Resource::Topic(&topic.name));
        describe(image, topic, operations)
    };
    let mut topics: Vec<MetadataResponseTopic> = match asked {
        // Topics that the client may not see are left out.
        RequestedTopics::All => {
            image.topics().filter(|topic| may_see(topic)).map(|topic| describe(topic)).collect()
        }
        RequestedTopics::These(topics) => topics
            .iter()
            .map(|topic| match find(call, image, topic, request.allow_auto_topic_creation) {
                Ok(found) => describe(found),
                Err(code) => unknown(topic, code),
            })
            .collect(),
    };
    // A topic that is asked for twice, perhaps by name and by id, is told of once.
    let mut told = BTreeSet::new();
    topics.retain(|topic| told.insert((topic.name.clone(), topic.topic_id)));
    // A client that may not describe the cluster gets no operations on it.
    let cluster_operations = match call.may(Operation::Describe, Resource::Cluster) {
        false if request.include_cluster_authorized_operations => 0,
        _ => call.authorized_operations(request.include_cluster_authorized_operations, Resource::Cluster),
    };
    MetadataResponse {
        brokers: brokers(call, &published),
        cluster_id: Some(call.ctx.cluster_id.clone()),
        controller_id: call.ctx.controller_id(&published).0,
        topics,
        cluster_authorized_operations: cluster_operations,
        ..Default::default()
    }
}

/// The topics that a request is about.
enum RequestedTopics<'a> {
    All,
    These(&'a [MetadataRequestTopic]),
}

impl RequestedTopics<'_> {
    fn of(request: &MetadataRequest, version: i16) -> RequestedTopics<'_> {
        match &request.topics {
            None => RequestedTopics::All,
            // Version 0 has no null. There an empty list means all topics.
            Some(topics) if version == 0 && topics.is_empty() => RequestedTopics::All,
            Some(topics) => RequestedTopics::These(topics),
        }
    }
}

/// The requested topic, if the client may see it. Otherwise the answer does not reveal whether it exists.
fn find<'a>(
    call: &Call<'_>,
    image: &'a Image,
    asked: &MetadataRequestTopic,
    creates: bool,
) -> Result<&'a Topic, ErrorCode> {
    let authorize = |name: &str| call.authorize(Operation::Describe, Resource::Topic(name));
    match &asked.name {
        // With an id the name does not count. Some clients leave it null, others empty.
        _ if is_by_id(asked) => {
            let topic = image.topic_by_id(asked.topic_id).ok_or(ErrorCode::UnknownTopicId)?;
            authorize(&topic.name)?;
            Ok(topic)
        }
        None => Err(ErrorCode::UnknownTopicId),
        Some(name) => {
            authorize(name)?;
            if !is_topic_name(name) {
                return Err(ErrorCode::InvalidTopicException);
            }
            let missing = match creates && auto_creates(call) && !may_create(call, name) {
                true => ErrorCode::TopicAuthorizationFailed,
                false => ErrorCode::UnknownTopicOrPartition,
            };
            image.topic(name).map(|topic| &**topic).ok_or(missing)
        }
    }
}

fn auto_creates(call: &Call<'_>) -> bool {
    call.ctx.settings().read(key::AUTO_CREATE_TOPICS_ENABLE)
}

/// Whether missing topics may be created for the client. It must be allowed to see them.
fn may_create(call: &Call<'_>, name: &str) -> bool {
    let topic = Resource::Topic(name);
    call.may(Operation::Describe, topic)
        && (call.may(Operation::Create, Resource::Cluster) || call.may(Operation::Create, topic))
}

fn is_by_id(asked: &MetadataRequestTopic) -> bool {
    !asked.topic_id.is_zero()
}

fn unknown(asked: &MetadataRequestTopic, code: ErrorCode) -> MetadataResponseTopic {
    // Before version 12 a name in an answer cannot be null.
    let name = Some(asked.name.clone().unwrap_or_default());
    MetadataResponseTopic { error_code: code.code(), name, topic_id: asked.topic_id, ..Default::default() }
}

/// Starts to create missing topics with the broker's defaults. As in Kafka, this answer still says that they
/// are unknown, and clients ask again.
fn create_missing(call: &Call<'_>, image: &Image, topics: &[MetadataRequestTopic]) {
    let names = topics.iter().filter(|topic| !is_by_id(topic)).filter_map(|topic| topic.name.as_ref());
    let missing: BTreeSet<&Str> = names
        .filter(|name| image.topic(name).is_none() && is_topic_name(name) && may_create(call, name))
        .collect();
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

/// The live brokers, with their addresses on the client's listener.
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

/// The replicas on brokers that are not alive.
pub fn offline_replicas(image: &Image, partition: &Partition) -> Vec<i32> {
    let alive = |id| image.broker(id).is_some_and(|broker| !broker.fenced);
    partition.replicas.iter().filter(|id| !alive(**id)).map(|id| id.0).collect()
}
