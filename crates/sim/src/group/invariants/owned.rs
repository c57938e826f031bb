//! Every partition has its owner once things are quiet: of the topics that the members of a group read, each
//! partition is held by one member that reads it, and by no other.

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::primitives::Str;

use super::Scene;
use crate::group::member::Partition;

/// As it is named where it breaks.
pub const NAME: &str = "every partition comes to have its owner";

/// Why things have not come to rest yet; `None` if they have.
pub fn unrest(scene: &Scene<'_>) -> Option<String> {
    let mut groups: BTreeMap<&Str, BTreeSet<Partition>> = BTreeMap::new();
    for member in scene.members {
        let wanted = groups.entry(&member.settings.group).or_default();
        for topic in &member.settings.subscription {
            wanted.extend((0..scene.topics.partitions(topic)).map(|partition| (topic.clone(), partition)));
        }
    }
    for (group, wanted) in groups {
        let mut owners: BTreeMap<&Partition, u64> = BTreeMap::new();
        for member in scene.members.iter().filter(|member| member.settings.group == *group) {
            for partition in member.holdings().partitions() {
                if !member.settings.subscription.contains(&partition.0) {
                    return Some(format!(
                        "process {} holds {partition:?}, which it does not read",
                        member.process
                    ));
                }
                if let Some(other) = owners.insert(partition, member.process) {
                    return Some(format!("{partition:?} is held by {other} and {}", member.process));
                }
            }
        }
        if let Some(missing) = wanted.iter().find(|partition| !owners.contains_key(partition)) {
            return Some(format!("{missing:?} of {group} has no owner"));
        }
        if let Some((extra, owner)) = owners.iter().find(|(partition, _)| !wanted.contains(*partition)) {
            return Some(format!("process {owner} holds {extra:?}, which does not exist"));
        }
    }
    if scene.core.offsets().pending_len() > 0 {
        return Some("offsets wait for the end of a transaction".to_owned());
    }
    let in_motion = scene.core.records().in_motion;
    in_motion.first().map(|group| format!("{group} is in the middle of a change"))
}
