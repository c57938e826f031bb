//! Partitions when brokers come and go, and when their directories fail.

use ottla_wire::messages::MetadataRecord;
use ottla_wire::{BrokerId, InternalTopic, PartitionIndex};

use super::change::Change;
use crate::image::{Image, Partition, Topic};
use ottla_settings::{BrokerSettings, TopicConfig};

/// What a broker does to the partitions it has replicas of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is fenced, shutting down or unregistered: it leaves its ISRs and leads nothing.
    Leaves(BrokerId),
    /// The same, and what it acknowledged may be lost.
    LostData(BrokerId),
    /// The same for what is in directories that are not online any more.
    LosesDirectories(BrokerId),
    /// It may lead again.
    Returns(BrokerId),
}

/// Records for all partitions that `turn` changes.
pub(super) fn records(image: &Image, settings: &BrokerSettings, turn: Turn) -> Vec<MetadataRecord> {
    let (broker, returns) = match turn {
        Turn::Leaves(broker) | Turn::LostData(broker) | Turn::LosesDirectories(broker) => (broker, false),
        Turn::Returns(broker) => (broker, true),
    };
    let serves = |partition: &Partition| partition.is_in_sync(broker) || partition.leader == Some(broker);
    let concerned = |partition: &Partition| match turn {
        Turn::Leaves(_) => serves(partition),
        Turn::LostData(_) => serves(partition) || partition.elr.contains(&broker),
        Turn::LosesDirectories(_) => serves(partition) && !image.has_online_replica(partition, broker),
        Turn::Returns(_) => partition.leader.is_none() && partition.is_replica(broker),
    };
    let may_lead = |one: BrokerId| if one == broker { returns } else { image.is_active(one) };
    each(image, settings, usize::MAX, concerned, |topic, index, partition, config| {
        let change = Change::new(image, topic, index, partition, config, &may_lead);
        match turn {
            Turn::Leaves(_) | Turn::LosesDirectories(_) => change.isr(without(&partition.isr, broker)),
            Turn::LostData(_) => change.unclean_shutdown(broker),
            Turn::Returns(_) => change,
        }
        .record()
    })
}

/// Records for every partition that another controller has left half done: replicas that cannot serve leave
/// its ISR, and it gets a leader if there is one.
pub(super) fn repairs(image: &Image, settings: &BrokerSettings) -> Vec<MetadataRecord> {
    let may_lead = |broker: BrokerId| image.is_active(broker);
    let serves = |partition: &Partition, broker: BrokerId| {
        may_lead(broker) && image.has_online_replica(partition, broker)
    };
    let concerned = |partition: &Partition| match partition.leader {
        Some(_) => partition.isr.iter().any(|broker| !serves(partition, *broker)),
        None => partition.replicas.iter().any(|broker| serves(partition, *broker)),
    };
    each(image, settings, usize::MAX, concerned, |topic, index, partition, config| {
        let isr = partition.isr.iter().copied().filter(|broker| serves(partition, *broker)).collect();
        Change::new(image, topic, index, partition, config, &may_lead).isr(isr).record()
    })
}

/// Records for the partitions that `concerned` picks, by `decide`: `max` of them at the most. Internal topics
/// come first, because whole groups and transactions wait for one of their partitions.
pub(super) fn each(
    image: &Image,
    settings: &BrokerSettings,
    max: usize,
    concerned: impl Fn(&Partition) -> bool,
    decide: impl Fn(&Topic, PartitionIndex, &Partition, &TopicConfig) -> Option<MetadataRecord>,
) -> Vec<MetadataRecord> {
    let (internal, others): (Vec<_>, Vec<_>) =
        image.topics().partition(|topic| InternalTopic::is_internal(&topic.name));
    let mut records = Vec::new();
    for topic in internal.into_iter().chain(others) {
        // Settings are worked out only for topics that have something to decide.
        let mut config = None;
        for (index, partition) in topic.partitions.iter().filter(|(_, partition)| concerned(partition)) {
            if records.len() == max {
                return records;
            }
            let config = config.get_or_insert_with(|| TopicConfig::effective(image, settings, &topic.name));
            records.extend(decide(topic, *index, partition, config));
        }
    }
    records
}

fn without(brokers: &[BrokerId], broker: BrokerId) -> Vec<BrokerId> {
    brokers.iter().copied().filter(|one| *one != broker).collect()
}
