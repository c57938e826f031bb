//! AssignReplicasToDirs (key 73): a broker says which directory each replica is in (KIP-858).

use std::collections::BTreeMap;

use ottla_wire::messages::assign_replicas_to_dirs_response::{DirectoryData, PartitionData, TopicData};
use ottla_wire::messages::{
    AssignReplicasToDirsRequest, AssignReplicasToDirsResponse, MetadataRecord, PartitionChangeRecord,
};
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerId, PartitionIndex, TopicId, Uuid};

use super::broker_heartbeat::check_epoch;
use super::{Call, Controller, Outcome};
use crate::image::Image;

impl Controller {
    pub fn assign_replicas_to_dirs(
        &mut self,
        call: &mut Call<'_>,
        request: &AssignReplicasToDirsRequest,
    ) -> Outcome<AssignReplicasToDirsResponse> {
        let broker = match check_epoch(call.image, request.broker_id, request.broker_epoch) {
            Ok(broker) => broker,
            Err(failure) => {
                let response =
                    AssignReplicasToDirsResponse { error_code: failure.code.code(), ..Default::default() };
                return Outcome::only(response);
            }
        };
        // The last word on a partition counts.
        let mut changes: BTreeMap<(TopicId, PartitionIndex), Vec<Uuid>> = BTreeMap::new();
        let mut response = AssignReplicasToDirsResponse::default();
        for directory in &request.directories {
            let mut topics = Vec::new();
            for topic in &directory.topics {
                let partitions = topic.partitions.iter().map(|asked| {
                    let index = PartitionIndex(asked.partition_index);
                    let error_code =
                        match assigned(call.image, broker.id, topic.topic_id, index, directory.id) {
                            Ok(directories) => {
                                changes.insert((topic.topic_id, index), directories);
                                ErrorCode::None.code()
                            }
                            Err(code) => code.code(),
                        };
                    PartitionData { partition_index: index.0, error_code }
                });
                let partitions = partitions.collect();
                topics.push(TopicData { topic_id: topic.topic_id, partitions });
            }
            response.directories.push(DirectoryData { id: directory.id, topics });
        }
        let is_new = |(topic, index): &(TopicId, PartitionIndex), directories: &Vec<Uuid>| {
            call.image
                .partition(*topic, *index)
                .is_some_and(|partition| partition.directories != *directories)
        };
        let news = changes.into_iter().filter(|(at, directories)| is_new(at, directories));
        Outcome::new(
            news.map(|((topic, index), directories)| record(topic, index, directories)).collect(),
            response,
        )
    }
}

/// The directories of a partition's replicas once `broker`'s is in `directory`.
fn assigned(
    image: &Image,
    broker: BrokerId,
    topic: TopicId,
    index: PartitionIndex,
    directory: Uuid,
) -> Result<Vec<Uuid>, ErrorCode> {
    let topic = image.topic_by_id(topic).ok_or(ErrorCode::UnknownTopicId)?;
    let partition = topic.partition(index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let at = partition
        .replicas
        .iter()
        .position(|replica| *replica == broker)
        .ok_or(ErrorCode::NotLeaderOrFollower)?;
    let mut directories = partition.directories.clone();
    directories.resize(partition.replicas.len(), Uuid::ZERO);
    directories[at] = directory;
    Ok(directories)
}

fn record(topic: TopicId, index: PartitionIndex, directories: Vec<Uuid>) -> MetadataRecord {
    MetadataRecord::PartitionChange(PartitionChangeRecord {
        topic_id: topic,
        partition_id: index.0,
        directories: Some(directories),
        ..PartitionChangeRecord::default()
    })
}
