//! How members go: they leave, their session runs out, or they do not do their part of a rebalance in time.

use std::collections::BTreeSet;

use ottla_wire::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use ottla_wire::primitives::Str;

use crate::consumer::group::ConsumerGroup;
use crate::consumer::member::{Current, LEAVE_STATIC_EPOCH};
use crate::consumer::owned::Owned;
use crate::consumer::refusal::Refusal;
use crate::context::Context;
use crate::group::{Group, Next};
use crate::history::{Begin, Cause};
use crate::timers::Timer;

impl ConsumerGroup {
    /// ConsumerGroupHeartbeat with an epoch below zero.
    pub(super) fn serve_leave(
        &mut self,
        ctx: &mut Context<'_>,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<(ConsumerGroupHeartbeatResponse, Next), Refusal> {
        let member = self.leaving(&request.member_id, request.instance_id.as_ref())?;
        let next = if request.member_epoch == LEAVE_STATIC_EPOCH {
            self.go_for_a_while(ctx, &member);
            Next::Stays
        } else {
            let begin = self.begin(Cause::Left, Some(self.who(&member)), None);
            self.remove(ctx, BTreeSet::from([member]), begin)
        };
        let response = ConsumerGroupHeartbeatResponse {
            member_id: Some(request.member_id.clone()),
            member_epoch: request.member_epoch,
            ..Default::default()
        };
        Ok((response, next))
    }

    /// The member that wants to leave.
    fn leaving(&self, member: &Str, instance: Option<&Str>) -> Result<Str, Refusal> {
        let known = match instance {
            None => self.lasting.members().get_key_value(member),
            Some(instance) => match self.lasting.instance(instance) {
                None => return Err(Refusal::unknown_instance(instance)),
                Some((id, _)) if id != member => return Err(Refusal::fenced_instance(member, instance, id)),
                known => known,
            },
        };
        known.map(|(id, _)| id.clone()).ok_or_else(|| Refusal::unknown_member(member, &self.id))
    }

    /// A static member keeps its partitions until its session ends: it wants to come back.
    fn go_for_a_while(&mut self, ctx: &mut Context<'_>, id: &Str) {
        let Some(member) = self.lasting.member(id) else { return };
        let revoking = Owned::default();
        let away = Current { epoch: LEAVE_STATIC_EPOCH, revoking, ..member.current.clone() };
        self.put_current(ctx, id, &away);
        ctx.timers.cancel(&Timer::ConsumerRevocation { group: self.id.clone(), member: id.clone() });
    }

    /// Removes a member that was too late.
    pub(super) fn fence(&mut self, ctx: &mut Context<'_>, member: &Str, cause: Cause) -> Next {
        if self.lasting.member(member).is_none() {
            return Next::Stays;
        }
        let who = self.who(member);
        self.history(ctx).absent(|| who.clone());
        let begin = self.begin(cause, Some(who), None);
        self.remove(ctx, BTreeSet::from([member.clone()]), begin)
    }

    /// Removes members. If only members of the classic protocol are left, the group becomes a classic one.
    pub(super) fn remove(&mut self, ctx: &mut Context<'_>, members: BTreeSet<Str>, begin: Begin) -> Next {
        if members.is_empty() {
            return Next::Stays;
        }
        if self.may_downgrade_without(ctx, &members) {
            return self.downgrade(ctx, &members);
        }
        for id in &members {
            let regex = self.lasting.member(id).and_then(|member| member.regex().cloned());
            self.cancel_timers(ctx, id);
            self.put_member_tombstones(ctx, id);
            if let Some(regex) = regex {
                self.drop_unused_regex(ctx, &regex);
            }
        }
        self.bump(ctx, begin);
        if self.is_empty() {
            let (at, epoch) = (ctx.at, self.lasting.epoch);
            ctx.timers.cancel(&Timer::Assignment { group: self.id.clone() });
            let history = self.history(ctx);
            history.leads_to(epoch, 0);
            history.complete(at);
        } else {
            self.wait_for_assignment(ctx);
        }
        Next::Stays
    }
}
