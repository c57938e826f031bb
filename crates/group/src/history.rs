//! Why groups rebalanced: each rebalance with who caused it, how long its phases took, and who was slow.
//!
//! Kept in memory only, and bounded: a rebalance is a story for people, not a fact that the group depends on.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ottla_coordinator::Moment;
use ottla_wire::primitives::Str;
use ottla_wire::{Instant, Timestamp};

use crate::config::Limits;
use crate::memory::{of_list, of_map, of_optional, of_text};

/// Bytes of a text that are remembered: clients choose their names and reasons. Kafka's own clients cut
/// reasons at 255.
pub const TEXT_BYTES_MAX: usize = 255;

/// A member, as a person would look for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    pub member: Str,
    pub instance: Option<Str>,
    pub client_id: Str,
    pub client_host: Str,
}

/// The cause of a rebalance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A member came.
    Joined,
    /// A member went, and said so.
    Left,
    /// A member sent nothing for the time of its session.
    SessionExpired,
    /// A member did not do its part of a rebalance in time.
    RebalanceTimedOut,
    /// Topics of the subscription came, went, or grew.
    TopicsChanged,
    /// A member subscribes to something else, or brings other protocols.
    SubscriptionChanged,
    /// The leader joined again: it wants another assignment.
    LeaderRejoined,
    /// A static member came back in place of its older self.
    InstanceReplaced,
    /// The administrator removed a member.
    Removed,
    /// The group was larger than it may be when it was loaded.
    TooLarge,
    /// The leader's assignment could not be kept.
    AssignmentFailed,
    /// The group changed its protocol (KIP-848).
    ProtocolChanged,
}

/// The parts of a rebalance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Classic: members join again.
    Join,
    /// The assignment is made: by the leader of a classic group, by the broker for a consumer group.
    Assign,
    /// Classic: the rest of the members send SyncGroup.
    Sync,
    /// Consumer: members give up and take over partitions.
    Reconcile,
}

/// How a rebalance ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Running,
    Completed,
    /// Another one began before it was through.
    Superseded,
}

/// One rebalance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebalance {
    pub cause: Cause,
    /// Whose doing it was, if it was a member's.
    pub by: Option<Who>,
    /// The client's own reason (KIP-800).
    pub reason: Option<Str>,
    pub begun: Timestamp,
    pub outcome: Outcome,
    /// Generation of a classic group, epoch of a consumer group.
    pub generation_before: i32,
    pub generation_after: Option<i32>,
    pub members_before: usize,
    pub members_after: Option<usize>,
    pub phases: Vec<PhaseReport>,
}

/// One phase of a rebalance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhaseReport {
    pub phase: Phase,
    /// `None` while it runs.
    pub took: Option<Duration>,
    /// Who did its part last, and how long after the phase began.
    pub slowest: Option<(Who, Duration)>,
    /// Who was waited for in vain, up to a limit.
    pub absent: Vec<Who>,
    /// All that were waited for in vain.
    pub absent_len: usize,
}

/// The start of a rebalance.
#[derive(Clone, Debug)]
pub struct Begin {
    pub cause: Cause,
    pub by: Option<Who>,
    pub reason: Option<Str>,
    pub generation: i32,
    pub members: usize,
}

/// The rebalances of one group, the newest last.
#[derive(Debug, Default)]
pub struct History {
    rebalances: VecDeque<Rebalance>,
    phase_begun: Instant,
    /// All that have begun, those that are not remembered too.
    begun: u64,
    len_max: usize,
    members_max: usize,
    /// Bytes of its id and of what the rebalances refer to.
    bytes: usize,
    /// Bytes that [`Histories`] has counted it with.
    counted: usize,
}

impl History {
    /// A rebalance begins with its first phase. One that runs is over: superseded.
    pub fn begin(&mut self, at: &Moment, begin: Begin, phase: Phase) {
        self.close(at, Outcome::Superseded);
        self.begun += 1;
        while self.rebalances.len() >= self.len_max {
            self.bytes -= self.rebalances.pop_front().map_or(0, |oldest| oldest.bytes());
        }
        let rebalance = Rebalance {
            cause: begin.cause,
            by: begin.by.map(Who::cut),
            reason: begin.reason.map(cut),
            begun: at.wall,
            outcome: Outcome::Running,
            generation_before: begin.generation,
            generation_after: None,
            members_before: begin.members,
            members_after: None,
            phases: Vec::new(),
        };
        self.bytes += rebalance.bytes();
        self.rebalances.push_back(rebalance);
        self.enter(at, phase);
    }

    /// The running rebalance goes on to another phase.
    pub fn enter(&mut self, at: &Moment, phase: Phase) {
        self.end_phase(at);
        self.phase_begun = at.now;
        let report = PhaseReport { phase, took: None, slowest: None, absent: Vec::new(), absent_len: 0 };
        self.change_running(|running| running.phases.push(report));
    }

    /// A member has done its part of the running phase.
    pub fn arrived(&mut self, at: &Moment, who: impl FnOnce() -> Who) {
        let after = at.now.since(self.phase_begun);
        self.change_phase(|phase| phase.slowest = Some((who().cut(), after)));
    }

    /// A member was waited for in vain in the running phase.
    pub fn absent(&mut self, who: impl FnOnce() -> Who) {
        let members_max = self.members_max;
        self.change_phase(|phase| {
            phase.absent_len += 1;
            if phase.absent.len() < members_max {
                phase.absent.push(who().cut());
            }
        });
    }

    /// The generation or epoch that the running rebalance leads to, and its members.
    pub fn leads_to(&mut self, generation: i32, members: usize) {
        self.change_running(|running| {
            running.generation_after = Some(generation);
            running.members_after = Some(members);
        });
    }

    /// The running rebalance is through.
    pub fn complete(&mut self, at: &Moment) {
        self.close(at, Outcome::Completed);
    }

    /// The rebalances that are remembered, the newest last.
    pub fn rebalances(&self) -> impl Iterator<Item = &Rebalance> {
        self.rebalances.iter()
    }

    fn close(&mut self, at: &Moment, outcome: Outcome) {
        self.end_phase(at);
        self.change_running(|running| running.outcome = outcome);
    }

    fn end_phase(&mut self, at: &Moment) {
        let took = at.now.since(self.phase_begun);
        self.change_phase(|phase| phase.took = Some(took));
    }

    fn change_phase(&mut self, change: impl FnOnce(&mut PhaseReport)) {
        self.change_running(|running| {
            if let Some(phase) = running.phases.last_mut() {
                change(phase);
            }
        });
    }

    /// Changes the rebalance that runs, if one does, and counts what it refers to anew.
    fn change_running(&mut self, change: impl FnOnce(&mut Rebalance)) {
        let Some(running) = self.rebalances.back_mut().filter(|last| last.outcome == Outcome::Running) else {
            return;
        };
        let before = running.bytes();
        change(running);
        self.bytes += running.bytes();
        self.bytes -= before;
    }
}

impl Rebalance {
    /// Bytes of what it refers to.
    fn bytes(&self) -> usize {
        let phases: usize = self.phases.iter().map(PhaseReport::bytes).sum();
        of_list::<PhaseReport>(self.phases.len())
            + self.by.as_ref().map_or(0, Who::bytes)
            + of_optional(self.reason.as_ref())
            + phases
    }
}

impl PhaseReport {
    fn bytes(&self) -> usize {
        let absent: usize = self.absent.iter().map(Who::bytes).sum();
        of_list::<Who>(self.absent.len()) + self.slowest.as_ref().map_or(0, |(who, _)| who.bytes()) + absent
    }
}

impl Who {
    /// Bytes of its texts.
    fn bytes(&self) -> usize {
        of_text(&self.member)
            + of_optional(self.instance.as_ref())
            + of_text(&self.client_id)
            + of_text(&self.client_host)
    }

    fn cut(self) -> Who {
        Who {
            member: cut(self.member),
            instance: self.instance.map(cut),
            client_id: cut(self.client_id),
            client_host: cut(self.client_host),
        }
    }
}

/// The beginning of a text that is too long.
fn cut(text: Str) -> Str {
    if text.len() <= TEXT_BYTES_MAX {
        return text;
    }
    let end = (0..=TEXT_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    Str::from(&text[..end])
}

/// The histories of all groups.
#[derive(Debug)]
pub struct Histories {
    by_group: BTreeMap<Str, History>,
    /// Rebalances of deleted groups.
    begun_before: u64,
    limits: Limits,
    /// Bytes of all histories.
    bytes: usize,
}

impl Histories {
    pub fn new(limits: Limits) -> Histories {
        Histories { by_group: BTreeMap::new(), begun_before: 0, limits, bytes: 0 }
    }

    /// The limits have changed. They count from the next rebalance on.
    pub fn configure(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The history of a group, for changes. Their memory counts from [`Histories::recount`] on.
    pub fn of(&mut self, group: &Str) -> &mut History {
        if !self.by_group.contains_key(group) {
            let id = group.detached();
            let bytes = of_text(&id);
            self.bytes += bytes;
            self.by_group.insert(id, History { bytes, counted: bytes, ..History::default() });
        }
        // Where there are many groups each has fewer, so that all of them together stay bounded.
        let share = self.limits.history_rebalances_max / self.by_group.len();
        match self.by_group.get_mut(group) {
            Some(history) => {
                history.len_max = self.limits.history_len_max.min(share).max(1);
                history.members_max = self.limits.history_members_max;
                history
            }
            None => unreachable!("it was just put there"),
        }
    }

    pub fn rebalances(&self, group: &str) -> Vec<Rebalance> {
        self.by_group
            .get(group)
            .map(|history| history.rebalances.iter().cloned().collect())
            .unwrap_or_default()
    }

    pub fn forget(&mut self, group: &str) {
        if let Some(history) = self.by_group.remove(group) {
            self.begun_before += history.begun;
            self.bytes -= history.counted;
        }
    }

    /// Updates the memory of a group's history. Cheap, because each history keeps its own count.
    pub fn recount(&mut self, group: &str) {
        if let Some(history) = self.by_group.get_mut(group) {
            debug_assert_eq!(
                history.bytes,
                of_text(&Str::from(group)) + history.rebalances.iter().map(Rebalance::bytes).sum::<usize>(),
                "a rebalance has changed and was not counted"
            );
            self.bytes -= history.counted;
            history.counted = history.bytes + of_list::<Rebalance>(history.rebalances.len());
            self.bytes += history.counted;
        }
    }

    /// Bytes that the histories take in memory.
    pub fn bytes(&self) -> usize {
        self.bytes + of_map::<Str, History>(self.by_group.len())
    }

    /// How many rebalances of all groups have begun.
    pub fn begun(&self) -> u64 {
        self.begun_before + self.by_group.values().map(|history| history.begun).sum::<u64>()
    }
}
