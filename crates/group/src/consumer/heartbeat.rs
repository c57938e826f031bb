//! ConsumerGroupHeartbeat (key 68): a member joins, reports its partitions, learns its target, or leaves
//! (KIP-848).
//!
//! In one step: the member is noted, the group's epoch moves on if subscriptions or topics changed, an
//! assignment is made if one is due, and the member goes on toward it.

use ottla_coordinator::Ticket;
use ottla_wire::ErrorCode;
use ottla_wire::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use ottla_wire::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, ConsumerGroupMemberMetadataValue,
};
use ottla_wire::primitives::Str;

use crate::assignor::Partitions;
use crate::consumer::admission::{Admission, check_fields};
use crate::consumer::first::first_heartbeat;
use crate::consumer::group::{ConsumerGroup, rebalance_timeout};
use crate::consumer::member::{
    Current, JOIN_EPOCH, LEAVE_EPOCH, LEAVE_STATIC_EPOCH, Member, State, regex_of, unknown_metadata,
};
use crate::consumer::reconcile::{self, Facts};
use crate::consumer::refusal::Refusal;
use crate::context::Context;
use crate::group::Next;
use crate::history::{Begin, Cause};
use crate::request::{Caller, GroupRequest, Response};
use crate::step::{Serve, Step};
use crate::timers::Timer;

impl GroupRequest for ConsumerGroupHeartbeatRequest {
    type Response = ConsumerGroupHeartbeatResponse;

    const MAY_CREATE: bool = true;
    // It is refused with a message, as its other fields are.
    const NEEDS_NAME: bool = false;

    fn group(&self) -> Option<&Str> {
        Some(&self.group_id)
    }

    fn brings_much(&self) -> bool {
        self.subscribed_topic_names.is_some() || self.subscribed_topic_regex.is_some()
    }

    fn ids(&self) -> [Option<&Str>; 4] {
        [
            Some(&self.member_id),
            self.instance_id.as_ref(),
            self.rack_id.as_ref(),
            self.server_assignor.as_ref(),
        ]
    }

    fn refuse(self, error: ErrorCode) -> ConsumerGroupHeartbeatResponse {
        ConsumerGroupHeartbeatResponse { error_code: error.code(), ..Default::default() }
    }
}

impl Serve for ConsumerGroupHeartbeatRequest {
    fn serve(self, step: &mut Step<'_>, ticket: Ticket, caller: &Caller) {
        let Step { ctx, groups, .. } = step;
        let id = self.group_id.clone();
        let served = match groups.get_mut_as::<ConsumerGroup>(&id) {
            Some(group) => group.serve_heartbeat(ctx, caller, &self),
            None => first_heartbeat(ctx, groups, caller, &self).map(|response| (response, Next::Stays)),
        };
        let (response, next) = match served {
            Ok((response, next)) => (Response::ConsumerGroupHeartbeat(response), next),
            Err(refusal) => (refusal.into_heartbeat(), Next::Stays),
        };
        ctx.reply(ticket, response);
        step.settle(&id, next);
    }
}

impl ConsumerGroup {
    pub(super) fn serve_heartbeat(
        &mut self,
        ctx: &mut Context<'_>,
        caller: &Caller,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<(ConsumerGroupHeartbeatResponse, Next), Refusal> {
        check_fields(ctx.config, caller.version, request)?;
        if matches!(request.member_epoch, LEAVE_EPOCH | LEAVE_STATIC_EPOCH) {
            return self.serve_leave(ctx, request);
        }
        let admission = self.admit(ctx, request)?;
        Ok((self.serve_admitted(ctx, caller, request, admission), Next::Stays))
    }

    /// Serves a heartbeat that has been admitted.
    pub(super) fn serve_admitted(
        &mut self,
        ctx: &mut Context<'_>,
        caller: &Caller,
        request: &ConsumerGroupHeartbeatRequest,
        admission: Admission,
    ) -> ConsumerGroupHeartbeatResponse {
        let id = &admission.member_id;
        let joining = request.member_epoch == JOIN_EPOCH;
        let begin = match admission.converts {
            true => self.begin(Cause::ProtocolChanged, None, None),
            false => self.begin_of_change(id, admission.replaces.as_ref()),
        };
        if let Some(old) = &admission.replaces {
            self.replace_member(ctx, old, id);
        }
        let changed = !self.says_nothing_new(id, caller, request) && {
            let metadata = self.updated_metadata(id, caller, request);
            if let (Some(compiled), Some(regex)) = (admission.regex, regex_of(&metadata)) {
                self.soft.compiled.put(regex, Some(compiled));
            }
            self.cancel_classic_timers(ctx, id);
            self.note_member(ctx, id, metadata)
        };
        self.refresh(ctx, changed.then_some(begin).map(|begin| Begin { by: Some(self.who(id)), ..begin }));
        self.assign_if_due(ctx);
        let moved = self.reconcile(ctx, id, admission.owned.as_ref(), changed);
        self.touch(ctx, id);
        self.heartbeat_response(ctx, id, joining || moved || is_full(request))
    }

    /// The beginning of a rebalance, if the member causes one.
    pub(super) fn begin_of_change(&self, id: &Str, replaces: Option<&Str>) -> Begin {
        let cause = match (self.lasting.member(id), replaces) {
            (_, Some(_)) => Cause::InstanceReplaced,
            (Some(_), None) => Cause::SubscriptionChanged,
            (None, None) => Cause::Joined,
        };
        self.begin(cause, None, None)
    }

    /// Gives a static member its new id. It keeps all that it had under the old one.
    pub(super) fn replace_member(&mut self, ctx: &mut Context<'_>, old: &Str, new: &Str) {
        let Some(member) = self.lasting.member(old).cloned() else { return };
        let target = self.lasting.target.by_member.get(old).cloned().unwrap_or_default();
        self.cancel_timers(ctx, old);
        self.put_member_tombstones(ctx, old);
        self.put_member(ctx, new, member.metadata);
        self.put_target(ctx, new, &target);
        let current = Current { epoch: JOIN_EPOCH, previous_epoch: JOIN_EPOCH, ..member.current };
        self.put_current(ctx, new, &current);
    }

    /// Whether the request has nothing new about the member, like most heartbeats.
    fn says_nothing_new(&self, id: &Str, caller: &Caller, request: &ConsumerGroupHeartbeatRequest) -> bool {
        let said = [
            &request.instance_id,
            &request.rack_id,
            &request.server_assignor,
            &request.subscribed_topic_regex,
        ];
        self.lasting.member(id).is_some_and(|member| {
            let known = &member.metadata;
            let kept =
                [&known.instance_id, &known.rack_id, &known.server_assignor, &known.subscribed_topic_regex];
            said.iter().zip(kept).all(|(said, kept)| said.is_none() || *said == kept)
                && request.subscribed_topic_names.is_none()
                && request.rebalance_timeout_ms == -1
                && (&known.client_id, &known.client_host) == (&caller.client_id, &caller.client_host)
                && !member.is_classic()
        })
    }

    /// The member's metadata as the request leaves it.
    fn updated_metadata(
        &self,
        id: &Str,
        caller: &Caller,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> ConsumerGroupMemberMetadataValue {
        let known = self.lasting.member(id).map(|member| member.metadata.clone());
        let mut metadata = known.unwrap_or_else(unknown_metadata);
        let keep = |kept: &mut Option<Str>, said: &Option<Str>| {
            if said.is_some() && said != kept {
                *kept = said.as_ref().map(Str::detached);
            }
        };
        keep(&mut metadata.instance_id, &request.instance_id);
        keep(&mut metadata.rack_id, &request.rack_id);
        keep(&mut metadata.server_assignor, &request.server_assignor);
        keep(&mut metadata.subscribed_topic_regex, &request.subscribed_topic_regex);
        if request.rebalance_timeout_ms != -1 {
            metadata.rebalance_timeout_ms = request.rebalance_timeout_ms;
        }
        if let Some(names) = &request.subscribed_topic_names {
            metadata.subscribed_topic_names = sorted(names);
        }
        note_caller(&mut metadata, caller);
        metadata.classic_member_metadata = None;
        metadata
    }

    /// Writes the member if it is new or has changed. Returns whether its subscription has changed.
    pub(super) fn note_member(
        &mut self,
        ctx: &mut Context<'_>,
        id: &Str,
        metadata: ConsumerGroupMemberMetadataValue,
    ) -> bool {
        let before = self.lasting.member(id).map(|member| &member.metadata);
        if before == Some(&metadata) {
            return false;
        }
        let nothing = unknown_metadata();
        let before = before.unwrap_or(&nothing);
        let old_regex = regex_of(before).cloned();
        let regex_changed = old_regex.as_ref() != regex_of(&metadata);
        let changed = regex_changed || before.subscribed_topic_names != metadata.subscribed_topic_names;
        self.put_member(ctx, id, metadata);
        if let Some(regex) = old_regex.filter(|_| regex_changed) {
            self.drop_unused_regex(ctx, &regex);
        }
        changed
    }

    /// Removes an expression that no member uses any more.
    pub(super) fn drop_unused_regex(&mut self, ctx: &mut Context<'_>, regex: &Str) {
        if self.lasting.members_by_regex(regex) == 0 && self.lasting.regexes().contains_key(regex) {
            self.put_regex(ctx, regex, None);
        }
    }

    /// Brings a member a step nearer to the target. Returns whether its partitions have changed.
    pub(super) fn reconcile(
        &mut self,
        ctx: &mut Context<'_>,
        id: &Str,
        owned: Option<&Partitions>,
        subscription_changed: bool,
    ) -> bool {
        let Some(member) = self.lasting.member(id) else { return false };
        if !subscription_changed && member.is_reconciled_to(self.lasting.target.epoch) {
            return false;
        }
        let Some(next) = self.next_of(ctx, id, member, owned, subscription_changed) else { return false };
        let moved = next.assigned != member.current.assigned;
        self.put_current(ctx, id, &next);
        self.after_reconciliation(ctx, id);
        moved
    }

    fn next_of(
        &self,
        ctx: &Context<'_>,
        id: &Str,
        member: &Member,
        owned: Option<&Partitions>,
        subscription_changed: bool,
    ) -> Option<Current> {
        let nothing = Partitions::default();
        let facts = Facts {
            target_epoch: self.lasting.target.epoch,
            target: self.lasting.target.by_member.get(id).unwrap_or(&nothing),
            owned,
            subscription_changed,
            is_subscribed: &|topic| {
                let facts = ctx.topics.by_id(topic);
                facts.is_some_and(|facts| self.lasting.is_subscribed(member, &facts.name))
            },
            is_taken: &|topic, partition| self.lasting.is_taken(id, topic, partition),
        };
        // Members that must rejoin were refused at the door.
        reconcile::next(&member.current, &facts).ok().flatten()
    }

    /// Sets or cancels the member's time to give up partitions, and notes its progress in the history.
    fn after_reconciliation(&mut self, ctx: &mut Context<'_>, id: &Str) {
        let Some(member) = self.lasting.member(id) else { return };
        let timer = Timer::ConsumerRevocation { group: self.id.clone(), member: id.clone() };
        match member.current.state {
            // A member of the classic protocol has its times to join and to sync.
            State::UnrevokedPartitions if !member.is_classic() => {
                ctx.timers.set(timer, ctx.at.now + rebalance_timeout(member));
            }
            State::UnrevokedPartitions | State::Stable | State::UnreleasedPartitions | State::Unknown => {
                ctx.timers.cancel(&timer)
            }
        }
        let (at, through) = (ctx.at, self.lasting.is_reconciled());
        if member.is_reconciled_to(self.lasting.epoch) {
            let who = self.who(id);
            let history = self.history(ctx);
            history.arrived(at, || who);
            if through {
                history.complete(at);
            }
        }
    }

    fn heartbeat_response(
        &self,
        ctx: &Context<'_>,
        id: &Str,
        with_assignment: bool,
    ) -> ConsumerGroupHeartbeatResponse {
        let interval = ctx.config.heartbeat_interval(&self.id).as_millis();
        let current = self.lasting.member(id).map(|member| &member.current);
        ConsumerGroupHeartbeatResponse {
            member_id: Some(id.clone()),
            member_epoch: current.map_or(JOIN_EPOCH, |current| current.epoch),
            heartbeat_interval_ms: i32::try_from(interval).unwrap_or(i32::MAX),
            assignment: current.filter(|_| with_assignment).map(assignment),
            ..Default::default()
        }
    }
}

/// Notes who calls, as members are described.
pub(super) fn note_caller(metadata: &mut ConsumerGroupMemberMetadataValue, caller: &Caller) {
    for (kept, said) in
        [(&mut metadata.client_id, &caller.client_id), (&mut metadata.client_host, &caller.client_host)]
    {
        if kept != said {
            *kept = said.detached();
        }
    }
}

/// Names in order, each once, that keep no request in memory.
pub(super) fn sorted(names: &[Str]) -> Vec<Str> {
    let mut names: Vec<Str> = names.iter().map(Str::detached).collect();
    names.sort();
    names.dedup();
    names
}

/// A member that has lost track sends all its fields, and gets the whole assignment.
fn is_full(request: &ConsumerGroupHeartbeatRequest) -> bool {
    request.rebalance_timeout_ms != -1
        && (request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some())
        && request.topic_partitions.is_some()
}

fn assignment(current: &Current) -> Assignment {
    let topic = |(topic_id, partitions): (_, &std::collections::BTreeMap<i32, i32>)| TopicPartitions {
        topic_id,
        partitions: partitions.keys().copied().collect(),
    };
    Assignment { topic_partitions: current.assigned.topics().map(topic).collect() }
}
