//! A member of a classic group.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ottla_coordinator::Ticket;
use ottla_wire::Instant;
use ottla_wire::messages::describe_groups_response::DescribedGroupMember;
use ottla_wire::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_wire::messages::{JoinGroupRequest, group_metadata_value};
use ottla_wire::primitives::Str;

use super::protocols::{self, Protocol};
use crate::counted::Counted;
use crate::history::Who;
use crate::memory::{of_bytes, of_optional, of_text};
use crate::request::Caller;
use crate::timers::TIMER_BYTES;

/// A member of a classic group. Its id is its key in the [`super::roster::Roster`].
#[derive(Clone, Debug)]
pub struct Member {
    /// A static member (KIP-345): who comes back under this name is the same member.
    pub instance: Option<Str>,
    pub client_id: Str,
    pub client_host: Str,
    pub rebalance_timeout: Duration,
    pub session_timeout: Duration,
    /// The preferred one first.
    pub protocols: Vec<Protocol>,
    /// Its assignment from the leader, which may be empty.
    pub assignment: Bytes,
    /// Its first JoinGroup has not been answered yet.
    pub is_new: bool,
    /// Its JoinGroup that waits.
    pub joining: Option<Ticket>,
    /// Its SyncGroup that waits.
    pub syncing: Option<Ticket>,
    /// When its session ends.
    pub deadline: Instant,
    /// When its timer fires, which is often before the deadline. A heartbeat only moves the deadline; the
    /// timer catches up when it fires.
    pub timer: Option<Instant>,
}

impl Member {
    /// The member that joins with this request.
    pub fn joining(caller: &Caller, request: &JoinGroupRequest) -> Member {
        let mut member = Member {
            instance: request.group_instance_id.as_ref().map(Str::detached),
            client_id: caller.client_id.detached(),
            client_host: caller.client_host.detached(),
            rebalance_timeout: Duration::ZERO,
            session_timeout: Duration::ZERO,
            protocols: Vec::new(),
            assignment: Bytes::new(),
            is_new: true,
            joining: None,
            syncing: None,
            deadline: Instant(0),
            timer: None,
        };
        member.update(request);
        member
    }

    /// A member as it is recorded. `protocol` is that of the group.
    pub fn recorded(protocol: &Str, value: group_metadata_value::MemberMetadata) -> Member {
        let session_timeout = millis(value.session_timeout);
        let known = value.rebalance_timeout >= 0;
        Member {
            instance: value.group_instance_id.as_ref().map(Str::detached),
            client_id: value.client_id.detached(),
            client_host: value.client_host.detached(),
            rebalance_timeout: if known { millis(value.rebalance_timeout) } else { session_timeout },
            session_timeout,
            protocols: vec![Protocol {
                name: protocol.clone(),
                metadata: Bytes::copy_from_slice(&value.subscription),
            }],
            assignment: Bytes::copy_from_slice(&value.assignment),
            is_new: false,
            joining: None,
            syncing: None,
            deadline: Instant(0),
            timer: None,
        }
    }

    pub fn record(&self, id: &Str, protocol: &str) -> group_metadata_value::MemberMetadata {
        group_metadata_value::MemberMetadata {
            member_id: id.clone(),
            group_instance_id: self.instance.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout: as_millis(self.rebalance_timeout),
            session_timeout: as_millis(self.session_timeout),
            subscription: self.metadata(protocol),
            assignment: self.assignment.clone(),
        }
    }

    /// Takes over the timeouts and protocols of a request. Version 0 has one timeout only.
    pub fn update(&mut self, request: &JoinGroupRequest) {
        self.session_timeout = millis(request.session_timeout_ms);
        let known = request.rebalance_timeout_ms >= 0;
        self.rebalance_timeout =
            if known { millis(request.rebalance_timeout_ms) } else { self.session_timeout };
        self.protocols = protocols::kept(&request.protocols);
    }

    /// Whether a request brings the same protocols, in the same order of preference.
    pub fn brings(&self, asked: &[JoinGroupRequestProtocol]) -> bool {
        self.protocols.len() == asked.len()
            && self
                .protocols
                .iter()
                .zip(asked)
                .all(|(kept, asked)| kept.name == asked.name && kept.metadata == asked.metadata)
    }

    /// The member's metadata for `protocol`; empty if it does not know it.
    pub fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|known| known.name == protocol);
        found.map(|known| known.metadata.clone()).unwrap_or_default()
    }

    /// The first of its protocols that all `members` support.
    pub fn vote(&self, support: &BTreeMap<Str, usize>, members: usize) -> Option<&Str> {
        let names = self.protocols.iter().map(|protocol| &protocol.name);
        names.into_iter().find(|name| support.get(*name) == Some(&members))
    }

    /// Bytes that its protocols take.
    pub fn protocols_size(&self) -> usize {
        self.protocols.iter().map(Protocol::size).sum()
    }

    pub fn who(&self, id: &Str) -> Who {
        Who {
            member: id.clone(),
            instance: self.instance.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
        }
    }

    /// How DescribeGroups shows it, with its metadata if the group has chosen a protocol.
    pub fn described(&self, id: &Str, protocol: Option<&Str>) -> DescribedGroupMember {
        DescribedGroupMember {
            member_id: id.clone(),
            group_instance_id: self.instance.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            member_metadata: protocol.map(|protocol| self.metadata(protocol)).unwrap_or_default(),
            member_assignment: self.assignment.clone(),
        }
    }
}

impl Counted<Str> for Member {
    /// Bytes that the member refers to, with its session's timer, which has the id once more.
    fn bytes(&self, id: &Str) -> usize {
        let of_protocol = |protocol: &Protocol| {
            size_of::<Protocol>() + of_text(&protocol.name) + of_bytes(&protocol.metadata)
        };
        2 * of_text(id)
            + of_optional(self.instance.as_ref())
            + of_text(&self.client_id)
            + of_text(&self.client_host)
            + self.protocols.iter().map(of_protocol).sum::<usize>()
            + of_bytes(&self.assignment)
            + TIMER_BYTES
    }
}

/// A timeout on the wire or in a record. Negative ones are none.
pub(super) fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

fn as_millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
