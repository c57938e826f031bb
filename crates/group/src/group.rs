//! The coordinator's interface to groups of any type.
//!
//! A type of group is an addition: it implements [`Group`], and the requests that only its members know look
//! for it by [`Groups::get_as`](crate::groups::Groups::get_as).

use std::any::Any;

use ottla_coordinator::Ticket;
use ottla_wire::messages::list_groups_response::ListedGroup;
use ottla_wire::messages::{HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest};
use ottla_wire::primitives::Str;
use ottla_wire::{ErrorCode, PartitionIndex, Timestamp, TopicId};

use crate::context::Context;
use crate::record::GroupRecord;
use crate::request::Caller;
use crate::timers::Timer;

/// The fate of a group after a step.
pub enum Next {
    /// Nothing that is kept of it has changed.
    Unchanged,
    Stays,
    /// It takes another type. The step has written the records that say so.
    Becomes(Box<dyn Group>),
}

/// Who says that it may commit offsets.
#[derive(Clone, Copy, Debug)]
pub struct Committer<'a> {
    pub member: &'a str,
    pub instance: Option<&'a str>,
    /// Negative for those that are no members: simple consumers and the administrator.
    pub generation_or_epoch: i32,
    /// TxnOffsetCommit: members of old versions do not say who they are.
    pub transactional: bool,
    /// Version of the API that is called. A classic member of a consumer group gets errors of its own
    /// protocol.
    pub version: i16,
}

/// When the offsets of a group expire. Those of topics that it is subscribed to do not:
/// [`Group::is_subscribed_to`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetExpiry {
    /// The group is about to change: not now.
    Never,
    /// The retention counts from the commit.
    FromCommit,
    /// The retention counts from when the group became empty.
    FromEmpty(Timestamp),
}

/// A group. Its memory, members and records are its own; its offsets are not.
pub trait Group: Any + Send {
    fn id(&self) -> &Str;

    /// Restarts sessions, after loading and after a pause in which no heartbeat could arrive.
    fn start(&mut self, ctx: &mut Context<'_>) -> Next;

    /// One of its timers is due. It may be one that a group of another type and the same id has left behind.
    fn on_timer(&mut self, ctx: &mut Context<'_>, timer: Timer) -> Next;

    /// The cluster's topics have changed (`ctx.topics`).
    fn topics_changed(&mut self, _ctx: &mut Context<'_>, _deleted: &[Str]) -> Next {
        Next::Unchanged
    }

    /// The group, to those of its members that speak the classic protocol. `None` if it has no such members.
    fn classic_protocol(&mut self) -> Option<&mut dyn ClassicProtocol> {
        None
    }

    /// Whether it is empty and a classic group may take its place.
    fn gives_way_to_classic(&self) -> bool {
        false
    }

    /// How many members it has.
    fn members_len(&self) -> usize;

    /// Whether it has no members. A client may be about to join: [`Group::is_expecting`].
    fn is_empty(&self) -> bool {
        self.members_len() == 0
    }

    /// Whether a member id was issued and not used yet.
    fn is_expecting(&self) -> bool {
        false
    }

    /// The log has no record of the group itself: it exists by its offsets (a simple consumer) or by who is
    /// joining.
    fn is_unrecorded(&self) -> bool {
        false
    }

    fn is_subscribed_to(&self, topic: &str) -> bool;

    /// Whether `by` may commit now.
    fn validate_commit(&self, by: &Committer<'_>) -> Result<(), ErrorCode>;

    /// Whether `by`, whom [`Group::validate_commit`] lets in, may commit for a partition. `topic` is zero if
    /// the topic does not exist.
    fn validate_commit_of(
        &self,
        _by: &Committer<'_>,
        _topic: TopicId,
        _partition: PartitionIndex,
    ) -> Result<(), ErrorCode> {
        Ok(())
    }

    /// A member has committed, so it is alive. For members of the classic protocol this counts as a
    /// heartbeat.
    fn committed(&mut self, ctx: &mut Context<'_>, by: &Committer<'_>);

    /// Whether offsets may be fetched by `member` (OffsetFetch version 9; `None` for those that do not say).
    fn validate_fetch(&self, _member: Option<&str>, _epoch: i32) -> Result<(), ErrorCode> {
        Ok(())
    }

    /// Whether single offsets may be deleted: those of topics that the group does not read.
    fn validate_offset_delete(&self) -> Result<(), ErrorCode> {
        Ok(())
    }

    /// Whether the group may be deleted.
    fn validate_delete(&self) -> Result<(), ErrorCode> {
        if self.is_empty() { Ok(()) } else { Err(ErrorCode::NonEmptyGroup) }
    }

    fn offset_expiry(&self) -> OffsetExpiry {
        OffsetExpiry::FromCommit
    }

    fn listed(&self) -> ListedGroup;

    /// The records that stand for the group; `None` while it knows more than they say.
    fn records(&self) -> Option<Vec<GroupRecord>>;

    /// Writes the deletion of the group. Its offsets are not its own:
    /// [`crate::offsets::Offsets::remove_group`].
    fn tombstones(&self, ctx: &mut Context<'_>);

    /// Bytes that it takes in memory, without its offsets and its history. Known at every moment.
    fn bytes(&self) -> usize;
}

/// A group that has members of the classic protocol.
pub trait ClassicProtocol {
    /// Takes a request of such a member, which MUST be answered, now or later.
    fn take(
        &mut self,
        ctx: &mut Context<'_>,
        ticket: Ticket,
        caller: &Caller,
        request: ClassicRequest,
    ) -> Next;
}

/// Requests of the classic protocol to a group.
pub enum ClassicRequest {
    Join(JoinGroupRequest),
    Sync(SyncGroupRequest),
    Heartbeat(HeartbeatRequest),
    Leave(LeaveGroupRequest),
}

impl dyn Group {
    /// The group, if it is of this type.
    pub fn as_a<G: Group>(&self) -> Option<&G> {
        (self as &dyn Any).downcast_ref()
    }

    /// The same, to change it.
    pub fn as_a_mut<G: Group>(&mut self) -> Option<&mut G> {
        (self as &mut dyn Any).downcast_mut()
    }
}
