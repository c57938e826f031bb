//! OffsetDelete (key 47): a group forgets how far it has read (KIP-496); and what DeleteGroups does to offsets.

use ottla_coordinator::Ticket;
use ottla_wire::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use ottla_wire::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use ottla_wire::messages::{OffsetDeleteRequest, OffsetDeleteResponse};
use ottla_wire::primitives::Str;
use ottla_wire::{ErrorCode, PartitionIndex};

use super::Offsets;
use super::store::Place;
use crate::context::Context;
use crate::group::Group;
use crate::groups::Groups;
use crate::request::Response;

impl Offsets {
    /// Deletes what the group is not subscribed to. As in Kafka, a partition without an offset is no error.
    pub fn delete(
        &mut self,
        ctx: &mut Context<'_>,
        groups: &Groups,
        ticket: Ticket,
        request: OffsetDeleteRequest,
    ) {
        let response = match check(groups.get(&request.group_id), &request) {
            Err(error) => refuse_delete(error),
            Ok(group) => {
                let delete = |topic| self.delete_topic(ctx, group, &request.group_id, topic);
                let topics = request.topics.iter().map(delete).collect();
                OffsetDeleteResponse { topics, ..Default::default() }
            }
        };
        ctx.reply(ticket, Response::OffsetDelete(response));
    }

    /// Deletes all offsets of a group that is to go, also what transactions would commit.
    pub fn remove_group(&mut self, ctx: &mut Context<'_>, group: &Str) {
        let committed = self.of_group(group).map(|(topic, partition, _)| Place {
            group: group.clone(),
            topic: topic.clone(),
            partition,
        });
        let mut places: Vec<Place> = committed.collect();
        let pending = self.pending.places_of(group);
        places.extend(pending.filter(|place| self.get(place).is_none()).cloned());
        for place in places {
            self.write_tombstone(ctx, place);
        }
    }

    fn delete_topic(
        &mut self,
        ctx: &mut Context<'_>,
        group: &Group,
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
        let place = Place { group: group.clone(), topic: topic.clone(), partition };
        if self.get(&place).is_some() || self.pending.contains(&place) {
            self.write_tombstone(ctx, place);
        }
    }
}

/// The answer that gives the whole request an error.
pub fn refuse_delete(error: ErrorCode) -> OffsetDeleteResponse {
    OffsetDeleteResponse { error_code: error.code(), ..Default::default() }
}

fn check<'a>(group: Option<&'a Group>, request: &OffsetDeleteRequest) -> Result<&'a Group, ErrorCode> {
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
