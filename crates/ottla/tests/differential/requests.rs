//! Requests as scripts ask them.

use bytes::Bytes;
use ottla_wire::TopicId;
use ottla_wire::messages::consumer_group_heartbeat_request::TopicPartitions;
use ottla_wire::messages::create_topics_request::CreatableTopic;
use ottla_wire::messages::describe_configs_request::DescribeConfigsResource;
use ottla_wire::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_wire::messages::leave_group_request::MemberIdentity;
use ottla_wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use ottla_wire::messages::offset_fetch_request::OffsetFetchRequestGroup;
use ottla_wire::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_wire::messages::*;

/// The type of topics in requests about settings.
pub const TOPIC: i8 = 2;
/// The type of groups.
pub const GROUP: i8 = 32;

pub fn join(group: &str, member: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.into(),
        member_id: member.into(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        protocol_type: "consumer".into(),
        protocols: vec![protocol("range", "subscription")],
        ..Default::default()
    }
}

pub fn static_join(group: &str, member: &str, instance: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_instance_id: Some(instance.into()),
        rebalance_timeout_ms: 2_000,
        ..join(group, member)
    }
}

/// A protocol with the subscription of a consumer (version 1: topics, no user data, nothing owned). Kafka
/// cannot form a generation with metadata that it cannot read.
pub fn protocol(name: &str, topic: &str) -> JoinGroupRequestProtocol {
    let mut metadata = vec![0, 1, 0, 0, 0, 1, 0, u8::try_from(topic.len()).unwrap()];
    metadata.extend(topic.as_bytes());
    metadata.extend([255, 255, 255, 255, 0, 0, 0, 0]);
    JoinGroupRequestProtocol { name: name.into(), metadata: metadata.into() }
}

pub fn sync(
    group: &str,
    generation_id: i32,
    member: &str,
    assignments: &[(&str, &'static str)],
) -> SyncGroupRequest {
    let assignment = |(member, assignment): &(&str, &'static str)| SyncGroupRequestAssignment {
        member_id: (*member).into(),
        assignment: Bytes::from(*assignment),
    };
    SyncGroupRequest {
        group_id: group.into(),
        generation_id,
        member_id: member.into(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: assignments.iter().map(assignment).collect(),
        ..Default::default()
    }
}

pub fn heartbeat(group: &str, generation_id: i32, member: &str) -> HeartbeatRequest {
    HeartbeatRequest { group_id: group.into(), generation_id, member_id: member.into(), ..Default::default() }
}

/// Members leave, each named by its id and perhaps its instance.
pub fn leave(group: &str, members: &[(&str, Option<&str>)]) -> LeaveGroupRequest {
    let identity = |(member, instance): &(&str, Option<&str>)| MemberIdentity {
        member_id: (*member).into(),
        group_instance_id: instance.map(Into::into),
        ..Default::default()
    };
    LeaveGroupRequest {
        group_id: group.into(),
        members: members.iter().map(identity).collect(),
        ..Default::default()
    }
}

/// Commits by a member or, with generation -1 and no id, by nobody in particular.
pub fn commit(
    group: &str,
    generation: i32,
    member: &str,
    topics: Vec<OffsetCommitRequestTopic>,
) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: generation,
        member_id: member.into(),
        topics,
        ..Default::default()
    }
}

pub fn offsets(
    topic: &str,
    id: TopicId,
    partitions: &[i32],
    metadata: Option<&str>,
) -> OffsetCommitRequestTopic {
    let partition = |index: &i32| OffsetCommitRequestPartition {
        partition_index: *index,
        committed_offset: 7,
        committed_metadata: metadata.map(Into::into),
        ..Default::default()
    };
    OffsetCommitRequestTopic {
        name: topic.into(),
        topic_id: id,
        partitions: partitions.iter().map(partition).collect(),
    }
}

/// Everything that a group has committed.
pub fn fetch_all(group: &str) -> OffsetFetchRequest {
    let group = OffsetFetchRequestGroup { group_id: group.into(), topics: None, ..Default::default() };
    OffsetFetchRequest { groups: vec![group], ..Default::default() }
}

pub fn describe(group: &str) -> DescribeGroupsRequest {
    DescribeGroupsRequest { groups: vec![group.into()], ..Default::default() }
}

pub fn consumer_describe(group: &str) -> ConsumerGroupDescribeRequest {
    ConsumerGroupDescribeRequest { group_ids: vec![group.into()], ..Default::default() }
}

/// A first heartbeat of a consumer that subscribes to a topic.
pub fn enter(group: &str, member: &str, topic: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: group.into(),
        member_id: member.into(),
        member_epoch: 0,
        rebalance_timeout_ms: 30_000,
        subscribed_topic_names: Some(vec![topic.into()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    }
}

/// A heartbeat that says nothing new.
pub fn beat(group: &str, member: &str, member_epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: group.into(),
        member_id: member.into(),
        member_epoch,
        ..Default::default()
    }
}

pub fn owned(topic_id: TopicId, partitions: &[i32]) -> Option<Vec<TopicPartitions>> {
    Some(vec![TopicPartitions { topic_id, partitions: partitions.to_vec() }])
}

/// A topic to be created, with one replica.
pub fn creatable(name: &str, num_partitions: i32) -> CreatableTopic {
    CreatableTopic { name: name.into(), num_partitions, replication_factor: 1, ..Default::default() }
}

/// A resource whose settings are all to be described.
pub fn described(resource_type: i8, name: &str) -> DescribeConfigsResource {
    DescribeConfigsResource { resource_type, resource_name: name.into(), configuration_keys: None }
}

/// All settings that a topic is to have.
pub fn settings_of(
    topic: &str,
    configs: &[(&str, Option<&str>)],
) -> alter_configs_request::AlterConfigsResource {
    let config = |(name, value): &(&str, Option<&str>)| alter_configs_request::AlterableConfig {
        name: (*name).into(),
        value: value.map(Into::into),
    };
    alter_configs_request::AlterConfigsResource {
        resource_type: TOPIC,
        resource_name: topic.into(),
        configs: configs.iter().map(config).collect(),
    }
}

/// Changes of a resource's settings: name, operation and value.
pub fn changes(
    resource_type: i8,
    name: &str,
    changes: &[(&str, i8, Option<&str>)],
) -> incremental_alter_configs_request::AlterConfigsResource {
    let config = |(name, operation, value): &(&str, i8, Option<&str>)| {
        incremental_alter_configs_request::AlterableConfig {
            name: (*name).into(),
            config_operation: *operation,
            value: value.map(Into::into),
        }
    };
    incremental_alter_configs_request::AlterConfigsResource {
        resource_type,
        resource_name: name.into(),
        configs: changes.iter().map(config).collect(),
    }
}
