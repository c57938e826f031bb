//! LeaveGroup (key 13): members go, or the administrator removes static ones (KIP-345: version 3; KIP-800:
//! reasons).

use ottla_coordinator::Ticket;
use ottla_wire::ErrorCode;
use ottla_wire::messages::leave_group_request::MemberIdentity;
use ottla_wire::messages::leave_group_response::MemberResponse;
use ottla_wire::messages::{LeaveGroupRequest, LeaveGroupResponse};
use ottla_wire::primitives::Str;

use super::group::ClassicGroup;
use super::rebalance::Why;
use crate::context::Context;
use crate::group::ClassicRequest;
use crate::history::Cause;
use crate::request::{Caller, GroupRequest, Response};
use crate::step::{Serve, Step};

/// From this version on several members may leave with one request, and each has its own outcome.
const BATCHED_FROM: i16 = 3;

impl GroupRequest for LeaveGroupRequest {
    type Response = LeaveGroupResponse;

    fn group(&self) -> Option<&Str> {
        Some(&self.group_id)
    }

    fn refuse(self, error: ErrorCode) -> LeaveGroupResponse {
        LeaveGroupResponse { error_code: error.code(), ..Default::default() }
    }
}

impl Serve for LeaveGroupRequest {
    fn serve(self, step: &mut Step<'_>, ticket: Ticket, caller: &Caller) {
        let Step { ctx, groups, .. } = step;
        let id = self.group_id.clone();
        let Some(group) = groups.get_mut(&id).and_then(|group| group.classic_protocol()) else {
            return ctx.reply(ticket, leave_unknown_group(caller, self));
        };
        let next = group.take(ctx, ticket, caller, ClassicRequest::Leave(self));
        step.settle(&id, next);
    }
}

impl ClassicGroup {
    pub fn leave(
        &mut self,
        ctx: &mut Context<'_>,
        ticket: Ticket,
        caller: &Caller,
        request: LeaveGroupRequest,
    ) {
        let mut members = Vec::new();
        let mut why = None;
        for identity in leaving(caller, request) {
            let outcome = self.remove_leaving(ctx, &identity);
            let error = outcome.as_ref().err().copied().unwrap_or(ErrorCode::None);
            if let Ok(left) = outcome {
                why = why.or(left);
            }
            members.push(MemberResponse {
                member_id: identity.member_id,
                group_instance_id: identity.group_instance_id,
                error_code: error.code(),
            });
        }
        let anybody_left = members.iter().any(|member| member.error_code == ErrorCode::None.code());
        if anybody_left {
            self.somebody_left(ctx, why);
        }
        ctx.reply(ticket, answer(caller, members));
    }

    /// Removes one member. Returns why the group rebalances, if it was a full member.
    fn remove_leaving(
        &mut self,
        ctx: &mut Context<'_>,
        identity: &MemberIdentity,
    ) -> Result<Option<Why>, ErrorCode> {
        let id = &identity.member_id;
        if self.stop_expecting(ctx, id) {
            return Ok(None);
        }
        // The administrator names the instance only.
        let (id, cause) = match &identity.group_instance_id {
            Some(instance) if id.is_empty() => {
                let id = self.roster.of_instance(instance).ok_or(ErrorCode::UnknownMemberId)?;
                (id.clone(), Cause::Removed)
            }
            Some(_) | None => {
                self.roster.validate(id, identity.group_instance_id.as_deref())?;
                (id.clone(), Cause::Left)
            }
        };
        let by = self.remove_member(ctx, &id);
        let reason = identity.reason.as_ref().map(Str::detached);
        Ok(Some(Why { cause, by, reason }))
    }
}

fn leave_unknown_group(caller: &Caller, request: LeaveGroupRequest) -> Response {
    let unknown = |identity: MemberIdentity| MemberResponse {
        member_id: identity.member_id,
        group_instance_id: identity.group_instance_id,
        error_code: ErrorCode::UnknownMemberId.code(),
    };
    answer(caller, leaving(caller, request).into_iter().map(unknown).collect())
}

/// Who leaves. Old versions name one member at the top of the request.
fn leaving(caller: &Caller, request: LeaveGroupRequest) -> Vec<MemberIdentity> {
    if caller.version >= BATCHED_FROM {
        return request.members;
    }
    vec![MemberIdentity { member_id: request.member_id, ..Default::default() }]
}

fn answer(caller: &Caller, members: Vec<MemberResponse>) -> Response {
    let response = if caller.version >= BATCHED_FROM {
        LeaveGroupResponse { members, ..Default::default() }
    } else {
        let error_code = members.first().map_or(ErrorCode::None.code(), |member| member.error_code);
        LeaveGroupResponse { error_code, ..Default::default() }
    };
    Response::LeaveGroup(response)
}
