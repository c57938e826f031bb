//! SyncGroup (key 14): the leader brings the assignment, everybody fetches its part (KIP-559: version 5 names
//! the protocol).

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_coordinator::Ticket;
use ottla_wire::ErrorCode;
use ottla_wire::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_wire::messages::{SyncGroupRequest, SyncGroupResponse};
use ottla_wire::primitives::Str;

use super::group::{ClassicGroup, State};
use super::rebalance::Why;
use super::refusal::refused_sync;
use crate::context::Context;
use crate::group::ClassicRequest;
use crate::history::{Cause, Phase};
use crate::request::{Caller, GroupRequest, Response};
use crate::step::{Serve, Step};
use crate::timers::Timer;

/// From this version on a member says what it takes the protocol of the group to be.
const NAMES_PROTOCOL_FROM: i16 = 5;

impl GroupRequest for SyncGroupRequest {
    type Response = SyncGroupResponse;

    fn group(&self) -> Option<&Str> {
        Some(&self.group_id)
    }

    fn brings_much(&self) -> bool {
        !self.assignments.is_empty()
    }

    fn refuse(self, error: ErrorCode) -> SyncGroupResponse {
        refused_sync(error)
    }
}

impl Serve for SyncGroupRequest {
    fn serve(self, step: &mut Step<'_>, ticket: Ticket, caller: &Caller) {
        let Step { ctx, groups, .. } = step;
        let id = self.group_id.clone();
        let Some(group) = groups.get_mut(&id).and_then(|group| group.classic_protocol()) else {
            return ctx.reply(ticket, Response::SyncGroup(self.refuse(ErrorCode::UnknownMemberId)));
        };
        let next = group.take(ctx, ticket, caller, ClassicRequest::Sync(self));
        step.settle(&id, next);
    }
}

impl ClassicGroup {
    pub fn sync(
        &mut self,
        ctx: &mut Context<'_>,
        ticket: Ticket,
        caller: &Caller,
        request: SyncGroupRequest,
    ) {
        if let Err(error) = self.validate_sync(caller, &request) {
            return ctx.reply(ticket, Response::SyncGroup(refused_sync(error)));
        }
        let id = request.member_id.detached();
        match self.state {
            State::PreparingRebalance { .. } | State::Empty => {
                ctx.reply(ticket, Response::SyncGroup(refused_sync(ErrorCode::RebalanceInProgress)));
            }
            State::CompletingRebalance => self.wait_for_assignment(ctx, ticket, id, request.assignments),
            State::Stable => {
                self.synced(ctx, &id);
                let response = self.assigned(&id);
                ctx.reply(ticket, Response::SyncGroup(response));
            }
        }
    }

    fn validate_sync(&self, caller: &Caller, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
        let named = request.protocol_type.is_some() && request.protocol_name.is_some();
        if caller.version >= NAMES_PROTOCOL_FROM && !named {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        self.roster.validate(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs = |asked: &Option<Str>, own: &Option<Str>| asked.is_some() && asked != own;
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn wait_for_assignment(
        &mut self,
        ctx: &mut Context<'_>,
        ticket: Ticket,
        id: Str,
        assignments: Vec<SyncGroupRequestAssignment>,
    ) {
        if let Some(member) = self.roster.get_mut(&id)
            && let Some(before) = member.syncing.replace(ticket)
        {
            // The member asks again, so it has given up its first request.
            ctx.reply(before, Response::SyncGroup(refused_sync(ErrorCode::RebalanceInProgress)));
        }
        self.synced(ctx, &id);
        if self.roster.is_leader(&id) {
            self.assign(ctx, assignments);
        }
    }

    /// Records the leader's assignment, and answers everybody who waits for it.
    fn assign(&mut self, ctx: &mut Context<'_>, assignments: Vec<SyncGroupRequestAssignment>) {
        let assignments = assignments.into_iter().map(|of| (of.member_id, of.assignment));
        let mut assignments: BTreeMap<Str, Bytes> = assignments.collect();
        self.roster.assign(|id| Bytes::copy_from_slice(&assignments.remove(id).unwrap_or_default()));
        if self.record_len() > ctx.config.limits.group_record_bytes_max {
            let error = ErrorCode::UnknownServerError;
            self.reset_assignments(ctx, error);
            return self
                .prepare_rebalance(ctx, Why { cause: Cause::AssignmentFailed, by: None, reason: None });
        }
        self.enter(ctx.at, State::Stable);
        self.write(ctx);
        ctx.histories.of(&self.id).enter(ctx.at, Phase::Sync);
        self.end_history_if_synced(ctx);
        for id in self.roster.syncing() {
            let response = self.assigned(&id);
            self.answer_syncing(ctx, &id, response);
        }
    }

    /// Takes all assignments back and answers everybody who waits for one with `error`.
    pub(super) fn reset_assignments(&mut self, ctx: &mut Context<'_>, error: ErrorCode) {
        self.roster.assign(|_| Bytes::new());
        for id in self.roster.syncing() {
            self.answer_syncing(ctx, &id, refused_sync(error));
        }
    }

    /// Answers a waiting member. Its session restarts, because it may have expired meanwhile without effect.
    fn answer_syncing(&mut self, ctx: &mut Context<'_>, id: &Str, response: SyncGroupResponse) {
        if let Some(ticket) = self.roster.get_mut(id).and_then(|member| member.syncing.take()) {
            ctx.reply(ticket, Response::SyncGroup(response));
            self.renew(ctx, id);
        }
    }

    fn assigned(&self, id: &Str) -> SyncGroupResponse {
        let assignment = self.roster.get(id).map(|member| member.assignment.clone());
        SyncGroupResponse {
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol.clone(),
            assignment: assignment.unwrap_or_default(),
            ..Default::default()
        }
    }

    /// A member has sent SyncGroup.
    fn synced(&mut self, ctx: &mut Context<'_>, id: &Str) {
        if !self.unsynced.remove(id) {
            return;
        }
        if self.unsynced.is_empty() {
            ctx.timers.cancel(&Timer::Sync { group: self.id.clone() });
        }
        let who = self.roster.get(id).map(|member| member.who(id));
        // Everybody waits for the leader until its assignment is there.
        if self.state == State::Stable || self.roster.is_leader(id) {
            ctx.histories.of(&self.id).arrived(ctx.at, || who.unwrap_or_default());
        }
        if self.state == State::Stable {
            self.end_history_if_synced(ctx);
        }
    }

    fn end_history_if_synced(&mut self, ctx: &mut Context<'_>) {
        if self.unsynced.is_empty() {
            ctx.histories.of(&self.id).complete(ctx.at);
        }
    }
}
