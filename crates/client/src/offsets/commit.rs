//! OffsetCommit (key 8): topics by id from version 10 on, by name before.

use std::collections::BTreeMap;

use ottla_link::{Connection, Terms};
use ottla_wire::TopicId;
use ottla_wire::messages::OffsetCommitRequest;
use ottla_wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::committed::{GroupMetadata, Offsets};
use crate::cluster::{Metadata, TopicPartition};
use crate::error::{ApiError, Error};

/// The last version of OffsetCommit that names topics rather than their ids.
const COMMIT_BY_NAME_MAX: i16 = 9;

/// Commits offsets over a connection to the coordinator. Every partition is in the answer.
pub(crate) async fn commit(
    connection: &Connection,
    metadata: &Metadata,
    who: &GroupMetadata,
    offsets: &Offsets,
    terms: Terms,
) -> Result<BTreeMap<TopicPartition, Result<(), ApiError>>, Error> {
    let mut request = OffsetCommitRequest {
        group_id: who.group_id.clone(),
        generation_id_or_member_epoch: who.generation,
        member_id: who.member_id.clone(),
        group_instance_id: who.group_instance_id.clone(),
        ..OffsetCommitRequest::default()
    };
    let mut ids: BTreeMap<TopicId, Str> = BTreeMap::new();
    let mut version_max = i16::MAX;
    for (of, committed) in offsets {
        let partition = OffsetCommitRequestPartition {
            partition_index: of.partition,
            committed_offset: committed.offset.0,
            committed_leader_epoch: committed.leader_epoch.0,
            committed_metadata: Some(Str::from(&committed.metadata)),
        };
        // Partitions are in order, so those of a topic are together.
        match request.topics.last_mut().filter(|topic| topic.name == of.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => {
                let topic_id = metadata.topic(&of.topic).map(|topic| topic.id).unwrap_or_default();
                if topic_id.is_zero() {
                    version_max = COMMIT_BY_NAME_MAX;
                }
                ids.insert(topic_id, of.topic.clone());
                let partitions = vec![partition];
                request.topics.push(OffsetCommitRequestTopic {
                    name: of.topic.clone(),
                    topic_id,
                    partitions,
                });
            }
        }
    }
    let response = connection.call_on(&request, Terms { version_max, ..terms }).await?;
    let mut found = BTreeMap::new();
    for topic in &response.topics {
        let name = if topic.name.is_empty() { ids.get(&topic.topic_id) } else { Some(&topic.name) };
        let Some(name) = name else { continue };
        for partition in &topic.partitions {
            let of = TopicPartition::new(name.detached(), partition.partition_index);
            found.insert(of, ApiError::check(partition.error_code, None));
        }
    }
    let outcomes = offsets.keys().map(|of| {
        let missing =
            || Err(ApiError { code: ErrorCode::UnknownServerError, message: Some("no answer".into()) });
        (of.clone(), found.remove(of).unwrap_or_else(missing))
    });
    Ok(outcomes.collect())
}
