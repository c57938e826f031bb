//! Sets of partitions, by topic.

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::TopicId;

use crate::memory::of_map;

/// Partitions of topics. No topic is held without a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partitions {
    by_topic: BTreeMap<TopicId, BTreeSet<i32>>,
}

impl Partitions {
    pub fn is_empty(&self) -> bool {
        self.by_topic.is_empty()
    }

    pub fn contains(&self, topic: TopicId, partition: i32) -> bool {
        self.by_topic.get(&topic).is_some_and(|partitions| partitions.contains(&partition))
    }

    pub fn insert(&mut self, topic: TopicId, partition: i32) {
        self.by_topic.entry(topic).or_default().insert(partition);
    }

    /// Topics in the order of their ids, each with its partitions in order.
    pub fn topics(&self) -> impl Iterator<Item = (TopicId, &BTreeSet<i32>)> {
        self.by_topic.iter().map(|(topic, partitions)| (*topic, partitions))
    }

    /// Every partition with its topic, in order.
    pub fn iter(&self) -> impl Iterator<Item = (TopicId, i32)> {
        self.topics().flat_map(|(topic, partitions)| partitions.iter().map(move |index| (topic, *index)))
    }

    pub fn len(&self) -> usize {
        self.by_topic.values().map(BTreeSet::len).sum()
    }

    /// Bytes that they take in memory.
    pub fn bytes(&self) -> usize {
        let topics = self.by_topic.values().map(|partitions| of_map::<i32, ()>(partitions.len()));
        of_map::<TopicId, BTreeSet<i32>>(self.by_topic.len()) + topics.sum::<usize>()
    }
}

impl FromIterator<(TopicId, i32)> for Partitions {
    fn from_iter<I: IntoIterator<Item = (TopicId, i32)>>(items: I) -> Partitions {
        let mut partitions = Partitions::default();
        for (topic, partition) in items {
            partitions.insert(topic, partition);
        }
        partitions
    }
}
