//! Tables of what each assignor does, and the laws that all of them keep.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::cluster::TopicPartition;

/// `"a: t u | t-0 t-1"`: a member, its topics, what it owns (in generation 1, or as `t-0@2` in another).
fn member(line: &str) -> Member {
    let (id, rest) = line.split_once(':').unwrap();
    let (topics, owned) = rest.split_once('|').unwrap_or((rest, ""));
    let (mut generation, mut partitions) = (1, BTreeSet::new());
    for word in owned.split_whitespace() {
        let (of, in_generation) = word.split_once('@').unwrap_or((word, "1"));
        let (topic, partition) = of.split_once('-').unwrap();
        partitions.insert(TopicPartition::new(topic, partition.parse().unwrap()));
        generation = in_generation.parse().unwrap();
    }
    let (id, instance) = match id.split_once('=') {
        Some((id, instance)) => (id, Some(Str::from(instance))),
        None => (id, None),
    };
    let topics = topics.split_whitespace().map(Str::from).collect();
    Member { id: id.into(), instance, topics, owned: partitions, generation }
}

fn shown(assignments: &Assignments) -> String {
    let member = |(id, partitions): (&Str, &BTreeSet<TopicPartition>)| {
        let partitions: Vec<String> = partitions.iter().map(TopicPartition::to_string).collect();
        format!("{id}: {}", partitions.join(" ")).trim_end().to_owned()
    };
    assignments.iter().map(member).collect::<Vec<_>>().join("; ")
}

#[test]
fn each_shares_in_its_way() {
    use Assignor::{CooperativeSticky, Range, RoundRobin};
    for (name, assignor, members, topics, expected) in [
        (
            "range cuts each topic",
            Range,
            &["a: t u", "b: t u"][..],
            &[("t", 3), ("u", 3)][..],
            "a: t-0 t-1 u-0 u-1; b: t-2 u-2",
        ),
        ("range: more members than partitions", Range, &["a: t", "b: t"], &[("t", 1)], "a: t-0; b:"),
        ("range: only subscribers", Range, &["a: t", "b: u"], &[("t", 2), ("u", 1)], "a: t-0 t-1; b: u-0"),
        (
            "range: static members first, by instance",
            Range,
            &["a: t", "b=2: t", "c=1: t"],
            &[("t", 3)],
            "a: t-2; b: t-1; c: t-0",
        ),
        (
            "round robin goes on over topics",
            RoundRobin,
            &["a: t u", "b: t u"],
            &[("t", 3), ("u", 3)],
            "a: t-0 t-2 u-1; b: t-1 u-0 u-2",
        ),
        (
            "round robin passes over who is not subscribed",
            RoundRobin,
            &["a: t u", "b: u"],
            &[("t", 2), ("u", 2)],
            "a: t-0 t-1 u-1; b: u-0",
        ),
        ("a topic that nobody wants", RoundRobin, &["a: t"], &[("t", 1), ("u", 1)], "a: t-0"),
        ("a topic that is not there", CooperativeSticky, &["a: t"], &[], "a:"),
        (
            "sticky starts balanced",
            CooperativeSticky,
            &["a: t", "b: t"],
            &[("t", 4)],
            "a: t-0 t-2; b: t-1 t-3",
        ),
        (
            "sticky keeps",
            CooperativeSticky,
            &["a: t | t-2 t-3", "b: t | t-0 t-1"],
            &[("t", 4)],
            "a: t-2 t-3; b: t-0 t-1",
        ),
        (
            "what is to move is given up first",
            CooperativeSticky,
            &["a: t | t-0 t-1 t-2", "b: t"],
            &[("t", 3)],
            "a: t-0 t-1; b:",
        ),
        (
            "then it is taken",
            CooperativeSticky,
            &["a: t | t-0 t-1", "b: t"],
            &[("t", 3)],
            "a: t-0 t-1; b: t-2",
        ),
        (
            "the newer claim counts",
            CooperativeSticky,
            &["a: t | t-0@1 t-1@1", "b: t | t-0@2"],
            &[("t", 2)],
            "a: t-1; b: t-0",
        ),
        (
            "two equal claims: both give up",
            CooperativeSticky,
            &["a: t | t-0", "b: t | t-0"],
            &[("t", 1)],
            "a:; b:",
        ),
        ("a partition that is gone", CooperativeSticky, &["a: t | t-0 t-9"], &[("t", 1)], "a: t-0"),
        (
            "not subscribed any more",
            CooperativeSticky,
            &["a: u | t-0", "b: t"],
            &[("t", 1), ("u", 1)],
            "a: u-0; b:",
        ),
    ] {
        let topics = topics.iter().map(|&(topic, partitions)| (Str::from(topic), partitions)).collect();
        let members = members.iter().map(|line| member(line)).collect();
        assert_eq!(shown(&assignor.assign(members, &topics)), expected, "{name}");
    }
}

#[test]
fn names_are_kafkas() {
    for assignor in Assignor::ALL {
        assert_eq!(Assignor::from_name(assignor.name()), Some(assignor));
    }
    assert_eq!(Assignor::from_name("sticky"), None);
}

const TOPICS: [&str; 4] = ["t0", "t1", "t2", "t3"];

fn some_topics() -> impl Strategy<Value = BTreeMap<Str, i32>> {
    prop::collection::vec(0..9i32, TOPICS.len()).prop_map(|counts| {
        TOPICS.iter().zip(counts).map(|(&topic, count)| (Str::from(topic), count)).collect()
    })
}

fn some_members() -> impl Strategy<Value = Vec<Member>> {
    prop::collection::vec(prop::collection::vec(any::<bool>(), TOPICS.len()), 1..7).prop_map(|members| {
        let topics =
            |of: Vec<bool>| TOPICS.iter().zip(of).filter(|(_, is)| *is).map(|(&t, _)| t.into()).collect();
        let new = |(index, of): (usize, Vec<bool>)| Member {
            id: format!("m{index}").into(),
            instance: None,
            topics: topics(of),
            owned: BTreeSet::new(),
            generation: -1,
        };
        members.into_iter().enumerate().map(new).collect()
    })
}

/// Rebalances as a cooperative group does: until nobody has to give anything up.
fn settle(members: &mut [Member], topics: &BTreeMap<Str, i32>) -> Assignments {
    for generation in 1..5 {
        let assignments = Assignor::CooperativeSticky.assign(members.to_vec(), topics);
        let mut gave_up = false;
        for member in members.iter_mut() {
            let assigned = &assignments[&member.id];
            gave_up |= member.owned.difference(assigned).next().is_some();
            (member.owned, member.generation) = (assigned.clone(), generation);
        }
        if !gave_up {
            return assignments;
        }
    }
    panic!("the group does not settle");
}

fn check_each_has_one_subscribed_owner(members: &[Member], topics: &BTreeMap<Str, i32>, got: &Assignments) {
    for (topic, &count) in topics {
        for partition in 0..count {
            let of = TopicPartition { topic: topic.clone(), partition };
            let owners: Vec<_> = members.iter().filter(|member| got[&member.id].contains(&of)).collect();
            let wanted = members.iter().any(|member| member.topics.contains(topic));
            assert_eq!(owners.len(), usize::from(wanted), "{of} of {got:?}");
            assert!(owners.iter().all(|owner| owner.topics.contains(topic)), "{of} of {got:?}");
        }
    }
}

/// Nobody could take a partition from one who has at least two more.
fn check_balanced(members: &[Member], got: &Assignments) {
    for rich in members {
        for poor in members {
            let takes = got[&rich.id].iter().any(|of| poor.topics.contains(&of.topic));
            assert!(
                !takes || got[&rich.id].len() <= got[&poor.id].len() + 1,
                "{} to {}: {got:?}",
                rich.id,
                poor.id
            );
        }
    }
}

proptest! {
    #[test]
    fn every_partition_has_one_subscribed_owner(topics in some_topics(), mut members in some_members()) {
        for assignor in [Assignor::Range, Assignor::RoundRobin] {
            let got = assignor.assign(members.clone(), &topics);
            check_each_has_one_subscribed_owner(&members, &topics, &got);
        }
        let got = settle(&mut members, &topics);
        check_each_has_one_subscribed_owner(&members, &topics, &got);
        check_balanced(&members, &got);
    }

    #[test]
    fn equal_subscriptions_are_shared_equally(topics in some_topics(), count in 1..9usize) {
        let all: BTreeSet<Str> = TOPICS.map(Str::from).into();
        let new = |index| Member { topics: all.clone(), ..member(&format!("m{index}:")) };
        let mut members: Vec<Member> = (0..count).map(new).collect();
        for assignments in
            [Assignor::RoundRobin.assign(members.clone(), &topics), settle(&mut members, &topics)]
        {
            let counts = assignments.values().map(BTreeSet::len);
            prop_assert!(counts.clone().max().unwrap() - counts.min().unwrap() <= 1, "{assignments:?}");
        }
    }

    /// When members come and go, the group ends balanced, and with equal subscriptions nobody gains and loses
    /// at once.
    #[test]
    fn nothing_moves_without_need(
        topics in some_topics(), mut members in some_members(), leaver in any::<prop::sample::Index>(), equal in any::<bool>()
    ) {
        if equal {
            members.iter_mut().for_each(|member| member.topics = TOPICS.map(Str::from).into());
        }
        let before = settle(&mut members, &topics);
        prop_assert_eq!(&settle(&mut members, &topics), &before);
        let mut joined = members[0].clone();
        (joined.id, joined.owned) = ("new".into(), BTreeSet::new());
        members.remove(leaver.index(members.len()));
        members.push(joined);
        let after = settle(&mut members, &topics);
        check_each_has_one_subscribed_owner(&members, &topics, &after);
        check_balanced(&members, &after);
        for member in members.iter().filter(|member| equal && member.id != "new") {
            let (had, has) = (&before[&member.id], &after[&member.id]);
            let (lost, gained) = (had.difference(has).count(), has.difference(had).count());
            prop_assert!(lost == 0 || gained == 0, "{} had {had:?}, has {has:?}", member.id);
        }
    }

    /// No step of a cooperative rebalance gives a partition to one member while another still has it.
    #[test]
    fn no_partition_is_taken_before_it_is_given_up(
        topics in some_topics(), mut members in some_members(), shift in 0..5usize
    ) {
        settle(&mut members, &topics);
        let subscriptions: Vec<_> = members.iter().map(|member| member.topics.clone()).collect();
        for (index, member) in members.iter_mut().enumerate() {
            member.topics = subscriptions[(index + shift) % subscriptions.len()].clone();
        }
        let got = Assignor::CooperativeSticky.assign(members.clone(), &topics);
        for taker in &members {
            for giver in members.iter().filter(|giver| giver.id != taker.id) {
                let both: Vec<_> = got[&taker.id].intersection(&giver.owned).collect();
                prop_assert!(both.is_empty(), "{} takes {both:?} of {}", taker.id, giver.id);
            }
        }
    }
}
