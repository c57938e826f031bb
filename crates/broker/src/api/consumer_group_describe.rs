//! ConsumerGroupDescribe (key 69): consumer groups with their members and assignments. KIP-848.
//!
//! - 1: whether a member speaks the classic protocol (KIP-1099).

use ottla_group::request::ConsumerGroupDescribe;
use ottla_wire::messages::consumer_group_describe_response::DescribedGroup;
use ottla_wire::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::call::Call;
use crate::door::{Operation, Resource};

pub async fn handle(
    call: &mut Call<'_>,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let served = call.ctx.coordinators.world().groups.consumer_protocol;
    let with_operations = request.include_authorized_operations;
    let mut response = ConsumerGroupDescribeResponse::default();
    for id in request.group_ids {
        let group = match served {
            true if id.is_empty() => refuse(id, ErrorCode::InvalidGroupId),
            true => describe(call, id, with_operations).await,
            false => refuse(id, ErrorCode::UnsupportedVersion),
        };
        response.groups.push(group);
    }
    response
}

async fn describe(call: &Call<'_>, id: Str, with_operations: bool) -> DescribedGroup {
    match call.ask_group(Operation::Describe, ConsumerGroupDescribe::from(id.clone())).await {
        Ok(group) if group.error_code != 0 => group,
        Ok(group) if !may_see_topics(call, &group) => DescribedGroup {
            error_message: Some(Str::from_static("the group has topics that the client may not describe")),
            ..refuse(id, ErrorCode::TopicAuthorizationFailed)
        },
        Ok(group) => DescribedGroup {
            authorized_operations: call.authorized_operations(with_operations, Resource::Group(&id)),
            ..group
        },
        Err(code) => refuse(id, code),
    }
}

/// As in Kafka, a group is hidden unless the client may see all of its topics.
fn may_see_topics(call: &Call<'_>, group: &DescribedGroup) -> bool {
    let assignments = group.members.iter().flat_map(|member| [&member.assignment, &member.target_assignment]);
    let mut topics = assignments.flat_map(|assignment| &assignment.topic_partitions);
    topics.all(|topic| call.may(Operation::Describe, Resource::Topic(&topic.topic_name)))
}

fn refuse(group_id: Str, code: ErrorCode) -> DescribedGroup {
    DescribedGroup { group_id, error_code: code.code(), ..Default::default() }
}
