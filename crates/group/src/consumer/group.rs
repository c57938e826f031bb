//! A consumer group.

use ottla_coordinator::{ReplayError, Ticket};
use ottla_wire::ErrorCode;
use ottla_wire::messages::consumer_group_describe_response::DescribedGroup;
use ottla_wire::messages::list_groups_response::ListedGroup;
use ottla_wire::messages::*;
use ottla_wire::primitives::Str;

use crate::context::Context;
use crate::group::{Committer, Next, OffsetExpiry};
use crate::groups::Groups;
use crate::record::GroupRecord;
use crate::request::{Caller, Response};
use crate::timers::Timer;
use crate::topics::Topics;

/// A consumer group.
pub struct ConsumerGroup {
    id: Str,
}

impl ConsumerGroup {
    pub fn id(&self) -> &Str {
        &self.id
    }

    pub fn is_empty(&self) -> bool {
        true
    }

    /// ConsumerGroupHeartbeat.
    pub fn heartbeat(
        &mut self,
        ctx: &mut Context<'_>,
        ticket: Ticket,
        _caller: &Caller,
        _request: ConsumerGroupHeartbeatRequest,
    ) -> Next {
        unsupported(ctx, ticket);
        Next::Stays
    }

    /// JoinGroup of a member that speaks the classic protocol. The group is not empty.
    pub fn classic_join(
        &mut self,
        ctx: &mut Context<'_>,
        ticket: Ticket,
        _caller: &Caller,
        request: JoinGroupRequest,
    ) -> Next {
        let error_code = ErrorCode::InconsistentGroupProtocol.code();
        let response = JoinGroupResponse { error_code, member_id: request.member_id, ..Default::default() };
        ctx.reply(ticket, Response::JoinGroup(response));
        Next::Stays
    }

    pub fn classic_sync(
        &mut self,
        ctx: &mut Context<'_>,
        ticket: Ticket,
        _caller: &Caller,
        _request: SyncGroupRequest,
    ) -> Next {
        ctx.reply(ticket, crate::classic::sync_in_unknown_group());
        Next::Stays
    }

    pub fn classic_heartbeat(
        &mut self,
        ctx: &mut Context<'_>,
        ticket: Ticket,
        _caller: &Caller,
        _request: HeartbeatRequest,
    ) -> Next {
        ctx.reply(ticket, crate::classic::heartbeat_in_unknown_group());
        Next::Stays
    }

    pub fn classic_leave(
        &mut self,
        ctx: &mut Context<'_>,
        ticket: Ticket,
        caller: &Caller,
        request: LeaveGroupRequest,
    ) -> Next {
        ctx.reply(ticket, crate::classic::leave_unknown_group(caller, request));
        Next::Stays
    }

    /// One of the group's timers is due. It may be one that a classic group of this id has left behind.
    pub fn on_timer(&mut self, _ctx: &mut Context<'_>, _timer: Timer) -> Next {
        Next::Stays
    }

    /// The cluster's topics have changed (`ctx.topics`).
    pub fn topics_changed(&mut self, _ctx: &mut Context<'_>, _deleted: &[Str]) -> Next {
        Next::Stays
    }

    /// Sessions begin anew: after loading, and after a pause.
    pub fn start(&mut self, _ctx: &mut Context<'_>) -> Next {
        Next::Stays
    }

    pub fn validate_commit(&self, _by: &Committer<'_>) -> Result<(), ErrorCode> {
        Err(ErrorCode::UnknownMemberId)
    }

    /// A member has committed.
    pub fn committed(&mut self, _ctx: &mut Context<'_>, _by: &Committer<'_>) {}

    pub fn validate_fetch(&self, _member: Option<&str>, _epoch: i32) -> Result<(), ErrorCode> {
        Err(ErrorCode::UnknownMemberId)
    }

    pub fn is_subscribed_to(&self, _topic: &str) -> bool {
        false
    }

    pub fn offset_expiry(&self) -> OffsetExpiry {
        OffsetExpiry::FromCommit
    }

    pub fn describe(&self, _topics: &dyn Topics) -> DescribedGroup {
        DescribedGroup { group_id: self.id.clone(), ..Default::default() }
    }

    pub fn listed(&self) -> ListedGroup {
        ListedGroup {
            group_id: self.id.clone(),
            group_type: Str::from_static("consumer"),
            ..Default::default()
        }
    }

    /// The records that stand for the group's lasting state.
    pub fn records(&self) -> Vec<GroupRecord> {
        Vec::new()
    }

    /// Writes that the group is gone, in Kafka's order.
    pub fn tombstones(&self, _ctx: &mut Context<'_>) {}
}

/// ConsumerGroupHeartbeat to a group that does not exist, or is a classic one. `groups` gets the consumer group if the
/// member is let in.
pub fn first_heartbeat(
    ctx: &mut Context<'_>,
    _groups: &mut Groups,
    ticket: Ticket,
    _caller: &Caller,
    _request: ConsumerGroupHeartbeatRequest,
) {
    unsupported(ctx, ticket);
}

/// Takes in a record of a consumer group. An unrecorded classic group of the same id gives way.
pub fn replay(_groups: &mut Groups, _record: GroupRecord) -> Result<(), ReplayError> {
    Ok(())
}

fn unsupported(ctx: &mut Context<'_>, ticket: Ticket) {
    let error_code = ErrorCode::UnsupportedVersion.code();
    let response = ConsumerGroupHeartbeatResponse { error_code, ..Default::default() };
    ctx.reply(ticket, Response::ConsumerGroupHeartbeat(response));
}
