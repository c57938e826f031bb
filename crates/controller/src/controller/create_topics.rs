//! CreateTopics (key 19): new topics, placed by the controller or by the caller.

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::messages::create_topics_request::CreatableTopic;
use ottla_wire::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use ottla_wire::messages::{
    ConfigRecord, CreateTopicsRequest, CreateTopicsResponse, MetadataRecord, TopicRecord,
};
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerId, LeaderEpoch, PartitionEpoch, PartitionIndex, TopicId, Uuid};

use super::placement::Placer;
use super::{Call, Controller, Cuts, Failure, Outcome, topic_names};
use crate::image::{DIRECTORY_UNASSIGNED, Image, Partition, ResourceKind, partition_record};
use ottla_settings::{ConfigMap, Definition, Layers, Source, key, tables, topic_synonyms, validate_topic};

/// Partitions that a topic gets by one request. They come into being together, in one entry of the metadata
/// log.
const NEW_PARTITIONS_MAX: usize = 10_000;

impl Controller {
    /// With `validate_only` everything is checked and nothing created: the answer has no topic ids then.
    pub fn create_topics(
        &mut self,
        call: &mut Call<'_>,
        request: &CreateTopicsRequest,
    ) -> Outcome<CreateTopicsResponse> {
        let repeated = repeated_names(&request.topics);
        let mut batch = Batch { partitions: call.image.partition_count(), ..Batch::default() };
        let mut told = BTreeSet::new();
        for topic in &request.topics {
            if repeated.contains(topic.name.as_str()) {
                if told.insert(topic.name.as_str()) {
                    batch.refuse(topic, Failure::new(ErrorCode::InvalidRequest, "Duplicate topic name."));
                }
                continue;
            }
            match plan(call, topic, &batch) {
                Ok(planned) => batch.accept(call, topic, planned),
                Err(failure) => batch.refuse(topic, failure),
            }
        }
        let mut response = CreateTopicsResponse { topics: batch.results, ..CreateTopicsResponse::default() };
        if request.validate_only {
            response.topics.iter_mut().for_each(|topic| topic.topic_id = Uuid::ZERO);
            return Outcome::only(response);
        }
        Outcome { records: batch.records, cuts: Cuts::Before(batch.starts), response }
    }
}

/// What the topics of one request add up to.
#[derive(Default)]
struct Batch {
    records: Vec<MetadataRecord>,
    /// Where each topic's records begin: a topic is created whole or not at all.
    starts: Vec<usize>,
    results: Vec<CreatableTopicResult>,
    /// Partitions of the cluster with those that are planned.
    partitions: usize,
    /// Collision keys of the names that are planned.
    names: BTreeSet<String>,
}

/// A topic that may be created.
struct Planned {
    own: ConfigMap,
    /// Replicas of each partition.
    assignments: Vec<Vec<BrokerId>>,
}

impl Batch {
    fn refuse(&mut self, topic: &CreatableTopic, failure: Failure) {
        let (error_code, error_message) = failure.parts();
        let name = topic.name.clone();
        self.results.push(CreatableTopicResult {
            name,
            error_code,
            error_message,
            ..CreatableTopicResult::default()
        });
    }

    fn accept(&mut self, call: &mut Call<'_>, topic: &CreatableTopic, planned: Planned) {
        let id = call.ids.uuid();
        self.partitions += planned.assignments.len();
        self.names.insert(topic_names::collision_key(&topic.name));
        self.results.push(CreatableTopicResult {
            name: topic.name.clone(),
            topic_id: id,
            num_partitions: i32::try_from(planned.assignments.len()).unwrap_or(i32::MAX),
            replication_factor: i16::try_from(planned.assignments[0].len()).unwrap_or(i16::MAX),
            configs: Some(described(call, &planned.own)),
            error_message: None,
            ..CreatableTopicResult::default()
        });
        self.starts.push(self.records.len());
        self.records.push(MetadataRecord::Topic(TopicRecord { name: topic.name.clone(), topic_id: id }));
        self.records.extend(planned.own.into_iter().map(|(name, value)| {
            MetadataRecord::Config(ConfigRecord {
                resource_type: ResourceKind::Topic.code(),
                resource_name: topic.name.clone(),
                name,
                value: Some(value),
            })
        }));
        let partitions = (0..).zip(planned.assignments);
        self.records
            .extend(partitions.map(|(index, replicas)| new_partition(call.image, id, index, replicas)));
    }
}

fn repeated_names(topics: &[CreatableTopic]) -> BTreeSet<&str> {
    let mut seen = BTreeSet::new();
    topics.iter().map(|topic| topic.name.as_str()).filter(|name| !seen.insert(*name)).collect()
}

fn plan(call: &mut Call<'_>, topic: &CreatableTopic, batch: &Batch) -> Result<Planned, Failure> {
    topic_names::check_new(&topic.name)?;
    if call.image.topic(&topic.name).is_some() {
        let why = format!("Topic '{}' already exists.", topic.name);
        return Err(Failure::new(ErrorCode::TopicAlreadyExists, why));
    }
    if let Some(other) = topic_names::collision(call.image, &topic.name) {
        let why = format!("Topic '{}' collides with existing topic: {other}", topic.name);
        return Err(Failure::new(ErrorCode::InvalidTopicException, why));
    }
    if batch.names.contains(&topic_names::collision_key(&topic.name)) {
        let why = format!("Topic '{}' collides with another topic of the same request", topic.name);
        return Err(Failure::new(ErrorCode::InvalidTopicException, why));
    }
    let own = own_configs(topic)?;
    let assignments = if topic.assignments.is_empty() {
        placed(call, topic, batch)?
    } else {
        let assignments = assigned(call.image, topic)?;
        limit(call, &topic.name, assignments.len(), assignments.len(), batch.partitions)?;
        assignments
    };
    Ok(Planned { own, assignments })
}

fn own_configs(topic: &CreatableTopic) -> Result<ConfigMap, Failure> {
    let mut own = BTreeMap::new();
    for config in &topic.configs {
        let Some(value) = &config.value else {
            let why = format!("Null value not supported for topic configs: {}", config.name);
            return Err(Failure::new(ErrorCode::InvalidConfig, why));
        };
        if own.insert(config.name.as_str(), value.as_str()).is_some() {
            let why = format!("Configuration {} is given twice", config.name);
            return Err(Failure::new(ErrorCode::InvalidConfig, why));
        }
    }
    validate_topic(&own).map_err(|error| Failure::new(ErrorCode::InvalidConfig, error.to_string()))?;
    Ok(own.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
}

/// Replicas where the controller puts them.
fn placed(call: &mut Call<'_>, topic: &CreatableTopic, batch: &Batch) -> Result<Vec<Vec<BrokerId>>, Failure> {
    let partitions = match topic.num_partitions {
        -1 => call.settings.read(key::NUM_PARTITIONS),
        count => count,
    };
    let replicas = match topic.replication_factor {
        -1 => i16::try_from(call.settings.read(key::DEFAULT_REPLICATION_FACTOR)).unwrap_or(i16::MAX),
        count => count,
    };
    let partitions = usize::try_from(partitions).ok().filter(|count| *count > 0).ok_or_else(|| {
        let why = "Number of partitions was set to an invalid non-positive value.";
        Failure::new(ErrorCode::InvalidPartitions, why)
    })?;
    let replicas = usize::try_from(replicas).ok().filter(|count| *count > 0).ok_or_else(|| {
        let why = "Replication factor was set to an invalid non-positive value.";
        Failure::new(ErrorCode::InvalidReplicationFactor, why)
    })?;
    limit(call, &topic.name, partitions, partitions, batch.partitions)?;
    let mut placer = Placer::new(call.image, replicas, call.ids.random())?;
    Ok((0..partitions).map(|_| placer.next()).collect())
}

/// Replicas where the caller wants them: partitions 0, 1, 2 ..., all with as many replicas.
fn assigned(image: &Image, topic: &CreatableTopic) -> Result<Vec<Vec<BrokerId>>, Failure> {
    for (given, what) in [
        (topic.replication_factor != -1, "replication factor"),
        (topic.num_partitions != -1, "numPartitions"),
    ] {
        if given {
            let why = format!("A manual partition assignment was specified, but {what} was not set to -1.");
            return Err(Failure::new(ErrorCode::InvalidRequest, why));
        }
    }
    let refuse = |why: String| Err(Failure::new(ErrorCode::InvalidReplicaAssignment, why));
    let mut by_index = BTreeMap::new();
    for assignment in &topic.assignments {
        if by_index.insert(assignment.partition_index, &assignment.broker_ids).is_some() {
            let index = assignment.partition_index;
            return refuse(format!("Found multiple manual partition assignments for partition {index}"));
        }
    }
    if !by_index.keys().copied().eq(0..topic.assignments.len() as i32) {
        return refuse("partitions should be a consecutive 0-based integer sequence".to_owned());
    }
    let mut all: Vec<Vec<BrokerId>> = Vec::with_capacity(by_index.len());
    for (index, brokers) in by_index {
        let replicas = check_assignment(image, index, brokers, all.first().map(Vec::len))?;
        all.push(replicas);
    }
    Ok(all)
}

/// The replicas that the caller names for partition `index`: known, different, and at least one of them
/// active.
pub(super) fn check_assignment(
    image: &Image,
    index: i32,
    brokers: &[i32],
    replication_factor: Option<usize>,
) -> Result<Vec<BrokerId>, Failure> {
    let refuse = |why: String| Err(Failure::new(ErrorCode::InvalidReplicaAssignment, why));
    let replicas: Vec<BrokerId> = brokers.iter().copied().map(BrokerId).collect();
    if replicas.is_empty() {
        return refuse("The manual partition assignment includes an empty replica list.".to_owned());
    }
    if replicas.iter().collect::<BTreeSet<_>>().len() != replicas.len() {
        return refuse(format!(
            "The manual partition assignment includes the same broker twice for partition {index}: {brokers:?}."
        ));
    }
    for broker in &replicas {
        if image.broker(*broker).is_none() {
            return refuse(format!(
                "The manual partition assignment includes broker {broker}, but no such broker is registered."
            ));
        }
    }
    if replication_factor.is_some_and(|expected| expected != replicas.len()) {
        return refuse(format!(
            "The manual partition assignment includes a partition with {} replica(s), but this is not consistent with \
             previous partitions, which have {} replica(s).",
            replicas.len(),
            replication_factor.unwrap_or_default()
        ));
    }
    if !replicas.iter().any(|broker| image.is_active(*broker)) {
        return refuse(format!(
            "All brokers specified in the manual partition assignment for partition {index} are fenced or in controlled \
             shutdown."
        ));
    }
    Ok(replicas)
}

/// Refuses a topic of `total` partitions, or `new` more partitions in a cluster that has `present`.
pub(super) fn limit(
    call: &Call<'_>,
    name: &str,
    new: usize,
    total: usize,
    present: usize,
) -> Result<(), Failure> {
    let of_topic = call.settings.read(key::TOPIC_PARTITIONS_MAX);
    if total > of_topic {
        let why =
            format!("A topic may have {of_topic} partitions (topic.partitions.max); {total} were asked for.");
        return Err(Failure::new(ErrorCode::InvalidPartitions, why));
    }
    let of_name = topic_names::partitions_max(name);
    if total > of_name {
        let why = format!(
            "A topic whose name has {} characters may have {of_name} partitions, and {total} were asked for: the names of \
             their folders would be too long.",
            name.len()
        );
        return Err(Failure::new(ErrorCode::InvalidPartitions, why));
    }
    if new > NEW_PARTITIONS_MAX {
        let why = format!(
            "A topic may get {NEW_PARTITIONS_MAX} partitions at once, and {new} were asked for: create it with fewer and add the others."
        );
        return Err(Failure::new(ErrorCode::PolicyViolation, why));
    }
    let of_cluster = call.settings.read(key::PARTITIONS_MAX);
    if present.saturating_add(new) > of_cluster {
        let why = format!(
            "The cluster may have {of_cluster} partitions (partitions.max); it has {present}, and {new} more were asked for."
        );
        return Err(Failure::new(ErrorCode::PolicyViolation, why));
    }
    if call.image.brokers.len() == 1 && present.saturating_add(new) > call.open_max {
        let why = format!(
            "The broker has file descriptors for {} partitions; it has {present}, and {new} more were asked for: raise its limit (ulimit -n, LimitNOFILE) and restart it.",
            call.open_max
        );
        return Err(Failure::new(ErrorCode::PolicyViolation, why));
    }
    Ok(())
}

/// The record of a new partition: all active replicas in sync, the first of them leading.
pub(super) fn new_partition(
    image: &Image,
    topic: TopicId,
    index: i32,
    replicas: Vec<BrokerId>,
) -> MetadataRecord {
    let isr: Vec<BrokerId> = replicas.iter().copied().filter(|broker| image.is_active(*broker)).collect();
    let partition = Partition {
        leader: isr.first().copied(),
        isr,
        directories: replicas.iter().map(|broker| only_directory(image, *broker)).collect(),
        replicas,
        leader_epoch: LeaderEpoch(0),
        partition_epoch: PartitionEpoch(0),
        ..Partition::default()
    };
    partition_record(topic, PartitionIndex(index), &partition)
}

/// A broker with one directory has no choice; the others say which they chose.
fn only_directory(image: &Image, broker: BrokerId) -> Uuid {
    match image.broker(broker).map(|registration| &registration.log_dirs[..]) {
        Some([only]) => *only,
        _ => DIRECTORY_UNASSIGNED,
    }
}

/// Every setting as it will hold for the topic (KIP-525).
fn described(call: &Call<'_>, own: &ConfigMap) -> Vec<CreatableTopicConfigs> {
    let layers = Layers::new(call.image, call.settings);
    let shown = tables::topics().iter().filter(|definition| !definition.internal);
    shown
        .map(|definition: &Definition| {
            let strongest = topic_synonyms(definition, Some(own), &layers).into_iter().next();
            let (value, source) = match strongest {
                Some(synonym) => (Some(synonym.converted), synonym.source),
                None => (definition.default_text().map(str::to_owned), Source::Default),
            };
            CreatableTopicConfigs {
                name: definition.name.into(),
                value: value.filter(|_| !definition.is_sensitive()).map(Into::into),
                read_only: false,
                config_source: source.code(),
                is_sensitive: definition.is_sensitive(),
            }
        })
        .collect()
}
