//! Checks a heartbeat before anything changes. The rules, their order and their meaning are Kafka's.

use ottla_wire::ErrorCode;
use ottla_wire::messages::ConsumerGroupHeartbeatRequest;
use ottla_wire::messages::consumer_group_heartbeat_request::TopicPartitions;
use ottla_wire::primitives::Str;

use crate::assignor::{Assignor, Partitions};
use crate::config::{GroupConfig, ID_BYTES_MAX};
use crate::consumer::group::ConsumerGroup;
use crate::consumer::member::{JOIN_EPOCH, LEAVE_EPOCH, LEAVE_STATIC_EPOCH, Member, State};
use crate::consumer::refusal::Refusal;
use crate::consumer::topic_regex::{self, Regex};
use crate::context::Context;

/// From this version on the client makes the member's id (KIP-1082).
const CLIENT_MAKES_MEMBER_ID_FROM: i16 = 1;

/// A heartbeat that may be served.
pub struct Admission {
    pub member_id: Str,
    /// The older self of a static member, which this one takes the place of.
    pub replaces: Option<Str>,
    /// An expression that the group does not know yet.
    pub regex: Option<Regex>,
    /// The partitions that the member reports as its own.
    pub owned: Option<Partitions>,
    /// The member makes a classic group a consumer group.
    pub converts: bool,
}

/// Checks what can be checked without a group.
pub fn check_fields(
    config: &GroupConfig,
    version: i16,
    request: &ConsumerGroupHeartbeatRequest,
) -> Result<(), Refusal> {
    let invalid = |message: &str| Err(Refusal::new(ErrorCode::InvalidRequest, message));
    let empty = |id: &Option<Str>| id.as_ref().is_some_and(|id| id.trim().is_empty());
    let epoch = request.member_epoch;
    if !config.consumer_protocol {
        return Err(Refusal::new(ErrorCode::UnsupportedVersion, "The consumer protocol is not enabled."));
    }
    let needs_id = version >= CLIENT_MAKES_MEMBER_ID_FROM || epoch > JOIN_EPOCH || epoch == LEAVE_EPOCH;
    if request.group_id.trim().is_empty() {
        return invalid("GroupId can't be empty.");
    }
    if needs_id && request.member_id.trim().is_empty() {
        return invalid("MemberId can't be empty.");
    }
    if empty(&request.instance_id) {
        return invalid("InstanceId can't be empty.");
    }
    if empty(&request.rack_id) {
        return invalid("RackId can't be empty.");
    }
    if epoch == JOIN_EPOCH {
        if request.rebalance_timeout_ms == -1 {
            return invalid("RebalanceTimeoutMs must be provided in first request.");
        }
        if request.topic_partitions.as_ref().is_none_or(|owned| !owned.is_empty()) {
            return invalid("TopicPartitions must be empty when (re-)joining.");
        }
        if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() {
            return invalid(
                "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
            );
        }
    } else if epoch == LEAVE_STATIC_EPOCH && request.instance_id.is_none() {
        return invalid("InstanceId can't be null.");
    } else if epoch < LEAVE_STATIC_EPOCH {
        return invalid("MemberEpoch is invalid.");
    }
    check_limits(config, request)?;
    check_assignor(config, request)
}

/// Limits that Kafka lacks: what is kept of a member must fit into a record.
fn check_limits(config: &GroupConfig, request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refusal> {
    let topics = request.subscribed_topic_names.as_deref().unwrap_or_default();
    let max = config.limits.member_topics_max;
    if topics.len() > max {
        let message = format!("A member may subscribe to at most {max} topics.");
        return Err(Refusal::new(ErrorCode::InvalidRequest, message));
    }
    if topics.iter().map(|topic| topic.len()).sum::<usize>() > config.limits.member_protocols_bytes_max {
        return Err(Refusal::new(ErrorCode::InvalidRequest, "The subscription is too large."));
    }
    if topics.iter().any(|topic| topic.len() > ID_BYTES_MAX) {
        return Err(Refusal::new(ErrorCode::InvalidRequest, "A topic's name is too long."));
    }
    Ok(())
}

fn check_assignor(config: &GroupConfig, request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refusal> {
    let Some(assignor) = &request.server_assignor else { return Ok(()) };
    if config.assignors.contains(assignor) && Assignor::named(assignor).is_some() {
        return Ok(());
    }
    let supported: Vec<&str> = config.assignors.iter().map(Str::as_str).collect();
    let supported = supported.join(", ");
    let message = format!("ServerAssignor {assignor} is not supported. Supported assignors: {supported}.");
    Err(Refusal::new(ErrorCode::UnsupportedAssignor, message))
}

impl ConsumerGroup {
    /// Checks a heartbeat that does not leave.
    pub(super) fn admit(
        &self,
        ctx: &Context<'_>,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<Admission, Refusal> {
        self.check_room(ctx, &request.member_id, request.instance_id.as_ref())?;
        let joining = request.member_epoch == JOIN_EPOCH;
        let owned = request.topic_partitions.as_deref().map(owned);
        let (existing, replaces) = match &request.instance_id {
            None => (self.lasting.member(&request.member_id), None),
            Some(instance) => match self.lasting.instance(instance) {
                Some((_, existing)) if joining && is_unreleased(existing) => {
                    return Err(self.unreleased(&request.member_id, instance));
                }
                Some((id, existing)) if joining => (Some(existing), Some(id.clone())),
                None if joining => (self.lasting.member(&request.member_id), None),
                None => return Err(Refusal::unknown_instance(instance)),
                Some((id, _)) if *id != request.member_id => {
                    return Err(Refusal::fenced_instance(&request.member_id, instance, id));
                }
                Some((_, existing)) => (Some(existing), None),
            },
        };
        match existing {
            Some(existing) if replaces.is_none() => check_member(existing, request, owned.as_ref())?,
            Some(_) => {}
            None if joining => {}
            None => return Err(Refusal::unknown_member(&request.member_id, &self.id)),
        }
        let member_id = match request.member_id.is_empty() {
            true => ctx.at.uuid.to_string().as_str().into(),
            false => request.member_id.detached(),
        };
        Ok(Admission { member_id, replaces, regex: self.new_regex(request)?, owned, converts: false })
    }

    /// Checks that the group has room for a member, if it is not in it.
    pub(super) fn check_room(
        &self,
        ctx: &Context<'_>,
        member: &str,
        instance: Option<&Str>,
    ) -> Result<(), Refusal> {
        let is_known = self.lasting.member(member).is_some();
        let replaces = instance.is_some_and(|instance| self.lasting.instance(instance).is_some());
        if ctx.memory.is_full() && !is_known && !replaces {
            let message = "Groups take all the memory that they may on this broker.";
            return Err(Refusal::new(ErrorCode::CoordinatorNotAvailable, message));
        }
        let max = ctx.config.consumer_size_max;
        if self.lasting.members().len() >= max && !is_known {
            let message = format!("The consumer group has reached its maximum capacity of {max} members.");
            return Err(Refusal::new(ErrorCode::GroupMaxSizeReached, message));
        }
        Ok(())
    }

    fn unreleased(&self, member: &str, instance: &str) -> Refusal {
        let owner = self.lasting.instance(instance).map(|(id, _)| id.clone()).unwrap_or_default();
        let message = format!(
            "Static member {member} with instance id {instance} cannot join the group because the instance id is owned \
             by {owner} member."
        );
        Refusal::new(ErrorCode::UnreleasedInstanceId, message)
    }

    /// Compiles the member's expression unless another member has the same one.
    fn new_regex(&self, request: &ConsumerGroupHeartbeatRequest) -> Result<Option<Regex>, Refusal> {
        let Some(regex) = request.subscribed_topic_regex.as_ref().filter(|regex| !regex.is_empty()) else {
            return Ok(None);
        };
        if self.lasting.members_by_regex(regex) > 0 {
            return Ok(None);
        }
        topic_regex::compile(regex).map(Some).map_err(|problem| {
            let shown: String = regex.chars().take(REGEX_SHOWN_CHARS_MAX).collect();
            let message =
                format!("SubscribedTopicRegex `{shown}` is not a valid regular expression: {problem}.");
            Refusal::new(ErrorCode::InvalidRegularExpression, message)
        })
    }
}

/// How much of a wrong expression is said back.
const REGEX_SHOWN_CHARS_MAX: usize = 200;

/// Whether a static member of the consumer protocol is still there. One of the classic protocol gives way.
fn is_unreleased(member: &Member) -> bool {
    !member.is_classic() && member.current.epoch != LEAVE_STATIC_EPOCH
}

fn check_member(
    member: &Member,
    request: &ConsumerGroupHeartbeatRequest,
    owned: Option<&Partitions>,
) -> Result<(), Refusal> {
    let (received, known) = (request.member_epoch, member.current.epoch);
    if received == JOIN_EPOCH {
        return Ok(());
    }
    // The answer with the newer epoch may have been lost.
    let catches_up = received == member.current.previous_epoch
        && owned
            .is_some_and(|owned| owned.iter().all(|(topic, p)| member.current.assigned.contains(topic, p)));
    if received > known || (received < known && !catches_up) {
        let relation = if received > known { "greater" } else { "smaller" };
        let message = format!(
            "The consumer group member has a {relation} member epoch ({received}) than the one known by the group \
             coordinator ({known}). The member must abandon all its partitions and rejoin."
        );
        return Err(Refusal::new(ErrorCode::FencedMemberEpoch, message));
    }
    if member.current.state == State::Unknown && owned.is_none_or(|owned| !owned.is_empty()) {
        let message = "The consumer group member is in a unknown state. The member must abandon all its \
                       partitions and rejoin.";
        return Err(Refusal::new(ErrorCode::FencedMemberEpoch, message));
    }
    Ok(())
}

fn owned(topics: &[TopicPartitions]) -> Partitions {
    topics.iter().flat_map(|topic| topic.partitions.iter().map(|index| (topic.topic_id, *index))).collect()
}
