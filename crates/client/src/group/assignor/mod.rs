//! Client-side assignors: how the leader of a classic group shares partitions among the members. Pure.
//!
//! - `shares`: who there is, and what each gets.
//! - `range`: topic by topic, neighbouring partitions to one member.
//! - `round_robin`: all partitions in turn.
//! - `sticky`: balanced, and each member keeps what it can; partitions change hands in two steps (KIP-429).

mod range;
mod round_robin;
mod shares;
mod sticky;

use std::collections::BTreeMap;

use ottla_wire::primitives::Str;

pub(super) use shares::{Assignments, Member};

/// `partition.assignment.strategy`: how partitions are shared in a classic group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignor {
    /// `range`: topic by topic, neighbouring partitions to one member.
    Range,
    /// `roundrobin`: all partitions of all topics in turn.
    RoundRobin,
    /// `cooperative-sticky`: members keep what they have as far as balance allows, and go on reading it
    /// meanwhile.
    CooperativeSticky,
}

impl Assignor {
    pub const ALL: [Assignor; 3] = [Assignor::Range, Assignor::RoundRobin, Assignor::CooperativeSticky];

    /// Its name in JoinGroup.
    pub fn name(self) -> &'static str {
        match self {
            Assignor::Range => "range",
            Assignor::RoundRobin => "roundrobin",
            Assignor::CooperativeSticky => "cooperative-sticky",
        }
    }

    pub fn from_name(name: &str) -> Option<Assignor> {
        Assignor::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// Whether members may keep their partitions while the group rebalances.
    pub(super) fn is_cooperative(self) -> bool {
        match self {
            Assignor::Range | Assignor::RoundRobin => false,
            Assignor::CooperativeSticky => true,
        }
    }

    /// Shares the partitions of topics (their number by topic; a topic that is not there has none) among
    /// members.
    pub(super) fn assign(self, mut members: Vec<Member>, topics: &BTreeMap<Str, i32>) -> Assignments {
        // As Kafka: static members first, in the order of their instance ids, so that restarts change
        // nothing.
        members.sort_by(|a, b| {
            (a.instance.is_none(), &a.instance, &a.id).cmp(&(b.instance.is_none(), &b.instance, &b.id))
        });
        match self {
            Assignor::Range => range::assign(&members, topics),
            Assignor::RoundRobin => round_robin::assign(&members, topics),
            Assignor::CooperativeSticky => sticky::assign(&members, topics),
        }
    }
}

#[cfg(test)]
mod tests;
