//! Image to records: what a snapshot holds.

use ottla_wire::messages::client_quota_record::EntityData;
use ottla_wire::messages::register_broker_record::{BrokerEndpoint, BrokerFeature};
use ottla_wire::messages::register_controller_record::{ControllerEndpoint, ControllerFeature};
use ottla_wire::messages::{
    ClientQuotaRecord, ConfigRecord, FeatureLevelRecord, MetadataRecord, PartitionRecord, ProducerIdsRecord,
    RegisterBrokerRecord, RegisterControllerRecord, TopicRecord,
};
use ottla_wire::{BrokerId, PartitionIndex, ProducerId};

use super::{
    ControllerRegistration, Endpoint, Features, Image, METADATA_VERSION, Partition, Registration,
    SupportedFeature, Topic,
};

impl Image {
    /// Records that give this image again when applied to an empty one, in an order that depends on nothing
    /// else.
    pub fn to_records(&self) -> Vec<MetadataRecord> {
        let mut records = features(&self.features);
        records.extend(self.controllers.values().map(|one| controller(one)));
        records.extend(self.brokers.values().map(|one| broker(one)));
        for topic in self.topics() {
            records.extend(topic_records(topic));
        }
        for (resource, map) in &self.configs {
            records.extend(map.iter().map(|(name, value)| {
                MetadataRecord::Config(ConfigRecord {
                    resource_type: resource.kind.code(),
                    resource_name: resource.name.clone(),
                    name: name.clone(),
                    value: Some(value.clone()),
                })
            }));
        }
        records.extend(self.quota_records());
        if self.next_producer_id != ProducerId::default() {
            records.push(MetadataRecord::ProducerIds(ProducerIdsRecord {
                broker_id: BrokerId::NONE.0,
                broker_epoch: -1,
                next_producer_id: self.next_producer_id.0,
            }));
        }
        records.extend(self.acls.values().map(|one| MetadataRecord::AccessControlEntry((**one).clone())));
        records.extend(self.scram.values().map(|one| MetadataRecord::UserScramCredential((**one).clone())));
        records.extend(
            self.delegation_tokens.values().map(|one| MetadataRecord::DelegationToken((**one).clone())),
        );
        records
    }

    fn quota_records(&self) -> impl Iterator<Item = MetadataRecord> {
        self.quotas.iter().flat_map(|(entity, quotas)| {
            let part = |(kind, name): &(_, _)| EntityData {
                entity_type: Clone::clone(kind),
                entity_name: Clone::clone(name),
            };
            let entity: Vec<EntityData> = entity.iter().map(part).collect();
            quotas.iter().map(move |(key, value)| {
                MetadataRecord::ClientQuota(ClientQuotaRecord {
                    entity: entity.clone(),
                    key: key.clone(),
                    value: *value,
                    remove: false,
                })
            })
        })
    }
}

/// `metadata.version` first: what reads the rest may depend on it.
fn features(features: &Features) -> Vec<MetadataRecord> {
    let mut levels: Vec<_> = features.levels.iter().collect();
    levels.sort_by_key(|(name, _)| name.as_str() != METADATA_VERSION);
    let record = |(name, level): (&ottla_wire::primitives::Str, &i16)| {
        MetadataRecord::FeatureLevel(FeatureLevelRecord { name: name.clone(), feature_level: *level })
    };
    levels.into_iter().map(record).collect()
}

fn broker(broker: &Registration) -> MetadataRecord {
    let endpoint = |one: &Endpoint| BrokerEndpoint {
        name: one.name.clone(),
        host: one.host.clone(),
        port: one.port,
        security_protocol: one.security_protocol,
    };
    let feature = |one: &SupportedFeature| BrokerFeature {
        name: one.name.clone(),
        min_supported_version: one.min,
        max_supported_version: one.max,
    };
    MetadataRecord::RegisterBroker(RegisterBrokerRecord {
        broker_id: broker.id.0,
        is_migrating_zk_broker: false,
        incarnation_id: broker.incarnation,
        broker_epoch: broker.epoch.0,
        end_points: broker.listeners.iter().map(endpoint).collect(),
        features: broker.features.iter().map(feature).collect(),
        rack: broker.rack.clone(),
        fenced: broker.fenced,
        in_controlled_shutdown: broker.in_controlled_shutdown,
        log_dirs: broker.log_dirs.clone(),
        cordoned_log_dirs: broker.cordoned_log_dirs.clone(),
    })
}

fn controller(controller: &ControllerRegistration) -> MetadataRecord {
    let endpoint = |one: &Endpoint| ControllerEndpoint {
        name: one.name.clone(),
        host: one.host.clone(),
        port: one.port,
        security_protocol: one.security_protocol,
    };
    let feature = |one: &SupportedFeature| ControllerFeature {
        name: one.name.clone(),
        min_supported_version: one.min,
        max_supported_version: one.max,
    };
    MetadataRecord::RegisterController(RegisterControllerRecord {
        controller_id: controller.id.0,
        incarnation_id: controller.incarnation,
        zk_migration_ready: false,
        end_points: controller.listeners.iter().map(endpoint).collect(),
        features: controller.features.iter().map(feature).collect(),
    })
}

fn topic_records(topic: &Topic) -> impl Iterator<Item = MetadataRecord> {
    let first = MetadataRecord::Topic(TopicRecord { name: topic.name.clone(), topic_id: topic.id });
    let partitions = topic.partitions.iter().map(|(index, one)| partition_record(topic.id, *index, one));
    std::iter::once(first).chain(partitions)
}

/// The record that creates `partition` as it is.
pub(crate) fn partition_record(
    topic: ottla_wire::TopicId,
    index: PartitionIndex,
    partition: &Partition,
) -> MetadataRecord {
    MetadataRecord::Partition(PartitionRecord {
        partition_id: index.0,
        topic_id: topic,
        replicas: numbers(&partition.replicas),
        isr: numbers(&partition.isr),
        removing_replicas: numbers(&partition.removing),
        adding_replicas: numbers(&partition.adding),
        leader: partition.leader_id().0,
        leader_recovery_state: partition.recovery.code(),
        leader_epoch: partition.leader_epoch.0,
        partition_epoch: partition.partition_epoch.0,
        directories: partition.directories.clone(),
        eligible_leader_replicas: Some(numbers(&partition.elr)).filter(|elr| !elr.is_empty()),
        last_known_elr: Some(numbers(&partition.last_known_elr)).filter(|elr| !elr.is_empty()),
    })
}

/// Broker ids as records hold them.
pub(crate) fn numbers(ids: &[BrokerId]) -> Vec<i32> {
    ids.iter().map(|id| id.0).collect()
}
