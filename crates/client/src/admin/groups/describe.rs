//! ConsumerGroupDescribe, and DescribeGroups for what that does not know.

use std::collections::{BTreeMap, BTreeSet};

use ottla_link::Connection;
use ottla_wire::BrokerId;
use ottla_wire::messages::{
    ConsumerGroupDescribeRequest, DescribeGroupsRequest, consumer_group_describe_response,
    describe_groups_response,
};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::super::coordinators::{Outcomes, all_failed, by_name};
use super::super::{Admin, Repeat};
use super::{GroupState, GroupType};
use crate::cluster::TopicPartition;
use crate::coordinator::Coordinated;
use crate::error::{ApiError, Error};
use crate::group::{PROTOCOL_TYPE, decode_assignment, decode_topics};

/// `MemberType` of a member that speaks the classic protocol in a group of the consumer protocol.
const MEMBER_TYPE_CLASSIC: i8 = 0;

/// A group and its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    pub group_id: String,
    pub group_type: GroupType,
    /// None for one that this client does not know.
    pub state: Option<GroupState>,
    /// Of a classic group: `consumer`, `connect` and so on; empty if it only commits offsets.
    pub protocol_type: String,
    /// The assignor in use; empty if there is none.
    pub assignor: String,
    /// Of a group of the consumer protocol.
    pub epochs: Option<GroupEpochs>,
    pub coordinator: BrokerId,
    pub members: Vec<MemberDescription>,
}

/// How far a group of the consumer protocol is: its members, and what they were last assigned for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupEpochs {
    pub group: i32,
    pub assignment: i32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDescription {
    pub member_id: String,
    pub group_instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub rack_id: Option<String>,
    /// In a group of the consumer protocol.
    pub epoch: Option<i32>,
    pub topics: BTreeSet<String>,
    pub topic_regex: Option<String>,
    pub assignment: BTreeSet<TopicPartition>,
    /// What it is to have in the end, in a group of the consumer protocol.
    pub target: Option<BTreeSet<TopicPartition>>,
    /// It speaks the classic protocol, perhaps in a group of the other one.
    pub classic: bool,
}

impl Admin {
    /// Describes groups of both protocols. A group that does not exist is GROUP_ID_NOT_FOUND.
    pub async fn describe_groups(
        &self,
        groups: &[impl AsRef<str>],
    ) -> BTreeMap<String, Result<GroupDescription, Error>> {
        let groups = groups.iter().map(|group| Str::from(group.as_ref()));
        by_name(self.ask_coordinators(Coordinated::Group, groups, Repeat::Harmless, describe).await)
    }
}

async fn describe(broker: BrokerId, connection: Connection, groups: Vec<Str>) -> Outcomes<GroupDescription> {
    let mut outcomes = Outcomes::new();
    if connection.version_of::<ConsumerGroupDescribeRequest>().is_ok() {
        outcomes = describe_consumer(broker, &connection, &groups).await;
    }
    let is_other = |group: &Str| match outcomes.get(group) {
        Some(Ok(_)) => false,
        Some(Err(error)) => error.code() == Some(ErrorCode::GroupIdNotFound),
        None => true,
    };
    let others: Vec<Str> = groups.into_iter().filter(is_other).collect();
    if !others.is_empty() {
        outcomes.extend(describe_classic(broker, &connection, &others).await);
    }
    outcomes
}

async fn describe_consumer(
    coordinator: BrokerId,
    connection: &Connection,
    groups: &[Str],
) -> Outcomes<GroupDescription> {
    let request = ConsumerGroupDescribeRequest { group_ids: groups.to_vec(), ..Default::default() };
    let response = match connection.call(&request).await {
        Ok(response) => response,
        Err(error) => return all_failed(groups, &error.into()),
    };
    let described = response.groups.into_iter().map(|group| {
        let outcome = ApiError::check(group.error_code, group.error_message.as_deref());
        (group.group_id.detached(), outcome.map(|()| read_consumer(coordinator, group)).map_err(Error::Api))
    });
    described.collect()
}

fn read_consumer(
    coordinator: BrokerId,
    group: consumer_group_describe_response::DescribedGroup,
) -> GroupDescription {
    let member = |member: consumer_group_describe_response::Member| MemberDescription {
        member_id: member.member_id.into(),
        group_instance_id: member.instance_id.map(String::from),
        client_id: member.client_id.into(),
        client_host: member.client_host.into(),
        rack_id: member.rack_id.map(String::from),
        epoch: Some(member.member_epoch),
        topics: member.subscribed_topic_names.into_iter().map(String::from).collect(),
        topic_regex: member.subscribed_topic_regex.filter(|regex| !regex.is_empty()).map(String::from),
        assignment: read_assignment(&member.assignment),
        target: Some(read_assignment(&member.target_assignment)),
        classic: member.member_type == MEMBER_TYPE_CLASSIC,
    };
    GroupDescription {
        group_id: group.group_id.into(),
        group_type: GroupType::Consumer,
        state: GroupState::from_name(&group.group_state),
        protocol_type: PROTOCOL_TYPE.to_owned(),
        assignor: group.assignor_name.into(),
        epochs: Some(GroupEpochs { group: group.group_epoch, assignment: group.assignment_epoch }),
        coordinator,
        members: group.members.into_iter().map(member).collect(),
    }
}

fn read_assignment(of: &consumer_group_describe_response::Assignment) -> BTreeSet<TopicPartition> {
    let topic = |of: &consumer_group_describe_response::TopicPartitions| {
        let topic = of.topic_name.detached();
        of.partitions
            .iter()
            .map(move |&partition| TopicPartition { topic: topic.clone(), partition })
            .collect::<Vec<_>>()
    };
    of.topic_partitions.iter().flat_map(topic).collect()
}

async fn describe_classic(
    coordinator: BrokerId,
    connection: &Connection,
    groups: &[Str],
) -> Outcomes<GroupDescription> {
    let request = DescribeGroupsRequest { groups: groups.to_vec(), ..Default::default() };
    let response = match connection.call(&request).await {
        Ok(response) => response,
        Err(error) => return all_failed(groups, &error.into()),
    };
    let described = response.groups.into_iter().map(|group| {
        let outcome = ApiError::check(group.error_code, group.error_message.as_deref());
        let outcome = match outcome {
            // How versions before 6 say that there is none.
            Ok(()) if group.group_state == GroupState::Dead.name() => {
                Err(Error::Api(ApiError { code: ErrorCode::GroupIdNotFound, message: None }))
            }
            Ok(()) => Ok(()),
            Err(error) => Err(Error::Api(error)),
        };
        (group.group_id.detached(), outcome.map(|()| read_classic(coordinator, group)))
    });
    described.collect()
}

fn read_classic(coordinator: BrokerId, group: describe_groups_response::DescribedGroup) -> GroupDescription {
    let consumers = group.protocol_type == PROTOCOL_TYPE;
    let member = |member: describe_groups_response::DescribedGroupMember| {
        // What others than consumers tell each other, nobody else can read; nor what a broken consumer does.
        let (topics, assignment) = if consumers {
            let topics = decode_topics(member.member_metadata).unwrap_or_default();
            (topics, decode_assignment(member.member_assignment).unwrap_or_default())
        } else {
            Default::default()
        };
        MemberDescription {
            member_id: member.member_id.into(),
            group_instance_id: member.group_instance_id.map(String::from),
            client_id: member.client_id.into(),
            client_host: member.client_host.into(),
            rack_id: None,
            epoch: None,
            topics: topics.into_iter().map(String::from).collect(),
            topic_regex: None,
            assignment,
            target: None,
            classic: true,
        }
    };
    GroupDescription {
        group_id: group.group_id.into(),
        group_type: GroupType::Classic,
        state: GroupState::from_name(&group.group_state),
        protocol_type: group.protocol_type.into(),
        assignor: group.protocol_data.into(),
        epochs: None,
        coordinator,
        members: group.members.into_iter().map(member).collect(),
    }
}
