//! A member of a consumer group.

use ottla_wire::TopicId;
use ottla_wire::messages::consumer_group_member_metadata_value::{ClassicMemberMetadata, ClassicProtocol};
use ottla_wire::messages::{ConsumerGroupCurrentMemberAssignmentValue, ConsumerGroupMemberMetadataValue};
use ottla_wire::primitives::Str;

use crate::consumer::owned::Owned;
use crate::counted::Counted;
use crate::memory::{of_bytes, of_optional, of_text};
use crate::timers::TIMER_BYTES;

/// The epoch of a new group and of its empty assignment. So the first real assignment has epoch 2, and
/// members wait for it in epoch 1, as in Kafka since 4.3.
pub const INITIAL_EPOCH: i32 = 1;
/// The epoch of a member that wants to join, and of one that has just replaced another.
pub const JOIN_EPOCH: i32 = 0;
/// The epoch by which a member leaves.
pub const LEAVE_EPOCH: i32 = -1;
/// The epoch by which a static member leaves for a while. It keeps this epoch until it is back.
pub const LEAVE_STATIC_EPOCH: i32 = -2;

/// Where a member is on its way to the target assignment. The numbers are those of the records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It has its target, or may go on to the next one.
    #[default]
    Stable,
    /// It must give up partitions, and has not confirmed it yet.
    UnrevokedPartitions,
    /// Other members must first give up partitions of its target.
    UnreleasedPartitions,
    /// From a newer broker.
    Unknown,
}

/// A member: what it said of itself, and what it has.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// As its record says; topics are sorted, each once.
    pub metadata: ConsumerGroupMemberMetadataValue,
    pub current: Current,
}

/// The present partitions of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    pub epoch: i32,
    /// The epoch before: its answer may have been lost.
    pub previous_epoch: i32,
    pub state: State,
    pub assigned: Owned,
    /// To be given up. No other member gets them before this one confirms it.
    pub revoking: Owned,
}

impl Default for Current {
    fn default() -> Current {
        Current {
            epoch: JOIN_EPOCH,
            previous_epoch: LEAVE_EPOCH,
            state: State::Stable,
            assigned: Owned::default(),
            revoking: Owned::default(),
        }
    }
}

impl Default for Member {
    fn default() -> Member {
        Member { metadata: unknown_metadata(), current: Current::default() }
    }
}

/// The metadata of an unknown member. The schema's defaults are empty names where there should be none.
pub fn unknown_metadata() -> ConsumerGroupMemberMetadataValue {
    ConsumerGroupMemberMetadataValue {
        instance_id: None,
        rack_id: None,
        subscribed_topic_regex: None,
        server_assignor: None,
        ..Default::default()
    }
}

impl Member {
    pub fn classic(&self) -> Option<&ClassicMemberMetadata> {
        self.metadata.classic_member_metadata.as_ref()
    }

    pub fn is_classic(&self) -> bool {
        self.classic().is_some()
    }

    /// The regular expression that it is subscribed by. An empty one is none.
    pub fn regex(&self) -> Option<&Str> {
        regex_of(&self.metadata)
    }

    pub fn is_reconciled_to(&self, target_epoch: i32) -> bool {
        self.current.state == State::Stable && self.current.epoch == target_epoch
    }
}

impl Counted<Str> for Member {
    /// Bytes that the member refers to, with its session's timer.
    fn bytes(&self, id: &Str) -> usize {
        let known = &self.metadata;
        let names =
            [&known.instance_id, &known.rack_id, &known.subscribed_topic_regex, &known.server_assignor];
        let of_topic = |name: &Str| size_of::<Str>() + of_text(name);
        let of_protocol = |protocol: &ClassicProtocol| {
            size_of::<ClassicProtocol>() + of_text(&protocol.name) + of_bytes(&protocol.metadata)
        };
        let protocols = self.classic().into_iter().flat_map(|classic| &classic.supported_protocols);
        of_text(id)
            + names.into_iter().map(|name| of_optional(name.as_ref())).sum::<usize>()
            + of_text(&known.client_id)
            + of_text(&known.client_host)
            + known.subscribed_topic_names.iter().map(of_topic).sum::<usize>()
            + protocols.map(of_protocol).sum::<usize>()
            + self.current.assigned.bytes()
            + self.current.revoking.bytes()
            + TIMER_BYTES
    }
}

/// The regular expression in a member's metadata. An empty one is none.
pub fn regex_of(metadata: &ConsumerGroupMemberMetadataValue) -> Option<&Str> {
    metadata.subscribed_topic_regex.as_ref().filter(|regex| !regex.is_empty())
}

impl Current {
    /// The partitions that the member may read: those assigned to it, and those it has not given up yet.
    pub fn held(&self) -> impl Iterator<Item = (TopicId, i32, i32)> + '_ {
        self.assigned.iter().chain(self.revoking.iter())
    }

    pub fn from_record(value: &ConsumerGroupCurrentMemberAssignmentValue) -> Current {
        Current {
            epoch: value.member_epoch,
            previous_epoch: value.previous_member_epoch,
            state: State::from_number(value.state),
            assigned: Owned::from_record(&value.assigned_partitions, value.member_epoch),
            revoking: Owned::from_record(&value.partitions_pending_revocation, value.member_epoch),
        }
    }

    pub fn to_record(&self) -> ConsumerGroupCurrentMemberAssignmentValue {
        ConsumerGroupCurrentMemberAssignmentValue {
            member_epoch: self.epoch,
            previous_member_epoch: self.previous_epoch,
            state: self.state.number(),
            assigned_partitions: self.assigned.to_record(),
            partitions_pending_revocation: self.revoking.to_record(),
        }
    }
}

impl State {
    fn number(self) -> i8 {
        match self {
            State::Stable => 0,
            State::UnrevokedPartitions => 1,
            State::UnreleasedPartitions => 2,
            State::Unknown => 127,
        }
    }

    fn from_number(number: i8) -> State {
        match number {
            0 => State::Stable,
            1 => State::UnrevokedPartitions,
            2 => State::UnreleasedPartitions,
            _ => State::Unknown,
        }
    }
}
