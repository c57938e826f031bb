//! Requests of groups: of their offsets, their members and those who administer them.

use bytes::Bytes;
use ottla_wire::TopicId;
use ottla_wire::messages::*;
use ottla_wire::primitives::{Request, Str};

use super::{Benign, CORRELATION_ID, Subject, decode, frame, name_if};

/// The group whose offsets the requests are about.
pub const READERS: &str = "readers";

/// Error codes in answers to requests about what is not there.
const UNKNOWN_MEMBER_ID: i16 = 25;
const GROUP_ID_NOT_FOUND: i16 = 69;

/// The answer to a member without an id: it gets one (KIP-394).
const MEMBER_ID_REQUIRED: i16 = 79;

pub fn offsets(of: &Subject, all: &mut Vec<Benign>) {
    add!(
        all,
        OffsetCommitRequest,
        |version| {
            let partition = offset_commit_request::OffsetCommitRequestPartition {
                committed_offset: 1,
                committed_metadata: Some("benign".into()),
                ..Default::default()
            };
            let topic = offset_commit_request::OffsetCommitRequestTopic {
                name: name_if(version < 10, of),
                topic_id: if version < 10 { TopicId::ZERO } else { of.id },
                partitions: vec![partition],
            };
            OffsetCommitRequest { group_id: READERS.into(), topics: vec![topic], ..Default::default() }
        },
        |answer| {
            assert!(!answer.topics.is_empty());
            answer.topics.into_iter().flat_map(|topic| topic.partitions).map(|p| p.error_code)
        }
    );
    add!(
        all,
        OffsetFetchRequest,
        |version| {
            let one = offset_fetch_request::OffsetFetchRequestTopic {
                name: of.name.into(),
                partition_indexes: vec![0],
            };
            let of_several = offset_fetch_request::OffsetFetchRequestTopics {
                name: name_if(version < 10, of),
                topic_id: if version < 10 { TopicId::ZERO } else { of.id },
                partition_indexes: vec![0],
            };
            let group = offset_fetch_request::OffsetFetchRequestGroup {
                group_id: READERS.into(),
                topics: Some(vec![of_several]),
                ..Default::default()
            };
            match version {
                ..8 => OffsetFetchRequest {
                    group_id: READERS.into(),
                    topics: Some(vec![one]),
                    ..Default::default()
                },
                8.. => OffsetFetchRequest { groups: vec![group], ..Default::default() },
            }
        },
        |answer| {
            let old = answer.topics.into_iter().flat_map(|topic| topic.partitions).map(|p| p.error_code);
            let groups = answer.groups.into_iter();
            old.chain(groups.map(|group| group.error_code)).chain([answer.error_code])
        }
    );
    add!(
        all,
        OffsetDeleteRequest,
        |_| {
            let partitions = vec![offset_delete_request::OffsetDeleteRequestPartition { partition_index: 0 }];
            let topic = offset_delete_request::OffsetDeleteRequestTopic { name: of.name.into(), partitions };
            OffsetDeleteRequest { group_id: READERS.into(), topics: vec![topic] }
        },
        |answer| {
            let partitions = answer.topics.into_iter().flat_map(|topic| topic.partitions);
            partitions.map(|p| p.error_code).chain([answer.error_code])
        }
    );
}

pub fn members(of: &Subject, all: &mut Vec<Benign>) {
    add!(
        all,
        JoinGroupRequest,
        |version| {
            let protocol = join_group_request::JoinGroupRequestProtocol {
                name: "range".into(),
                metadata: Bytes::from_static(b"benign"),
            };
            JoinGroupRequest {
                // Each in a group of its own, so that none waits for another.
                group_id: format!("joined-by-version-{version}").into(),
                session_timeout_ms: 30_000,
                rebalance_timeout_ms: if version == 0 { -1 } else { 30_000 },
                protocol_type: "consumer".into(),
                protocols: vec![protocol],
                ..Default::default()
            }
        },
        |answer| {
            assert!(answer.error_code != 0 || !answer.member_id.is_empty());
            [answer.error_code].into_iter().filter(|code| *code != MEMBER_ID_REQUIRED)
        }
    );
    // Nobody has joined this group: that every version is understood shows in the answer.
    add!(
        all,
        SyncGroupRequest,
        |_| SyncGroupRequest {
            group_id: READERS.into(),
            member_id: "nobody".into(),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            ..Default::default()
        },
        |answer| [answer.error_code].into_iter().filter(|code| *code != UNKNOWN_MEMBER_ID)
    );
    add!(
        all,
        HeartbeatRequest,
        |_| HeartbeatRequest { group_id: READERS.into(), member_id: "nobody".into(), ..Default::default() },
        |answer| [answer.error_code].into_iter().filter(|code| *code != UNKNOWN_MEMBER_ID)
    );
    add!(
        all,
        LeaveGroupRequest,
        |version| {
            let member =
                leave_group_request::MemberIdentity { member_id: "nobody".into(), ..Default::default() };
            match version {
                ..3 => LeaveGroupRequest {
                    group_id: READERS.into(),
                    member_id: "nobody".into(),
                    ..Default::default()
                },
                3.. => LeaveGroupRequest {
                    group_id: READERS.into(),
                    members: vec![member],
                    ..Default::default()
                },
            }
        },
        |answer| {
            let members = answer.members.into_iter().map(|member| member.error_code);
            members.chain([answer.error_code]).filter(|code| *code != UNKNOWN_MEMBER_ID)
        }
    );
    add!(
        all,
        ConsumerGroupHeartbeatRequest,
        |version| ConsumerGroupHeartbeatRequest {
            group_id: format!("heard-by-version-{version}").into(),
            // From version 1 on the client makes its id.
            member_id: if version == 0 { Str::default() } else { "somebody".into() },
            rebalance_timeout_ms: 30_000,
            subscribed_topic_names: Some(vec![of.name.into()]),
            topic_partitions: Some(Vec::new()),
            ..Default::default()
        },
        |answer| [answer.error_code]
    );
}

pub fn groups(_: &Subject, all: &mut Vec<Benign>) {
    add!(
        all,
        FindCoordinatorRequest,
        |version| match version {
            ..4 => FindCoordinatorRequest { key: READERS.into(), ..Default::default() },
            4.. => FindCoordinatorRequest { coordinator_keys: vec![READERS.into()], ..Default::default() },
        },
        |answer| answer.coordinators.into_iter().map(|one| one.error_code).chain([answer.error_code])
    );
    add!(
        all,
        DescribeGroupsRequest,
        |_| DescribeGroupsRequest { groups: vec!["nobody".into()], ..Default::default() },
        |answer| {
            assert_eq!(answer.groups.len(), 1);
            answer.groups.into_iter().map(|group| group.error_code).filter(|code| *code != GROUP_ID_NOT_FOUND)
        }
    );
    add!(all, ListGroupsRequest, |_| ListGroupsRequest::default(), |answer| [answer.error_code]);
    add!(
        all,
        DeleteGroupsRequest,
        |_| DeleteGroupsRequest { groups_names: vec!["nobody".into()] },
        |answer| {
            assert_eq!(answer.results.len(), 1);
            answer
                .results
                .into_iter()
                .map(|group| group.error_code)
                .filter(|code| *code != GROUP_ID_NOT_FOUND)
        }
    );
    add!(
        all,
        ConsumerGroupDescribeRequest,
        |_| ConsumerGroupDescribeRequest { group_ids: vec!["nobody".into()], ..Default::default() },
        |answer| {
            assert_eq!(answer.groups.len(), 1);
            answer.groups.into_iter().map(|group| group.error_code).filter(|code| *code != GROUP_ID_NOT_FOUND)
        }
    );
}
