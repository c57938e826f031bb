//! What a Fetch asks for: who reads, which partitions, how much and for how long.

use std::time::Duration;

use ottla_wire::messages::FetchRequest;
use ottla_wire::{BrokerEpoch, BrokerId, Offset, PartitionIndex};

use crate::api::Call;
use crate::fetch::{PartitionFetch, PartitionId, Reader, TopicRef, epoch};

/// From this version on, topics are named by their ids.
pub const BY_ID_VERSION: i16 = 13;

/// The limits of a fetch: size and time.
pub struct Limits {
    pub min_bytes: usize,
    pub max_bytes: usize,
    pub wait: Duration,
}

impl Limits {
    pub fn of(call: &Call<'_>, request: &FetchRequest) -> Limits {
        let max_bytes = i64::from(request.max_bytes).min(call.ctx.fetch_bytes_max);
        let positive = |number: i64| usize::try_from(number).unwrap_or(0);
        Limits {
            // More than the maximum can never arrive.
            min_bytes: positive(i64::from(request.min_bytes).min(max_bytes)),
            max_bytes: positive(max_bytes),
            wait: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)),
        }
    }
}

/// The reader. Followers state their epoch from version 15 on. Before that they count as unregistered.
pub fn reader(request: &FetchRequest) -> Reader {
    let state = &request.replica_state;
    match state.replica_id.max(request.replica_id) {
        id if id >= 0 => Reader::Follower { broker: BrokerId(id), epoch: BrokerEpoch(state.replica_epoch) },
        _ => Reader::Consumer { committed_only: request.isolation_level == 1 },
    }
}

pub fn asked(request: &FetchRequest, by_id: bool) -> Vec<(PartitionId, PartitionFetch)> {
    let mut all = Vec::new();
    for topic in &request.topics {
        let named = if by_id { TopicRef::Id(topic.topic_id) } else { TopicRef::Name(topic.topic.clone()) };
        for partition in &topic.partitions {
            let id = PartitionId { topic: named.clone(), index: PartitionIndex(partition.partition) };
            let asked = PartitionFetch {
                offset: Offset(partition.fetch_offset),
                max_bytes: partition.partition_max_bytes,
                current_epoch: epoch(partition.current_leader_epoch),
                last_fetched_epoch: epoch(partition.last_fetched_epoch),
                log_start: Offset(partition.log_start_offset),
            };
            all.push((id, asked));
        }
    }
    all
}

pub fn forgotten(request: &FetchRequest, by_id: bool) -> Vec<PartitionId> {
    let mut all = Vec::new();
    for topic in &request.forgotten_topics_data {
        let named = if by_id { TopicRef::Id(topic.topic_id) } else { TopicRef::Name(topic.topic.clone()) };
        let partitions = topic.partitions.iter();
        all.extend(
            partitions.map(|index| PartitionId { topic: named.clone(), index: PartitionIndex(*index) }),
        );
    }
    all
}
