//! The records of a consumer group: every change of its lasting state goes through here.

use ottla_wire::messages::*;
use ottla_wire::primitives::Str;

use crate::assignor::Partitions;
use crate::consumer::group::ConsumerGroup;
use crate::consumer::lasting::target_to;
use crate::consumer::member::{Current, INITIAL_EPOCH, Member};
use crate::consumer::topic_regex::Resolved;
use crate::context::Context;
use crate::record::GroupRecord;

impl ConsumerGroup {
    /// Writes a record and applies it.
    fn put(&mut self, ctx: &mut Context<'_>, record: GroupRecord) {
        ctx.write(&record);
        self.lasting.apply(record);
    }

    pub(super) fn put_epoch(&mut self, ctx: &mut Context<'_>, epoch: i32, metadata_hash: i64) {
        self.put(ctx, epoch_record(&self.id, epoch, metadata_hash));
        if self.lasting.has_partition_metadata {
            self.put(ctx, partitions_tombstone(&self.id));
        }
    }

    pub(super) fn put_member(
        &mut self,
        ctx: &mut Context<'_>,
        member: &Str,
        metadata: ConsumerGroupMemberMetadataValue,
    ) {
        self.put(ctx, member_record(&self.id, member, Some(metadata)));
    }

    pub(super) fn put_current(&mut self, ctx: &mut Context<'_>, member: &Str, current: &Current) {
        self.put(ctx, current_record(&self.id, member, Some(current)));
    }

    pub(super) fn put_target(&mut self, ctx: &mut Context<'_>, member: &Str, target: &Partitions) {
        self.put(ctx, target_record(&self.id, member, Some(target)));
    }

    pub(super) fn put_target_epoch(&mut self, ctx: &mut Context<'_>, epoch: i32) {
        let value = target_epoch_value(epoch, ctx.at.wall.0);
        self.put(ctx, target_epoch_record(&self.id, Some(value)));
    }

    pub(super) fn put_regex(&mut self, ctx: &mut Context<'_>, regex: &Str, resolved: Option<&Resolved>) {
        self.put(ctx, regex_record(&self.id, regex, resolved));
    }

    /// Removes what is recorded of a member. The order is Kafka's.
    pub(super) fn put_member_tombstones(&mut self, ctx: &mut Context<'_>, member: &Str) {
        self.put(ctx, current_record(&self.id, member, None));
        self.put(ctx, target_record(&self.id, member, None));
        self.put(ctx, member_record(&self.id, member, None));
    }

    /// The records that stand for the group's lasting state, in Kafka's order.
    pub fn records(&self) -> Vec<GroupRecord> {
        let (id, lasting) = (&self.id, &self.lasting);
        let mut records = Vec::new();
        let members = || lasting.members().iter();
        records.extend(members().map(|(key, member)| member_record(id, key, Some(member.metadata.clone()))));
        records.extend(lasting.regexes().iter().map(|(regex, value)| regex_record(id, regex, Some(value))));
        if (lasting.epoch, lasting.metadata_hash) != (INITIAL_EPOCH, 0) {
            records.push(epoch_record(id, lasting.epoch, lasting.metadata_hash));
        }
        let targets = lasting.target.by_member.iter();
        records.extend(targets.map(|(member, target)| target_record(id, member, Some(target))));
        if (lasting.target.epoch, lasting.target.assigned_at) != (INITIAL_EPOCH, 0) {
            let value = target_epoch_value(lasting.target.epoch, lasting.target.assigned_at);
            records.push(target_epoch_record(id, Some(value)));
        }
        let recorded = members().filter(|(_, member)| member.current != Current::default());
        records.extend(
            recorded.map(|(key, member): (&Str, &Member)| current_record(id, key, Some(&member.current))),
        );
        records
    }

    /// Writes the deletion of the group, in Kafka's order.
    pub fn tombstones(&self, ctx: &mut Context<'_>) {
        let (id, lasting) = (&self.id, &self.lasting);
        for member in lasting.members().keys() {
            ctx.write(&current_record(id, member, None));
        }
        for member in lasting.target.by_member.keys() {
            ctx.write(&target_record(id, member, None));
        }
        ctx.write(&target_epoch_record(id, None));
        for member in lasting.members().keys() {
            ctx.write(&member_record(id, member, None));
        }
        for regex in lasting.regexes().keys() {
            ctx.write(&regex_record(id, regex, None));
        }
        if lasting.has_partition_metadata {
            ctx.write(&partitions_tombstone(id));
        }
        let key = ConsumerGroupMetadataKey { group_id: id.clone() };
        ctx.write(&GroupRecord::ConsumerGroup { key, value: None });
    }
}

fn epoch_record(group: &Str, epoch: i32, metadata_hash: i64) -> GroupRecord {
    GroupRecord::ConsumerGroup {
        key: ConsumerGroupMetadataKey { group_id: group.clone() },
        value: Some(ConsumerGroupMetadataValue { epoch, metadata_hash }),
    }
}

fn partitions_tombstone(group: &Str) -> GroupRecord {
    let key = ConsumerGroupPartitionMetadataKey { group_id: group.clone() };
    GroupRecord::ConsumerGroupPartitions { key, value: None }
}

fn member_record(group: &Str, member: &Str, value: Option<ConsumerGroupMemberMetadataValue>) -> GroupRecord {
    let key = ConsumerGroupMemberMetadataKey { group_id: group.clone(), member_id: member.clone() };
    GroupRecord::ConsumerGroupMember { key, value }
}

fn current_record(group: &Str, member: &Str, current: Option<&Current>) -> GroupRecord {
    let key = ConsumerGroupCurrentMemberAssignmentKey { group_id: group.clone(), member_id: member.clone() };
    GroupRecord::CurrentAssignment { key, value: current.map(Current::to_record) }
}

fn target_record(group: &Str, member: &Str, target: Option<&Partitions>) -> GroupRecord {
    let key = ConsumerGroupTargetAssignmentMemberKey { group_id: group.clone(), member_id: member.clone() };
    GroupRecord::TargetAssignmentMember { key, value: target.map(target_to) }
}

fn target_epoch_value(epoch: i32, assigned_at: i64) -> ConsumerGroupTargetAssignmentMetadataValue {
    ConsumerGroupTargetAssignmentMetadataValue { assignment_epoch: epoch, assignment_timestamp: assigned_at }
}

fn target_epoch_record(
    group: &Str,
    value: Option<ConsumerGroupTargetAssignmentMetadataValue>,
) -> GroupRecord {
    let key = ConsumerGroupTargetAssignmentMetadataKey { group_id: group.clone() };
    GroupRecord::TargetAssignment { key, value }
}

fn regex_record(group: &Str, regex: &Str, resolved: Option<&Resolved>) -> GroupRecord {
    let key =
        ConsumerGroupRegularExpressionKey { group_id: group.clone(), regular_expression: regex.clone() };
    let value = resolved.map(|resolved| ConsumerGroupRegularExpressionValue {
        topics: resolved.topics.iter().cloned().collect(),
        version: resolved.version,
        timestamp: resolved.timestamp,
    });
    GroupRecord::RegularExpression { key, value }
}
