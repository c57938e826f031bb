//! ListGroups, DescribeGroups, ConsumerGroupDescribe, DeleteGroups.

use ottla_wire::messages::*;
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::super::broker::World;
use super::{Group, Protocol, State};

fn state_of(group: &Group) -> &'static str {
    match &group.protocol {
        Protocol::Classic(classic) => match classic.state {
            State::Empty => "Empty",
            State::Preparing => "PreparingRebalance",
            State::Completing => "CompletingRebalance",
            State::Stable => "Stable",
        },
        Protocol::Consumer(consumer) if !consumer.members.is_empty() => "Stable",
        Protocol::Consumer(_) | Protocol::Empty => "Empty",
    }
}

fn type_of(group: &Group) -> &'static str {
    match &group.protocol {
        Protocol::Consumer(_) => "Consumer",
        Protocol::Classic(_) | Protocol::Empty => "Classic",
    }
}

pub fn list(world: &mut World, broker: usize, request: ListGroupsRequest) -> ListGroupsResponse {
    if broker != world.coordinator {
        return ListGroupsResponse::default();
    }
    let wanted = |group: &Group| {
        let among =
            |all: &[Str], one: &str| all.is_empty() || all.iter().any(|of| of.eq_ignore_ascii_case(one));
        among(&request.states_filter, state_of(group)) && among(&request.types_filter, type_of(group))
    };
    let listed = world.groups.iter().filter(|(_, group)| wanted(group)).map(|(id, group)| {
        list_groups_response::ListedGroup {
            group_id: Str::from(id),
            protocol_type: Str::from(if matches!(group.protocol, Protocol::Empty) { "" } else { "consumer" }),
            group_state: Str::from(state_of(group)),
            group_type: Str::from(type_of(group)),
        }
    });
    ListGroupsResponse { groups: listed.collect(), ..Default::default() }
}

pub fn describe_classic(
    world: &mut World,
    broker: usize,
    version: i16,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let here = broker == world.coordinator;
    let groups = request.groups.iter().map(|id| {
        let mut described =
            describe_groups_response::DescribedGroup { group_id: id.clone(), ..Default::default() };
        let known =
            world.groups.get(id.as_str()).filter(|group| !matches!(group.protocol, Protocol::Consumer(_)));
        match known {
            _ if !here => described.error_code = ErrorCode::NotCoordinator.code(),
            None => {
                described.group_state = "Dead".into();
                if version >= 6 {
                    described.error_code = ErrorCode::GroupIdNotFound.code();
                }
            }
            Some(group) => {
                described.group_state = state_of(group).into();
                described.protocol_type = "consumer".into();
                if let Protocol::Classic(classic) = &group.protocol {
                    described.protocol_data = Str::from(&classic.protocol);
                    let member = |(id, member): (&String, &super::classic::Member)| {
                        describe_groups_response::DescribedGroupMember {
                            member_id: Str::from(id),
                            group_instance_id: member.instance.as_ref().map(Str::from),
                            member_assignment: member.assignment.clone(),
                            ..Default::default()
                        }
                    };
                    described.members = classic.members.iter().map(member).collect();
                }
            }
        }
        described
    });
    DescribeGroupsResponse { groups: groups.collect(), ..Default::default() }
}

pub fn describe_consumer(
    world: &mut World,
    broker: usize,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let here = broker == world.coordinator;
    let groups = request.group_ids.iter().map(|id| {
        let mut described =
            consumer_group_describe_response::DescribedGroup { group_id: id.clone(), ..Default::default() };
        match world.groups.get(id.as_str()).map(|group| &group.protocol) {
            _ if !here => described.error_code = ErrorCode::NotCoordinator.code(),
            Some(Protocol::Consumer(consumer)) => {
                described.group_state = "Stable".into();
                described.group_epoch = consumer.epoch;
                described.assignment_epoch = consumer.epoch;
                described.assignor_name = "uniform".into();
                let member = |(id, member): (&String, &super::consumer::Member)| {
                    let held = |&(topic_id, partition): &(ottla_wire::Uuid, i32)| {
                        let name = world.name("", topic_id).unwrap();
                        consumer_group_describe_response::TopicPartitions {
                            topic_id,
                            topic_name: Str::from(name),
                            partitions: vec![partition],
                        }
                    };
                    let topic_partitions = member.holds.iter().map(held).collect();
                    consumer_group_describe_response::Member {
                        member_id: Str::from(id),
                        member_epoch: member.epoch,
                        subscribed_topic_names: member.topics.iter().map(Str::from).collect(),
                        assignment: consumer_group_describe_response::Assignment { topic_partitions },
                        member_type: 1,
                        ..Default::default()
                    }
                };
                described.members = consumer.members.iter().map(member).collect();
            }
            Some(Protocol::Classic(_) | Protocol::Empty) | None => {
                described.error_code = ErrorCode::GroupIdNotFound.code();
            }
        }
        described
    });
    ConsumerGroupDescribeResponse { groups: groups.collect(), ..Default::default() }
}

pub fn delete(world: &mut World, broker: usize, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let results = request.groups_names.iter().map(|id| {
        let error = match world.groups.get(id.as_str()) {
            _ if broker != world.coordinator => ErrorCode::NotCoordinator,
            None => ErrorCode::GroupIdNotFound,
            Some(group) if !group.members().is_empty() => ErrorCode::NonEmptyGroup,
            Some(_) => ErrorCode::None,
        };
        if error == ErrorCode::None {
            world.groups.remove(id.as_str());
        }
        delete_groups_response::DeletableGroupResult { group_id: id.clone(), error_code: error.code() }
    });
    let results = results.collect();
    DeleteGroupsResponse { results, ..Default::default() }
}
