//! What goes wrong: with members, the network, the broker and its log; and what administrators do.

use std::time::Duration;

use ottla_group::Request;
use ottla_group::group::Committer;
use ottla_wire::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use ottla_wire::messages::{OffsetCommitRequest, OffsetDeleteRequest};
use ottla_wire::{Instant, primitives::Str};

use super::member::{Identity, Member, Turn};
use super::settings::{PARTITIONS_MAX, Protocol, Settings};
use super::world::{Event, World};
use crate::invariants::Broken;
use crate::rng::Rng;

/// How bad things are.
#[derive(Clone, Copy, Debug)]
pub struct Chaos {
    until: Instant,
    /// Of a thousand messages.
    lost: u64,
    slow: u64,
    pub duplicated: u64,
    /// Replication takes up to this long.
    replication_ms: u64,
}

/// Something that goes wrong.
#[derive(Clone, Copy, Debug)]
enum Mishap {
    MemberDies,
    MemberLeaves,
    MemberStalls,
    /// A process starts while the one before it still runs.
    MemberDoubles,
    BrokerDies,
    AppendFails,
    NotWritable,
    ReplicationChanges,
    TopicGrows,
    TopicGoes,
    OffsetsDeleted,
    GroupDeleted,
}

const MISHAPS: [Mishap; 15] = [
    Mishap::MemberDies,
    Mishap::MemberDies,
    Mishap::MemberLeaves,
    Mishap::MemberStalls,
    Mishap::MemberStalls,
    Mishap::MemberDoubles,
    Mishap::BrokerDies,
    Mishap::BrokerDies,
    Mishap::AppendFails,
    Mishap::NotWritable,
    Mishap::ReplicationChanges,
    Mishap::TopicGrows,
    Mishap::TopicGoes,
    Mishap::OffsetsDeleted,
    Mishap::GroupDeleted,
];

impl Chaos {
    pub fn new(settings: &Settings) -> Chaos {
        Chaos {
            until: Instant(0) + Duration::from_millis(settings.chaos_ms),
            lost: settings.lost,
            slow: settings.slow,
            duplicated: settings.duplicated,
            replication_ms: 3,
        }
    }

    fn over() -> Chaos {
        Chaos { until: Instant(0), lost: 0, slow: 0, duplicated: 0, replication_ms: 3 }
    }

    pub fn is_over(&self, now: Instant) -> bool {
        now >= self.until
    }

    /// How long a message takes; `None` if it does not arrive.
    pub fn carry(&self, rng: &mut Rng) -> Option<Duration> {
        if rng.chance(self.lost) {
            return None;
        }
        Some(if rng.chance(self.slow) { rng.millis(5, 3_000) } else { rng.millis(1, 5) })
    }

    pub fn replication(&self, rng: &mut Rng) -> Duration {
        rng.millis(1, self.replication_ms)
    }
}

impl World<'_> {
    /// Something goes wrong, or the time for that is over.
    pub(super) fn wreak(&mut self) -> Result<(), Broken> {
        if self.chaos.is_over(self.now) {
            return self.end_chaos();
        }
        let next = self.now + self.rng.millis(200, 2_500);
        self.queue.plan(next, Event::Chaos);
        let mishap = self.rng.pick(&MISHAPS);
        let slot = self.rng.index(self.settings.members.len());
        match mishap {
            Mishap::MemberDies => self.member_dies(slot, false),
            Mishap::MemberLeaves => self.member_dies(slot, true),
            Mishap::MemberStalls => {
                let until = self.now + self.rng.millis(300, 8_000);
                if let Some(member) = self.present(slot) {
                    member.stall(until);
                    let process = member.process;
                    self.trace.note(self.now, format_args!("process {process} stalls"));
                }
            }
            Mishap::MemberDoubles => self.start(slot),
            Mishap::BrokerDies | Mishap::AppendFails => {
                let down = self.rng.millis(10, 3_000);
                self.lose_broker(matches!(mishap, Mishap::AppendFails), down)?;
            }
            Mishap::NotWritable => {
                self.trace.note(self.now, format_args!("not writable"));
                self.set_writable(false)?;
                let end = self.now + self.rng.millis(10, 4_000);
                self.queue.plan(end, Event::Writable);
            }
            Mishap::ReplicationChanges => self.chaos.replication_ms = self.rng.pick(&[3, 50, 800]),
            Mishap::TopicGrows | Mishap::TopicGoes | Mishap::OffsetsDeleted | Mishap::GroupDeleted => {
                return self.administer(mishap, slot);
            }
        }
        Ok(())
    }

    fn administer(&mut self, mishap: Mishap, slot: usize) -> Result<(), Broken> {
        let index = self.rng.index(self.settings.topics.len());
        let topic = self.settings.topics[index].0.clone();
        let group = self.settings.members[slot].group.clone();
        let (changes, deletes) = (self.settings.changes_topics, self.settings.deletes);
        match mishap {
            Mishap::TopicGrows if changes && self.may_exist(index) => {
                let partitions = self.topics.partitions(&topic).max(0) + self.rng.between(1, 2) as i32;
                self.topics.set(&topic, partitions.min(PARTITIONS_MAX as i32 + 2));
                self.topics_changed(&[])
            }
            Mishap::TopicGoes if changes && self.topics.partitions(&topic) > 0 => {
                // A topic that is gone does not come back: members know it by its name.
                self.settings.topics[index].1 = GONE;
                self.topics.delete(&topic);
                self.topics_changed(&[topic])
            }
            Mishap::OffsetsDeleted if deletes => {
                let partition_index = self.rng.below(PARTITIONS_MAX) as i32;
                let partitions = vec![OffsetDeleteRequestPartition { partition_index }];
                let topics = vec![OffsetDeleteRequestTopic { name: topic, partitions }];
                self.ask(Request::OffsetDelete(OffsetDeleteRequest { group_id: group, topics }))
            }
            Mishap::GroupDeleted if deletes => self.ask(Request::DeleteGroup(group.into())),
            _ => Ok(()), // not in this run
        }
    }

    fn may_exist(&self, topic: usize) -> bool {
        self.settings.topics[topic].1 != GONE
    }

    fn topics_changed(&mut self, deleted: &[Str]) -> Result<(), Broken> {
        self.trace.note(self.now, format_args!("topics change, {deleted:?} go"));
        let at = self.moment();
        self.host.topics_changed(&at, &self.topics, deleted);
        self.after_step(true)
    }

    /// The process ends, with a word or without; another starts later, perhaps with the other protocol.
    fn member_dies(&mut self, slot: usize, says_good_bye: bool) {
        let now = self.now;
        let (rng, topics) = (&mut self.rng.clone(), &self.topics.clone());
        let Some(member) = self.present(slot) else { return };
        let process = member.process;
        let last = says_good_bye.then(|| member.leave(&Turn { now, rng, topics })).flatten();
        self.trace.note(self.now, format_args!("process {process} ends"));
        if let Some(action) = last {
            self.act(process, action);
        }
        self.members.retain(|member| member.process != process);
        if self.settings.migrates && self.rng.chance(400) {
            let protocol = self.protocol_of(slot);
            *protocol = match protocol {
                Protocol::Classic => Protocol::Consumer,
                Protocol::Consumer => Protocol::Classic,
            };
        }
        let at = self.now + self.rng.millis(0, 6_000);
        self.queue.plan(at, Event::Start(slot));
    }

    /// A broken rule: whoever commits is taken for a member that may.
    pub(super) fn unfence(&self, request: &mut OffsetCommitRequest) {
        let group = self.host.core().and_then(|core| core.groups().get(&request.group_id));
        let may_commit = |identity: &Identity<'_>| {
            let by = Committer {
                member: identity.member,
                instance: identity.instance.map(Str::as_str),
                generation_or_epoch: identity.generation_or_epoch,
                transactional: false,
                version: 9,
            };
            group.is_some_and(|group| group.validate_commit(&by).is_ok())
        };
        let mut identities = self.members.iter().map(Member::identity);
        if let Some(identity) = identities.find(may_commit) {
            request.generation_id_or_member_epoch = identity.generation_or_epoch;
            request.member_id = identity.member.clone();
            request.group_instance_id = identity.instance.cloned();
        }
    }

    /// Everything is sound from now on: every slot has its one process, and the broker leads.
    fn end_chaos(&mut self) -> Result<(), Broken> {
        self.trace.note(self.now, format_args!("chaos is over"));
        self.chaos = Chaos::over();
        self.end_leftovers();
        self.set_writable(true)?;
        self.begin_rest();
        self.after_step(true)
    }
}

/// Partitions of a topic that does not exist any more.
const GONE: i32 = -1;
