//! The state in the records of a consumer group, and facts derived from it.
//!
//! Nothing changes it but records: a step writes one and applies it here, as loading does. So the state of a
//! coordinator that takes over is that of the one before.

use std::collections::BTreeMap;

use ottla_wire::TopicId;
use ottla_wire::messages::consumer_group_target_assignment_member_value::TopicPartition;
use ottla_wire::messages::*;
use ottla_wire::primitives::Str;

use crate::assignor::Partitions;
use crate::consumer::member::{Current, INITIAL_EPOCH, Member};
use crate::consumer::topic_regex::Resolved;
use crate::counted::{Counted, CountedMap};
use crate::memory::{of_map, of_text};
use crate::record::GroupRecord;

/// The lasting state of a group.
pub struct Lasting {
    pub epoch: i32,
    pub metadata_hash: i64,
    pub target: Target,
    /// The log has a record that Kafka wrote before 4.1. It must be removed.
    pub has_partition_metadata: bool,
    members: CountedMap<Str, Member>,
    regexes: CountedMap<Str, Resolved>,
    facts: Facts,
}

/// The assignment that members move to.
pub struct Target {
    pub epoch: i32,
    /// Wall clock, in milliseconds.
    pub assigned_at: i64,
    pub by_member: CountedMap<Str, Partitions>,
}

/// Facts derived from the members, kept up to date to avoid searches.
#[derive(Default)]
struct Facts {
    members_by_instance: BTreeMap<Str, Str>,
    owners: BTreeMap<(TopicId, i32), Str>,
    /// Members and regular expressions that want a topic.
    topics: Counts,
    /// Counts the changes of which topics are wanted.
    topics_version: u64,
    /// Members with a regular expression.
    regexes: Counts,
    assignors: Counts,
    /// Members that speak the classic protocol, and the protocols that they know.
    classic_members: usize,
    classic_protocols: Counts,
    /// Members that are where the target wants them.
    reconciled: usize,
}

/// Counts by name. Nothing is counted zero times.
#[derive(Default)]
struct Counts(BTreeMap<Str, usize>);

impl Default for Lasting {
    fn default() -> Lasting {
        Lasting {
            epoch: INITIAL_EPOCH,
            metadata_hash: 0,
            target: Target { epoch: INITIAL_EPOCH, assigned_at: 0, by_member: CountedMap::default() },
            has_partition_metadata: false,
            members: CountedMap::default(),
            regexes: CountedMap::default(),
            facts: Facts::default(),
        }
    }
}

impl Lasting {
    pub fn members(&self) -> &BTreeMap<Str, Member> {
        &self.members
    }

    pub fn member(&self, id: &str) -> Option<&Member> {
        self.members.get(id)
    }

    /// The member with an instance id.
    pub fn instance(&self, instance: &str) -> Option<(&Str, &Member)> {
        self.members.get_key_value(self.facts.members_by_instance.get(instance)?)
    }

    pub fn regexes(&self) -> &BTreeMap<Str, Resolved> {
        &self.regexes
    }

    /// The expressions that members are subscribed by.
    pub fn subscribed_regexes(&self) -> impl ExactSizeIterator<Item = &Str> {
        self.facts.regexes.0.keys()
    }

    /// Members that are subscribed by an expression.
    pub fn members_by_regex(&self, regex: &str) -> usize {
        self.facts.regexes.of(regex)
    }

    /// The topics that members want, by name or by expression.
    pub fn topics(&self) -> impl Iterator<Item = &Str> {
        self.facts.topics.0.keys()
    }

    /// A number that changes whenever the wanted topics change.
    pub fn topics_version(&self) -> u64 {
        self.facts.topics_version
    }

    pub fn wants(&self, topic: &str) -> bool {
        self.facts.topics.of(topic) > 0
    }

    /// Whether a member is subscribed to a topic, by name or by expression.
    pub fn is_subscribed(&self, member: &Member, topic: &Str) -> bool {
        let by_regex = || {
            let resolved = member.regex().and_then(|regex| self.regexes.get(regex));
            resolved.is_some_and(|resolved| resolved.topics.contains(topic))
        };
        member.metadata.subscribed_topic_names.binary_search(topic).is_ok() || by_regex()
    }

    /// Whether a member other than `member` has a partition. One that is still giving it up has it.
    pub fn is_taken(&self, member: &str, topic: TopicId, partition: i32) -> bool {
        self.facts.owners.get(&(topic, partition)).is_some_and(|owner| *owner != member)
    }

    /// How many members want each assignor.
    pub fn assignors(&self) -> &BTreeMap<Str, usize> {
        &self.facts.assignors.0
    }

    pub fn classic_members(&self) -> usize {
        self.facts.classic_members
    }

    /// Whether every member that speaks the classic protocol knows `protocol`.
    pub fn all_know(&self, protocol: &str) -> bool {
        self.facts.classic_protocols.of(protocol) == self.facts.classic_members
    }

    /// Every member has what the target gives it.
    pub fn is_reconciled(&self) -> bool {
        self.epoch <= self.target.epoch && self.facts.reconciled == self.members.len()
    }

    /// Bytes that the state takes in memory.
    pub fn bytes(&self) -> usize {
        self.members.bytes() + self.target.by_member.bytes() + self.regexes.bytes() + self.facts.bytes()
    }

    /// Takes in a record of the group. A tombstone of something unknown changes nothing: its value was
    /// compacted away.
    pub fn apply(&mut self, record: GroupRecord) {
        match record {
            GroupRecord::ConsumerGroup { value: Some(value), .. } => {
                self.epoch = value.epoch;
                self.metadata_hash = value.metadata_hash;
            }
            GroupRecord::ConsumerGroupPartitions { value, .. } => {
                self.has_partition_metadata = value.is_some();
            }
            GroupRecord::ConsumerGroupMember { key, value: Some(value) } => {
                self.set_metadata(&key.member_id, value);
            }
            GroupRecord::ConsumerGroupMember { key, value: None } => self.remove_member(&key.member_id),
            GroupRecord::TargetAssignment { value, .. } => match value {
                Some(value) => self.set_target(value.assignment_epoch, value.assignment_timestamp),
                None => self.set_target(INITIAL_EPOCH, 0),
            },
            GroupRecord::TargetAssignmentMember { key, value: Some(value) } => {
                self.set_target_of(&key.member_id, Some(target_from(&value)));
            }
            GroupRecord::TargetAssignmentMember { key, value: None } => {
                self.set_target_of(&key.member_id, None);
            }
            GroupRecord::CurrentAssignment { key, value: Some(value) } => {
                self.set_current(&key.member_id, Current::from_record(&value));
            }
            GroupRecord::CurrentAssignment { key, value: None } => {
                if self.members.contains_key(&key.member_id) {
                    self.set_current(&key.member_id, Current::default());
                }
            }
            GroupRecord::RegularExpression { key, value } => {
                self.set_regex(&key.regular_expression, value.map(resolved_from));
            }
            GroupRecord::ConsumerGroup { value: None, .. } => *self = Lasting::default(),
            GroupRecord::Offset { .. } | GroupRecord::Group { .. } => {
                unreachable!("no record of a consumer group")
            }
        }
    }

    fn set_metadata(&mut self, id: &Str, mut metadata: ConsumerGroupMemberMetadataValue) {
        metadata.subscribed_topic_names.sort();
        metadata.subscribed_topic_names.dedup();
        let (id, mut member) = self.take(id);
        self.facts.forget_metadata(&id, &member.metadata);
        self.facts.note_metadata(&id, &metadata);
        member.metadata = metadata;
        self.keep(id, member);
    }

    fn set_current(&mut self, id: &Str, current: Current) {
        let (id, mut member) = self.take(id);
        self.facts.forget_current(&id, &member, self.target.epoch);
        member.current = current;
        self.facts.note_current(&id, &member, self.target.epoch);
        self.keep(id, member);
    }

    /// Takes a member out to change it; [`Lasting::keep`] puts it back. The caller keeps the facts up.
    fn take(&mut self, id: &Str) -> (Str, Member) {
        match self.members.remove_entry(id) {
            Some(known) => known,
            None => self.newcomer(id),
        }
    }

    fn keep(&mut self, id: Str, member: Member) {
        self.members.insert(id, member);
    }

    /// A new member. It counts from here on.
    fn newcomer(&mut self, id: &Str) -> (Str, Member) {
        let (id, member) = (id.detached(), Member::default());
        self.facts.note_metadata(&id, &member.metadata);
        self.facts.note_current(&id, &member, self.target.epoch);
        (id, member)
    }

    fn remove_member(&mut self, id: &Str) {
        if let Some(member) = self.members.remove(id) {
            self.facts.forget_metadata(id, &member.metadata);
            self.facts.forget_current(id, &member, self.target.epoch);
        }
    }

    fn set_target(&mut self, epoch: i32, assigned_at: i64) {
        self.target.epoch = epoch;
        self.target.assigned_at = assigned_at;
        self.facts.reconciled = self.members.values().filter(|member| member.is_reconciled_to(epoch)).count();
    }

    fn set_target_of(&mut self, member: &Str, target: Option<Partitions>) {
        match target {
            Some(target) => self.target.by_member.insert(member.detached(), target),
            None => self.target.by_member.remove(member),
        };
    }

    fn set_regex(&mut self, regex: &Str, resolved: Option<Resolved>) {
        for topic in resolved.iter().flat_map(|resolved| &resolved.topics) {
            self.facts.topics_version += u64::from(self.facts.topics.up(topic));
        }
        let before = match resolved {
            Some(resolved) => self.regexes.insert(regex.detached(), resolved),
            None => self.regexes.remove(regex),
        };
        for topic in before.iter().flat_map(|resolved| &resolved.topics) {
            self.facts.topics_version += u64::from(self.facts.topics.down(topic));
        }
    }
}

impl Counted<Str> for Partitions {
    fn bytes(&self, member: &Str) -> usize {
        of_text(member) + self.bytes()
    }
}

impl Counted<Str> for Resolved {
    /// Names of topics are those of the metadata image.
    fn bytes(&self, regex: &Str) -> usize {
        of_text(regex) + of_map::<Str, ()>(self.topics.len())
    }
}

impl Facts {
    /// Bytes that they take in memory. Names share the memory of the members'.
    fn bytes(&self) -> usize {
        let counts = [&self.topics, &self.regexes, &self.assignors, &self.classic_protocols];
        of_map::<Str, Str>(self.members_by_instance.len())
            + of_map::<(TopicId, i32), Str>(self.owners.len())
            + counts.into_iter().map(|counts| of_map::<Str, usize>(counts.0.len())).sum::<usize>()
    }

    fn note_metadata(&mut self, id: &Str, metadata: &ConsumerGroupMemberMetadataValue) {
        if let Some(instance) = &metadata.instance_id {
            self.members_by_instance.insert(instance.clone(), id.clone());
        }
        for topic in &metadata.subscribed_topic_names {
            self.topics_version += u64::from(self.topics.up(topic));
        }
        if let Some(regex) = super::member::regex_of(metadata) {
            self.regexes.up(regex);
        }
        if let Some(assignor) = &metadata.server_assignor {
            self.assignors.up(assignor);
        }
        if let Some(classic) = &metadata.classic_member_metadata {
            self.classic_members += 1;
            for protocol in &classic.supported_protocols {
                self.classic_protocols.up(&protocol.name);
            }
        }
    }

    fn forget_metadata(&mut self, id: &Str, metadata: &ConsumerGroupMemberMetadataValue) {
        if let Some(instance) = &metadata.instance_id
            && self.members_by_instance.get(instance) == Some(id)
        {
            self.members_by_instance.remove(instance);
        }
        for topic in &metadata.subscribed_topic_names {
            self.topics_version += u64::from(self.topics.down(topic));
        }
        if let Some(regex) = super::member::regex_of(metadata) {
            self.regexes.down(regex);
        }
        if let Some(assignor) = &metadata.server_assignor {
            self.assignors.down(assignor);
        }
        if let Some(classic) = &metadata.classic_member_metadata {
            self.classic_members -= 1;
            for protocol in &classic.supported_protocols {
                self.classic_protocols.down(&protocol.name);
            }
        }
    }

    fn note_current(&mut self, id: &Str, member: &Member, target_epoch: i32) {
        self.reconciled += usize::from(member.is_reconciled_to(target_epoch));
        for (topic, partition, _) in member.current.held() {
            self.owners.insert((topic, partition), id.clone());
        }
    }

    fn forget_current(&mut self, id: &Str, member: &Member, target_epoch: i32) {
        self.reconciled -= usize::from(member.is_reconciled_to(target_epoch));
        for (topic, partition, _) in member.current.held() {
            // In a log that was compacted, the new owner may come before the change of the old one.
            if self.owners.get(&(topic, partition)) == Some(id) {
                self.owners.remove(&(topic, partition));
            }
        }
    }
}

impl Counts {
    fn of(&self, name: &str) -> usize {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Counts one more. Returns whether it is the first.
    fn up(&mut self, name: &Str) -> bool {
        let count = self.0.entry(name.clone()).or_default();
        *count += 1;
        *count == 1
    }

    /// Counts one less. Returns whether it was the last.
    fn down(&mut self, name: &Str) -> bool {
        let Some(count) = self.0.get_mut(name) else { return false };
        *count -= 1;
        let gone = *count == 0;
        if gone {
            self.0.remove(name);
        }
        gone
    }
}

fn target_from(value: &ConsumerGroupTargetAssignmentMemberValue) -> Partitions {
    let topics = value.topic_partitions.iter();
    topics.flat_map(|topic| topic.partitions.iter().map(|partition| (topic.topic_id, *partition))).collect()
}

/// The content of a record of a member's target.
pub fn target_to(partitions: &Partitions) -> ConsumerGroupTargetAssignmentMemberValue {
    let topics = partitions.topics().map(|(topic_id, partitions)| TopicPartition {
        topic_id,
        partitions: partitions.iter().copied().collect(),
    });
    ConsumerGroupTargetAssignmentMemberValue { topic_partitions: topics.collect() }
}

fn resolved_from(value: ConsumerGroupRegularExpressionValue) -> Resolved {
    let topics = value.topics.iter().map(Str::detached).collect();
    Resolved { topics, version: value.version, timestamp: value.timestamp }
}
