//! Records to image: one record at a time, noting what changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_wire::messages::{
    BrokerRegistrationChangeRecord, ClearElrRecord, ClientQuotaRecord, ConfigRecord, MetadataRecord,
    PartitionChangeRecord, PartitionRecord, RegisterBrokerRecord, RegisterControllerRecord,
    RemoveTopicRecord, TopicRecord,
};
use ottla_wire::primitives::Str;
use ottla_wire::{
    BrokerEpoch, BrokerId, LeaderEpoch, PartitionEpoch, PartitionIndex, ProducerId, TopicId, Uuid,
};

use super::topic::DIRECTORY_UNASSIGNED;
use super::{
    ConfigResource, ControllerRegistration, Delta, Endpoint, Image, LeaderRecovery, Partition, QuotaEntity,
    Registration, ResourceKind, SupportedFeature, Topic,
};

/// A record that does not fit the image it is applied to: the log is not the one the image came from, or it
/// is damaged. A node MUST stop rather than go on without the record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    #[error("{record} names topic id {topic}, which does not exist")]
    UnknownTopic { record: &'static str, topic: TopicId },
    #[error("{record} names partition {partition} of topic id {topic}, which does not exist")]
    UnknownPartition { record: &'static str, topic: TopicId, partition: PartitionIndex },
    #[error("topic {name} is created twice")]
    DuplicateTopic { name: String },
    #[error("{record} names broker {broker}, which has no registration with epoch {epoch}")]
    UnknownBroker { record: &'static str, broker: BrokerId, epoch: BrokerEpoch },
    #[error("{record} holds {value} as {field}, which is not known here")]
    UnknownValue { record: &'static str, field: &'static str, value: i64 },
    #[error("{0} is not supported: a newer or older program wrote the metadata log")]
    Unsupported(&'static str),
}

/// An image under construction: applies records and collects what they change.
#[derive(Clone, Debug, Default)]
pub struct ImageBuilder {
    image: Image,
    delta: Delta,
}

impl Image {
    /// The image after `records`, and what they changed.
    pub fn apply_all<'a>(
        &self,
        records: impl IntoIterator<Item = &'a MetadataRecord>,
    ) -> Result<(Image, Delta), ApplyError> {
        let mut builder = ImageBuilder::new(self.clone());
        for record in records {
            builder.apply(record)?;
        }
        Ok(builder.finish())
    }
}

impl ImageBuilder {
    pub fn new(image: Image) -> ImageBuilder {
        ImageBuilder { image, delta: Delta::default() }
    }

    pub fn image(&self) -> &Image {
        &self.image
    }

    pub fn finish(self) -> (Image, Delta) {
        (self.image, self.delta)
    }

    /// Applies one record. After an error the builder MUST NOT be used further.
    pub fn apply(&mut self, record: &MetadataRecord) -> Result<(), ApplyError> {
        match record {
            MetadataRecord::RegisterBroker(record) => self.register_broker(record),
            MetadataRecord::UnregisterBroker(record) => {
                let id = self.broker(record.broker_id, record.broker_epoch, "UnregisterBrokerRecord")?;
                self.image.brokers.remove(&id);
            }
            MetadataRecord::FenceBroker(record) => {
                self.registration(record.id, record.epoch, "FenceBrokerRecord")?.fenced = true;
            }
            MetadataRecord::UnfenceBroker(record) => {
                self.registration(record.id, record.epoch, "UnfenceBrokerRecord")?.fenced = false;
            }
            MetadataRecord::BrokerRegistrationChange(record) => self.change_broker(record)?,
            MetadataRecord::RegisterController(record) => self.register_controller(record),
            MetadataRecord::Topic(record) => self.create_topic(record)?,
            MetadataRecord::RemoveTopic(record) => self.remove_topic(record)?,
            MetadataRecord::Partition(record) => self.put_partition(record)?,
            MetadataRecord::PartitionChange(record) => self.change_partition(record)?,
            MetadataRecord::ClearElr(record) => self.clear_elr(record),
            MetadataRecord::Config(record) => self.set_config(record)?,
            MetadataRecord::FeatureLevel(record) => {
                self.image.features.set(&record.name, record.feature_level);
                self.delta.features_changed = true;
            }
            MetadataRecord::ProducerIds(record) => {
                self.image.next_producer_id = ProducerId(record.next_producer_id);
                self.delta.producer_ids_changed = true;
            }
            MetadataRecord::ClientQuota(record) => self.set_quota(record),
            _ => self.apply_security(record)?,
        }
        Ok(())
    }

    /// What is kept as data until authorization and authentication are served.
    fn apply_security(&mut self, record: &MetadataRecord) -> Result<(), ApplyError> {
        match record {
            MetadataRecord::AccessControlEntry(record) => {
                self.image.acls.insert(record.id, Arc::new(record.clone()));
                self.delta.acls_changed = true;
            }
            MetadataRecord::RemoveAccessControlEntry(record) => {
                self.image.acls.remove(&record.id);
                self.delta.acls_changed = true;
            }
            MetadataRecord::UserScramCredential(record) => {
                self.image.scram.insert((record.name.detached(), record.mechanism), Arc::new(record.clone()));
                self.delta.credentials_changed = true;
            }
            MetadataRecord::RemoveUserScramCredential(record) => {
                self.image.scram.remove(&(record.name.clone(), record.mechanism));
                self.delta.credentials_changed = true;
            }
            MetadataRecord::DelegationToken(record) => {
                self.image.delegation_tokens.insert(record.token_id.detached(), Arc::new(record.clone()));
                self.delta.credentials_changed = true;
            }
            MetadataRecord::RemoveDelegationToken(record) => {
                self.image.delegation_tokens.remove(&record.token_id);
                self.delta.credentials_changed = true;
            }
            MetadataRecord::NoOp(_) => {}
            // A proposal to the quorum is atomic, so nothing here writes the marks of metadata transactions.
            other => return Err(ApplyError::Unsupported(other.name())),
        }
        Ok(())
    }

    fn register_broker(&mut self, record: &RegisterBrokerRecord) {
        let endpoint = |one: &ottla_wire::messages::register_broker_record::BrokerEndpoint| Endpoint {
            name: one.name.detached(),
            host: one.host.detached(),
            port: one.port,
            security_protocol: one.security_protocol,
        };
        let feature = |one: &ottla_wire::messages::register_broker_record::BrokerFeature| SupportedFeature {
            name: one.name.detached(),
            min: one.min_supported_version,
            max: one.max_supported_version,
        };
        let id = BrokerId(record.broker_id);
        let registration = Registration {
            id,
            epoch: BrokerEpoch(record.broker_epoch),
            incarnation: record.incarnation_id,
            listeners: record.end_points.iter().map(endpoint).collect(),
            features: record.features.iter().map(feature).collect(),
            rack: record.rack.as_ref().map(Str::detached),
            fenced: record.fenced,
            in_controlled_shutdown: record.in_controlled_shutdown,
            log_dirs: record.log_dirs.clone(),
            cordoned_log_dirs: record.cordoned_log_dirs.clone(),
        };
        self.image.brokers.insert(id, Arc::new(registration));
        self.delta.brokers_changed.insert(id);
    }

    fn register_controller(&mut self, record: &RegisterControllerRecord) {
        let endpoint =
            |one: &ottla_wire::messages::register_controller_record::ControllerEndpoint| Endpoint {
                name: one.name.detached(),
                host: one.host.detached(),
                port: one.port,
                security_protocol: one.security_protocol,
            };
        let feature =
            |one: &ottla_wire::messages::register_controller_record::ControllerFeature| SupportedFeature {
                name: one.name.detached(),
                min: one.min_supported_version,
                max: one.max_supported_version,
            };
        let registration = ControllerRegistration {
            id: BrokerId(record.controller_id),
            incarnation: record.incarnation_id,
            listeners: record.end_points.iter().map(endpoint).collect(),
            features: record.features.iter().map(feature).collect(),
        };
        self.image.controllers.insert(registration.id, Arc::new(registration));
    }

    fn change_broker(&mut self, change: &BrokerRegistrationChangeRecord) -> Result<(), ApplyError> {
        const RECORD: &str = "BrokerRegistrationChangeRecord";
        let fenced = tristate(change.fenced, RECORD, "Fenced")?;
        let in_shutdown = tristate(change.in_controlled_shutdown, RECORD, "InControlledShutdown")?;
        let broker = self.registration(change.broker_id, change.broker_epoch, RECORD)?;
        // Kafka writes -1 for "becomes false", 1 for "becomes true" and 0 for "stays".
        broker.fenced = fenced.unwrap_or(broker.fenced);
        broker.in_controlled_shutdown = in_shutdown.unwrap_or(broker.in_controlled_shutdown);
        if !change.log_dirs.is_empty() {
            broker.log_dirs = change.log_dirs.clone();
        }
        if change.cordoned_log_dirs.is_some() {
            broker.cordoned_log_dirs = change.cordoned_log_dirs.clone();
        }
        Ok(())
    }

    /// The id of a broker that is registered with this epoch; it counts as changed.
    fn broker(&mut self, id: i32, epoch: i64, record: &'static str) -> Result<BrokerId, ApplyError> {
        let (broker, epoch) = (BrokerId(id), BrokerEpoch(epoch));
        if self.image.broker_epoch(broker) != Some(epoch) {
            return Err(ApplyError::UnknownBroker { record, broker, epoch });
        }
        self.delta.brokers_changed.insert(broker);
        Ok(broker)
    }

    fn registration(
        &mut self,
        id: i32,
        epoch: i64,
        record: &'static str,
    ) -> Result<&mut Registration, ApplyError> {
        let broker = self.broker(id, epoch, record)?;
        let unknown = ApplyError::UnknownBroker { record, broker, epoch: BrokerEpoch(epoch) };
        self.image.brokers.get_mut(&broker).map(Arc::make_mut).ok_or(unknown)
    }

    fn create_topic(&mut self, record: &TopicRecord) -> Result<(), ApplyError> {
        let name = record.name.detached();
        let topic = Topic { id: record.topic_id, name: name.clone(), partitions: Default::default() };
        let taken = self.image.topic_ids.insert(name.clone(), record.topic_id).is_some();
        if taken || self.image.topics.insert(record.topic_id, Arc::new(topic)).is_some() {
            return Err(ApplyError::DuplicateTopic { name: name.into() });
        }
        self.delta.topics_created.insert(record.topic_id);
        Ok(())
    }

    /// A topic takes its own settings with it.
    fn remove_topic(&mut self, record: &RemoveTopicRecord) -> Result<(), ApplyError> {
        let unknown = ApplyError::UnknownTopic { record: "RemoveTopicRecord", topic: record.topic_id };
        let topic = self.image.topics.remove(&record.topic_id).ok_or(unknown)?;
        self.image.topic_ids.remove(&topic.name);
        let resource = ConfigResource::topic(topic.name.clone());
        if self.image.configs.remove(&resource).is_some() {
            self.delta.configs_changed.insert(resource);
        }
        self.delta.topic_deleted(topic.id, topic.name.clone());
        Ok(())
    }

    fn put_partition(&mut self, record: &PartitionRecord) -> Result<(), ApplyError> {
        const RECORD: &str = "PartitionRecord";
        let unassigned = || vec![DIRECTORY_UNASSIGNED; record.replicas.len()];
        let partition = Partition {
            replicas: ids(&record.replicas),
            isr: ids(&record.isr),
            elr: record.eligible_leader_replicas.as_deref().map(ids).unwrap_or_default(),
            last_known_elr: record.last_known_elr.as_deref().map(ids).unwrap_or_default(),
            adding: ids(&record.adding_replicas),
            removing: ids(&record.removing_replicas),
            leader: leader(record.leader),
            leader_epoch: LeaderEpoch(record.leader_epoch),
            partition_epoch: PartitionEpoch(record.partition_epoch),
            recovery: recovery(record.leader_recovery_state, RECORD)?,
            directories: if record.directories.is_empty() {
                unassigned()
            } else {
                record.directories.clone()
            },
        };
        let index = PartitionIndex(record.partition_id);
        let topic = self.topic(record.topic_id, RECORD)?;
        topic.partitions.insert(index, Arc::new(partition));
        self.delta.partition(record.topic_id, index);
        Ok(())
    }

    fn change_partition(&mut self, change: &PartitionChangeRecord) -> Result<(), ApplyError> {
        const RECORD: &str = "PartitionChangeRecord";
        let index = PartitionIndex(change.partition_id);
        let unknown =
            ApplyError::UnknownPartition { record: RECORD, topic: change.topic_id, partition: index };
        let topic = self.topic(change.topic_id, RECORD)?;
        let partition = topic.partitions.get_mut(&index).ok_or(unknown)?;
        let changed = changed_partition(partition, change)?;
        *partition = Arc::new(changed);
        self.delta.partition(change.topic_id, index);
        Ok(())
    }

    /// Of one topic, or of all if it names none.
    fn clear_elr(&mut self, record: &ClearElrRecord) {
        let mut found = Vec::new();
        for topic in self.image.topics.values() {
            if !record.topic_name.is_empty() && record.topic_name != topic.name {
                continue;
            }
            let with_elr =
                |partition: &Partition| !partition.elr.is_empty() || !partition.last_known_elr.is_empty();
            let indexes = topic.partitions.iter().filter(|(_, partition)| with_elr(partition));
            found.extend(indexes.map(|(index, _)| (topic.id, *index)));
        }
        for (id, index) in found {
            let topic = self.image.topics.get_mut(&id).map(Arc::make_mut);
            if let Some(partition) =
                topic.and_then(|topic| topic.partitions.get_mut(&index)).map(Arc::make_mut)
            {
                partition.elr.clear();
                partition.last_known_elr.clear();
                self.delta.partition(id, index);
            }
        }
    }

    fn topic(&mut self, id: TopicId, record: &'static str) -> Result<&mut Topic, ApplyError> {
        self.image
            .topics
            .get_mut(&id)
            .map(Arc::make_mut)
            .ok_or(ApplyError::UnknownTopic { record, topic: id })
    }

    fn set_config(&mut self, record: &ConfigRecord) -> Result<(), ApplyError> {
        let kind = ResourceKind::from_code(record.resource_type).ok_or(ApplyError::UnknownValue {
            record: "ConfigRecord",
            field: "ResourceType",
            value: i64::from(record.resource_type),
        })?;
        let resource = ConfigResource::new(kind, record.resource_name.detached());
        let mut map = self.image.configs.get(&resource).cloned().unwrap_or_default();
        match &record.value {
            Some(value) => drop(Arc::make_mut(&mut map).insert(record.name.detached(), value.detached())),
            None => drop(Arc::make_mut(&mut map).remove(&record.name)),
        }
        if map.is_empty() {
            self.image.configs.remove(&resource);
        } else {
            self.image.configs.insert(resource.clone(), map);
        }
        self.delta.configs_changed.insert(resource);
        Ok(())
    }

    fn set_quota(&mut self, record: &ClientQuotaRecord) {
        let part = |one: &ottla_wire::messages::client_quota_record::EntityData| {
            (one.entity_type.detached(), one.entity_name.as_ref().map(Str::detached))
        };
        let mut entity: QuotaEntity = record.entity.iter().map(part).collect();
        entity.sort();
        let mut quotas: BTreeMap<Str, f64> =
            self.image.quotas.get(&entity).map(|quotas| BTreeMap::clone(quotas)).unwrap_or_default();
        if record.remove {
            quotas.remove(&record.key);
        } else {
            quotas.insert(record.key.detached(), record.value);
        }
        if quotas.is_empty() {
            self.image.quotas.remove(&entity);
        } else {
            self.image.quotas.insert(entity, Arc::new(quotas));
        }
        self.delta.quotas_changed = true;
    }
}

/// `partition` as `change` leaves it. The partition epoch counts every change; the leader epoch every change
/// that names a leader, be it the same again.
pub(crate) fn changed_partition(
    partition: &Partition,
    change: &PartitionChangeRecord,
) -> Result<Partition, ApplyError> {
    const UNCHANGED: i32 = -2;
    let mut next = partition.clone();
    let put = |list: &mut Vec<BrokerId>, new: &Option<Vec<i32>>| {
        if let Some(new) = new {
            *list = ids(new);
        }
    };
    put(&mut next.replicas, &change.replicas);
    put(&mut next.isr, &change.isr);
    put(&mut next.elr, &change.eligible_leader_replicas);
    put(&mut next.last_known_elr, &change.last_known_elr);
    put(&mut next.adding, &change.adding_replicas);
    put(&mut next.removing, &change.removing_replicas);
    if change.leader != UNCHANGED {
        next.leader = leader(change.leader);
        next.leader_epoch = LeaderEpoch(partition.leader_epoch.0 + 1);
    }
    if change.leader_recovery_state != -1 {
        next.recovery = recovery(change.leader_recovery_state, "PartitionChangeRecord")?;
    }
    if let Some(directories) = &change.directories {
        next.directories = directories.clone();
    } else if change.replicas.is_some() {
        next.directories = moved_directories(partition, &next.replicas);
    }
    next.partition_epoch = PartitionEpoch(partition.partition_epoch.0 + 1);
    Ok(next)
}

/// The directories of `partition` once it has these `replicas`: those that stay keep theirs.
pub(crate) fn moved_directories(partition: &Partition, replicas: &[BrokerId]) -> Vec<Uuid> {
    replicas.iter().map(|broker| partition.directory_of(*broker).unwrap_or(DIRECTORY_UNASSIGNED)).collect()
}

fn ids(numbers: &[i32]) -> Vec<BrokerId> {
    numbers.iter().copied().map(BrokerId).collect()
}

fn leader(id: i32) -> Option<BrokerId> {
    (id >= 0).then_some(BrokerId(id))
}

fn recovery(code: i8, record: &'static str) -> Result<LeaderRecovery, ApplyError> {
    let unknown = ApplyError::UnknownValue { record, field: "LeaderRecoveryState", value: i64::from(code) };
    LeaderRecovery::from_code(code).ok_or(unknown)
}

fn tristate(code: i8, record: &'static str, field: &'static str) -> Result<Option<bool>, ApplyError> {
    match code {
        -1 => Ok(Some(false)),
        0 => Ok(None),
        1 => Ok(Some(true)),
        _ => Err(ApplyError::UnknownValue { record, field, value: i64::from(code) }),
    }
}
