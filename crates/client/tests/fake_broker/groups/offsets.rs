//! OffsetCommit, OffsetFetch, OffsetDelete.

use ottla_wire::Uuid;
use ottla_wire::messages::*;
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::super::broker::World;
use super::{Committed, Protocol, code};

pub fn commit(
    world: &mut World,
    request: OffsetCommitRequest,
    fault: Option<ErrorCode>,
) -> OffsetCommitResponse {
    let outcome = fault.map_or_else(
        || {
            let (member, epoch) = (&request.member_id, request.generation_id_or_member_epoch);
            may_commit(world, &request.group_id, member, request.group_instance_id.as_ref(), epoch)
        },
        Err,
    );
    let mut topics = Vec::new();
    for topic in request.topics {
        let name = world.name(&topic.name, topic.topic_id);
        let mut partitions = Vec::new();
        for of in topic.partitions {
            let mut outcome =
                outcome.and(name.as_ref().map(|_| ()).ok_or(ErrorCode::UnknownTopicOrPartition));
            let metadata = of.committed_metadata.map_or_else(String::new, |text| text.to_string());
            if metadata.len() > 4096 {
                outcome = Err(ErrorCode::OffsetMetadataTooLarge);
            }
            if let (Ok(()), Some(name)) = (outcome, &name) {
                let (offset, leader_epoch) = (of.committed_offset, of.committed_leader_epoch);
                let group = world.group(&request.group_id);
                group.commits.push((name.clone(), of.partition_index, offset));
                group
                    .offsets
                    .insert((name.clone(), of.partition_index), Committed { offset, leader_epoch, metadata });
            }
            partitions.push(offset_commit_response::OffsetCommitResponsePartition {
                partition_index: of.partition_index,
                error_code: code(outcome),
            });
        }
        let (name, topic_id) = (topic.name, topic.topic_id);
        topics.push(offset_commit_response::OffsetCommitResponseTopic { name, topic_id, partitions });
    }
    OffsetCommitResponse { topics, ..Default::default() }
}

pub fn may_commit(
    world: &mut World,
    group: &str,
    member: &Str,
    instance: Option<&Str>,
    epoch: i32,
) -> Result<(), ErrorCode> {
    match &world.group(group).protocol {
        Protocol::Empty if epoch < 0 => Ok(()),
        Protocol::Empty => Err(ErrorCode::UnknownMemberId),
        Protocol::Classic(classic) => classic.may_commit(member, instance, epoch),
        Protocol::Consumer(consumer) => consumer.may_commit(member, epoch),
    }
}

pub fn fetch(
    world: &mut World,
    version: i16,
    request: OffsetFetchRequest,
    fault: Option<ErrorCode>,
) -> OffsetFetchResponse {
    let unstable = request.require_stable && world.unstable_offsets > 0;
    world.unstable_offsets -= usize::from(unstable);
    let error_code = fault.unwrap_or(ErrorCode::None).code();
    if version >= 8 {
        let groups = request.groups.iter().map(|group| {
            let asked = group.topics.as_ref().map(|topics| {
                let one = |topic: &offset_fetch_request::OffsetFetchRequestTopics| {
                    (topic.name.clone(), topic.topic_id, topic.partition_indexes.clone())
                };
                topics.iter().map(one).collect()
            });
            let topics =
                read(world, &group.group_id, asked, unstable).into_iter().map(|(name, topic_id, found)| {
                    let partitions = found.into_iter().map(|(partition_index, committed, error_code)| {
                        offset_fetch_response::OffsetFetchResponsePartitions {
                            partition_index,
                            committed_offset: committed.offset,
                            committed_leader_epoch: committed.leader_epoch,
                            metadata: Some(Str::from(&committed.metadata)),
                            error_code,
                        }
                    });
                    let partitions = partitions.collect();
                    offset_fetch_response::OffsetFetchResponseTopics { name, topic_id, partitions }
                });
            let topics = topics.collect();
            offset_fetch_response::OffsetFetchResponseGroup {
                group_id: group.group_id.clone(),
                topics,
                error_code,
            }
        });
        return OffsetFetchResponse { groups: groups.collect(), ..Default::default() };
    }
    let asked = request.topics.as_ref().map(|topics| {
        let one = |topic: &offset_fetch_request::OffsetFetchRequestTopic| {
            (topic.name.clone(), Uuid::ZERO, topic.partition_indexes.clone())
        };
        topics.iter().map(one).collect()
    });
    let topics = read(world, &request.group_id, asked, unstable).into_iter().map(|(name, _, found)| {
        let partitions = found.into_iter().map(|(partition_index, committed, error_code)| {
            offset_fetch_response::OffsetFetchResponsePartition {
                partition_index,
                committed_offset: committed.offset,
                committed_leader_epoch: if version >= 5 { committed.leader_epoch } else { -1 },
                metadata: Some(Str::from(&committed.metadata)),
                error_code,
            }
        });
        offset_fetch_response::OffsetFetchResponseTopic { name, partitions: partitions.collect() }
    });
    OffsetFetchResponse { topics: topics.collect(), error_code, ..Default::default() }
}

type RequestedTopics = Vec<(Str, Uuid, Vec<i32>)>;
type Read = Vec<(Str, Uuid, Vec<(i32, Committed, i16)>)>;

fn read(world: &mut World, group: &str, asked: Option<RequestedTopics>, unstable: bool) -> Read {
    let asked = asked.unwrap_or_else(|| {
        let all = world.group(group).offsets.keys();
        all.map(|(topic, partition)| (Str::from(topic), Uuid::ZERO, vec![*partition])).collect()
    });
    let mut answer = Vec::new();
    for (name, id, partitions) in asked {
        let topic = world.name(&name, id).unwrap_or_default();
        let nothing = || Committed { offset: -1, leader_epoch: -1, metadata: String::new() };
        let found = partitions.into_iter().map(|partition| {
            if unstable {
                return (partition, nothing(), ErrorCode::UnstableOffsetCommit.code());
            }
            let committed = world.group(group).offsets.get(&(topic.clone(), partition)).cloned();
            (partition, committed.unwrap_or_else(nothing), 0)
        });
        let found = found.collect();
        answer.push((name, id, found));
    }
    answer
}

pub fn delete(world: &mut World, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let Some(group) = world.groups.get_mut(request.group_id.as_str()) else {
        return OffsetDeleteResponse { error_code: ErrorCode::GroupIdNotFound.code(), ..Default::default() };
    };
    let busy = !group.members().is_empty();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|of| {
            let error = if busy { ErrorCode::GroupSubscribedToTopic } else { ErrorCode::None };
            if !busy {
                group.offsets.remove(&(topic.name.to_string(), of.partition_index));
            }
            offset_delete_response::OffsetDeleteResponsePartition {
                partition_index: of.partition_index,
                error_code: error.code(),
            }
        });
        let partitions = partitions.collect();
        offset_delete_response::OffsetDeleteResponseTopic { name: topic.name.clone(), partitions }
    });
    OffsetDeleteResponse { topics: topics.collect(), ..Default::default() }
}
