//! ListPartitionReassignments (key 46): what is on the move (KIP-455).

use ottla_wire::PartitionIndex;
use ottla_wire::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use ottla_wire::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use crate::image::{Image, Partition, Topic, numbers};

/// Reassignments that are under way: of the partitions asked for, or of all. Unknown ones are left out.
pub fn list_partition_reassignments(
    image: &Image,
    request: &ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    let topics = match &request.topics {
        None => image.topics().filter_map(|topic| ongoing(topic, topic.partitions.keys().copied())).collect(),
        Some(topics) => topics
            .iter()
            .filter_map(|asked| {
                let indexes = asked.partition_indexes.iter().copied().map(PartitionIndex);
                ongoing(image.topic(&asked.name)?, indexes)
            })
            .collect(),
    };
    ListPartitionReassignmentsResponse { topics, ..ListPartitionReassignmentsResponse::default() }
}

fn ongoing(topic: &Topic, indexes: impl Iterator<Item = PartitionIndex>) -> Option<OngoingTopicReassignment> {
    let moving = indexes.filter_map(|index| Some((index, topic.partition(index)?)));
    let partitions: Vec<_> = moving
        .filter(|(_, partition)| partition.is_reassigning())
        .map(|(index, one)| described(index, one))
        .collect();
    (!partitions.is_empty()).then(|| OngoingTopicReassignment { name: topic.name.clone(), partitions })
}

fn described(index: PartitionIndex, partition: &Partition) -> OngoingPartitionReassignment {
    OngoingPartitionReassignment {
        partition_index: index.0,
        replicas: numbers(&partition.replicas),
        adding_replicas: numbers(&partition.adding),
        removing_replicas: numbers(&partition.removing),
    }
}
