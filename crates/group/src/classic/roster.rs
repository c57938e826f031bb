//! The members of a classic group, and what is counted over them so that no request has to look at all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use ottla_coordinator::Ticket;
use ottla_wire::ErrorCode;
use ottla_wire::messages::JoinGroupRequest;
use ottla_wire::primitives::Str;

use super::member::Member;
use super::protocols::subscribed_topics;
use crate::counted::{Counted, CountedMap};
use crate::memory::{of_map, of_text};
use crate::request::Caller;
use crate::timers::TIMER_BYTES;

/// The members of a group, one of them the leader.
#[derive(Debug, Default)]
pub struct Roster {
    members: CountedMap<Str, Member>,
    /// Ids of static members by instance.
    instances: BTreeMap<Str, Str>,
    /// Ids whose owners have not joined with them yet (KIP-394), and how long each is kept.
    pending: CountedMap<Str, Pending>,
    leader: Option<Str>,
    /// Members whose JoinGroup waits.
    joining: usize,
    /// How many members know each protocol.
    support: BTreeMap<Str, usize>,
    /// Bytes of the protocols of all members.
    protocols_bytes: usize,
}

/// How long an unused member id is kept.
#[derive(Clone, Copy, Debug)]
struct Pending(Duration);

impl Counted<Str> for Pending {
    /// With its timer.
    fn bytes(&self, id: &Str) -> usize {
        of_text(id) + TIMER_BYTES
    }
}

impl Roster {
    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub fn get(&self, id: &Str) -> Option<&Member> {
        self.members.get(id)
    }

    /// The member, to change its deadline and whether it waits for an assignment. Nothing else may change.
    pub fn get_mut(&mut self, id: &Str) -> Option<&mut Member> {
        self.members.get_mut(id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Str, &Member)> {
        self.members.iter()
    }

    /// The ids, for steps that change members on the way.
    pub fn ids(&self) -> Vec<Str> {
        self.members.keys().cloned().collect()
    }

    /// Gives every member the assignment that `of` says.
    pub fn assign(&mut self, mut of: impl FnMut(&Str) -> Bytes) {
        self.members.change_each(|id, member| member.assignment = of(id));
    }

    /// The members whose SyncGroup waits.
    pub fn syncing(&self) -> Vec<Str> {
        let waiting = self.members.iter().filter(|(_, member)| member.syncing.is_some());
        waiting.map(|(id, _)| id.clone()).collect()
    }

    pub fn leader(&self) -> Option<&Str> {
        self.leader.as_ref()
    }

    pub fn is_leader(&self, id: &Str) -> bool {
        self.leader.as_ref() == Some(id)
    }

    /// Makes a member the leader, if it is one.
    pub fn set_leader(&mut self, id: Option<Str>) {
        self.leader = id.filter(|id| self.members.contains_key(id));
    }

    /// The member that a static instance is.
    pub fn of_instance(&self, instance: &Str) -> Option<&Str> {
        self.instances.get(instance)
    }

    /// Whether `id` is a member, and the one that `instance` is.
    pub fn validate(&self, id: &str, instance: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            match self.instances.get(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(current) if *current != id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    /// Lets a member in. The first one leads. It MUST NOT be in already, nor its instance.
    pub fn add(&mut self, id: Str, member: Member) {
        self.remove_pending(&id);
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        self.count(&member);
        self.leader.get_or_insert_with(|| id.clone());
        let before = self.members.insert(id, member);
        assert!(before.is_none(), "a member is let in once");
    }

    /// Takes a member out. If it led, another one does: the first by id.
    pub fn remove(&mut self, id: &Str) -> Option<Member> {
        let member = self.members.remove(id)?;
        self.discount(&member);
        if let Some(instance) = &member.instance {
            self.instances.remove(instance);
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    /// A static member comes back in another process, under another id. Nothing else changes.
    pub fn replace(&mut self, old: &Str, new: Str, caller: &Caller) {
        let Some(mut member) = self.members.remove(old) else { return };
        self.discount(&member);
        member.client_id = caller.client_id.detached();
        member.client_host = caller.client_host.detached();
        member.is_new = false;
        self.count(&member);
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), new.clone());
        }
        if self.is_leader(old) {
            self.leader = Some(new.clone());
        }
        self.members.insert(new, member);
    }

    /// A member joins with what its request says. Returns its earlier JoinGroup, if one waits.
    pub fn joins(&mut self, id: &Str, ticket: Ticket, request: &JoinGroupRequest) -> Option<Ticket> {
        let mut member = self.members.remove(id)?;
        self.discount(&member);
        member.update(request);
        let before = member.joining.replace(ticket);
        self.count(&member);
        self.members.insert(id.clone(), member);
        before
    }

    /// The JoinGroup of a member that waits, to be answered now.
    pub fn take_joining(&mut self, id: &Str) -> Option<Ticket> {
        let ticket = self.members.get_mut(id)?.joining.take()?;
        self.joining -= 1;
        Some(ticket)
    }

    /// Members whose JoinGroup waits.
    pub fn joining_len(&self) -> usize {
        self.joining
    }

    /// Whether all members have joined, and no issued id is unused.
    pub fn have_all_joined(&self) -> bool {
        self.joining == self.members.len() && self.pending.is_empty()
    }

    /// Ids of the dynamic members that have not joined.
    pub fn absent_dynamic(&self) -> Vec<Str> {
        let absent = self.members.iter().filter(|(_, m)| m.joining.is_none() && m.instance.is_none());
        absent.map(|(id, _)| id.clone()).collect()
    }

    /// Elects the leader of the next generation among those that have joined: the present one, or else the
    /// first. Returns whether there is one.
    pub fn elect(&mut self) -> bool {
        let has_joined = |id: &Str| self.members.get(id).is_some_and(|member| member.joining.is_some());
        if self.leader.as_ref().is_some_and(has_joined) {
            return true;
        }
        match self.members.iter().find(|(_, member)| member.joining.is_some()) {
            Some((id, _)) => {
                self.leader = Some(id.clone());
                true
            }
            None => false,
        }
    }

    pub fn is_pending(&self, id: &Str) -> bool {
        self.pending.contains_key(id)
    }

    pub fn add_pending(&mut self, id: Str, session: Duration) {
        self.pending.insert(id, Pending(session));
    }

    pub fn remove_pending(&mut self, id: &Str) -> bool {
        self.pending.remove(id).is_some()
    }

    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    pub fn pending(&self) -> impl Iterator<Item = (&Str, Duration)> {
        self.pending.iter().map(|(id, pending)| (id, pending.0))
    }

    pub fn protocols_bytes(&self) -> usize {
        self.protocols_bytes
    }

    /// Whether one of the protocols is known to every member.
    pub fn supports_one_of<'a>(&self, mut names: impl Iterator<Item = &'a Str>) -> bool {
        names.any(|name| self.support.get(name).copied().unwrap_or(0) == self.members.len())
    }

    /// The protocol that every member knows and most prefer; the first by name where votes are even.
    pub fn select_protocol(&self) -> Option<Str> {
        let mut votes: BTreeMap<&Str, usize> = BTreeMap::new();
        let voted = self.members.values().filter_map(|member| member.vote(&self.support, self.members.len()));
        for name in voted {
            *votes.entry(name).or_default() += 1;
        }
        let most = votes.values().max().copied()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name.clone())
    }

    /// The topics that members subscribe to in `protocol`; `None` if one of the subscriptions cannot be read.
    pub fn subscribed_topics(&self, protocol: &Str) -> Option<BTreeSet<Str>> {
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(subscribed_topics(&member.metadata(protocol)).ok()?);
        }
        Some(topics)
    }

    /// How long members may take to join again: as long as the slowest wants.
    pub fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    /// Bytes that the members take in memory, and what is counted over them.
    pub fn bytes(&self) -> usize {
        self.members.bytes()
            + self.pending.bytes()
            + of_map::<Str, Str>(self.instances.len())
            + of_map::<Str, usize>(self.support.len())
    }

    fn count(&mut self, member: &Member) {
        self.joining += usize::from(member.joining.is_some());
        self.protocols_bytes += member.protocols_size();
        for protocol in &member.protocols {
            *self.support.entry(protocol.name.clone()).or_default() += 1;
        }
    }

    fn discount(&mut self, member: &Member) {
        self.joining -= usize::from(member.joining.is_some());
        self.protocols_bytes -= member.protocols_size();
        for protocol in &member.protocols {
            if let Some(count) = self.support.get_mut(&protocol.name) {
                *count -= 1;
                if *count == 0 {
                    self.support.remove(&protocol.name);
                }
            }
        }
    }
}
