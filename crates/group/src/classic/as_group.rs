//! A classic group as the coordinator sees it.

use ottla_coordinator::Ticket;
use ottla_wire::ErrorCode;
use ottla_wire::messages::list_groups_response::ListedGroup;
use ottla_wire::messages::{HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest};
use ottla_wire::primitives::Str;

use super::group::ClassicGroup;
use crate::context::Context;
use crate::group::{ClassicProtocol, Committer, Group, Next, OffsetExpiry};
use crate::record::GroupRecord;
use crate::request::Caller;
use crate::timers::Timer;

impl Group for ClassicGroup {
    fn id(&self) -> &Str {
        ClassicGroup::id(self)
    }

    fn start(&mut self, ctx: &mut Context<'_>) -> Next {
        ClassicGroup::start(self, ctx);
        Next::Stays
    }

    fn on_timer(&mut self, ctx: &mut Context<'_>, timer: Timer) -> Next {
        ClassicGroup::on_timer(self, ctx, timer);
        Next::Stays
    }

    fn classic_protocol(&mut self) -> Option<&mut dyn ClassicProtocol> {
        Some(self)
    }

    fn members_len(&self) -> usize {
        self.roster.len()
    }

    fn is_empty(&self) -> bool {
        ClassicGroup::is_empty(self)
    }

    fn is_expecting(&self) -> bool {
        self.roster.pending_len() > 0
    }

    fn is_unrecorded(&self) -> bool {
        !self.is_recorded
    }

    fn is_subscribed_to(&self, topic: &str) -> bool {
        ClassicGroup::is_subscribed_to(self, topic)
    }

    fn validate_commit(&self, by: &Committer<'_>) -> Result<(), ErrorCode> {
        ClassicGroup::validate_commit(self, by)
    }

    fn committed(&mut self, ctx: &mut Context<'_>, by: &Committer<'_>) {
        self.renew(ctx, &Str::from(by.member));
    }

    fn validate_offset_delete(&self) -> Result<(), ErrorCode> {
        ClassicGroup::validate_offset_delete(self)
    }

    fn offset_expiry(&self) -> OffsetExpiry {
        ClassicGroup::offset_expiry(self)
    }

    fn listed(&self) -> ListedGroup {
        ClassicGroup::listed(self)
    }

    fn records(&self) -> Option<Vec<GroupRecord>> {
        ClassicGroup::records(self)
    }

    fn tombstones(&self, ctx: &mut Context<'_>) {
        ClassicGroup::tombstones(self, ctx);
    }

    fn bytes(&self) -> usize {
        ClassicGroup::bytes(self)
    }
}

impl ClassicProtocol for ClassicGroup {
    fn join(
        &mut self,
        ctx: &mut Context<'_>,
        ticket: Ticket,
        caller: &Caller,
        request: JoinGroupRequest,
    ) -> Next {
        ClassicGroup::join(self, ctx, ticket, caller, request);
        Next::Stays
    }

    fn sync(
        &mut self,
        ctx: &mut Context<'_>,
        ticket: Ticket,
        caller: &Caller,
        request: SyncGroupRequest,
    ) -> Next {
        ClassicGroup::sync(self, ctx, ticket, caller, request);
        Next::Stays
    }

    /// It changes nothing but a deadline, and it comes often.
    fn heartbeat(&mut self, ctx: &mut Context<'_>, ticket: Ticket, request: HeartbeatRequest) -> Next {
        ClassicGroup::heartbeat(self, ctx, ticket, &request);
        Next::Unchanged
    }

    fn leave(
        &mut self,
        ctx: &mut Context<'_>,
        ticket: Ticket,
        caller: &Caller,
        request: LeaveGroupRequest,
    ) -> Next {
        ClassicGroup::leave(self, ctx, ticket, caller, request);
        Next::Stays
    }
}
