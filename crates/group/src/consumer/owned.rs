//! Partitions that a member has, each with the epoch in which it got it.

use std::collections::BTreeMap;

use ottla_wire::TopicId;
use ottla_wire::messages::consumer_group_current_member_assignment_value::TopicPartitions;

use crate::memory::of_map;

/// Partitions by topic, each with the member's epoch when it was assigned (KIP-1251). No topic is held
/// without a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owned {
    by_topic: BTreeMap<TopicId, BTreeMap<i32, i32>>,
}

impl Owned {
    pub fn is_empty(&self) -> bool {
        self.by_topic.is_empty()
    }

    pub fn contains(&self, topic: TopicId, partition: i32) -> bool {
        self.epoch_of(topic, partition).is_some()
    }

    /// The epoch in which a partition was assigned.
    pub fn epoch_of(&self, topic: TopicId, partition: i32) -> Option<i32> {
        self.by_topic.get(&topic)?.get(&partition).copied()
    }

    pub fn insert(&mut self, topic: TopicId, partition: i32, epoch: i32) {
        self.by_topic.entry(topic).or_default().insert(partition, epoch);
    }

    /// Topics in the order of their ids, each with its partitions and their epochs.
    pub fn topics(&self) -> impl Iterator<Item = (TopicId, &BTreeMap<i32, i32>)> {
        self.by_topic.iter().map(|(topic, partitions)| (*topic, partitions))
    }

    /// Topic, partition and epoch, in order.
    pub fn iter(&self) -> impl Iterator<Item = (TopicId, i32, i32)> {
        self.topics().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(partition, epoch)| (topic, *partition, *epoch))
        })
    }

    /// Bytes that it takes in memory.
    pub fn bytes(&self) -> usize {
        let topics = self.by_topic.values().map(|partitions| of_map::<i32, i32>(partitions.len()));
        of_map::<TopicId, BTreeMap<i32, i32>>(self.by_topic.len()) + topics.sum::<usize>()
    }

    /// Reads what a record says. Records of older brokers have no epochs: then `epoch` counts for all.
    pub fn from_record(topics: &[TopicPartitions], epoch: i32) -> Owned {
        let mut owned = Owned::default();
        for topic in topics {
            for (index, partition) in topic.partitions.iter().enumerate() {
                let epochs = topic.assignment_epochs.as_deref().unwrap_or_default();
                owned.insert(topic.topic_id, *partition, epochs.get(index).copied().unwrap_or(epoch));
            }
        }
        owned
    }

    pub fn to_record(&self) -> Vec<TopicPartitions> {
        let topic = |(topic_id, partitions): (TopicId, &BTreeMap<i32, i32>)| TopicPartitions {
            topic_id,
            partitions: partitions.keys().copied().collect(),
            assignment_epochs: Some(partitions.values().copied().collect()),
        };
        self.topics().map(topic).collect()
    }
}

impl FromIterator<(TopicId, i32, i32)> for Owned {
    fn from_iter<I: IntoIterator<Item = (TopicId, i32, i32)>>(items: I) -> Owned {
        let mut owned = Owned::default();
        for (topic, partition, epoch) in items {
            owned.insert(topic, partition, epoch);
        }
        owned
    }
}
