//! Deadlines of groups and members. A coordinator has many and is woken for the next one only.

use ottla_wire::Instant;
use ottla_wire::primitives::Str;

/// The event at a deadline.
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
    /// Classic: the session of a member ends, or an unused member id expires.
    Session {
        group: Str,
        member: Str,
    },
    /// Consumer: the session of a member ends.
    ConsumerSession {
        group: Str,
        member: Str,
    },
    /// Consumer: the time for a member to give up partitions ends.
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

    /// Of each type the timer of the group that is ordered first.
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

/// Bytes that a timer takes, one of many: it is held by time and by what is due.
pub const TIMER_BYTES: usize = 2 * 2 * size_of::<(Instant, Timer)>();

/// The deadlines of a group coordinator.
pub type Timers = ottla_coordinator::timers::Timers<Timer>;

/// Operations on all timers of one group.
pub trait GroupTimers {
    /// Cancels all timers of a group.
    fn cancel_group(&mut self, group: &str);

    /// The timers of a group that are set.
    fn of_group(&self, group: &str) -> Vec<Timer>;
}

impl GroupTimers for Timers {
    fn cancel_group(&mut self, group: &str) {
        for timer in self.of_group(group) {
            self.cancel(&timer);
        }
    }

    fn of_group(&self, group: &str) -> Vec<Timer> {
        let mut timers = Vec::new();
        for first in Timer::firsts(group) {
            let kind = std::mem::discriminant(&first);
            let of_group = |timer: &&Timer| {
                std::mem::discriminant(*timer) == kind && timer.group().is_some_and(|of| *of == group)
            };
            timers.extend(self.from(&first).take_while(of_group).cloned());
        }
        timers
    }
}
