//! OffsetDelete (key 47): committed offsets of topics that a group does not read go. KIP-496.

use ottla_wire::messages::offset_delete_request::OffsetDeleteRequestTopic;
use ottla_wire::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use ottla_wire::messages::{OffsetDeleteRequest, OffsetDeleteResponse};
use ottla_wire::protocol::ErrorCode;

use super::call::Call;
use super::unknown_partitions;
use crate::published::Published;

pub async fn handle(call: &mut Call<'_>, mut request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let mut unknown = Vec::new();
    {
        let published = call.ctx.published.load();
        request.topics.retain_mut(|topic| {
            unknown.extend(take_unknown(&published, topic));
            !topic.partitions.is_empty()
        });
    }
    let mut response = call
        .ctx
        .coordinators
        .groups()
        .ask(call.caller(), request)
        .await
        .unwrap_or_else(|code| OffsetDeleteResponse { error_code: code.code(), ..Default::default() });
    // An error of the whole stands alone.
    if response.error_code == 0 {
        for topic in unknown {
            match response.topics.iter_mut().find(|known| known.name == topic.name) {
                Some(known) => known.partitions.extend(topic.partitions),
                None => response.topics.push(topic),
            }
        }
    }
    response
}

/// Takes the partitions that are not there out of the request, and answers for them.
fn take_unknown(
    published: &Published,
    topic: &mut OffsetDeleteRequestTopic,
) -> Option<OffsetDeleteResponseTopic> {
    let known = published.image.topic(&topic.name);
    let unknown = unknown_partitions::take_unknown(known, &mut topic.partitions, |one| one.partition_index);
    let error_code = ErrorCode::UnknownTopicOrPartition.code();
    let answer = |partition_index| OffsetDeleteResponsePartition { partition_index, error_code };
    let partitions: Vec<_> = unknown.into_iter().map(answer).collect();
    (!partitions.is_empty()).then(|| OffsetDeleteResponseTopic { name: topic.name.clone(), partitions })
}
