//! Members of a consumer group that speak the classic protocol: JoinGroup, SyncGroup, Heartbeat, LeaveGroup.
//!
//! For such a member a step of the reconciliation is a rebalance. A heartbeat tells it to join again, it
//! joins with its partitions, and SyncGroup gives it the new ones. The generation is its member epoch.

use std::collections::BTreeSet;
use std::time::Duration;

use ottla_coordinator::Ticket;
use ottla_wire::ErrorCode;
use ottla_wire::messages::consumer_group_member_metadata_value::{ClassicMemberMetadata, ClassicProtocol};
use ottla_wire::messages::leave_group_request::MemberIdentity;
use ottla_wire::messages::leave_group_response::MemberResponse;
use ottla_wire::messages::*;
use ottla_wire::primitives::Str;

use crate::classic::CONSUMER_PROTOCOL_TYPE;
use crate::config::{GroupConfig, Migration};
use crate::consumer::embedded;
use crate::consumer::group::{ConsumerGroup, millis, rebalance_timeout};
use crate::consumer::heartbeat::{note_caller, sorted};
use crate::consumer::member::{Member, State, unknown_metadata};
use crate::consumer::refusal::Refusal;
use crate::context::Context;
use crate::group::Next;
use crate::history::{Begin, Cause};
use crate::request::{Caller, Response};
use crate::timers::Timer;

/// From this version on a dynamic member is first given its id (KIP-394).
const MEMBER_ID_REQUIRED_FROM: i16 = 4;

/// A JoinGroup that may be served.
struct Joining {
    member: Str,
    /// The older self of a static member.
    replaces: Option<Str>,
    subscription: ConsumerProtocolSubscription,
}

impl ConsumerGroup {
    /// JoinGroup of a member that speaks the classic protocol. The group is not empty.
    pub fn classic_join(
        &mut self,
        ctx: &mut Context<'_>,
        ticket: Ticket,
        caller: &Caller,
        request: JoinGroupRequest,
    ) -> Next {
        match self.check_join(ctx, caller, &request) {
            Ok(joining) => self.serve_join(ctx, ticket, caller, request, joining),
            Err(refusal) => {
                // Kafka names nobody with other errors.
                let member_id = match refusal.error {
                    ErrorCode::MemberIdRequired => ctx.at.uuid.to_string().as_str().into(),
                    _ => Str::default(),
                };
                ctx.reply(ticket, refusal.into_join(member_id));
                Next::Stays
            }
        }
    }

    /// SyncGroup: the member learns what it has now.
    pub fn classic_sync(&mut self, ctx: &mut Context<'_>, ticket: Ticket, request: SyncGroupRequest) -> Next {
        let response = match self.check_sync(ctx, &request) {
            Ok(assignment) => {
                let (group, member) = (self.id.clone(), request.member_id.detached());
                self.touch(ctx, &member);
                ctx.timers.cancel(&Timer::ConsumerSync { group, member });
                Response::SyncGroup(SyncGroupResponse {
                    protocol_type: request.protocol_type,
                    protocol_name: request.protocol_name,
                    assignment,
                    ..Default::default()
                })
            }
            Err(refusal) => refusal.into_sync(),
        };
        ctx.reply(ticket, response);
        Next::Stays
    }

    /// Heartbeat: the member lives, and learns whether it must join again.
    pub fn classic_heartbeat(
        &mut self,
        ctx: &mut Context<'_>,
        ticket: Ticket,
        request: HeartbeatRequest,
    ) -> Next {
        let known = self.classic_member(
            &request.member_id,
            request.group_instance_id.as_ref(),
            request.generation_id,
        );
        if let Err(refusal) = known {
            ctx.reply(ticket, refusal.into_classic_heartbeat());
            return Next::Stays;
        }
        let member = request.member_id.detached();
        self.touch(ctx, &member);
        self.refresh(ctx, None);
        self.assign_if_due(ctx);
        let error =
            if self.must_join_again(&member) { ErrorCode::RebalanceInProgress } else { ErrorCode::None };
        if error == ErrorCode::RebalanceInProgress {
            self.expect_join(ctx, &member);
        }
        let error_code = error.code();
        ctx.reply(ticket, Response::Heartbeat(HeartbeatResponse { error_code, ..Default::default() }));
        Next::Stays
    }

    /// LeaveGroup, of any members: an administrator may name static ones by their instance.
    pub fn classic_leave(
        &mut self,
        ctx: &mut Context<'_>,
        ticket: Ticket,
        caller: &Caller,
        request: LeaveGroupRequest,
    ) -> Next {
        const NAMES_MEMBERS_FROM: i16 = 3;
        let identities = match caller.version < NAMES_MEMBERS_FROM {
            true => vec![MemberIdentity { member_id: request.member_id, ..Default::default() }],
            false => request.members,
        };
        let mut response = LeaveGroupResponse::default();
        let (mut leaving, mut reason, mut by) = (BTreeSet::new(), None, None);
        for identity in identities {
            let found = self.leaving_classic(&identity);
            let error = found.as_ref().err().map_or(ErrorCode::None, |refusal| refusal.error);
            if let Ok(member) = found {
                reason = reason.or(identity.reason);
                by = by.or_else(|| Some(self.who(&member)));
                leaving.insert(member);
            }
            if caller.version < NAMES_MEMBERS_FROM {
                response.error_code = error.code();
            } else {
                response.members.push(MemberResponse {
                    member_id: identity.member_id,
                    group_instance_id: identity.group_instance_id,
                    error_code: error.code(),
                });
            }
        }
        let begin = self.begin(Cause::Left, by, reason.map(|reason| reason.detached()));
        let next = self.remove(ctx, leaving, begin);
        ctx.reply(ticket, Response::LeaveGroup(response));
        next
    }

    fn leaving_classic(&self, identity: &MemberIdentity) -> Result<Str, Refusal> {
        let Some(instance) = &identity.group_instance_id else {
            let known = self.lasting.members().get_key_value(&identity.member_id);
            let unknown = || Refusal::unknown_member(&identity.member_id, &self.id);
            return known.map(|(id, _)| id.clone()).ok_or_else(unknown);
        };
        match self.lasting.instance(instance) {
            None => Err(Refusal::unknown_instance(instance)),
            Some((id, _)) if !identity.member_id.is_empty() && *id != identity.member_id => {
                Err(Refusal::fenced_instance(&identity.member_id, instance, id))
            }
            Some((id, _)) => Ok(id.clone()),
        }
    }

    fn check_join(
        &self,
        ctx: &Context<'_>,
        caller: &Caller,
        request: &JoinGroupRequest,
    ) -> Result<Joining, Refusal> {
        check_session_timeout(ctx.config, request)?;
        if ctx.config.migration == Migration::Disabled {
            return Err(inconsistent(
                "The group's members speak the consumer protocol, and none may speak another.",
            ));
        }
        self.check_room(ctx, &request.member_id, request.group_instance_id.as_ref())?;
        self.check_protocols(request)?;
        let instance = request.group_instance_id.as_ref();
        let unknown = request.member_id.is_empty();
        // Before the subscription is looked at, as in Kafka: the member brings it again with its id.
        if unknown && instance.is_none() && caller.version >= MEMBER_ID_REQUIRED_FROM {
            return Err(Refusal::new(ErrorCode::MemberIdRequired, "Join again with this member id."));
        }
        let subscription = subscription(ctx.config, request)?;
        let replaces = match instance {
            None => None,
            Some(instance) => match self.lasting.instance(instance) {
                None if unknown => None,
                None => return Err(Refusal::unknown_instance(instance)),
                Some((id, _)) if unknown => Some(id.clone()),
                Some((id, _)) if *id != request.member_id => {
                    return Err(Refusal::fenced_instance(&request.member_id, instance, id));
                }
                Some(_) => None,
            },
        };
        let member = match unknown {
            true => ctx.at.uuid.to_string().as_str().into(),
            false => request.member_id.detached(),
        };
        Ok(Joining { member, replaces, subscription })
    }

    /// The member must speak a protocol that every other classic member knows.
    fn check_protocols(&self, request: &JoinGroupRequest) -> Result<(), Refusal> {
        if !request.protocols.iter().any(|protocol| self.lasting.all_know(&protocol.name)) {
            return Err(inconsistent("The member's protocols are not supported."));
        }
        if &*request.protocol_type != CONSUMER_PROTOCOL_TYPE {
            return Err(inconsistent("The member's protocol type is not that of consumers."));
        }
        Ok(())
    }

    fn serve_join(
        &mut self,
        ctx: &mut Context<'_>,
        ticket: Ticket,
        caller: &Caller,
        request: JoinGroupRequest,
        joining: Joining,
    ) -> Next {
        let Joining { member: id, replaces, subscription } = joining;
        let begin = self.begin_of_change(&id, replaces.as_ref());
        let last_of_its_kind = replaces.as_ref().is_some_and(|old| self.may_downgrade_replacing(ctx, old));
        if let Some(old) = &replaces {
            self.replace_member(ctx, old, &id);
        }
        let metadata = self.joined_metadata(&id, caller, &request, &subscription);
        let changed = self.note_member(ctx, &id, metadata);
        let begin = Begin { by: Some(self.who(&id)), reason: request.reason.map(|r| r.detached()), ..begin };
        let owned = embedded::owned(&subscription, ctx.topics);
        if last_of_its_kind {
            if !changed {
                self.reconcile(ctx, &id, Some(&owned), false);
            }
            let response = self.join_response(&id);
            ctx.reply(ticket, Response::JoinGroup(response));
            return self.downgrade(ctx, &BTreeSet::new());
        }
        self.refresh(ctx, changed.then_some(begin));
        self.assign_if_due(ctx);
        self.reconcile(ctx, &id, Some(&owned), changed);
        self.touch(ctx, &id);
        self.cancel_classic_timers(ctx, &id);
        if let Some(member) = self.lasting.member(&id) {
            let timer = Timer::ConsumerSync { group: self.id.clone(), member: id.clone() };
            ctx.timers.set(timer, ctx.at.now + rebalance_timeout(member));
        }
        ctx.reply(ticket, Response::JoinGroup(self.join_response(&id)));
        Next::Stays
    }

    fn join_response(&self, id: &Str) -> JoinGroupResponse {
        let member = self.lasting.member(id);
        let protocol =
            member.and_then(Member::classic).and_then(|classic| classic.supported_protocols.first());
        JoinGroupResponse {
            member_id: id.clone(),
            generation_id: member.map_or(-1, |member| member.current.epoch),
            protocol_type: Some(Str::from_static(CONSUMER_PROTOCOL_TYPE)),
            protocol_name: protocol.map(|protocol| protocol.name.clone()),
            ..Default::default()
        }
    }

    fn joined_metadata(
        &self,
        id: &Str,
        caller: &Caller,
        request: &JoinGroupRequest,
        subscription: &ConsumerProtocolSubscription,
    ) -> ConsumerGroupMemberMetadataValue {
        let known = self.lasting.member(id).map(|member| member.metadata.clone());
        let mut metadata = known.unwrap_or_else(unknown_metadata);
        if let Some(instance) = &request.group_instance_id {
            metadata.instance_id = Some(instance.detached());
        }
        if let Some(rack) = subscription.rack_id.as_ref().filter(|rack| !rack.is_empty()) {
            metadata.rack_id = Some(rack.detached());
        }
        if request.rebalance_timeout_ms != -1 {
            metadata.rebalance_timeout_ms = request.rebalance_timeout_ms;
        }
        metadata.subscribed_topic_names = sorted(&subscription.topics);
        metadata.subscribed_topic_regex = None;
        metadata.classic_member_metadata = Some(ClassicMemberMetadata {
            session_timeout_ms: request.session_timeout_ms,
            supported_protocols: request.protocols.iter().map(protocol).collect(),
        });
        note_caller(&mut metadata, caller);
        metadata
    }

    /// The assignment of the member, if it may have it now.
    fn check_sync(&self, ctx: &mut Context<'_>, request: &SyncGroupRequest) -> Result<bytes::Bytes, Refusal> {
        let instance = request.group_instance_id.as_ref();
        let member = self.classic_member(&request.member_id, instance, request.generation_id)?;
        let inconsistent = |message: &str| Err(inconsistent(message));
        let first = member.classic().and_then(|classic| classic.supported_protocols.first());
        if request.protocol_type.as_ref().is_some_and(|said| &**said != CONSUMER_PROTOCOL_TYPE) {
            return inconsistent("The protocol type is not that of the group.");
        }
        if request.protocol_name.as_ref().is_some_and(|said| first.is_none_or(|first| first.name != *said)) {
            return inconsistent("The protocol is not that of the answer to JoinGroup.");
        }
        // A member that is giving up partitions has joined already. It joins again once it has given them up.
        let rebalances = self.lasting.target.epoch > member.current.epoch
            && member.current.state != State::UnrevokedPartitions;
        if rebalances {
            self.expect_join(ctx, &request.member_id);
            return Err(Refusal::new(ErrorCode::RebalanceInProgress, "Join again."));
        }
        let version = first.and_then(|first| embedded::subscription(&first.metadata).ok());
        let version = version.map_or(0, |(version, _)| version);
        let assigned = member.current.assigned.iter().map(|(topic, partition, _)| (topic, partition));
        Ok(embedded::encode_assignment(assigned, version, ctx.topics))
    }

    /// A member that speaks the classic protocol, in this generation.
    fn classic_member(&self, id: &Str, instance: Option<&Str>, generation: i32) -> Result<&Member, Refusal> {
        let member = match instance {
            None => self.lasting.member(id),
            Some(instance) => match self.lasting.instance(instance) {
                None => return Err(Refusal::unknown_instance(instance)),
                Some((known, _)) if known != id => return Err(Refusal::fenced_instance(id, instance, known)),
                Some((_, member)) => Some(member),
            },
        };
        let unknown = || Refusal::unknown_member(id, &self.id);
        let member = member.filter(|member| member.is_classic()).ok_or_else(unknown)?;
        if member.current.epoch != generation {
            let message = format!("The generation is {}.", member.current.epoch);
            return Err(Refusal::new(ErrorCode::IllegalGeneration, message));
        }
        Ok(member)
    }

    /// There is another assignment, or partitions to give up, or what the member waits for is free. While an
    /// assignment is still to be made there is nothing to join for.
    fn must_join_again(&self, id: &Str) -> bool {
        let Some(member) = self.lasting.member(id) else { return false };
        member.current.epoch < self.lasting.target.epoch
            || match member.current.state {
                State::UnrevokedPartitions => true,
                State::UnreleasedPartitions => !self.waits_for_others(id, member),
                State::Stable | State::Unknown => false,
            }
    }

    fn waits_for_others(&self, id: &Str, member: &Member) -> bool {
        let target = self.lasting.target.by_member.get(id);
        target.into_iter().flat_map(|target| target.iter()).any(|(topic, partition)| {
            !member.current.assigned.contains(topic, partition) && self.lasting.is_taken(id, topic, partition)
        })
    }

    /// Gives the member its time to join again, if it does not run yet.
    fn expect_join(&self, ctx: &mut Context<'_>, id: &Str) {
        let Some((id, member)) = self.lasting.members().get_key_value(id) else { return };
        let timer = Timer::ConsumerJoin { group: self.id.clone(), member: id.clone() };
        if !ctx.timers.is_set(&timer) {
            ctx.timers.set(timer, ctx.at.now + rebalance_timeout(member));
        }
    }
}

/// The subscription that all protocols of a member carry.
fn subscription(
    config: &GroupConfig,
    request: &JoinGroupRequest,
) -> Result<ConsumerProtocolSubscription, Refusal> {
    let bytes: usize = request.protocols.iter().map(|protocol| protocol.metadata.len()).sum();
    let first = request.protocols.first().map(|first| first.metadata.clone()).unwrap_or_default();
    let (_, subscription) = embedded::subscription(&first)
        .map_err(|error| inconsistent(&format!("The subscription cannot be read: {error}.")))?;
    if bytes > config.limits.member_protocols_bytes_max
        || subscription.topics.len() > config.limits.member_topics_max
    {
        return Err(Refusal::new(ErrorCode::InvalidRequest, "The subscription is too large."));
    }
    Ok(subscription)
}

fn inconsistent(message: &str) -> Refusal {
    Refusal::new(ErrorCode::InconsistentGroupProtocol, message)
}

fn check_session_timeout(config: &GroupConfig, request: &JoinGroupRequest) -> Result<(), Refusal> {
    let timeout: Duration = millis(request.session_timeout_ms);
    if timeout < config.session_timeout_min || timeout > config.session_timeout_max {
        let message = "The session timeout is not within the range that the broker allows.";
        return Err(Refusal::new(ErrorCode::InvalidSessionTimeout, message));
    }
    Ok(())
}

fn protocol(protocol: &join_group_request::JoinGroupRequestProtocol) -> ClassicProtocol {
    let metadata = bytes::Bytes::copy_from_slice(&protocol.metadata);
    ClassicProtocol { name: protocol.name.detached(), metadata }
}
