//! ConsumerGroupHeartbeat (key 68): a member of a consumer group joins, stays alive, reports the partitions
//! it owns, and leaves. KIP-848.
//!
//! - 1: topics by a regular expression that the broker resolves; members make their own ids (KIP-1082).

use ottla_wire::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use ottla_wire::protocol::ErrorCode;

use super::call::Call;
use crate::door::{Operation, Resource};

pub async fn handle(
    call: &mut Call<'_>,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    if !call.ctx.coordinators.world().groups.consumer_protocol {
        return refuse(ErrorCode::UnsupportedVersion);
    }
    let answer = match may_see_topics(call, &request) {
        Ok(()) => call.ctx.coordinators.groups().ask(call.caller(), request).await,
        Err(code) => Err(code),
    };
    answer.unwrap_or_else(refuse)
}

/// Members get nothing about topics that they may not see. The coordinator decides about the topics of a
/// pattern.
fn may_see_topics(call: &Call<'_>, request: &ConsumerGroupHeartbeatRequest) -> Result<(), ErrorCode> {
    // A missing permission for the group takes precedence.
    call.authorize(Operation::Read, Resource::Group(&request.group_id))?;
    let mut topics = request.subscribed_topic_names.iter().flatten();
    topics.try_for_each(|topic| call.authorize(Operation::Describe, Resource::Topic(topic)))
}

fn refuse(code: ErrorCode) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse { error_code: code.code(), ..Default::default() }
}
