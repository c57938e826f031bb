//! Partitions when brokers come and go.

use ottla_wire::messages::MetadataRecord;
use ottla_wire::{BrokerId, PartitionIndex};

use super::Call;
use super::change::Change;
use crate::image::{Partition, Topic};
use ottla_settings::TopicConfig;

/// What a broker does to the partitions it has replicas of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is fenced, shutting down or unregistered: it leaves its ISRs and leads nothing.
    Leaves(BrokerId),
    /// The same, and what it acknowledged may be lost.
    LostData(BrokerId),
    /// It may lead again.
    Returns(BrokerId),
}

/// Records for all partitions that `turn` changes.
pub(super) fn records(call: &Call<'_>, turn: Turn) -> Vec<MetadataRecord> {
    let (broker, concerned): (BrokerId, fn(&Partition, BrokerId) -> bool) = match turn {
        Turn::Leaves(broker) => {
            (broker, |partition, broker| partition.is_in_sync(broker) || partition.leader == Some(broker))
        }
        Turn::LostData(broker) => {
            (broker, |partition, broker| partition.is_in_sync(broker) || partition.elr.contains(&broker))
        }
        Turn::Returns(broker) => {
            (broker, |partition, broker| partition.leader.is_none() && partition.is_replica(broker))
        }
    };
    let returns = matches!(turn, Turn::Returns(_));
    let may_lead = |one: BrokerId| if one == broker { returns } else { call.image.is_active(one) };
    each(
        call,
        |partition| concerned(partition, broker),
        |topic, index, partition, config| {
            let change = Change::new(call.image, topic, index, partition, config, &may_lead);
            match turn {
                Turn::Leaves(_) => change.isr(without(&partition.isr, broker)),
                Turn::LostData(_) => change.unclean_shutdown(broker),
                Turn::Returns(_) => change,
            }
            .record()
        },
    )
}

/// Records for every partition that `concerned` picks, by `decide`.
pub(super) fn each(
    call: &Call<'_>,
    concerned: impl Fn(&Partition) -> bool,
    decide: impl Fn(&Topic, PartitionIndex, &Partition, &TopicConfig) -> Option<MetadataRecord>,
) -> Vec<MetadataRecord> {
    let mut records = Vec::new();
    for topic in call.image.topics() {
        // Settings are worked out only for topics that have something to decide.
        let mut config = None;
        for (index, partition) in topic.partitions.iter().filter(|(_, partition)| concerned(partition)) {
            let config =
                config.get_or_insert_with(|| TopicConfig::effective(call.image, call.settings, &topic.name));
            records.extend(decide(topic, *index, partition, config));
        }
    }
    records
}

fn without(brokers: &[BrokerId], broker: BrokerId) -> Vec<BrokerId> {
    brokers.iter().copied().filter(|one| *one != broker).collect()
}
