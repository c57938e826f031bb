//! JoinGroup (key 11): becoming a member, and joining again for the next generation.
//!
//! KIP-394 (an id is given before a member is let in, version 4), KIP-345 (static members, version 5), KIP-800 (reasons,
//! version 8), KIP-814 (a static leader need not assign again, version 9).

use ottla_coordinator::Ticket;
use ottla_wire::messages::join_group_response::JoinGroupResponseMember;
use ottla_wire::messages::{JoinGroupRequest, JoinGroupResponse};
use ottla_wire::primitives::Str;
use ottla_wire::{ErrorCode, Uuid};

use super::group::{ClassicGroup, State};
use super::member::Member;
use super::rebalance::Why;
use crate::context::Context;
use crate::groups::Groups;
use crate::history::Cause;
use crate::request::{Caller, Response};
use crate::timers::Timer;

/// From this version on a member must join with an id that it was given.
const MEMBER_ID_REQUIRED_FROM: i16 = 4;
/// From this version on a leader can be told that the assignment stands.
const SKIP_ASSIGNMENT_FROM: i16 = 9;

/// JoinGroup of a group that does not exist, or is an empty consumer group, which it takes the place of.
pub fn first_join(
    ctx: &mut Context<'_>,
    groups: &mut Groups,
    ticket: Ticket,
    caller: &Caller,
    request: JoinGroupRequest,
) {
    if !request.member_id.is_empty() {
        return ctx.reply(ticket, refused(request.member_id, ErrorCode::UnknownMemberId));
    }
    let id = request.group_id.detached();
    let mut group = ClassicGroup::new(id.clone());
    if !group.supports(&request.protocol_type, request.protocols.iter().map(|protocol| &protocol.name)) {
        return ctx.reply(ticket, refused(request.member_id, ErrorCode::InconsistentGroupProtocol));
    }
    groups.delete(ctx, &id);
    group.join(ctx, ticket, caller, request);
    groups.put(group.into());
}

impl ClassicGroup {
    /// JoinGroup. It is answered when everybody has joined.
    pub fn join(
        &mut self,
        ctx: &mut Context<'_>,
        ticket: Ticket,
        caller: &Caller,
        request: JoinGroupRequest,
    ) {
        let refusal = if ctx.memory.is_full() && !self.knows(&request) {
            Some(ErrorCode::CoordinatorNotAvailable)
        } else if !self.has_room_for(ctx, &request) {
            self.turn_away(ctx, &request.member_id);
            Some(ErrorCode::GroupMaxSizeReached)
        } else {
            let names = request.protocols.iter().map(|protocol| &protocol.name);
            let fits = self.supports(&request.protocol_type, names);
            (!fits).then_some(ErrorCode::InconsistentGroupProtocol)
        };
        if let Some(error) = refusal {
            return ctx.reply(ticket, refused(request.member_id, error));
        }
        if request.member_id.is_empty() {
            self.join_anew(ctx, ticket, caller, request);
        } else {
            self.join_again(ctx, ticket, caller, request);
        }
    }

    /// Who joins has no id yet.
    fn join_anew(
        &mut self,
        ctx: &mut Context<'_>,
        ticket: Ticket,
        caller: &Caller,
        request: JoinGroupRequest,
    ) {
        let id = new_member_id(caller, &request, ctx.at.uuid);
        if let Some(instance) = &request.group_instance_id {
            match self.roster.of_instance(instance).cloned() {
                Some(old) => self.replace(ctx, ticket, caller, &request, &old, id),
                None => self.add(ctx, ticket, caller, &request, id),
            }
        } else if caller.version < MEMBER_ID_REQUIRED_FROM {
            self.add(ctx, ticket, caller, &request, id);
        } else if self.roster.pending_len() >= ctx.config.limits.pending_members_max {
            ctx.reply(ticket, refused(Str::default(), ErrorCode::CoordinatorNotAvailable));
        } else {
            self.expect(ctx, id.clone(), &request);
            ctx.reply(ticket, refused(id, ErrorCode::MemberIdRequired));
        }
    }

    /// Who joins has an id: it was just given to it, or it is a member.
    fn join_again(
        &mut self,
        ctx: &mut Context<'_>,
        ticket: Ticket,
        caller: &Caller,
        request: JoinGroupRequest,
    ) {
        let id = request.member_id.detached();
        let instance = request.group_instance_id.as_deref();
        if instance.is_none() && self.roster.is_pending(&id) {
            return self.add(ctx, ticket, caller, &request, id);
        }
        if let Err(error) = self.roster.validate(&id, instance) {
            return ctx.reply(ticket, refused(id, error));
        }
        let brings_the_same = self.roster.get(&id).is_some_and(|member| member.brings(&request.protocols));
        match self.state {
            State::PreparingRebalance { .. } => self.rejoin(ctx, ticket, &request, &id, Cause::Joined),
            // The first answer may have been lost: it is given again.
            State::CompletingRebalance if brings_the_same => {
                let response = self.joined(&id);
                ctx.reply(ticket, Response::JoinGroup(response));
            }
            // A leader wants another assignment: it may know of changes that its own metadata does not show.
            State::Stable if self.roster.is_leader(&id) => {
                self.rejoin(ctx, ticket, &request, &id, Cause::LeaderRejoined);
            }
            State::Stable if brings_the_same => {
                let response = self.joined(&id);
                ctx.reply(ticket, Response::JoinGroup(response));
            }
            State::CompletingRebalance | State::Stable => {
                self.rejoin(ctx, ticket, &request, &id, Cause::SubscriptionChanged);
            }
            State::Empty => ctx.reply(ticket, refused(id, ErrorCode::UnknownMemberId)),
        }
    }

    /// Lets a member in.
    fn add(
        &mut self,
        ctx: &mut Context<'_>,
        ticket: Ticket,
        caller: &Caller,
        request: &JoinGroupRequest,
        id: Str,
    ) {
        if self.roster.is_empty() {
            self.protocol_type = Some(request.protocol_type.detached());
        }
        if let State::PreparingRebalance { initial: Some(initial) } = &mut self.state {
            initial.has_newcomer = true;
        }
        ctx.timers.cancel(&Timer::Session { group: self.id.clone(), member: id.clone() });
        let mut member = Member::joining(caller, request);
        member.joining = Some(ticket);
        let by = member.who(&id);
        self.roster.add(id.clone(), member);
        self.renew(ctx, &id);
        self.has_joined(ctx, Why { cause: Cause::Joined, by: Some(by), reason: reason(request) });
    }

    /// A member joins for the next generation.
    fn rejoin(
        &mut self,
        ctx: &mut Context<'_>,
        ticket: Ticket,
        request: &JoinGroupRequest,
        id: &Str,
        cause: Cause,
    ) {
        self.put_joining(ctx, ticket, request, id);
        let by = self.roster.get(id).map(|member| member.who(id));
        self.has_joined(ctx, Why { cause, by, reason: reason(request) });
    }

    /// A static member comes back without its id: it is another process, and the one before is fenced. As long as the
    /// protocol stays the same nobody else needs to know.
    fn replace(
        &mut self,
        ctx: &mut Context<'_>,
        ticket: Ticket,
        caller: &Caller,
        request: &JoinGroupRequest,
        old: &Str,
        id: Str,
    ) {
        let leader_before = self.roster.leader().cloned().unwrap_or_default();
        self.fence(ctx, old);
        self.roster.replace(old, id.clone(), caller);
        if self.unsynced.remove(old) {
            self.unsynced.insert(id.clone());
        }
        self.put_joining(ctx, ticket, request, &id);
        self.renew(ctx, &id);
        if self.state == State::Stable && self.stays_as_it_is(ctx) {
            self.topics = self.compute_topics();
            self.write(ctx);
            let response = self.took_over(caller, &id, leader_before);
            return self.answer_joining(ctx, &id, response);
        }
        let cause = match self.state {
            State::Stable => Cause::SubscriptionChanged,
            // The leader may already be told of the older self, which would get the assignment.
            State::Empty | State::PreparingRebalance { .. } | State::CompletingRebalance => {
                Cause::InstanceReplaced
            }
        };
        let by = self.roster.get(&id).map(|member| member.who(&id));
        self.has_joined(ctx, Why { cause, by, reason: reason(request) });
    }

    /// What a static member is told that came back without a rebalance. Old versions learn who led before: a leader that
    /// found itself leading would make an assignment.
    fn took_over(&self, caller: &Caller, id: &Str, leader_before: Str) -> JoinGroupResponse {
        let mut response = self.joined(id);
        if caller.version >= SKIP_ASSIGNMENT_FROM {
            response.skip_assignment = self.roster.is_leader(id);
        } else {
            response.leader = leader_before;
            response.members.clear();
        }
        response
    }

    /// Whether the group, as its members are now, keeps its protocol, and fits into a record.
    fn stays_as_it_is(&self, ctx: &Context<'_>) -> bool {
        self.roster.select_protocol() == self.protocol
            && self.record_len() <= ctx.config.limits.group_record_bytes_max
    }

    /// The requests of a static member's older self are refused, and its session ends.
    fn fence(&mut self, ctx: &mut Context<'_>, old: &Str) {
        self.refuse_waiting(ctx, old, ErrorCode::FencedInstanceId);
        ctx.timers.cancel(&Timer::Session { group: self.id.clone(), member: old.clone() });
        if let Some(member) = self.roster.get_mut(old) {
            member.timer = None;
        }
    }

    fn put_joining(&mut self, ctx: &mut Context<'_>, ticket: Ticket, request: &JoinGroupRequest, id: &Str) {
        if let Some(before) = self.roster.joins(id, ticket, request) {
            // The member asks again: it does not wait for its first answer any more.
            ctx.reply(before, refused(id.clone(), ErrorCode::RebalanceInProgress));
        }
    }

    /// Keeps an id for who is to join with it.
    fn expect(&mut self, ctx: &mut Context<'_>, id: Str, request: &JoinGroupRequest) {
        let timer = Timer::Session { group: self.id.clone(), member: id.clone() };
        let session = super::member::millis(request.session_timeout_ms);
        ctx.timers.set(timer, ctx.at.now + session);
        self.roster.add_pending(id, session);
    }

    /// Whether the group takes one more, or keeps who asks. While members join, those count that have; so a group that has
    /// become too large shrinks with the next rebalance.
    fn has_room_for(&self, ctx: &Context<'_>, request: &JoinGroupRequest) -> bool {
        let len_max = ctx.config.classic_size_max;
        let member = self.roster.get(&request.member_id);
        let fits = match self.state {
            State::Empty => true,
            State::PreparingRebalance { .. } => {
                member.is_some_and(|member| member.joining.is_some()) || self.roster.joining_len() < len_max
            }
            State::CompletingRebalance | State::Stable => member.is_some() || self.roster.len() < len_max,
        };
        let bytes: usize = request.protocols.iter().map(|it| it.name.len() + it.metadata.len()).sum();
        let others = self.roster.protocols_bytes() - member.map_or(0, Member::protocols_size);
        fits && others + bytes <= ctx.config.limits.group_protocols_bytes_max
    }

    /// Who asks is a member, or comes in place of one.
    fn knows(&self, request: &JoinGroupRequest) -> bool {
        let instance = request.group_instance_id.as_ref();
        self.roster.get(&request.member_id).is_some()
            || instance.is_some_and(|instance| self.roster.of_instance(instance).is_some())
    }

    /// Somebody has no place in the group (any more).
    fn turn_away(&mut self, ctx: &mut Context<'_>, id: &Str) {
        let was_expected = self.stop_expecting(ctx, id);
        let by = self.remove_member(ctx, id);
        if was_expected || by.is_some() {
            let why = by.map(|by| Why { cause: Cause::TooLarge, by: Some(by), reason: None });
            self.somebody_left(ctx, why);
        }
    }

    /// What a member is told of the present generation. The leader is told of everybody.
    pub(super) fn joined(&self, id: &Str) -> JoinGroupResponse {
        let protocol = self.protocol.clone().unwrap_or_default();
        let all = self.roster.iter().map(|(id, member)| JoinGroupResponseMember {
            member_id: id.clone(),
            group_instance_id: member.instance.clone(),
            metadata: member.metadata(&protocol),
        });
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: Some(protocol.clone()),
            leader: self.roster.leader().cloned().unwrap_or_default(),
            member_id: id.clone(),
            members: if self.roster.is_leader(id) { all.collect() } else { Vec::new() },
            ..Default::default()
        }
    }

    /// Answers a member's JoinGroup that waits, if one does.
    pub(super) fn answer_joining(&mut self, ctx: &mut Context<'_>, id: &Str, response: JoinGroupResponse) {
        if let Some(ticket) = self.roster.take_joining(id) {
            ctx.reply(ticket, Response::JoinGroup(response));
        }
    }
}

pub(super) fn refused(member_id: Str, error: ErrorCode) -> Response {
    Response::JoinGroup(JoinGroupResponse { member_id, error_code: error.code(), ..Default::default() })
}

/// The reason that the client itself gives (KIP-800).
fn reason(request: &JoinGroupRequest) -> Option<Str> {
    request.reason.as_ref().map(Str::detached)
}

/// As Kafka makes them: the instance or the client, and a UUID.
fn new_member_id(caller: &Caller, request: &JoinGroupRequest, uuid: Uuid) -> Str {
    let name = request.group_instance_id.as_ref().unwrap_or(&caller.client_id);
    let hex: String = uuid.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let [a, b, c, d, e] = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    format!("{name}-{a}-{b}-{c}-{d}-{e}").into()
}
