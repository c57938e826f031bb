//! Tests of assignors: tables, laws, and times.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use ottla_wire::TopicId;
use ottla_wire::primitives::Str;
use proptest::prelude::*;

use crate::assignor::Assignor;
use crate::assignor::fixture::{FakeTopics, Group};
use crate::topics::Topics;

#[test]
fn range_gives_equal_partitions_of_equal_topics_to_one_member() {
    let mut group = Group::of(FakeTopics::of([("a", 5), ("b", 5)]));
    group.join("m1", &["a", "b"]);
    group.join("m2", &["a", "b"]);
    group.assign(Assignor::Range);
    assert_eq!(group.of_member("m1"), ["a-0", "a-1", "a-2", "b-0", "b-1", "b-2"]);
    assert_eq!(group.of_member("m2"), ["a-3", "a-4", "b-3", "b-4"]);
}

#[test]
fn range_orders_static_members_by_instance_and_first() {
    let mut group = Group::of(FakeTopics::of([("a", 3)]));
    group.join("m1", &["a"]);
    group.join("m2", &["a"]).instance_id = Some("z".into());
    group.join("m3", &["a"]).instance_id = Some("y".into());
    group.assign(Assignor::Range);
    assert_eq!(group.of_member("m3"), ["a-0"]);
    assert_eq!(group.of_member("m2"), ["a-1"]);
    assert_eq!(group.of_member("m1"), ["a-2"]);
}

#[test]
fn range_with_different_subscriptions_cuts_each_topic_by_itself() {
    let mut group = Group::of(FakeTopics::of([("a", 2), ("b", 3), ("c", 1)]));
    group.join("m1", &["a", "b"]);
    group.join("m2", &["b", "c"]);
    group.join("m3", &["b"]);
    group.join("m4", &["b"]);
    group.assign(Assignor::Range);
    assert_eq!(group.of_member("m1"), ["a-0", "a-1", "b-0"]);
    assert_eq!(group.of_member("m2"), ["b-1", "c-0"]);
    assert_eq!(group.of_member("m3"), ["b-2"]);
    assert_eq!(group.of_member("m4"), Vec::<String>::new());
}

#[test]
fn uniform_spreads_each_topic() {
    let mut group = Group::of(FakeTopics::of([("a", 3), ("b", 2)]));
    for member in ["m1", "m2", "m3"] {
        group.join(member, &["a", "b"]);
    }
    group.assign(Assignor::Uniform);
    assert_eq!(group.of_member("m1"), ["a-0", "b-0"]);
    assert_eq!(group.of_member("m2"), ["a-1", "b-1"]);
    assert_eq!(group.of_member("m3"), ["a-2"]);
}

#[test]
fn uniform_takes_from_the_fullest_only() {
    let mut group = Group::of(FakeTopics::of([("a", 4), ("b", 2)]));
    group.join("m1", &["a", "b"]);
    group.join("m2", &["a"]);
    group.assign(Assignor::Uniform);
    assert_eq!(group.sizes(), [3, 3]);
    let before = group.of_member("m2");
    group.join("m3", &["b"]);
    group.assign(Assignor::Uniform);
    assert_eq!(group.sizes(), [2, 3, 1]);
    assert_eq!(group.of_member("m2"), before);
}

#[test]
fn uniform_prefers_the_rack_of_a_partition_among_equals() {
    let topics = FakeTopics::of([("a", 4)])
        .rack("a", 0, &["r2"])
        .rack("a", 1, &["r1"])
        .rack("a", 2, &["r2"])
        .rack("a", 3, &["r1", "r3"]);
    let mut group = Group::of(topics);
    group.join("m1", &["a"]).rack = Some("r1".into());
    group.join("m2", &["a"]).rack = Some("r2".into());
    group.assign(Assignor::Uniform);
    assert_eq!(group.of_member("m1"), ["a-1", "a-3"]);
    assert_eq!(group.of_member("m2"), ["a-0", "a-2"]);
}

#[test]
fn who_has_too_many_keeps_those_of_its_rack() {
    let topics = FakeTopics::of([("a", 4)]).rack("a", 2, &["r1"]).rack("a", 3, &["r1"]);
    let mut group = Group::of(topics);
    group.join("m1", &["a"]).rack = Some("r1".into());
    group.assign(Assignor::Uniform);
    group.join("m2", &["a"]);
    group.assign(Assignor::Uniform);
    assert_eq!(group.of_member("m1"), ["a-2", "a-3"]);
}

#[test]
fn nobody_and_nothing_are_assigned() {
    for assignor in Assignor::ALL {
        let mut group = Group::of(FakeTopics::of([("a", 0)]));
        group.assign(assignor);
        group.join("m1", &[]);
        group.join("m2", &["a", "unknown"]);
        group.assign(assignor);
        assert_eq!(group.sizes(), [0, 0]);
        assert_eq!(Assignor::named(assignor.name()), Some(assignor));
    }
    assert_eq!(Assignor::named("sticky"), None);
}

/// 1,000 members and 10,000 partitions, subscribed alike and not. The bound leaves room for a busy
/// machine: it takes a few milliseconds, and tens of them without optimization.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test may look at the clock")]
fn large_groups_take_no_time() {
    for topics_of in [|_: usize| 0..100, |member: usize| member % 51..member % 51 + 50] {
        let mut topics = FakeTopics::default();
        let names: Vec<String> = (0..100).map(|topic| format!("topic{topic:03}")).collect();
        names.iter().for_each(|name| topics.set(name, 100));
        let mut group = Group::of(topics);
        for member in 0..1000 {
            let range: Range<usize> = topics_of(member);
            let subscribed: Vec<&str> = names[range].iter().map(String::as_str).collect();
            group.join(&format!("m{member:04}"), &subscribed);
        }
        let spec = group.spec();
        for assignor in Assignor::ALL {
            let start = std::time::Instant::now();
            let assigned = assignor.assign(&spec);
            let took = start.elapsed();
            assert!(took < Duration::from_millis(500), "{} took {took:?}", assignor.name());
            assert_eq!(assigned.iter().map(|partitions| partitions.len()).sum::<usize>(), 10_000);
        }
    }
}

/// A change of a group between two assignments.
#[derive(Clone, Debug)]
enum Change {
    Join { member: u8, topics: u8, rack: Option<u8>, is_static: bool },
    Leave { member: u8 },
    Resize { topic: u8, partitions: i32 },
    None,
}

const TOPICS: [&str; 6] = ["t0", "t1", "t2", "t3", "t4", "t5"];

fn change(alike: bool) -> impl Strategy<Value = Change> {
    let topics = if alike { 63..64_u8 } else { 0..64 };
    prop_oneof![
        4 => (0..12_u8, topics, prop::option::of(0..3_u8), any::<bool>())
            .prop_map(|(member, topics, rack, is_static)| Change::Join { member, topics, rack, is_static }),
        2 => (0..12_u8).prop_map(|member| Change::Leave { member }),
        2 => (0..6_u8, 0..9).prop_map(|(topic, partitions)| Change::Resize { topic, partitions }),
        1 => Just(Change::None),
    ]
}

fn apply(group: &mut Group, change: &Change) {
    match *change {
        Change::Join { member, topics, rack, is_static } => {
            let id = Str::from(format!("m{member:02}").as_str());
            let joined = group.members.entry(id).or_default();
            let named = TOPICS.iter().enumerate().filter(|(topic, _)| topics & (1 << topic) != 0);
            joined.topics = named.map(|(_, name)| Str::from(*name)).collect();
            joined.rack = rack.map(|rack| Str::from(format!("r{rack}").as_str()));
            joined.instance_id = is_static.then(|| Str::from(format!("i{member}").as_str()));
        }
        Change::Leave { member } => {
            group.members.remove(format!("m{member:02}").as_str());
        }
        Change::Resize { topic, partitions } => group.topics.set(TOPICS[usize::from(topic)], partitions),
        Change::None => {}
    }
}

/// Who owns each partition. Fails if two do, or one that is not subscribed.
fn owners(group: &Group) -> BTreeMap<(TopicId, i32), Str> {
    let mut owners = BTreeMap::new();
    for (id, member) in &group.members {
        for (topic, partition) in member.assigned.iter() {
            let facts = group.topics.by_id(topic).unwrap();
            assert!(partition < facts.partitions, "{id} has a partition that is not there");
            assert!(member.topics.contains(&facts.name), "{id} is not subscribed to {}", facts.name);
            assert_eq!(owners.insert((topic, partition), id.clone()), None, "two owners");
        }
    }
    owners
}

fn subscribed_partitions(group: &Group) -> usize {
    group.spec().topics.iter().map(|topic| topic.partitions as usize).sum()
}

/// How many partitions must move if members that are subscribed alike are to be balanced.
fn moves_needed(group: &Group) -> usize {
    let total = subscribed_partitions(group);
    let quota = total / group.members.len();
    let mut extra = total % group.members.len();
    let mut moves = 0;
    for size in group.sizes() {
        let may_keep = if size > quota && extra > 0 {
            extra -= 1;
            quota + 1
        } else {
            quota
        };
        moves += size.saturating_sub(may_keep);
    }
    moves
}

fn drop_what_is_gone(group: &mut Group) {
    let topics = group.topics.clone();
    for member in group.members.values_mut() {
        let there = |(topic, partition): &(TopicId, i32)| {
            let facts = topics.by_id(*topic);
            facts.is_some_and(|facts| *partition < facts.partitions && member.topics.contains(&facts.name))
        };
        member.assigned = member.assigned.iter().filter(there).collect();
    }
}

proptest! {
    #[test]
    fn every_partition_has_one_subscriber(
        changes in prop::collection::vec(change(false), 1..40), uniform in any::<bool>()
    ) {
        let assignor = if uniform { Assignor::Uniform } else { Assignor::Range };
        let mut group = Group::of(FakeTopics::of(TOPICS.map(|topic| (topic, 4))));
        for change in &changes {
            apply(&mut group, change);
            group.assign(assignor);
            prop_assert_eq!(owners(&group).len(), subscribed_partitions(&group));
            let settled = owners(&group);
            group.assign(assignor);
            prop_assert_eq!(owners(&group), settled, "nothing changed, yet something moved");
        }
    }

    #[test]
    fn uniform_is_balanced_and_moves_no_more_than_balance_needs(
        changes in prop::collection::vec(change(true), 1..40)
    ) {
        let mut group = Group::of(FakeTopics::of(TOPICS.map(|topic| (topic, 4))));
        for change in &changes {
            apply(&mut group, change);
            drop_what_is_gone(&mut group);
            if group.members.is_empty() {
                continue;
            }
            let needed = moves_needed(&group);
            let before = owners(&group);
            group.assign(Assignor::Uniform);
            let after = owners(&group);
            let moved = before.iter().filter(|(partition, owner)| after[*partition] != **owner).count();
            prop_assert_eq!(moved, needed);
            let sizes = group.sizes();
            prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{:?}", sizes);
        }
    }

    /// With different subscriptions: no single move would bring two members nearer to each other.
    #[test]
    fn uniform_leaves_no_move_that_helps(changes in prop::collection::vec(change(false), 1..40)) {
        let mut group = Group::of(FakeTopics::of(TOPICS.map(|topic| (topic, 4))));
        for change in &changes {
            apply(&mut group, change);
            group.assign(Assignor::Uniform);
            for ((topic, _), owner) in owners(&group) {
                let name = group.topics.by_id(topic).unwrap().name;
                let has = group.members[&owner].assigned.len();
                for other in group.members.values().filter(|other| other.topics.contains(&name)) {
                    prop_assert!(has <= other.assigned.len() + 1);
                }
            }
        }
    }
}
