//! What members read. A name is used once: clients know topics by their names.

use std::collections::BTreeMap;

use ottla_group::{TopicFacts, Topics};
use ottla_wire::primitives::Str;
use ottla_wire::{TopicId, Uuid};

/// The topics that there are.
#[derive(Clone, Debug, Default)]
pub struct SimTopics {
    by_name: BTreeMap<Str, TopicFacts>,
    made: u128,
}

impl SimTopics {
    /// Makes a topic, or gives it so many partitions.
    pub fn set(&mut self, name: &Str, partitions: i32) {
        if let Some(facts) = self.by_name.get_mut(name) {
            facts.partitions = facts.partitions.max(partitions);
            return;
        }
        self.made += 1;
        let id = Uuid((self.made << 32).to_be_bytes());
        self.by_name.insert(name.clone(), TopicFacts { id, name: name.clone(), partitions });
    }

    pub fn delete(&mut self, name: &Str) {
        self.by_name.remove(name);
    }

    pub fn all(&self) -> impl Iterator<Item = &TopicFacts> {
        self.by_name.values()
    }

    /// How many partitions there are; none of a topic that does not exist.
    pub fn partitions(&self, name: &Str) -> i32 {
        self.by_name.get(name).map_or(0, |facts| facts.partitions)
    }
}

impl Topics for SimTopics {
    fn by_name(&self, name: &str) -> Option<TopicFacts> {
        self.by_name.get(name).cloned()
    }

    fn by_id(&self, id: TopicId) -> Option<TopicFacts> {
        self.by_name.values().find(|facts| facts.id == id).cloned()
    }

    fn each_name(&self, visit: &mut dyn FnMut(&Str)) {
        self.by_name.keys().for_each(visit);
    }

    fn racks(&self, _: TopicId, _: i32) -> Vec<Str> {
        Vec::new()
    }
}
