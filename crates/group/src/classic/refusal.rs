//! Refusing members: those that ask, and those whose requests wait.

use ottla_wire::ErrorCode;
use ottla_wire::messages::{JoinGroupResponse, SyncGroupResponse};
use ottla_wire::primitives::Str;

use super::group::ClassicGroup;
use crate::context::Context;
use crate::request::Response;

pub(super) fn refused_join(member_id: Str, error: ErrorCode) -> Response {
    Response::JoinGroup(JoinGroupResponse { member_id, error_code: error.code(), ..Default::default() })
}

pub(super) fn refused_sync(error: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse { error_code: error.code(), ..Default::default() }
}

impl ClassicGroup {
    /// Answers everybody who waits with `error`: the group is about to go, or to take another type. Its
    /// timers are left to [`crate::timers::GroupTimers::cancel_group`].
    pub fn dissolve(&mut self, ctx: &mut Context<'_>, error: ErrorCode) {
        for id in self.roster.ids() {
            self.refuse_waiting(ctx, &id, error);
        }
    }

    /// Answers the requests of a member that wait with `error`.
    pub(super) fn refuse_waiting(&mut self, ctx: &mut Context<'_>, id: &Str, error: ErrorCode) {
        if let Some(ticket) = self.roster.take_joining(id) {
            ctx.reply(ticket, refused_join(id.clone(), error));
        }
        if let Some(ticket) = self.roster.get_mut(id).and_then(|member| member.syncing.take()) {
            ctx.reply(ticket, Response::SyncGroup(refused_sync(error)));
        }
    }
}
