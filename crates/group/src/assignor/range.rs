//! Ranges: neighbouring partitions of a topic go to one member.
//!
//! Members are ordered by instance id, those without one behind them by member id, and each topic is cut into
//! ranges in that order. So members that are subscribed alike get the same partitions of topics that have
//! equally many: what was written with equal keys is read by one member. A static member that comes back has
//! its old place. Kafka's broker looks neither at racks nor at the assignment before, so neither do we.

use crate::assignor::partitions::Partitions;
use crate::assignor::spec::{MemberSpec, Spec};

/// The partitions of each member, in the order of [`Spec::members`].
pub fn assign(spec: &Spec<'_>) -> Vec<Partitions> {
    let mut cuts = cuts(spec);
    let mut assignments = vec![Partitions::default(); spec.members.len()];
    for member in ordered(&spec.members) {
        for &topic in &spec.subscriptions[spec.members[member].subscription] {
            let id = spec.topics[topic].id;
            for partition in cuts[topic].next_range() {
                assignments[member].insert(id, partition);
            }
        }
    }
    assignments
}

/// A topic that is being cut into ranges.
struct Cut {
    start: i32,
    quota: i32,
    /// Members that are still to get one partition more than the quota.
    extra: i32,
}

impl Cut {
    fn next_range(&mut self) -> std::ops::Range<i32> {
        let len = self.quota + i32::from(self.extra > 0);
        self.extra = (self.extra - 1).max(0);
        let range = self.start..self.start + len;
        self.start = range.end;
        range
    }
}

fn cuts(spec: &Spec<'_>) -> Vec<Cut> {
    let mut subscribers = vec![0_i32; spec.topics.len()];
    for member in &spec.members {
        for &topic in &spec.subscriptions[member.subscription] {
            subscribers[topic] += 1;
        }
    }
    let cut = |(topic, subscribers): (usize, i32)| {
        let partitions = spec.topics[topic].partitions.max(0);
        let subscribers = subscribers.max(1);
        Cut { start: 0, quota: partitions / subscribers, extra: partitions % subscribers }
    };
    subscribers.into_iter().enumerate().map(cut).collect()
}

/// Positions of members: static ones by instance id, then the others by member id.
fn ordered(members: &[MemberSpec<'_>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by(|&a, &b| {
        let key = |member: &MemberSpec<'_>| (member.instance_id.is_none(), member.instance_id.clone());
        let (a, b) = (&members[a], &members[b]);
        key(a).cmp(&key(b)).then_with(|| a.id.cmp(&b.id))
    });
    order
}
