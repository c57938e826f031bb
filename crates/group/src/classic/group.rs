//! A classic group, and what others ask of it.

use std::collections::BTreeSet;
use std::time::Duration;

use ottla_wire::Timestamp;
use ottla_wire::messages::describe_groups_response::DescribedGroup;
use ottla_wire::primitives::Str;

use super::member::Member;
use super::protocols::CONSUMER_PROTOCOL_TYPE;
use super::roster::Roster;

/// Where a group is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has no members. It may have offsets.
    Empty,
    /// Members are joining.
    PreparingRebalance {
        /// Set while a group that was empty waits for more members to come.
        initial: Option<Initial>,
    },
    /// Everybody has joined; the leader makes the assignment.
    CompletingRebalance,
    /// Everybody has an assignment.
    Stable,
}

/// The wait of a group that was empty: extended as long as members come, but not beyond their rebalance
/// timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Initial {
    /// The part that runs now.
    pub delay: Duration,
    /// The time left for extensions, including this part.
    pub remaining: Duration,
    /// A member has come since this part began.
    pub has_newcomer: bool,
}

/// A classic group.
#[derive(Debug)]
pub struct ClassicGroup {
    pub(super) id: Str,
    pub(super) state: State,
    /// Since when it is in this state; `None` if the record that it was read from does not say.
    pub(super) since: Option<Timestamp>,
    pub(super) generation: i32,
    /// `None` until the first member joins.
    pub(super) protocol_type: Option<Str>,
    /// The protocol of this generation.
    pub(super) protocol: Option<Str>,
    pub(super) roster: Roster,
    /// Members that have not sent SyncGroup in this generation yet.
    pub(super) unsynced: BTreeSet<Str>,
    /// The topics of this generation; `None` if they are not known.
    pub(super) topics: Option<BTreeSet<Str>>,
    /// Members of this generation when it began.
    pub(super) generation_len: usize,
    /// The log has a record of the group.
    pub(super) is_recorded: bool,
}

impl ClassicGroup {
    /// An empty group that nothing is recorded of.
    pub fn new(id: Str) -> ClassicGroup {
        ClassicGroup {
            id,
            state: State::Empty,
            since: None,
            generation: 0,
            protocol_type: None,
            protocol: None,
            roster: Roster::default(),
            unsynced: BTreeSet::new(),
            topics: None,
            generation_len: 0,
            is_recorded: false,
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    pub fn generation(&self) -> i32 {
        self.generation
    }

    pub fn protocol_type(&self) -> Option<&Str> {
        self.protocol_type.as_ref()
    }

    pub fn protocol(&self) -> Option<&Str> {
        self.protocol.as_ref()
    }

    pub fn members(&self) -> impl Iterator<Item = (&Str, &Member)> {
        self.roster.iter()
    }

    pub fn describe(&self) -> DescribedGroup {
        let protocol = self.protocol.as_ref().filter(|_| self.state == State::Stable);
        DescribedGroup {
            group_id: self.id.clone(),
            group_state: self.state.name(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol_data: protocol.cloned().unwrap_or_default(),
            members: self.roster.iter().map(|(id, member)| member.described(id, protocol)).collect(),
            ..Default::default()
        }
    }

    /// Whether members of this type, with these protocols, can be in the group.
    pub(super) fn supports<'a>(&self, protocol_type: &Str, mut names: impl Iterator<Item = &'a Str>) -> bool {
        match self.state {
            State::Empty => !protocol_type.is_empty() && names.next().is_some(),
            State::PreparingRebalance { .. } | State::CompletingRebalance | State::Stable => {
                self.protocol_type.as_ref() == Some(protocol_type) && self.roster.supports_one_of(names)
            }
        }
    }

    pub(super) fn is_of_consumers(&self) -> bool {
        self.protocol_type.as_ref().is_some_and(|name| *name == CONSUMER_PROTOCOL_TYPE)
    }

    /// The topics of the generation; `None` if they are not known.
    pub(super) fn compute_topics(&self) -> Option<BTreeSet<Str>> {
        match &self.protocol {
            _ if !self.is_of_consumers() => None,
            _ if self.roster.is_empty() => Some(BTreeSet::new()),
            Some(protocol) => self.roster.subscribed_topics(protocol),
            None => None,
        }
    }
}

impl State {
    /// As Kafka prints it. A group that does not exist is called Dead.
    pub fn name(self) -> Str {
        match self {
            State::Empty => Str::from_static("Empty"),
            State::PreparingRebalance { .. } => Str::from_static("PreparingRebalance"),
            State::CompletingRebalance => Str::from_static("CompletingRebalance"),
            State::Stable => Str::from_static("Stable"),
        }
    }
}
