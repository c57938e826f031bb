//! Heartbeat (key 12): a member of a classic group lives.

use ottla_coordinator::Ticket;
use ottla_wire::ErrorCode;
use ottla_wire::messages::{HeartbeatRequest, HeartbeatResponse};
use ottla_wire::primitives::Str;

use super::group::{ClassicGroup, State};
use crate::context::Context;
use crate::group::ClassicRequest;
use crate::request::{Caller, GroupRequest, Response};
use crate::step::{Serve, Step};

impl GroupRequest for HeartbeatRequest {
    type Response = HeartbeatResponse;

    fn group(&self) -> Option<&Str> {
        Some(&self.group_id)
    }

    fn refuse(self, error: ErrorCode) -> HeartbeatResponse {
        HeartbeatResponse { error_code: error.code(), ..Default::default() }
    }
}

impl Serve for HeartbeatRequest {
    fn serve(self, step: &mut Step<'_>, ticket: Ticket, caller: &Caller) {
        let Step { ctx, groups, .. } = step;
        let id = self.group_id.clone();
        let Some(group) = groups.get_mut(&id).and_then(|group| group.classic_protocol()) else {
            return ctx.reply(ticket, Response::Heartbeat(self.refuse(ErrorCode::UnknownMemberId)));
        };
        let next = group.take(ctx, ticket, caller, ClassicRequest::Heartbeat(self));
        step.settle(&id, next);
    }
}

impl ClassicGroup {
    pub fn heartbeat(&mut self, ctx: &mut Context<'_>, ticket: Ticket, request: &HeartbeatRequest) {
        let error = self.take_heartbeat(ctx, request).err().unwrap_or(ErrorCode::None);
        let error_code = error.code();
        ctx.reply(ticket, Response::Heartbeat(HeartbeatResponse { error_code, ..Default::default() }));
    }

    fn take_heartbeat(&mut self, ctx: &mut Context<'_>, request: &HeartbeatRequest) -> Result<(), ErrorCode> {
        self.roster.validate(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        self.renew(ctx, &request.member_id);
        match self.state {
            State::PreparingRebalance { .. } => Err(ErrorCode::RebalanceInProgress),
            // A member may send heartbeats while it waits for its assignment.
            State::CompletingRebalance | State::Stable => Ok(()),
            State::Empty => Err(ErrorCode::UnknownMemberId),
        }
    }
}
