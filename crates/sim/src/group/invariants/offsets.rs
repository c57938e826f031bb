//! Offsets do not go back: an offset that is committed stays or grows until it is deleted, and what a member
//! was told to be committed is there with every later broker. Members read on from where their group was, so
//! that none commits less.

use std::collections::BTreeMap;

use ottla_group::Topics;
use ottla_group::offsets::GroupTopicPartition;
use ottla_wire::PartitionIndex;
use ottla_wire::primitives::Str;

use super::promise::{Invariant, Scene};
use crate::group::member::Heard;
use crate::group::topics::SimTopics;
use crate::invariants::Verdict;

#[derive(Default)]
pub struct OffsetsDoNotGoBack {
    /// As this broker has it.
    seen: BTreeMap<GroupTopicPartition, i64>,
    /// As members were told.
    promised: BTreeMap<GroupTopicPartition, i64>,
}

impl Invariant for OffsetsDoNotGoBack {
    fn name(&self) -> &'static str {
        "committed offsets do not go back"
    }

    fn step(&mut self, scene: &Scene<'_>, deletes: bool) -> Verdict {
        let now = offsets(scene);
        for (place, before) in &self.seen {
            match now.get(place) {
                Some(offset) if offset >= before => {}
                Some(offset) => return Err(format!("{place:?} was {before} and is {offset}")),
                None if deletes => {
                    self.promised.remove(place);
                }
                None => return Err(format!("{place:?} was {before} and is gone")),
            }
        }
        self.seen = now;
        Ok(())
    }

    fn heard(&mut self, group: &Str, heard: &Heard, topics: &SimTopics) -> Verdict {
        let Heard::Committed(offsets) = heard;
        for ((topic, partition), offset) in offsets {
            let place = GroupTopicPartition {
                group: group.clone(),
                topic: topic.clone(),
                partition: PartitionIndex(*partition),
            };
            // A topic that was deleted meanwhile took its offsets with it. So does a deletion that was asked
            // for later than the commit: then there is none to be seen.
            if topics.by_name(topic).is_some() && self.seen.contains_key(&place) {
                let promised = self.promised.entry(place).or_insert(*offset);
                *promised = (*promised).max(*offset);
            }
        }
        Ok(())
    }

    fn taken_over(&mut self, scene: &Scene<'_>) -> Verdict {
        let now = offsets(scene);
        // A topic may have gone while nobody had its offsets in memory: the next broker finds them and lets
        // them go.
        self.promised.retain(|place, _| scene.topics.by_name(&place.topic).is_some());
        for (place, promised) in &self.promised {
            match now.get(place) {
                Some(offset) if offset >= promised => {}
                found => return Err(format!("{place:?} was promised at {promised} and is {found:?}")),
            }
        }
        self.seen = now;
        Ok(())
    }
}

fn offsets(scene: &Scene<'_>) -> BTreeMap<GroupTopicPartition, i64> {
    let all = scene.core.offsets().iter();
    all.map(|(group, topic, partition, committed)| {
        (GroupTopicPartition { group: group.clone(), topic: topic.clone(), partition }, committed.offset.0)
    })
    .collect()
}
