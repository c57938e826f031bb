//! Cooperative sticky (KIP-429, KIP-54): members keep what they own, what nobody owns goes to those with the
//! least, and then partitions move from those with more to those with less until no move helps. A partition
//! that another member still owns is given to nobody in this round: its owner gives it up first, and the
//! group rebalances again.

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::primitives::Str;

use super::shares::{Assignments, Member, nothing};
use crate::cluster::TopicPartition;

pub(super) fn assign(members: &[Member], topics: &BTreeMap<Str, i32>) -> Assignments {
    let mut assignments = nothing(members);
    if members.is_empty() {
        return assignments;
    }
    let mut sharing = Sharing::new(members, topics);
    sharing.keep_claims();
    sharing.share_the_rest();
    sharing.balance();
    for (topic, holders) in sharing.topics.iter().zip(&sharing.holders) {
        for (&member, partitions) in holders {
            let of =
                partitions.iter().map(|&partition| TopicPartition { topic: topic.name.clone(), partition });
            let free = of.filter(|of| sharing.may_take(member, of));
            assignments.entry(members[member].id.clone()).or_default().extend(free);
        }
    }
    assignments
}

/// A topic that is to be shared.
struct Topic<'a> {
    name: &'a Str,
    partitions: i32,
    /// Indexes of the members that subscribe to it.
    subscribers: Vec<usize>,
}

struct Sharing<'a> {
    members: &'a [Member],
    topics: Vec<Topic<'a>>,
    /// For each topic: its partitions by the member that holds them.
    holders: Vec<BTreeMap<usize, BTreeSet<i32>>>,
    /// How many partitions each member holds.
    load: Vec<usize>,
    claimed: BTreeMap<TopicPartition, Vec<usize>>,
}

impl<'a> Sharing<'a> {
    fn new(members: &'a [Member], topics: &'a BTreeMap<Str, i32>) -> Sharing<'a> {
        let mut topics: Vec<Topic<'a>> = topics
            .iter()
            .map(|(name, &partitions)| {
                let subscribers =
                    members.iter().enumerate().filter(|(_, member)| member.topics.contains(name));
                Topic { name, partitions, subscribers: subscribers.map(|(index, _)| index).collect() }
            })
            .filter(|topic| !topic.subscribers.is_empty())
            .collect();
        // Those with the fewest who could take them first, while there is still a choice of whom to give the
        // others.
        topics.sort_by_key(|topic| topic.subscribers.len());
        Sharing {
            holders: vec![BTreeMap::new(); topics.len()],
            load: vec![0; members.len()],
            claimed: claimants(members),
            topics,
            members,
        }
    }

    fn keep_claims(&mut self) {
        for index in 0..self.topics.len() {
            let topic = &self.topics[index];
            for partition in 0..topic.partitions {
                let of = TopicPartition { topic: topic.name.clone(), partition };
                let keeper = self.claimed.get(&of).and_then(|claimants| owner(self.members, claimants));
                if let Some(keeper) = keeper.filter(|keeper| topic.subscribers.contains(keeper)) {
                    self.holders[index].entry(keeper).or_default().insert(partition);
                    self.load[keeper] += 1;
                }
            }
        }
    }

    fn share_the_rest(&mut self) {
        for index in 0..self.topics.len() {
            let held: BTreeSet<i32> = self.holders[index].values().flatten().copied().collect();
            for partition in (0..self.topics[index].partitions).filter(|partition| !held.contains(partition))
            {
                let Some(taker) = self.least_loaded(index) else { break };
                self.holders[index].entry(taker).or_default().insert(partition);
                self.load[taker] += 1;
            }
        }
    }

    /// Each move makes two loads more equal, so this ends.
    fn balance(&mut self) {
        let mut moved = true;
        while moved {
            moved = false;
            for index in 0..self.topics.len() {
                while self.move_one(index) {
                    moved = true;
                }
            }
        }
    }

    /// Moves one partition of a topic from the holder with the most to the subscriber with the least, if that
    /// has at least two less.
    fn move_one(&mut self, index: usize) -> bool {
        let Some(to) = self.least_loaded(index) else { return false };
        let most = self.holders[index].iter().filter(|(_, partitions)| !partitions.is_empty());
        let Some(from) = most.map(|(&holder, _)| holder).max_by_key(|&holder| self.load[holder]) else {
            return false;
        };
        if self.load[from] < self.load[to] + 2 {
            return false;
        }
        let Some(partition) = self.choose(index, from, to) else { return false };
        self.holders[index].entry(from).or_default().remove(&partition);
        self.holders[index].entry(to).or_default().insert(partition);
        self.load[from] -= 1;
        self.load[to] += 1;
        true
    }

    /// Best one that the taker had, then one that the giver did not have, then any.
    fn choose(&self, index: usize, from: usize, to: usize) -> Option<i32> {
        let claims = |member: usize, partition: i32| {
            let of = TopicPartition { topic: self.topics[index].name.clone(), partition };
            self.claimed.get(&of).is_some_and(|claimants| claimants.contains(&member))
        };
        let held = self.holders[index].get(&from)?;
        held.iter().copied().max_by_key(|&partition| (claims(to, partition), !claims(from, partition)))
    }

    /// Whether nobody else has to give the partition up first. One who owns it keeps it, whatever older
    /// generations say.
    fn may_take(&self, member: usize, of: &TopicPartition) -> bool {
        let Some(claimants) = self.claimed.get(of) else { return true };
        claimants.iter().all(|&claimant| claimant == member) || owner(self.members, claimants) == Some(member)
    }

    fn least_loaded(&self, index: usize) -> Option<usize> {
        self.topics[index].subscribers.iter().copied().min_by_key(|&member| self.load[member])
    }
}

/// Who says that a partition is theirs, by their index.
fn claimants(members: &[Member]) -> BTreeMap<TopicPartition, Vec<usize>> {
    let mut claimed: BTreeMap<TopicPartition, Vec<usize>> = BTreeMap::new();
    for (index, member) in members.iter().enumerate() {
        for partition in &member.owned {
            claimed.entry(partition.clone()).or_default().push(index);
        }
    }
    claimed
}

/// The one whose claim is of the newest generation; nobody if two have that (KIP-792).
fn owner(members: &[Member], claimants: &[usize]) -> Option<usize> {
    let newest = claimants.iter().map(|&index| members[index].generation).max()?;
    let mut newest = claimants.iter().filter(|&&index| members[index].generation == newest);
    match (newest.next(), newest.next()) {
        (Some(&owner), None) => Some(owner),
        _ => None,
    }
}
