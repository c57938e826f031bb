//! What holds whatever is asked, in whatever order, and whenever another broker takes over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_group::GroupConfig;
use ottla_wire::ErrorCode;
use proptest::prelude::*;

use super::ask::*;

const GROUPS: [&str; 2] = ["a", "b"];
const TOPICS: [&str; 2] = ["orders", "returns"];
const PRODUCERS: i64 = 3;

type GroupTopicPartition = (&'static str, &'static str, i32);

#[derive(Clone, Debug)]
enum Step {
    Commit(GroupTopicPartition),
    CommitIn(i64, GroupTopicPartition),
    End(i64, bool),
    Delete(GroupTopicPartition),
    DeleteGroup(&'static str),
    DeleteTopic(&'static str),
    Wait(u64),
    Reload,
}

fn place() -> impl Strategy<Value = GroupTopicPartition> {
    (prop::sample::select(&GROUPS[..]), prop::sample::select(&TOPICS[..]), 0..2)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => place().prop_map(Step::Commit),
        6 => (0..PRODUCERS, place()).prop_map(|(producer, place)| Step::CommitIn(producer, place)),
        4 => (0..PRODUCERS, any::<bool>()).prop_map(|(producer, commit)| Step::End(producer, commit)),
        2 => place().prop_map(Step::Delete),
        1 => prop::sample::select(&GROUPS[..]).prop_map(Step::DeleteGroup),
        1 => prop::sample::select(&TOPICS[..]).prop_map(Step::DeleteTopic),
        1 => (1u64..90).prop_map(Step::Wait),
        2 => Just(Step::Reload),
    ]
}

/// What ought to be known: each commit has a number, which is also its offset.
#[derive(Default)]
struct Model {
    commits: i64,
    committed: BTreeMap<GroupTopicPartition, i64>,
    pending: BTreeMap<i64, BTreeMap<GroupTopicPartition, i64>>,
}

impl Model {
    fn remove(&mut self, gone: impl Fn(&GroupTopicPartition) -> bool) {
        self.committed.retain(|place, _| !gone(place));
        for places in self.pending.values_mut() {
            places.retain(|place, _| !gone(place));
        }
    }

    fn end(&mut self, producer: i64, commit: bool) {
        for (place, number) in self.pending.remove(&producer).unwrap_or_default() {
            if commit {
                let now = self.committed.entry(place).or_insert(number);
                *now = number.max(*now);
            }
        }
    }

    fn groups(&self) -> BTreeSet<&str> {
        let pending = self.pending.values().flat_map(|places| places.keys());
        self.committed.keys().chain(pending).map(|(group, _, _)| *group).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..Default::default() })]

    /// A partition has the offset of its last commit that counts; a transaction counts as a whole or not at
    /// all; offsets go only when they are deleted; and the log says the same.
    #[test]
    fn offsets_are_those_of_the_model(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = world_with(GroupConfig::default());
        let mut model = Model::default();
        for step in steps {
            model.commits += 1;
            let number = model.commits;
            match step {
                Step::Commit(place @ (group, topic, partition)) => {
                    commits(&mut world, group, &[(topic, partition, number)]);
                    model.committed.insert(place, number);
                }
                Step::CommitIn(id, place @ (group, topic, partition)) => {
                    commits_in(&mut world, producer(id), group, &[(topic, partition, number)]);
                    model.pending.entry(id).or_default().insert(place, number);
                }
                Step::End(id, commit) => {
                    world.end_transaction(producer(id), commit);
                    model.end(id, commit);
                }
                Step::Delete(place @ (group, topic, partition)) => {
                    delete(&mut world, group, &[(topic, partition)]);
                    model.remove(|found| *found == place);
                }
                Step::DeleteGroup(group) => {
                    let expected = match model.groups().contains(group) {
                        true => ErrorCode::None,
                        false => ErrorCode::GroupIdNotFound,
                    };
                    assert_eq!(delete_group(&mut world, group), expected);
                    model.remove(|(found, _, _)| *found == group);
                }
                Step::DeleteTopic(topic) => {
                    world.change_topics(|topics| topics.delete(topic));
                    world.change_topics(|topics| { topics.set(topic, 2); });
                    model.remove(|(_, found, _)| *found == topic);
                }
                Step::Wait(seconds) => world.advance(Duration::from_secs(seconds)),
                Step::Reload => world.reload(),
            }
            for group in GROUPS {
                let expected: Vec<_> = model
                    .committed
                    .iter()
                    .filter(|((found, _, _), _)| *found == group)
                    .map(|((_, topic, partition), number)| ((*topic).to_owned(), *partition, *number))
                    .collect();
                prop_assert_eq!(fetched(&mut world, group), expected);
                prop_assert_eq!(exists(&world, group), model.groups().contains(group));
                for topic in TOPICS {
                    for partition in 0..2 {
                        let place = (group, topic, partition);
                        let pending = model.pending.values().any(|places| places.contains_key(&place));
                        let (_, error) = stable(&mut world, group, (topic, partition));
                        prop_assert_eq!(error == ErrorCode::UnstableOffsetCommit, pending);
                    }
                }
            }
        }
        world.check_against_log();
        for id in 0..PRODUCERS {
            world.end_transaction(producer(id), false);
        }
        for group in GROUPS {
            delete_group(&mut world, group);
        }
        prop_assert_eq!(world.core().bytes(), 0, "what is gone takes no memory");
    }
}
