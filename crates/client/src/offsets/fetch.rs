//! OffsetFetch (key 9): topics by id from version 10 on, by name before; many groups at once from version 8
//! on.

use std::collections::{BTreeMap, BTreeSet};

use ottla_link::{Connection, Terms};
use ottla_wire::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use ottla_wire::messages::{OffsetFetchRequest, OffsetFetchResponse};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ApiKey;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{LeaderEpoch, Offset, TopicId};

use super::committed::{Committed, OffsetAndMetadata};
use crate::cluster::{Metadata, TopicPartition, by_topic};
use crate::error::{ApiError, Error};

/// The last version of OffsetFetch that names topics rather than their ids.
const FETCH_BY_NAME_MAX: i16 = 9;
/// The first version of OffsetFetch that takes many groups.
const MANY_GROUPS_MIN: i16 = 8;
/// The first version that can leave out offsets which an open transaction may still change.
const REQUIRE_STABLE_MIN: i16 = 7;
/// The first version that can ask for all partitions.
const ALL_PARTITIONS_MIN: i16 = 2;

/// What is asked of one group.
#[derive(Clone, Debug)]
pub(crate) struct OffsetsQuery {
    pub(crate) group: Str,
    /// A member of a group of the consumer protocol says who it is and in which epoch.
    pub(crate) member: Option<(Str, i32)>,
    /// None: all that the group has committed.
    pub(crate) partitions: Option<BTreeSet<TopicPartition>>,
}

/// Reads what groups have committed over a connection to the coordinator of all of them. Every group is in
/// the answer.
pub(crate) async fn fetch(
    connection: &Connection,
    metadata: &Metadata,
    asked: &[OffsetsQuery],
    require_stable: bool,
) -> BTreeMap<Str, Result<Committed, Error>> {
    let many = connection.version_of::<OffsetFetchRequest>().is_ok_and(|version| version >= MANY_GROUPS_MIN);
    if many {
        return match fetch_many(connection, metadata, asked, require_stable).await {
            Ok(mut found) => {
                let mut take = |of: &OffsetsQuery| found.remove(&of.group).unwrap_or_else(|| Err(missing()));
                asked.iter().map(|of| (of.group.clone(), take(of))).collect()
            }
            Err(error) => asked.iter().map(|of| (of.group.clone(), Err(error.clone()))).collect(),
        };
    }
    let mut fetched = BTreeMap::new();
    for of in asked {
        fetched.insert(of.group.clone(), fetch_one(connection, of, require_stable).await);
    }
    fetched
}

async fn fetch_many(
    connection: &Connection,
    metadata: &Metadata,
    asked: &[OffsetsQuery],
    require_stable: bool,
) -> Result<BTreeMap<Str, Result<Committed, Error>>, Error> {
    let mut ids: BTreeMap<TopicId, Str> = BTreeMap::new();
    let mut version_max = i16::MAX;
    let mut groups = Vec::with_capacity(asked.len());
    for of in asked {
        let topics = of.partitions.as_ref().map(by_topic);
        // What a group committed of a topic that this client has not heard of could not be named by its id.
        if topics.is_none() {
            version_max = FETCH_BY_NAME_MAX;
        }
        let topics = topics.map(|topics| {
            let topic = |(name, partition_indexes): (Str, Vec<i32>)| {
                let topic_id = metadata.topic(&name).map(|topic| topic.id).unwrap_or_default();
                if topic_id.is_zero() {
                    version_max = FETCH_BY_NAME_MAX;
                }
                ids.insert(topic_id, name.clone());
                OffsetFetchRequestTopics { name, topic_id, partition_indexes }
            };
            topics.into_iter().map(topic).collect()
        });
        let (member_id, member_epoch) = match &of.member {
            Some((id, epoch)) => (Some(id.clone()), *epoch),
            None => (None, -1),
        };
        groups.push(OffsetFetchRequestGroup { group_id: of.group.clone(), member_id, member_epoch, topics });
    }
    let request = OffsetFetchRequest { groups, require_stable, ..OffsetFetchRequest::default() };
    let response = connection.call_on(&request, Terms::up_to(version_max)).await?;
    Ok(read_many(response, &ids))
}

fn read_many(
    response: OffsetFetchResponse,
    ids: &BTreeMap<TopicId, Str>,
) -> BTreeMap<Str, Result<Committed, Error>> {
    let mut found = BTreeMap::new();
    for group in response.groups {
        let mut committed = Committed::new();
        for topic in &group.topics {
            let name = if topic.name.is_empty() { ids.get(&topic.topic_id) } else { Some(&topic.name) };
            let Some(name) = name.map(Str::detached) else { continue };
            for of in &topic.partitions {
                let partition = TopicPartition { topic: name.clone(), partition: of.partition_index };
                let offset = (of.committed_offset, of.committed_leader_epoch, of.metadata.as_ref());
                committed.insert(partition, read(of.error_code, offset));
            }
        }
        let outcome = ApiError::check(group.error_code, None).map(|()| committed).map_err(Error::Api);
        found.insert(group.group_id.detached(), outcome);
    }
    found
}

async fn fetch_one(
    connection: &Connection,
    of: &OffsetsQuery,
    require_stable: bool,
) -> Result<Committed, Error> {
    let version = connection.version_of::<OffsetFetchRequest>()?;
    let topics = of.partitions.as_ref().map(|partitions| {
        let topic = |(name, partition_indexes)| OffsetFetchRequestTopic { name, partition_indexes };
        by_topic(partitions).into_iter().map(topic).collect()
    });
    if topics.is_none() && version < ALL_PARTITIONS_MIN {
        return Err(Error::unsupported(ApiKey::OffsetFetch, connection.address()));
    }
    let request = OffsetFetchRequest {
        group_id: of.group.clone(),
        topics,
        require_stable: require_stable && version >= REQUIRE_STABLE_MIN,
        ..OffsetFetchRequest::default()
    };
    let response = connection.call(&request).await?;
    ApiError::check(response.error_code, None)?;
    let mut committed = Committed::new();
    for topic in &response.topics {
        let name = topic.name.detached();
        for of in &topic.partitions {
            let partition = TopicPartition { topic: name.clone(), partition: of.partition_index };
            let offset = (of.committed_offset, of.committed_leader_epoch, of.metadata.as_ref());
            committed.insert(partition, read(of.error_code, offset));
        }
    }
    Ok(committed)
}

fn read(
    error_code: i16,
    (offset, leader_epoch, metadata): (i64, i32, Option<&Str>),
) -> Result<Option<OffsetAndMetadata>, ApiError> {
    ApiError::check(error_code, None)?;
    Ok((offset >= 0).then(|| OffsetAndMetadata {
        offset: Offset(offset),
        leader_epoch: LeaderEpoch(leader_epoch),
        metadata: metadata.map_or_else(String::new, ToString::to_string),
    }))
}

fn missing() -> Error {
    let message = Some("the group that was asked for is missing in the answer".to_owned());
    Error::Api(ApiError { code: ErrorCode::UnknownServerError, message })
}
