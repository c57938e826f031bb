//! Uniform: members have as many partitions as their subscriptions allow, and partitions stay with who has
//! them.
//!
//! Three steps: each member keeps what it had, as far as balance allows; what has no owner goes to the
//! subscriber with the fewest partitions; and where subscriptions differ, partitions move from fuller to
//! emptier members until no move helps. Racks decide between members that have equally many, and which
//! partitions a member with too many keeps.

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::primitives::Str;

use crate::assignor::partitions::Partitions;
use crate::assignor::spec::Spec;

/// Passes over all topics to even out members with different subscriptions. Each pass brings them nearer; a
/// few suffice.
const PASSES_MAX: usize = 16;

/// The partitions of each member, in the order of [`Spec::members`].
pub fn assign(spec: &Spec<'_>) -> Vec<Partitions> {
    if spec.members.is_empty() {
        return Vec::new();
    }
    let mut plan = Plan::of(spec);
    match spec.subscriptions.len() {
        1 => plan.keep_within_quota(),
        _ => plan.keep_everything(),
    }
    plan.fill();
    if spec.subscriptions.len() > 1 {
        plan.even_out();
    }
    plan.into_assignments()
}

/// An assignment that is being made. Members and topics are named by their positions.
struct Plan<'a> {
    spec: &'a Spec<'a>,
    /// By topic, by partition.
    owners: Vec<Vec<Option<usize>>>,
    /// The owners in the assignment before, as far as they are still subscribed.
    before: Vec<Vec<Option<usize>>>,
    /// Partitions of each member.
    loads: Vec<usize>,
    /// Topics that the same members are subscribed to, those with the fewest subscribers first.
    kin: Vec<Kin>,
    racks_matter: bool,
}

/// Topics with the same subscribers.
struct Kin {
    topics: Vec<usize>,
    members: Vec<usize>,
}

impl<'a> Plan<'a> {
    fn of(spec: &'a Spec<'a>) -> Plan<'a> {
        let unowned = || (0..spec.topics.len()).map(|topic| vec![None; spec.partitions(topic)]).collect();
        let mut plan = Plan {
            spec,
            owners: unowned(),
            before: unowned(),
            loads: vec![0; spec.members.len()],
            kin: kin(spec),
            racks_matter: spec.members.iter().any(|member| member.rack.is_some()),
        };
        plan.recall();
        plan
    }

    /// Fills in who had what. A partition that two had counts for the first.
    fn recall(&mut self) {
        let positions = self.spec.positions();
        for (member, facts) in self.spec.members.iter().enumerate() {
            let subscribed = &self.spec.subscriptions[facts.subscription];
            for (id, partitions) in facts.before.iter().flat_map(|before| before.topics()) {
                let Some(&topic) = positions.get(&id) else { continue };
                if subscribed.binary_search(&topic).is_err() {
                    continue;
                }
                for &partition in partitions {
                    let slot = usize::try_from(partition).ok().and_then(|p| self.before[topic].get_mut(p));
                    if let Some(slot @ None) = slot {
                        *slot = Some(member);
                    }
                }
            }
        }
    }

    fn keep_everything(&mut self) {
        self.owners.clone_from(&self.before);
        for member in self.owners.iter().flatten().flatten() {
            self.loads[*member] += 1;
        }
    }

    /// All members are subscribed alike: each keeps at most its share, so that what is left makes all equal.
    fn keep_within_quota(&mut self) {
        let total: usize = self.owners.iter().map(Vec::len).sum();
        let quota = total / self.loads.len();
        let mut extra = total % self.loads.len();
        for (member, mut had) in self.had().into_iter().enumerate() {
            let kept = match had.len() > quota && extra > 0 {
                true => {
                    extra -= 1;
                    quota + 1
                }
                false => quota.min(had.len()),
            };
            if kept < had.len() && self.spec.members[member].rack.is_some() {
                had.sort_by_key(|&(topic, partition)| !self.is_near(member, topic, partition));
            }
            for &(topic, partition) in &had[..kept] {
                self.give(topic, partition, member);
            }
        }
    }

    /// The previous partitions of each member, in order.
    fn had(&self) -> Vec<Vec<(usize, usize)>> {
        let mut had = vec![Vec::new(); self.loads.len()];
        for (topic, owners) in self.before.iter().enumerate() {
            for (partition, owner) in owners.iter().enumerate() {
                if let Some(owner) = owner {
                    had[*owner].push((topic, partition));
                }
            }
        }
        had
    }

    /// Gives what has no owner to the subscribers with the fewest partitions.
    fn fill(&mut self) {
        for index in 0..self.kin.len() {
            let mut pool = Pool::of(self, &self.kin[index].members);
            for topic in self.kin[index].topics.clone() {
                for partition in 0..self.owners[topic].len() {
                    if self.owners[topic][partition].is_none()
                        && let Some(member) = pool.take(&self.racks(topic, partition))
                    {
                        self.give(topic, partition, member);
                        pool.put(self, member);
                    }
                }
            }
        }
    }

    fn even_out(&mut self) {
        for _ in 0..PASSES_MAX {
            let mut moved = false;
            for index in 0..self.kin.len() {
                for topic in self.kin[index].topics.clone() {
                    moved |= self.even_out_topic(index, topic);
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// Moves partitions of one topic while that brings two of its subscribers nearer to each other.
    fn even_out_topic(&mut self, kin: usize, topic: usize) -> bool {
        let fullest = self.owners[topic].iter().flatten().map(|owner| self.loads[*owner]).max();
        let emptiest = self.kin[kin].members.iter().map(|member| self.loads[*member]).min();
        let (Some(fullest), Some(emptiest)) = (fullest, emptiest) else { return false };
        if fullest <= emptiest + 1 {
            return false;
        }
        let mut owned: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for (partition, owner) in self.owners[topic].iter().enumerate() {
            if let Some(owner) = owner {
                owned.entry(*owner).or_default().insert(partition);
            }
        }
        let mut givers: BTreeSet<_> = owned.keys().map(|member| (self.loads[*member], *member)).collect();
        let mut pool = Pool::of(self, &self.kin[kin].members);
        let mut moved = false;
        while let (Some(&(most, from)), Some(&(least, _))) = (givers.last(), pool.all.first())
            && most > least + 1
        {
            let Some(to) = pool.take(&[]) else { break };
            let Some(partition) = owned.get(&from).and_then(|has| self.to_move(topic, has, from, to)) else {
                break;
            };
            pool.remove(self, from);
            givers.remove(&(self.loads[from], from));
            givers.remove(&(self.loads[to], to));
            self.loads[from] -= 1;
            self.give(topic, partition, to);
            pool.put(self, from);
            pool.put(self, to);
            owned.entry(to).or_default().insert(partition);
            givers.insert((self.loads[to], to));
            if let Some(has) = owned.get_mut(&from) {
                has.remove(&partition);
                if !has.is_empty() {
                    givers.insert((self.loads[from], from));
                }
            }
            moved = true;
        }
        moved
    }

    /// The partition that is best to move: one that goes home, else one that is not at home, else the last.
    fn to_move(&self, topic: usize, has: &BTreeSet<usize>, from: usize, to: usize) -> Option<usize> {
        let before = &self.before[topic];
        let goes_home = has.iter().find(|partition| before[**partition] == Some(to));
        let stranger = || has.iter().find(|partition| before[**partition] != Some(from));
        goes_home.or_else(stranger).or_else(|| has.last()).copied()
    }

    fn give(&mut self, topic: usize, partition: usize, member: usize) {
        self.owners[topic][partition] = Some(member);
        self.loads[member] += 1;
    }

    fn racks(&self, topic: usize, partition: usize) -> Vec<Str> {
        match (self.racks_matter, i32::try_from(partition)) {
            (true, Ok(partition)) => self.spec.facts.racks(self.spec.topics[topic].id, partition),
            (true, Err(_)) | (false, _) => Vec::new(),
        }
    }

    fn is_near(&self, member: usize, topic: usize, partition: usize) -> bool {
        let rack = &self.spec.members[member].rack;
        rack.as_ref().is_some_and(|rack| self.racks(topic, partition).contains(rack))
    }

    fn into_assignments(self) -> Vec<Partitions> {
        let mut assignments = vec![Partitions::default(); self.loads.len()];
        for (topic, owners) in self.spec.topics.iter().zip(&self.owners) {
            for (partition, owner) in (0..topic.partitions).zip(owners) {
                if let Some(owner) = owner {
                    assignments[*owner].insert(topic.id, partition);
                }
            }
        }
        assignments
    }
}

/// Members by how many partitions they have.
struct Pool {
    all: BTreeSet<(usize, usize)>,
    by_rack: BTreeMap<Str, BTreeSet<(usize, usize)>>,
}

impl Pool {
    fn of(plan: &Plan<'_>, members: &[usize]) -> Pool {
        let mut pool = Pool { all: BTreeSet::new(), by_rack: BTreeMap::new() };
        for &member in members {
            pool.put(plan, member);
        }
        pool
    }

    fn put(&mut self, plan: &Plan<'_>, member: usize) {
        let entry = (plan.loads[member], member);
        self.all.insert(entry);
        if let Some(rack) = &plan.spec.members[member].rack {
            self.by_rack.entry(rack.clone()).or_default().insert(entry);
        }
    }

    fn remove(&mut self, plan: &Plan<'_>, member: usize) {
        self.forget((plan.loads[member], member));
    }

    /// Takes out the member with the fewest partitions; among equals the first that is in one of `racks`.
    fn take(&mut self, racks: &[Str]) -> Option<usize> {
        let least = *self.all.first()?;
        let near = racks.iter().filter_map(|rack| self.by_rack.get(rack)?.first());
        let chosen = near.filter(|near| near.0 == least.0).min().copied().unwrap_or(least);
        self.forget(chosen);
        Some(chosen.1)
    }

    fn forget(&mut self, entry: (usize, usize)) {
        self.all.remove(&entry);
        for members in self.by_rack.values_mut() {
            members.remove(&entry);
        }
    }
}

fn kin(spec: &Spec<'_>) -> Vec<Kin> {
    let mut by_subscriptions: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
    for (topic, subscriptions) in spec.subscriptions_by_topic().into_iter().enumerate() {
        by_subscriptions.entry(subscriptions).or_default().push(topic);
    }
    let mut kin: Vec<Kin> = by_subscriptions
        .into_iter()
        .map(|(subscriptions, topics)| {
            let subscribed =
                |member: &usize| subscriptions.binary_search(&spec.members[*member].subscription).is_ok();
            Kin { topics, members: (0..spec.members.len()).filter(subscribed).collect() }
        })
        .collect();
    kin.sort_by_key(|kin| kin.members.len());
    kin
}
