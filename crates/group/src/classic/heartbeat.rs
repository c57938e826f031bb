//! Heartbeat (key 12): a member of a classic group lives.

use ottla_coordinator::Ticket;
use ottla_wire::ErrorCode;
use ottla_wire::messages::{HeartbeatRequest, HeartbeatResponse};

use super::group::{ClassicGroup, State};
use crate::context::Context;
use crate::request::Response;

impl ClassicGroup {
    pub fn heartbeat(&mut self, ctx: &mut Context<'_>, ticket: Ticket, request: &HeartbeatRequest) {
        let error = self.take_heartbeat(ctx, request).err().unwrap_or(ErrorCode::None);
        ctx.reply(ticket, answer(error));
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

pub fn heartbeat_in_unknown_group() -> Response {
    answer(ErrorCode::UnknownMemberId)
}

fn answer(error: ErrorCode) -> Response {
    Response::Heartbeat(HeartbeatResponse { error_code: error.code(), ..Default::default() })
}
