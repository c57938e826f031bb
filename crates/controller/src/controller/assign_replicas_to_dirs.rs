//! AssignReplicasToDirs (key 73): a broker says which directory each replica is in (KIP-858).

use std::collections::BTreeMap;

use ottla_wire::messages::assign_replicas_to_dirs_response::{DirectoryData, PartitionData, TopicData};
use ottla_wire::messages::{AssignReplicasToDirsRequest, AssignReplicasToDirsResponse, MetadataRecord};
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerId, PartitionIndex, TopicId, Uuid};

use super::broker_heartbeat::check_epoch;
use super::change::Change;
use super::{Call, Controller, Outcome};
use crate::image::{Image, Registration};
use ottla_settings::TopicConfig;

impl Controller {
    /// A replica in a directory that is not online leaves the ISR and does not lead: so a broker gives up a
    /// partition that it cannot serve.
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
        let mut assigned: BTreeMap<(TopicId, PartitionIndex), Uuid> = BTreeMap::new();
        let mut response = AssignReplicasToDirsResponse::default();
        for directory in &request.directories {
            let mut topics = Vec::new();
            for topic in &directory.topics {
                let partitions = topic.partitions.iter().map(|asked| {
                    let index = PartitionIndex(asked.partition_index);
                    let error_code = match check(call.image, broker.id, topic.topic_id, index) {
                        Ok(()) => {
                            assigned.insert((topic.topic_id, index), directory.id);
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
        Outcome::cut(records(call, broker, &assigned), response)
    }
}

/// Whether the partition has a replica on `broker`.
fn check(image: &Image, broker: BrokerId, topic: TopicId, index: PartitionIndex) -> Result<(), ErrorCode> {
    let topic = image.topic_by_id(topic).ok_or(ErrorCode::UnknownTopicId)?;
    let partition = topic.partition(index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if partition.is_replica(broker) { Ok(()) } else { Err(ErrorCode::NotLeaderOrFollower) }
}

fn records(
    call: &Call<'_>,
    broker: &Registration,
    assigned: &BTreeMap<(TopicId, PartitionIndex), Uuid>,
) -> Vec<MetadataRecord> {
    let mut records = Vec::new();
    // Of the topic that is being gone through: partitions come topic by topic.
    let mut config: Option<(TopicId, TopicConfig)> = None;
    for ((id, index), directory) in assigned {
        let Some(topic) = call.image.topic_by_id(*id) else { continue };
        let Some(partition) = topic.partition(*index) else { continue };
        if config.as_ref().is_none_or(|(of, _)| of != id) {
            config = Some((*id, TopicConfig::effective(call.image, call.settings, &topic.name)));
        }
        let Some((_, config)) = &config else { continue };
        let online = broker.has_online_dir(*directory);
        let may_lead = |one| (one != broker.id || online) && call.image.is_active(one);
        let mut isr = partition.isr.clone();
        isr.retain(|one| *one != broker.id || online);
        let change = Change::new(call.image, topic, *index, partition, config, &may_lead);
        records.extend(change.isr(isr).directory(broker.id, *directory).record());
    }
    records
}
