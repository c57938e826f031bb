//! One owner: of all members that take a partition for their own, at most one may commit for it. Others may
//! not know it yet, but they are of a generation or epoch that has passed.

use std::collections::BTreeMap;

use ottla_group::group::Committer;
use ottla_group::{GroupCoordinator, Topics};
use ottla_wire::PartitionIndex;
use ottla_wire::primitives::Str;

use super::promise::{Invariant, Scene};
use crate::group::member::{Member, Partition};
use crate::group::topics::SimTopics;
use crate::invariants::Verdict;

/// Newest version of OffsetCommit that names topics.
const COMMIT_VERSION: i16 = 9;

#[derive(Default)]
pub struct OneOwner;

impl Invariant for OneOwner {
    fn name(&self) -> &'static str {
        "a partition has one owner"
    }

    fn step(&mut self, scene: &Scene<'_>, _: bool) -> Verdict {
        let mut owners: BTreeMap<(&Str, &Partition), u64> = BTreeMap::new();
        for member in scene.members {
            for partition in member.holdings().partitions() {
                if !may_commit(scene.core, scene.topics, member, partition) {
                    continue;
                }
                if let Some(other) = owners.insert((&member.settings.group, partition), member.process) {
                    return Err(format!(
                        "{}-{} of {} belongs to processes {other} and {}",
                        partition.0, partition.1, member.settings.group, member.process
                    ));
                }
            }
        }
        Ok(())
    }
}

fn may_commit(
    core: &GroupCoordinator,
    topics: &SimTopics,
    member: &Member,
    (topic, partition): &Partition,
) -> bool {
    let identity = member.identity();
    let by = Committer {
        member: identity.member,
        instance: identity.instance.map(Str::as_str),
        generation_or_epoch: identity.generation_or_epoch,
        transactional: false,
        version: COMMIT_VERSION,
    };
    let Some(group) = core.groups().get(&member.settings.group) else { return false };
    let Some(facts) = topics.by_name(topic) else { return false };
    !group.is_empty()
        && group.validate_commit(&by).is_ok()
        && group.validate_commit_of(&by, facts.id, PartitionIndex(*partition)).is_ok()
}
