//! What a client knows of a cluster: an immutable snapshot, and how an answer of the broker makes the next
//! one. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_wire::messages::MetadataResponse;
use ottla_wire::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerId, LeaderEpoch, TopicId};

/// A partition by its topic's name and its index.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    pub topic: Str,
    pub partition: i32,
}

impl TopicPartition {
    pub fn new(topic: impl Into<Str>, partition: i32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Partition numbers by topic.
pub(crate) fn by_topic<'a>(
    partitions: impl IntoIterator<Item = &'a TopicPartition>,
) -> BTreeMap<Str, Vec<i32>> {
    let mut topics: BTreeMap<Str, Vec<i32>> = BTreeMap::new();
    for of in partitions {
        topics.entry(of.topic.clone()).or_default().push(of.partition);
    }
    topics
}

/// A snapshot of the cluster, as far as this client has asked for it.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    pub cluster_id: Option<Str>,
    /// The broker to send what changes the cluster to.
    pub controller: Option<BrokerId>,
    pub brokers: BTreeMap<BrokerId, Broker>,
    pub topics: BTreeMap<Str, Arc<Topic>>,
    /// Topics that were asked for and not given, with the broker's reason.
    pub failed: BTreeMap<Str, ErrorCode>,
}

/// Where a broker listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    pub id: BrokerId,
    pub host: Str,
    pub port: i32,
    pub rack: Option<Str>,
}

impl Broker {
    /// `host:port`, with brackets around an IPv6 address.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: Str,
    /// Zero when the broker is too old to know (before Kafka 2.8).
    pub id: TopicId,
    pub internal: bool,
    /// In the order of their index, without gaps.
    pub partitions: Vec<Partition>,
}

impl Topic {
    pub fn partition(&self, index: i32) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index).ok()?)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    pub index: i32,
    /// None while the partition has no leader.
    pub leader: Option<BrokerId>,
    pub leader_epoch: LeaderEpoch,
    pub replicas: Vec<BrokerId>,
    pub isr: Vec<BrokerId>,
    pub offline: Vec<BrokerId>,
}

impl Metadata {
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// The leader of a partition and its epoch, if both are known.
    pub fn leader(&self, partition: &TopicPartition) -> Option<(BrokerId, LeaderEpoch)> {
        let partition = self.topics.get(&partition.topic)?.partition(partition.partition)?;
        Some((partition.leader?, partition.leader_epoch))
    }

    /// The name of the topic with this id.
    pub fn topic_name(&self, id: TopicId) -> Option<&Str> {
        if id.is_zero() {
            return None;
        }
        self.topics.values().find(|topic| topic.id == id).map(|topic| &topic.name)
    }

    /// The snapshot after an answer that lists every topic that is still of interest: others are forgotten.
    ///
    /// A partition whose leader epoch in the answer is older than what is known keeps what is known (the
    /// broker that answered lags), unless the topic was created again.
    pub(super) fn after(&self, response: MetadataResponse) -> Metadata {
        let mut next = Metadata {
            cluster_id: response.cluster_id.as_ref().map(Str::detached).or_else(|| self.cluster_id.clone()),
            controller: (response.controller_id >= 0).then_some(BrokerId(response.controller_id)),
            ..Metadata::default()
        };
        for broker in response.brokers {
            let id = BrokerId(broker.node_id);
            let (host, rack) = (broker.host.detached(), broker.rack.as_ref().map(Str::detached));
            next.brokers.insert(id, Broker { id, host, port: broker.port, rack });
        }
        for topic in response.topics {
            let Some(name) = topic.name.as_ref().map(Str::detached) else { continue };
            match ErrorCode::from_code(topic.error_code).unwrap_or(ErrorCode::UnknownServerError) {
                // Its partitions are still told one by one.
                ErrorCode::None | ErrorCode::LeaderNotAvailable if !topic.partitions.is_empty() => {
                    let known = self.topics.get(&name);
                    next.topics.insert(name.clone(), read_topic(name, topic, known));
                }
                ErrorCode::None => drop(next.failed.insert(name, ErrorCode::UnknownTopicOrPartition)),
                error => drop(next.failed.insert(name, error)),
            }
        }
        next
    }

    /// What an answer tells, as the first of a cluster.
    #[cfg(test)]
    pub(crate) fn of(response: MetadataResponse) -> Metadata {
        Metadata::default().after(response)
    }

    /// The snapshot with a leader that a Produce or Fetch answer named (KIP-951); `None` if that is no news.
    pub(super) fn with_leader(
        &self,
        of: &TopicPartition,
        leader: BrokerId,
        epoch: LeaderEpoch,
        endpoint: Option<Broker>,
    ) -> Option<Metadata> {
        let known = self.topics.get(&of.topic)?;
        if known.partition(of.partition)?.leader_epoch >= epoch {
            return None;
        }
        let mut next = self.clone();
        if let Some(broker) = endpoint {
            next.brokers.insert(broker.id, broker);
        }
        if !next.brokers.contains_key(&leader) {
            return None;
        }
        let mut topic = Topic::clone(known);
        let partition = topic.partitions.get_mut(usize::try_from(of.partition).ok()?)?;
        partition.leader = Some(leader);
        partition.leader_epoch = epoch;
        next.topics.insert(of.topic.clone(), Arc::new(topic));
        Some(next)
    }
}

/// The topic of an answer; a partition of `known` with a newer leader epoch is kept.
pub(crate) fn read_topic(name: Str, answer: MetadataResponseTopic, known: Option<&Arc<Topic>>) -> Arc<Topic> {
    let known = known.filter(|known| known.id == answer.topic_id);
    let mut partitions: Vec<Partition> = answer.partitions.into_iter().map(read_partition).collect();
    partitions.sort_unstable_by_key(|partition| partition.index);
    for partition in &mut partitions {
        if let Some(newer) = known.and_then(|topic| topic.partition(partition.index))
            && newer.leader_epoch > partition.leader_epoch
            && partition.leader_epoch != LeaderEpoch::NONE
        {
            *partition = newer.clone();
        }
    }
    // A gap would shift the indexes; keys must not be spread over a part of the partitions.
    let whole = partitions.iter().zip(0..).take_while(|(partition, index)| partition.index == *index).count();
    partitions.truncate(whole);
    Arc::new(Topic { name, id: answer.topic_id, internal: answer.is_internal, partitions })
}

fn read_partition(answer: MetadataResponsePartition) -> Partition {
    let ids = |ids: Vec<i32>| ids.into_iter().map(BrokerId).collect();
    Partition {
        index: answer.partition_index,
        leader: (answer.leader_id >= 0).then_some(BrokerId(answer.leader_id)),
        leader_epoch: LeaderEpoch(answer.leader_epoch),
        replicas: ids(answer.replica_nodes),
        isr: ids(answer.isr_nodes),
        offline: ids(answer.offline_replicas),
    }
}

#[cfg(test)]
mod tests {
    use ottla_wire::Uuid;
    use ottla_wire::messages::metadata_response::MetadataResponseBroker;

    use super::*;

    const ID: Uuid = Uuid([1; 16]);

    fn answer(id: Uuid, leaders: &[(i32, i32)]) -> MetadataResponse {
        let partitions = leaders.iter().zip(0..).map(|(&(leader_id, leader_epoch), partition_index)| {
            MetadataResponsePartition { partition_index, leader_id, leader_epoch, ..Default::default() }
        });
        let topic = MetadataResponseTopic {
            name: Some("t".into()),
            topic_id: id,
            partitions: partitions.collect(),
            ..Default::default()
        };
        let broker =
            |node_id| MetadataResponseBroker { node_id, host: "h".into(), port: 1, ..Default::default() };
        MetadataResponse { brokers: vec![broker(1), broker(2)], topics: vec![topic], ..Default::default() }
    }

    fn leader(metadata: &Metadata, partition: i32) -> Option<(i32, i32)> {
        metadata.leader(&TopicPartition::new("t", partition)).map(|(leader, epoch)| (leader.0, epoch.0))
    }

    #[test]
    fn an_older_leader_epoch_does_not_replace_a_newer() {
        let metadata = Metadata::default().after(answer(ID, &[(1, 5), (2, 5)]));
        let metadata = metadata.after(answer(ID, &[(2, 4), (1, 6)]));
        assert_eq!((leader(&metadata, 0), leader(&metadata, 1)), (Some((1, 5)), Some((1, 6))));
    }

    #[test]
    fn a_topic_created_again_starts_anew() {
        let metadata = Metadata::default().after(answer(ID, &[(1, 5)]));
        let metadata = metadata.after(answer(Uuid([2; 16]), &[(2, 0)]));
        assert_eq!(leader(&metadata, 0), Some((2, 0)));
    }

    #[test]
    fn a_partition_without_leader_is_kept_without() {
        let metadata = Metadata::default().after(answer(ID, &[(-1, 6)]));
        assert_eq!(leader(&metadata, 0), None);
        assert_eq!(metadata.topics["t"].partitions.len(), 1);
    }

    #[test]
    fn a_named_leader_counts_only_with_a_newer_epoch() {
        let metadata = Metadata::default().after(answer(ID, &[(1, 5)]));
        let of = TopicPartition::new("t", 0);
        assert!(metadata.with_leader(&of, BrokerId(2), LeaderEpoch(5), None).is_none());
        assert!(metadata.with_leader(&of, BrokerId(3), LeaderEpoch(6), None).is_none(), "no endpoint");
        let next = metadata.with_leader(&of, BrokerId(2), LeaderEpoch(6), None).unwrap();
        assert_eq!(leader(&next, 0), Some((2, 6)));
    }
}
