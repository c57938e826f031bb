//! Groups that change their type while they have members (KIP-848): a classic group when a member comes that
//! speaks the consumer protocol, a consumer group when the last of those goes.
//!
//! The records of both types are written in one step, tombstones first, so the group is one or the other at
//! every moment.

use crate::timers::GroupTimers;
use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::ErrorCode;
use ottla_wire::messages::consumer_group_member_metadata_value::{ClassicMemberMetadata, ClassicProtocol};
use ottla_wire::messages::*;
use ottla_wire::primitives::Str;

use crate::assignor::Partitions;
use crate::classic::{CONSUMER_PROTOCOL_TYPE, ClassicGroup, Member as ClassicMember, Protocol};
use crate::consumer::embedded;
use crate::consumer::group::{ConsumerGroup, millis, rebalance_timeout};
use crate::consumer::lasting::target_to;
use crate::consumer::member::{Current, Member, unknown_metadata};
use crate::consumer::owned::Owned;
use crate::consumer::refusal::Refusal;
use crate::context::Context;
use crate::group::{Group, Next};
use crate::record::GroupRecord;

impl ConsumerGroup {
    /// The consumer group that a classic one would become. Its members keep what the leader gave them;
    /// nothing is written yet.
    pub(super) fn upgraded(ctx: &Context<'_>, classic: &ClassicGroup) -> Result<ConsumerGroup, Refusal> {
        let refused = |why: &str| {
            let message =
                format!("Cannot upgrade classic group {} to consumer group because {why}.", classic.id());
            Refusal::new(ErrorCode::GroupIdNotFound, message)
        };
        if !ctx.config.migration.may_upgrade() {
            return Err(refused("online upgrade is disabled"));
        }
        if classic.protocol_type().is_none_or(|name| *name != CONSUMER_PROTOCOL_TYPE) {
            return Err(refused("the group does not use the consumer embedded protocol"));
        }
        if classic.members().count() > ctx.config.consumer_size_max {
            return Err(refused("the group size exceeds the consumer group maximum size"));
        }
        let protocols = classic.members().flat_map(|(_, member)| &member.protocols);
        if protocols.map(Protocol::size).sum::<usize>() > ctx.config.limits.group_record_bytes_max {
            return Err(refused("its members' subscriptions are too large"));
        }
        let mut group = ConsumerGroup::new(classic.id().clone());
        for (id, member) in classic.members() {
            let (metadata, assigned) = upgraded_member(ctx, classic.protocol(), member)
                .map_err(|_| refused("the embedded consumer protocol is malformed"))?;
            if assigned.has_user_data {
                return Err(refused("an unsupported custom assignor is in use"));
            }
            group.take_over(id, metadata, &assigned.partitions, classic.generation());
        }
        group.take_over_epochs(classic.generation());
        Ok(group)
    }

    /// Writes a group that was classic before, and begins the sessions of its members.
    pub(super) fn write_upgraded(&self, ctx: &mut Context<'_>) {
        for record in self.records() {
            ctx.write(&record);
        }
        for member in self.lasting.members().keys() {
            self.touch(ctx, member);
        }
    }

    /// A member of the classic group. A partition that its leader gave to two members stays with the first.
    fn take_over(
        &mut self,
        id: &Str,
        metadata: ConsumerGroupMemberMetadataValue,
        assigned: &Partitions,
        generation: i32,
    ) {
        let free = |(topic, partition): &(_, i32)| !self.lasting.is_taken(id, *topic, *partition);
        let assigned: Partitions = assigned.iter().filter(free).collect();
        let current = Current {
            epoch: generation,
            previous_epoch: generation,
            assigned: assigned.iter().map(|(topic, index)| (topic, index, generation)).collect::<Owned>(),
            ..Current::default()
        };
        let (group_id, member_id) = (self.id.clone(), id.clone());
        let key = ConsumerGroupMemberMetadataKey { group_id, member_id };
        self.lasting.apply(GroupRecord::ConsumerGroupMember { key, value: Some(metadata) });
        let (group_id, member_id) = (self.id.clone(), id.clone());
        let key = ConsumerGroupTargetAssignmentMemberKey { group_id, member_id };
        let value = Some(target_to(&assigned));
        self.lasting.apply(GroupRecord::TargetAssignmentMember { key, value });
        let (group_id, member_id) = (self.id.clone(), id.clone());
        let key = ConsumerGroupCurrentMemberAssignmentKey { group_id, member_id };
        self.lasting.apply(GroupRecord::CurrentAssignment { key, value: Some(current.to_record()) });
    }

    /// The leader may have made the assignment long ago, from the topics of that time. So the group begins
    /// without topics, and the next heartbeat finds them.
    fn take_over_epochs(&mut self, generation: i32) {
        let key = ConsumerGroupMetadataKey { group_id: self.id.clone() };
        let value = Some(ConsumerGroupMetadataValue { epoch: generation, ..Default::default() });
        self.lasting.apply(GroupRecord::ConsumerGroup { key, value });
        let key = ConsumerGroupTargetAssignmentMetadataKey { group_id: self.id.clone() };
        let value =
            ConsumerGroupTargetAssignmentMetadataValue { assignment_epoch: generation, ..Default::default() };
        self.lasting.apply(GroupRecord::TargetAssignment { key, value: Some(value) });
    }

    /// Whether only members of the classic protocol are left without `leaving`, and the group may become a
    /// classic one.
    pub(super) fn may_downgrade_without(&self, ctx: &Context<'_>, leaving: &BTreeSet<Str>) -> bool {
        let is_classic = |id: &&Str| self.lasting.member(id).is_some_and(Member::is_classic);
        let left = self.lasting.members().len() - leaving.len();
        let classic = self.lasting.classic_members() - leaving.iter().filter(is_classic).count();
        left > 0 && left == classic && self.may_downgrade(ctx, left)
    }

    /// The same if `replaced` comes back as a member of the classic protocol.
    pub(super) fn may_downgrade_replacing(&self, ctx: &Context<'_>, replaced: &Str) -> bool {
        let members = self.lasting.members().len();
        let speaks_consumer = self.lasting.member(replaced).is_some_and(|member| !member.is_classic());
        speaks_consumer && self.lasting.classic_members() + 1 == members && self.may_downgrade(ctx, members)
    }

    /// Whether this many members can be a classic group: the policy allows it, and they fit into a record.
    fn may_downgrade(&self, ctx: &Context<'_>, members: usize) -> bool {
        ctx.config.migration.may_downgrade()
            && members <= ctx.config.classic_size_max
            && self.lasting.members().values().map(record_len).sum::<usize>()
                <= ctx.config.limits.group_record_bytes_max
    }

    /// Becomes a classic group without `leaving`, which rebalances.
    pub(super) fn downgrade(&mut self, ctx: &mut Context<'_>, leaving: &BTreeSet<Str>) -> Next {
        let staying = self.lasting.members().iter().filter(|(id, _)| !leaving.contains(*id));
        let members: BTreeMap<Str, ClassicMember> =
            staying.filter_map(|(id, member)| Some((id.clone(), downgraded_member(ctx, member)?))).collect();
        let protocol = shared_protocol(&members);
        self.tombstones(ctx);
        ctx.timers.cancel_group(&self.id);
        let generation = self.lasting.epoch;
        let group = ClassicGroup::take_over(ctx, self.id.clone(), generation, protocol, members);
        Next::Becomes(Box::new(group))
    }
}

fn downgraded_member(ctx: &Context<'_>, member: &Member) -> Option<ClassicMember> {
    let classic = member.classic()?;
    let protocols = classic.supported_protocols.iter();
    let protocols: Vec<Protocol> = protocols
        .map(|known| Protocol { name: known.name.clone(), metadata: known.metadata.clone() })
        .collect();
    let subscription = protocols.first().and_then(|first| embedded::subscription(&first.metadata).ok());
    let version = subscription.map_or(0, |(version, _)| version);
    // Its present partitions, not its target: if the group is upgraded again before it has rebalanced, this
    // must be true.
    let has: Partitions = member.current.held().map(|(topic, partition, _)| (topic, partition)).collect();
    Some(ClassicMember {
        instance: member.metadata.instance_id.clone(),
        client_id: member.metadata.client_id.clone(),
        client_host: member.metadata.client_host.clone(),
        rebalance_timeout: rebalance_timeout(member),
        session_timeout: millis(classic.session_timeout_ms),
        protocols,
        assignment: embedded::encode_assignment(has.iter(), version, ctx.topics),
        is_new: false,
        joining: None,
        syncing: None,
        deadline: ctx.at.now,
        timer: None,
    })
}

/// About as many bytes as a member takes in the record of a classic group.
fn record_len(member: &Member) -> usize {
    /// Lengths and numbers, and ids of the usual size.
    const FRAME_BYTES: usize = 256;
    const PARTITION_BYTES: usize = size_of::<i32>();
    let protocols = member.classic().into_iter().flat_map(|classic| &classic.supported_protocols);
    let protocols: usize = protocols.map(|known| known.name.len() + known.metadata.len()).sum();
    FRAME_BYTES + protocols + member.current.held().count() * PARTITION_BYTES
}

/// A protocol that all members know. There is one, because no member is admitted without.
fn shared_protocol(members: &BTreeMap<Str, ClassicMember>) -> Str {
    let known = |member: &ClassicMember, name: &Str| member.protocols.iter().any(|known| known.name == *name);
    let names = || members.values().flat_map(|member| &member.protocols).map(|protocol| &protocol.name);
    let shared = names().find(|name| members.values().all(|member| known(member, name)));
    shared.or_else(|| names().next()).cloned().unwrap_or_default()
}

fn upgraded_member(
    ctx: &Context<'_>,
    protocol: Option<&Str>,
    member: &ClassicMember,
) -> Result<(ConsumerGroupMemberMetadataValue, embedded::Assigned), ottla_wire::primitives::DecodeError> {
    let chosen = member.protocols.iter().find(|known| Some(&known.name) == protocol);
    let metadata =
        chosen.or(member.protocols.first()).map(|known| known.metadata.clone()).unwrap_or_default();
    let (_, subscription) = embedded::subscription(&metadata)?;
    let assigned = embedded::assignment(&member.assignment, ctx.topics)?;
    let ms = |timeout: std::time::Duration| i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let known =
        |known: &Protocol| ClassicProtocol { name: known.name.clone(), metadata: known.metadata.clone() };
    let metadata = ConsumerGroupMemberMetadataValue {
        instance_id: member.instance.clone(),
        rack_id: subscription.rack_id.filter(|rack| !rack.is_empty()),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        subscribed_topic_names: crate::consumer::heartbeat::sorted(&subscription.topics),
        rebalance_timeout_ms: ms(member.rebalance_timeout),
        classic_member_metadata: Some(ClassicMemberMetadata {
            session_timeout_ms: ms(member.session_timeout),
            supported_protocols: member.protocols.iter().map(known).collect(),
        }),
        ..unknown_metadata()
    };
    Ok((metadata, assigned))
}
