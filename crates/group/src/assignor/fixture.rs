//! Topics and groups for the tests of assignors.

use std::collections::BTreeMap;

use ottla_wire::primitives::Str;
use ottla_wire::{TopicId, Uuid};

use crate::assignor::{Assignor, MemberSpec, Partitions, Spec};
use crate::topics::{TopicFacts, Topics};

/// Topics whose ids are made from their names.
#[derive(Clone, Default)]
pub struct FakeTopics {
    topics: BTreeMap<Str, i32>,
    racks: BTreeMap<(TopicId, i32), Vec<Str>>,
}

pub fn id(name: &str) -> TopicId {
    let mut id = [1_u8; 16];
    let len = name.len().min(16);
    id[..len].copy_from_slice(&name.as_bytes()[..len]);
    Uuid(id)
}

impl FakeTopics {
    pub fn of<const N: usize>(topics: [(&str, i32); N]) -> FakeTopics {
        let topics = topics.into_iter().map(|(name, partitions)| (name.into(), partitions)).collect();
        FakeTopics { topics, racks: BTreeMap::new() }
    }

    pub fn set(&mut self, name: &str, partitions: i32) {
        self.topics.insert(name.into(), partitions);
    }

    pub fn rack(mut self, name: &str, partition: i32, racks: &[&str]) -> FakeTopics {
        self.racks.insert((id(name), partition), racks.iter().map(|rack| Str::from(*rack)).collect());
        self
    }
}

impl Topics for FakeTopics {
    fn by_name(&self, name: &str) -> Option<TopicFacts> {
        let (name, partitions) = self.topics.get_key_value(name)?;
        Some(TopicFacts { id: id(name), name: name.clone(), partitions: *partitions })
    }

    fn by_id(&self, wanted: TopicId) -> Option<TopicFacts> {
        let (name, _) = self.topics.iter().find(|(name, _)| id(name) == wanted)?;
        self.by_name(name)
    }

    fn each_name(&self, visit: &mut dyn FnMut(&Str)) {
        self.topics.keys().for_each(visit);
    }

    fn racks(&self, id: TopicId, partition: i32) -> Vec<Str> {
        self.racks.get(&(id, partition)).cloned().unwrap_or_default()
    }
}

/// A group that is assigned again and again.
pub struct Group {
    pub topics: FakeTopics,
    pub members: BTreeMap<Str, Member>,
}

#[derive(Clone, Default)]
pub struct Member {
    pub topics: Vec<Str>,
    pub instance_id: Option<Str>,
    pub rack: Option<Str>,
    pub assigned: Partitions,
}

impl Group {
    pub fn of(topics: FakeTopics) -> Group {
        Group { topics, members: BTreeMap::new() }
    }

    pub fn join(&mut self, member: &str, topics: &[&str]) -> &mut Member {
        let topics = topics.iter().map(|topic| Str::from(*topic)).collect();
        self.members.insert(member.into(), Member { topics, ..Member::default() });
        self.members.get_mut(member).unwrap()
    }

    pub fn assign(&mut self, assignor: Assignor) {
        let assigned = assignor.assign(&self.spec());
        for (member, partitions) in self.members.values_mut().zip(assigned) {
            member.assigned = partitions;
        }
    }

    /// The partitions of a member, as `topic-partition`.
    pub fn of_member(&self, member: &str) -> Vec<String> {
        let mut named: Vec<String> = Vec::new();
        for (topic, partition) in self.members[member].assigned.iter() {
            named.push(format!("{}-{partition}", self.topics.by_id(topic).unwrap().name));
        }
        named
    }

    pub fn sizes(&self) -> Vec<usize> {
        self.members.values().map(|member| member.assigned.len()).collect()
    }

    pub fn spec(&self) -> Spec<'_> {
        let mut topics = Vec::new();
        self.topics.each_name(&mut |name| {
            if self.members.values().any(|member| member.topics.contains(name)) {
                topics.push(self.topics.by_name(name).unwrap());
            }
        });
        let mut subscriptions: Vec<Vec<usize>> = Vec::new();
        let mut members = Vec::new();
        for (id, member) in &self.members {
            let subscription: Vec<usize> =
                (0..topics.len()).filter(|topic| member.topics.contains(&topics[*topic].name)).collect();
            let known = subscriptions.iter().position(|known| *known == subscription);
            let position = known.unwrap_or_else(|| {
                subscriptions.push(subscription);
                subscriptions.len() - 1
            });
            members.push(MemberSpec {
                id: id.clone(),
                instance_id: member.instance_id.clone(),
                rack: member.rack.clone(),
                subscription: position,
                before: Some(&member.assigned),
            });
        }
        Spec { topics, subscriptions, members, facts: &self.topics }
    }
}
