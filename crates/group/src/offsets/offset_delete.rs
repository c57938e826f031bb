//! OffsetDelete (key 47): a group forgets how far it has read (KIP-496); and what DeleteGroups does to
//! offsets.

use ottla_coordinator::Ticket;
use ottla_wire::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use ottla_wire::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use ottla_wire::messages::{OffsetDeleteRequest, OffsetDeleteResponse};
use ottla_wire::primitives::Str;
use ottla_wire::{ErrorCode, PartitionIndex};

use super::committed::Offsets;
use super::store::GroupTopicPartition;
use crate::context::Context;
use crate::group::{Group, Next};
use crate::groups::Groups;
use crate::request::{Caller, GroupRequest, Response};
use crate::step::{Serve, Step};

impl GroupRequest for OffsetDeleteRequest {
    type Response = OffsetDeleteResponse;

    fn group(&self) -> Option<&Str> {
        Some(&self.group_id)
    }

    /// The error stands alone.
    fn refuse(self, error: ErrorCode) -> OffsetDeleteResponse {
        OffsetDeleteResponse { error_code: error.code(), ..Default::default() }
    }
}

impl Serve for OffsetDeleteRequest {
    fn serve(self, step: &mut Step<'_>, ticket: Ticket, _caller: &Caller) {
        let Step { ctx, groups, offsets } = step;
        let id = self.group_id.clone();
        let response = offsets.delete(ctx, groups, self);
        ctx.reply(ticket, Response::OffsetDelete(response));
        step.settle(&id, Next::Stays);
    }
}

impl Offsets {
    /// Deletes what the group is not subscribed to. As in Kafka, a partition without an offset is no error.
    fn delete(
        &mut self,
        ctx: &mut Context<'_>,
        groups: &Groups,
        request: OffsetDeleteRequest,
    ) -> OffsetDeleteResponse {
        let group = match check(groups.get(&request.group_id), &request) {
            Ok(group) => group,
            Err(error) => return request.refuse(error),
        };
        let delete = |topic| self.delete_topic(ctx, group, &request.group_id, topic);
        let topics = request.topics.iter().map(delete).collect();
        OffsetDeleteResponse { topics, ..Default::default() }
    }

    /// Deletes all offsets of a group, including those of open transactions.
    pub fn remove_group(&mut self, ctx: &mut Context<'_>, group: &Str) {
        let committed = self.of_group(group).map(|(topic, partition, _)| GroupTopicPartition {
            group: group.clone(),
            topic: topic.clone(),
            partition,
        });
        let mut places: Vec<GroupTopicPartition> = committed.collect();
        let pending = self.pending.places_of(group);
        places.extend(pending.filter(|place| self.get(place).is_none()).cloned());
        for place in places {
            self.write_tombstone(ctx, place);
        }
    }

    fn delete_topic(
        &mut self,
        ctx: &mut Context<'_>,
        group: &dyn Group,
        id: &Str,
        topic: &OffsetDeleteRequestTopic,
    ) -> OffsetDeleteResponseTopic {
        if group.is_subscribed_to(&topic.name) {
            return answer(topic, ErrorCode::GroupSubscribedToTopic);
        }
        for partition in &topic.partitions {
            self.delete_partition(ctx, id, &topic.name, partition);
        }
        answer(topic, ErrorCode::None)
    }

    fn delete_partition(
        &mut self,
        ctx: &mut Context<'_>,
        group: &Str,
        topic: &Str,
        partition: &OffsetDeleteRequestPartition,
    ) {
        let partition = PartitionIndex(partition.partition_index);
        let place = GroupTopicPartition { group: group.clone(), topic: topic.clone(), partition };
        if self.get(&place).is_some() || self.pending.contains(&place) {
            self.write_tombstone(ctx, place);
        }
    }
}

fn check<'a>(
    group: Option<&'a dyn Group>,
    request: &OffsetDeleteRequest,
) -> Result<&'a dyn Group, ErrorCode> {
    if request.group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    let group = group.ok_or(ErrorCode::GroupIdNotFound)?;
    group.validate_offset_delete()?;
    Ok(group)
}

fn answer(topic: &OffsetDeleteRequestTopic, error: ErrorCode) -> OffsetDeleteResponseTopic {
    let answer = |partition: &OffsetDeleteRequestPartition| OffsetDeleteResponsePartition {
        partition_index: partition.partition_index,
        error_code: error.code(),
    };
    OffsetDeleteResponseTopic {
        name: topic.name.clone(),
        partitions: topic.partitions.iter().map(answer).collect(),
    }
}
