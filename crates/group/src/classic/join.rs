//! JoinGroup (key 11): becoming a member, and joining again for the next generation.
//!
//! KIP-394 (an id is given before a member is let in, version 4), KIP-345 (static members, version 5),
//! KIP-800 (reasons, version 8), KIP-814 (a static leader need not assign again, version 9).

use ottla_coordinator::Ticket;
use ottla_wire::messages::join_group_response::JoinGroupResponseMember;
use ottla_wire::messages::{JoinGroupRequest, JoinGroupResponse};
use ottla_wire::primitives::Str;
use ottla_wire::{ErrorCode, Uuid};

use super::group::{ClassicGroup, State};
use super::member::Member;
use super::rebalance::Why;
use super::refusal::refused_join;
use crate::config::{CLIENT_ID_BYTES_MAX, GroupConfig};
use crate::context::Context;
use crate::group::{ClassicRequest, Next};
use crate::groups::Groups;
use crate::history::Cause;
use crate::request::{Caller, GroupRequest, Response};
use crate::step::{Serve, Step};
use crate::timers::Timer;

/// From this version on a member must join with an id that it was given.
const MEMBER_ID_REQUIRED_FROM: i16 = 4;
/// From this version on the answer can say that the leader need not assign again.
const SKIP_ASSIGNMENT_FROM: i16 = 9;

impl GroupRequest for JoinGroupRequest {
    type Response = JoinGroupResponse;

    const MAY_CREATE: bool = true;

    fn group(&self) -> Option<&Str> {
        Some(&self.group_id)
    }

    fn brings_much(&self) -> bool {
        true
    }

    fn ids(&self) -> [Option<&Str>; 4] {
        [
            Some(&self.member_id),
            self.group_instance_id.as_ref(),
            Some(&self.protocol_type),
            self.protocols.iter().map(|protocol| &protocol.name).max_by_key(|name| name.len()),
        ]
    }

    fn check(&self, config: &GroupConfig) -> Result<(), ErrorCode> {
        let session = super::member::millis(self.session_timeout_ms);
        if session < config.session_timeout_min || session > config.session_timeout_max {
            return Err(ErrorCode::InvalidSessionTimeout);
        }
        if protocols_bytes(self) > config.limits.member_protocols_bytes_max {
            return Err(ErrorCode::MessageTooLarge);
        }
        let instance = self.group_instance_id.as_ref();
        if instance.is_some_and(|instance| instance.len() > CLIENT_ID_BYTES_MAX) {
            return Err(ErrorCode::InvalidRequest);
        }
        Ok(())
    }

    fn refuse(self, error: ErrorCode) -> JoinGroupResponse {
        JoinGroupResponse {
            error_code: error.code(),
            member_id: self.member_id,
            protocol_name: Some(Str::default()),
            ..Default::default()
        }
    }
}

impl Serve for JoinGroupRequest {
    fn serve(self, step: &mut Step<'_>, ticket: Ticket, caller: &Caller) {
        let Step { ctx, groups, .. } = step;
        let id = self.group_id.clone();
        let next = match groups.get_mut(&id) {
            Some(group) if !group.gives_way_to_classic() => match group.classic_protocol() {
                Some(group) => group.take(ctx, ticket, caller, ClassicRequest::Join(self)),
                None => {
                    ctx.reply(ticket, refused_join(self.member_id, ErrorCode::InconsistentGroupProtocol));
                    Next::Unchanged
                }
            },
            Some(_) | None => {
                first_join(ctx, groups, ticket, caller, self);
                Next::Stays
            }
        };
        step.settle(&id, next);
    }
}

/// JoinGroup of a group that does not exist, or is an empty consumer group, which it takes the place of.
fn first_join(
    ctx: &mut Context<'_>,
    groups: &mut Groups,
    ticket: Ticket,
    caller: &Caller,
    request: JoinGroupRequest,
) {
    if !request.member_id.is_empty() {
        return ctx.reply(ticket, refused_join(request.member_id, ErrorCode::UnknownMemberId));
    }
    let id = request.group_id.detached();
    let mut group = ClassicGroup::new(id.clone());
    if !group.supports(&request.protocol_type, request.protocols.iter().map(|protocol| &protocol.name)) {
        return ctx.reply(ticket, refused_join(request.member_id, ErrorCode::InconsistentGroupProtocol));
    }
    groups.delete(ctx, &id);
    group.join(ctx, ticket, caller, request);
    groups.put(Box::new(group));
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
            return ctx.reply(ticket, refused_join(request.member_id, error));
        }
        if request.member_id.is_empty() {
            self.join_anew(ctx, ticket, caller, request);
        } else {
            self.join_again(ctx, ticket, caller, request);
        }
    }

    /// The member has no id yet.
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
            ctx.reply(ticket, refused_join(Str::default(), ErrorCode::CoordinatorNotAvailable));
        } else {
            self.expect(ctx, id.clone(), &request);
            ctx.reply(ticket, refused_join(id, ErrorCode::MemberIdRequired));
        }
    }

    /// The member has an id. Either it got the id just now, or it is in the group.
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
            return ctx.reply(ticket, refused_join(id, error));
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
            State::Empty => ctx.reply(ticket, refused_join(id, ErrorCode::UnknownMemberId)),
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

    /// A static member comes back without its id. It is another process, and the one before is fenced. The
    /// others need not know as long as the protocol stays the same.
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
            // The leader may know the older self already, and would assign to it.
            State::Empty | State::PreparingRebalance { .. } | State::CompletingRebalance => {
                Cause::InstanceReplaced
            }
        };
        let by = self.roster.get(&id).map(|member| member.who(&id));
        self.has_joined(ctx, Why { cause, by, reason: reason(request) });
    }

    /// The answer to a static member that comes back without a rebalance. Old versions get the leader from
    /// before: a client that finds itself leading would make an assignment.
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
            ctx.reply(before, refused_join(id.clone(), ErrorCode::RebalanceInProgress));
        }
    }

    /// Keeps an id until its owner joins with it.
    fn expect(&mut self, ctx: &mut Context<'_>, id: Str, request: &JoinGroupRequest) {
        let timer = Timer::Session { group: self.id.clone(), member: id.clone() };
        let session = super::member::millis(request.session_timeout_ms);
        ctx.timers.set(timer, ctx.at.now + session);
        self.roster.add_pending(id, session);
    }

    /// Whether the group has room for this member. During a rebalance only those that have joined count, so a
    /// group that has become too large shrinks with the next rebalance.
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
        let others = self.roster.protocols_bytes() - member.map_or(0, Member::protocols_size);
        fits && others + protocols_bytes(request) <= ctx.config.limits.group_protocols_bytes_max
    }

    /// Whether the request is from a member, or from one that takes a member's place.
    fn knows(&self, request: &JoinGroupRequest) -> bool {
        let instance = request.group_instance_id.as_ref();
        self.roster.get(&request.member_id).is_some()
            || instance.is_some_and(|instance| self.roster.of_instance(instance).is_some())
    }

    /// There is no room for a member. It may have been in the group until now.
    fn turn_away(&mut self, ctx: &mut Context<'_>, id: &Str) {
        let was_expected = self.stop_expecting(ctx, id);
        let by = self.remove_member(ctx, id);
        if was_expected || by.is_some() {
            let why = by.map(|by| Why { cause: Cause::TooLarge, by: Some(by), reason: None });
            self.somebody_left(ctx, why);
        }
    }

    /// The answer that a member gets for the present generation. The leader gets all members.
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

/// Bytes of the protocols that a member brings along.
fn protocols_bytes(request: &JoinGroupRequest) -> usize {
    request.protocols.iter().map(|protocol| protocol.name.len() + protocol.metadata.len()).sum()
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
