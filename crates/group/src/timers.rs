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

    pub fn is_set(&self, timer: &Timer) -> bool {
        self.by_timer.contains_key(timer)
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
