//! The record of a classic group (GroupMetadata): the outcome of its last rebalance.

use ottla_coordinator::ReplayError;
use ottla_wire::Timestamp;
use ottla_wire::messages::{GroupMetadataKey, GroupMetadataValue};
use ottla_wire::primitives::Str;

use super::group::{ClassicGroup, State};
use super::member::Member;
use crate::config::ID_BYTES_MAX;
use crate::context::Context;
use crate::groups::Groups;
use crate::record::GroupRecord;

impl ClassicGroup {
    /// Writes what the group is now. It MUST be empty or stable: nothing else lasts.
    pub(super) fn write(&mut self, ctx: &mut Context<'_>) {
        self.is_recorded = true;
        let record = self.record();
        ctx.write(&record);
    }

    /// Bytes that its record would have.
    pub(super) fn record_len(&self) -> usize {
        self.record().encode().len()
    }

    pub(super) fn record(&self) -> GroupRecord {
        let protocol = self.protocol.clone().unwrap_or_default();
        let value = GroupMetadataValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.roster.leader().cloned(),
            current_state_timestamp: self.since.unwrap_or(Timestamp::NONE).0,
            members: self.roster.iter().map(|(id, member)| member.record(id, &protocol)).collect(),
        };
        GroupRecord::Group { key: self.key(), value: Some(value) }
    }

    /// The records that stand for the group; `None` in a rebalance.
    pub fn records(&self) -> Option<Vec<GroupRecord>> {
        match self.state {
            State::Empty if !self.is_recorded => Some(Vec::new()),
            State::Empty | State::Stable => Some(vec![self.record()]),
            State::PreparingRebalance { .. } | State::CompletingRebalance => None,
        }
    }

    /// Writes the deletion of the group, if the log has it.
    pub fn tombstones(&self, ctx: &mut Context<'_>) {
        if self.is_recorded {
            ctx.write(&GroupRecord::Group { key: self.key(), value: None });
        }
    }

    fn key(&self) -> GroupMetadataKey {
        GroupMetadataKey { group: self.id.clone() }
    }
}

/// Takes in a GroupMetadata record. After a tombstone the group is what its offsets make of it.
pub fn replay(
    groups: &mut Groups,
    key: GroupMetadataKey,
    value: Option<GroupMetadataValue>,
) -> Result<(), ReplayError> {
    let id = key.group.detached();
    match value {
        Some(value) => {
            let group = recorded(id, value)?;
            groups.put(Box::new(group));
        }
        None if groups.get_as::<ClassicGroup>(&id).is_some() => {
            groups.put(Box::new(ClassicGroup::new(id)));
        }
        // A group of another type may have taken the place of the classic one.
        None => {}
    }
    Ok(())
}

fn recorded(id: Str, value: GroupMetadataValue) -> Result<ClassicGroup, ReplayError> {
    if longest_id(&value) > ID_BYTES_MAX {
        let problem = format!("group {id} has an id that no record of ours can hold");
        return Err(ReplayError::Contradiction(problem));
    }
    let mut group = ClassicGroup::new(id);
    group.is_recorded = true;
    group.generation = value.generation;
    group.protocol_type = Some(value.protocol_type.detached()).filter(|name| !name.is_empty());
    group.protocol = value.protocol.as_ref().map(Str::detached);
    group.since = Some(Timestamp(value.current_state_timestamp)).filter(|since| *since != Timestamp::NONE);
    let protocol = group.protocol.clone().unwrap_or_default();
    for member in value.members {
        let id = member.member_id.detached();
        let instance = member.group_instance_id.as_ref();
        if group.roster.get(&id).is_some()
            || instance.is_some_and(|it| group.roster.of_instance(it).is_some())
        {
            let problem = format!("member {id} of group {} is in its record twice", group.id);
            return Err(ReplayError::Contradiction(problem));
        }
        group.roster.add(id, Member::recorded(&protocol, member));
    }
    group.roster.set_leader(value.leader.as_ref().map(Str::detached));
    group.state = if group.roster.is_empty() { State::Empty } else { State::Stable };
    group.topics = group.compute_topics();
    group.generation_len = group.roster.len();
    Ok(group)
}

/// Bytes of the longest id in a record. The flexible version of it could hold more than the one that we
/// write.
fn longest_id(value: &GroupMetadataValue) -> usize {
    let of_group = [Some(&value.protocol_type), value.protocol.as_ref(), value.leader.as_ref()];
    let of_members = value.members.iter().flat_map(|member| {
        let instance = member.group_instance_id.as_ref();
        [Some(&member.member_id), instance, Some(&member.client_id), Some(&member.client_host)]
    });
    of_group.into_iter().chain(of_members).flatten().map(Str::len).max().unwrap_or(0)
}
