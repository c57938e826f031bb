//! Deadlines of groups and members. A coordinator has many and is woken for the next one only.

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::Instant;
use ottla_wire::primitives::Str;

/// What is due at a deadline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// Classic: the join phase of a rebalance ends.
    Join {
        group: Str,
    },
    /// Classic: members must have sent SyncGroup.
    Sync {
        group: Str,
    },
    /// Classic: a member, or one that was only given its id, must have been heard of.
    Session {
        group: Str,
        member: Str,
    },
    /// Consumer: a member must have been heard of.
    ConsumerSession {
        group: Str,
        member: Str,
    },
    /// Consumer: a member must have given up what it is to give up.
    ConsumerRevocation {
        group: Str,
        member: Str,
    },
    /// Consumer, a member of the classic protocol: it must have joined again, or synced.
    ConsumerJoin {
        group: Str,
        member: Str,
    },
    ConsumerSync {
        group: Str,
        member: Str,
    },
    /// Consumer: the next assignment may be made.
    Assignment {
        group: Str,
    },
    /// Offsets and groups that have outlived their retention.
    Expiry,
}

impl Timer {
    /// The group that the timer belongs to, if to one.
    pub fn group(&self) -> Option<&Str> {
        match self {
            Timer::Join { group }
            | Timer::Sync { group }
            | Timer::Session { group, .. }
            | Timer::ConsumerSession { group, .. }
            | Timer::ConsumerRevocation { group, .. }
            | Timer::ConsumerJoin { group, .. }
            | Timer::ConsumerSync { group, .. }
            | Timer::Assignment { group } => Some(group),
            Timer::Expiry => None,
        }
    }

    /// Of each kind the timer of the group that is ordered first.
    fn firsts(group: &str) -> [Timer; 8] {
        let group = Str::from(group);
        let member = Str::default();
        [
            Timer::Join { group: group.clone() },
            Timer::Sync { group: group.clone() },
            Timer::Session { group: group.clone(), member: member.clone() },
            Timer::ConsumerSession { group: group.clone(), member: member.clone() },
            Timer::ConsumerRevocation { group: group.clone(), member: member.clone() },
            Timer::ConsumerJoin { group: group.clone(), member: member.clone() },
            Timer::ConsumerSync { group: group.clone(), member },
            Timer::Assignment { group },
        ]
    }
}

/// Deadlines by time and by what is due.
#[derive(Debug, Default)]
pub struct Timers {
    by_time: BTreeSet<(Instant, Timer)>,
    by_timer: BTreeMap<Timer, Instant>,
}

impl Timers {
    /// Sets a deadline; one that was set for the same before is replaced.
    pub fn set(&mut self, timer: Timer, at: Instant) {
        if let Some(before) = self.by_timer.insert(timer.clone(), at) {
            self.by_time.remove(&(before, timer.clone()));
        }
        self.by_time.insert((at, timer));
    }

    pub fn cancel(&mut self, timer: &Timer) {
        if let Some(at) = self.by_timer.remove(timer) {
            self.by_time.remove(&(at, timer.clone()));
        }
    }

    /// Cancels all timers of a group.
    pub fn cancel_group(&mut self, group: &str) {
        for timer in self.of_group(group) {
            self.cancel(&timer);
        }
    }

    /// The timers of a group that are set.
    pub fn of_group(&self, group: &str) -> Vec<Timer> {
        let mut timers = Vec::new();
        for first in Timer::firsts(group) {
            let kind = std::mem::discriminant(&first);
            let of_group = |timer: &&Timer| {
                std::mem::discriminant(*timer) == kind && timer.group().is_some_and(|of| *of == group)
            };
            timers
                .extend(self.by_timer.range(&first..).map(|(timer, _)| timer).take_while(of_group).cloned());
        }
        timers
    }

    pub fn is_set(&self, timer: &Timer) -> bool {
        self.by_timer.contains_key(timer)
    }

    pub fn len(&self) -> usize {
        self.by_timer.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_timer.is_empty()
    }

    /// The next deadline.
    pub fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes out one timer that is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        let (_, timer) = self.by_time.pop_first()?;
        self.by_timer.remove(&timer);
        Some(timer)
    }
}
