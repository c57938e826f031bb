//! What a member takes for its own.

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::primitives::Str;

/// A partition of a topic.
pub type Partition = (Str, i32);

/// The partitions that a member reads, each with where it is; `None` until it has fetched that.
#[derive(Debug, Default)]
pub struct Holdings {
    positions: BTreeMap<Partition, Option<i64>>,
}

impl Holdings {
    pub fn partitions(&self) -> impl Iterator<Item = &Partition> {
        self.positions.keys()
    }

    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    pub fn contains(&self, partition: &Partition) -> bool {
        self.positions.contains_key(partition)
    }

    /// Lets everything go.
    pub fn clear(&mut self) {
        self.positions.clear();
    }

    /// Holds these and no others. What was held before keeps its place.
    pub fn become_these(&mut self, partitions: &BTreeSet<Partition>) {
        self.positions.retain(|partition, _| partitions.contains(partition));
        for partition in partitions {
            self.positions.entry(partition.clone()).or_insert(None);
        }
    }

    /// Partitions whose place is not known yet.
    pub fn unknown(&self) -> impl Iterator<Item = &Partition> {
        self.positions.iter().filter(|(_, at)| at.is_none()).map(|(partition, _)| partition)
    }

    /// Reads on: every place that is known moves.
    pub fn read(&mut self, mut records: impl FnMut() -> i64) -> Vec<(Partition, i64)> {
        let known = self.positions.iter_mut().filter_map(|(partition, at)| {
            let at = at.as_mut()?;
            *at += records();
            Some((partition.clone(), *at))
        });
        known.collect()
    }

    pub fn found(&mut self, partition: &Partition, offset: i64) {
        if let Some(at @ None) = self.positions.get_mut(partition) {
            *at = Some(offset.max(0));
        }
    }
}
