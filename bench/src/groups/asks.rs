//! The requests of group members, and the way to read their answers.

use anyhow::Result;
use bytes::Bytes;
use ottla_wire::messages::{
    ConsumerGroupHeartbeatRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
    OffsetCommitRequest, ResponseHeader, SyncGroupRequest, consumer_group_heartbeat_request,
    join_group_request, leave_group_request, offset_commit_request, sync_group_request,
};
use ottla_wire::primitives::{Reader, Str};
use ottla_wire::protocol::response_header_version;
use ottla_wire::{ApiKey, Message, Request};

use crate::frames::request;

const JOIN_VERSION: i16 = 9;
const SYNC_VERSION: i16 = 5;
const HEARTBEAT_VERSION: i16 = 4;
const LEAVE_VERSION: i16 = 5;
const CONSUMER_VERSION: i16 = 1;
/// The newest version that names topics.
const COMMIT_VERSION: i16 = 9;

const PROTOCOL: &str = "range";
const SESSION_MS: i32 = 60_000;
const REBALANCE_MS: i32 = 60_000;
/// As long as the subscription of a client that names one topic.
const SUBSCRIPTION: &[u8] = &[0; 64];
const ASSIGNMENT: &[u8] = &[0; 48];

/// What is known of a member of a classic group.
#[derive(Clone, Default)]
pub struct Member {
    pub id: Str,
    pub generation: i32,
}

pub fn join(group: &str, member: &Member) -> Result<Bytes> {
    let protocol = join_group_request::JoinGroupRequestProtocol {
        name: PROTOCOL.into(),
        metadata: Bytes::from_static(SUBSCRIPTION),
    };
    let body = JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: SESSION_MS,
        rebalance_timeout_ms: REBALANCE_MS,
        member_id: member.id.clone(),
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
        ..Default::default()
    };
    request(ApiKey::JoinGroup, JOIN_VERSION, 0, &body)
}

/// `members` are those that the leader assigns something to; none for the others.
pub fn sync(group: &str, member: &Member, members: &[Str]) -> Result<Bytes> {
    let assigned = |id: &Str| sync_group_request::SyncGroupRequestAssignment {
        member_id: id.clone(),
        assignment: Bytes::from_static(ASSIGNMENT),
    };
    let body = SyncGroupRequest {
        group_id: group.into(),
        generation_id: member.generation,
        member_id: member.id.clone(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some(PROTOCOL.into()),
        assignments: members.iter().map(assigned).collect(),
        ..Default::default()
    };
    request(ApiKey::SyncGroup, SYNC_VERSION, 0, &body)
}

pub fn heartbeat(group: &str, member: &Member) -> Result<Bytes> {
    let body = HeartbeatRequest {
        group_id: group.into(),
        generation_id: member.generation,
        member_id: member.id.clone(),
        ..Default::default()
    };
    request(ApiKey::Heartbeat, HEARTBEAT_VERSION, 0, &body)
}

pub fn leave(group: &str, member: &Member) -> Result<Bytes> {
    let identity = leave_group_request::MemberIdentity { member_id: member.id.clone(), ..Default::default() };
    let body = LeaveGroupRequest { group_id: group.into(), members: vec![identity], ..Default::default() };
    request(ApiKey::LeaveGroup, LEAVE_VERSION, 0, &body)
}

/// A heartbeat of the consumer protocol. The first one (epoch 0) says everything; later ones what is owned.
pub fn consumer_heartbeat(
    group: &str,
    topic: &str,
    member: &str,
    epoch: i32,
    owned: Option<Vec<consumer_group_heartbeat_request::TopicPartitions>>,
) -> Result<Bytes> {
    let first = epoch == 0;
    let body = ConsumerGroupHeartbeatRequest {
        group_id: group.into(),
        member_id: member.into(),
        member_epoch: epoch,
        rebalance_timeout_ms: if first { REBALANCE_MS } else { -1 },
        subscribed_topic_names: first.then(|| vec![topic.into()]),
        topic_partitions: owned.or_else(|| first.then(Vec::new)),
        ..Default::default()
    };
    request(ApiKey::ConsumerGroupHeartbeat, CONSUMER_VERSION, 0, &body)
}

/// A commit of one partition by a consumer that is in no group.
pub fn commit(group: &str, topic: &str, partition: i32, offset: i64) -> Result<Bytes> {
    let partition = offset_commit_request::OffsetCommitRequestPartition {
        partition_index: partition,
        committed_offset: offset,
        committed_metadata: Some(Str::from_static("")),
        ..Default::default()
    };
    let topic = offset_commit_request::OffsetCommitRequestTopic {
        name: topic.into(),
        partitions: vec![partition],
        ..Default::default()
    };
    let body = OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    request(ApiKey::OffsetCommit, COMMIT_VERSION, 0, &body)
}

/// Reads the answer to one of these requests.
pub fn answer<R: Request>(frame: Bytes) -> Result<R::Response> {
    let version = match R::KEY {
        ApiKey::JoinGroup => JOIN_VERSION,
        ApiKey::SyncGroup => SYNC_VERSION,
        ApiKey::Heartbeat => HEARTBEAT_VERSION,
        ApiKey::LeaveGroup => LEAVE_VERSION,
        ApiKey::ConsumerGroupHeartbeat => CONSUMER_VERSION,
        ApiKey::OffsetCommit => COMMIT_VERSION,
        other => anyhow::bail!("{other} is not asked here"),
    };
    let mut reader = Reader::new(frame);
    ResponseHeader::decode(&mut reader, response_header_version(R::KEY, version))?;
    Ok(R::Response::decode(&mut reader, version)?)
}
