//! A classic group.

use ottla_coordinator::{ReplayError, Ticket};
use ottla_wire::ErrorCode;
use ottla_wire::messages::describe_groups_response::DescribedGroup;
use ottla_wire::messages::list_groups_response::ListedGroup;
use ottla_wire::messages::*;
use ottla_wire::primitives::Str;

use crate::context::Context;
use crate::group::{Committer, Group, OffsetExpiry};
use crate::groups::Groups;
use crate::record::GroupRecord;
use crate::request::{Caller, Response};
use crate::timers::Timer;

/// A classic group.
pub struct ClassicGroup {
    id: Str,
    recorded: bool,
}

impl ClassicGroup {
    /// An empty group that nothing is recorded of.
    pub fn new(id: Str) -> ClassicGroup {
        ClassicGroup { id, recorded: false }
    }

    pub fn id(&self) -> &Str {
        &self.id
    }

    pub fn is_empty(&self) -> bool {
        true
    }

    pub fn is_unrecorded(&self) -> bool {
        !self.recorded
    }

    pub fn join(
        &mut self,
        ctx: &mut Context<'_>,
        ticket: Ticket,
        _caller: &Caller,
        request: JoinGroupRequest,
    ) {
        let error_code = ErrorCode::CoordinatorNotAvailable.code();
        let response = JoinGroupResponse { error_code, member_id: request.member_id, ..Default::default() };
        ctx.reply(ticket, Response::JoinGroup(response));
    }

    pub fn sync(
        &mut self,
        ctx: &mut Context<'_>,
        ticket: Ticket,
        _caller: &Caller,
        _request: SyncGroupRequest,
    ) {
        ctx.reply(ticket, sync_in_unknown_group());
    }

    pub fn heartbeat(&mut self, ctx: &mut Context<'_>, ticket: Ticket, _request: &HeartbeatRequest) {
        ctx.reply(ticket, heartbeat_in_unknown_group());
    }

    pub fn leave(
        &mut self,
        ctx: &mut Context<'_>,
        ticket: Ticket,
        caller: &Caller,
        request: LeaveGroupRequest,
    ) {
        ctx.reply(ticket, leave_unknown_group(caller, request));
    }

    pub fn on_timer(&mut self, _ctx: &mut Context<'_>, _timer: Timer) {}

    pub fn start(&mut self, _ctx: &mut Context<'_>) {}

    pub fn touch(&mut self, _ctx: &mut Context<'_>, _member: &str) {}

    pub fn validate_commit(&self, by: &Committer<'_>) -> Result<(), ErrorCode> {
        if by.generation_or_epoch < 0 && by.member.is_empty() && by.instance.is_none() {
            Ok(())
        } else {
            Err(ErrorCode::UnknownMemberId)
        }
    }

    pub fn validate_offset_delete(&self) -> Result<(), ErrorCode> {
        Ok(())
    }

    pub fn is_subscribed_to(&self, _topic: &str) -> bool {
        false
    }

    pub fn offset_expiry(&self) -> OffsetExpiry {
        OffsetExpiry::FromCommit
    }

    pub fn describe(&self) -> DescribedGroup {
        DescribedGroup {
            group_id: self.id.clone(),
            group_state: Str::from_static("Empty"),
            ..Default::default()
        }
    }

    pub fn listed(&self) -> ListedGroup {
        ListedGroup {
            group_id: self.id.clone(),
            group_state: Str::from_static("Empty"),
            group_type: Str::from_static("classic"),
            ..Default::default()
        }
    }

    pub fn records(&self) -> Option<Vec<GroupRecord>> {
        (!self.recorded).then(Vec::new)
    }

    pub fn tombstones(&self, ctx: &mut Context<'_>) {
        if self.recorded {
            let key = GroupMetadataKey { group: self.id.clone() };
            ctx.write(&GroupRecord::Group { key, value: None });
        }
    }
}

/// JoinGroup of a group that does not exist, or is an empty consumer group, which it takes the place of.
pub fn first_join(
    ctx: &mut Context<'_>,
    groups: &mut Groups,
    ticket: Ticket,
    caller: &Caller,
    request: JoinGroupRequest,
) {
    let id = request.group_id.detached();
    if let Group::Classic(group) = groups.get_or_create(&id) {
        group.join(ctx, ticket, caller, request);
    }
}

pub fn sync_in_unknown_group() -> Response {
    let error_code = ErrorCode::UnknownMemberId.code();
    Response::SyncGroup(SyncGroupResponse { error_code, ..Default::default() })
}

pub fn heartbeat_in_unknown_group() -> Response {
    let error_code = ErrorCode::UnknownMemberId.code();
    Response::Heartbeat(HeartbeatResponse { error_code, ..Default::default() })
}

pub fn leave_unknown_group(_caller: &Caller, _request: LeaveGroupRequest) -> Response {
    let error_code = ErrorCode::UnknownMemberId.code();
    Response::LeaveGroup(LeaveGroupResponse { error_code, ..Default::default() })
}

/// Takes in a GroupMetadata record.
pub fn replay(
    groups: &mut Groups,
    key: GroupMetadataKey,
    value: Option<GroupMetadataValue>,
) -> Result<(), ReplayError> {
    let mut group = ClassicGroup::new(key.group.detached());
    group.recorded = value.is_some();
    groups.put(Group::Classic(group));
    Ok(())
}
