//! OffsetDelete (key 47).

use std::collections::{BTreeMap, BTreeSet};

use ottla_link::Connection;
use ottla_wire::messages::OffsetDeleteRequest;
use ottla_wire::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use ottla_wire::primitives::Str;

use crate::cluster::{TopicPartition, by_topic};
use crate::error::{ApiError, Error};

/// Deletes what a group has committed, over a connection to its coordinator.
pub(crate) async fn delete(
    connection: &Connection,
    group: &str,
    partitions: &BTreeSet<TopicPartition>,
) -> Result<BTreeMap<TopicPartition, Result<(), ApiError>>, Error> {
    let topics = by_topic(partitions).into_iter().map(|(name, partitions)| {
        let of = |partition_index| OffsetDeleteRequestPartition { partition_index };
        OffsetDeleteRequestTopic { name, partitions: partitions.into_iter().map(of).collect() }
    });
    let request = OffsetDeleteRequest { group_id: Str::from(group), topics: topics.collect() };
    let response = connection.call(&request).await?;
    ApiError::check(response.error_code, None)?;
    let deleted = response.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|of| {
            let partition = TopicPartition::new(topic.name.detached(), of.partition_index);
            (partition, ApiError::check(of.error_code, None))
        })
    });
    Ok(deleted.collect())
}
