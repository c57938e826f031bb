//! OffsetDelete (key 47): deletes the committed offsets of topics that a group does not read. KIP-496.

use ottla_wire::messages::offset_delete_request::OffsetDeleteRequestTopic;
use ottla_wire::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use ottla_wire::messages::{OffsetDeleteRequest, OffsetDeleteResponse};
use ottla_wire::protocol::ErrorCode;

use super::call::Call;
use super::shared::unknown_partitions;
use crate::door::{Operation, Resource};
use crate::published::Published;

pub async fn handle(call: &mut Call<'_>, mut request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let mut refused = Vec::new();
    {
        let published = call.ctx.published.load();
        request.topics.retain_mut(|topic| {
            match call.authorize(Operation::Read, Resource::Topic(&topic.name)) {
                Ok(()) => {
                    refused.extend(take_unknown(&published, topic));
                    !topic.partitions.is_empty()
                }
                Err(code) => {
                    refused.push(refuse(topic, code));
                    false
                }
            }
        });
    }
    let answer = call.ask_group(Operation::Delete, request).await;
    let mut response =
        answer.unwrap_or_else(|code| OffsetDeleteResponse { error_code: code.code(), ..Default::default() });
    // An error for the whole request stands alone.
    if response.error_code == 0 {
        for topic in refused {
            match response.topics.iter_mut().find(|known| known.name == topic.name) {
                Some(known) => known.partitions.extend(topic.partitions),
                None => response.topics.push(topic),
            }
        }
    }
    response
}

fn refuse(topic: &OffsetDeleteRequestTopic, code: ErrorCode) -> OffsetDeleteResponseTopic {
    let error_code = code.code();
    let partition = |index| OffsetDeleteResponsePartition { partition_index: index, error_code };
    let partitions = topic.partitions.iter().map(|one| partition(one.partition_index));
    OffsetDeleteResponseTopic { name: topic.name.clone(), partitions: partitions.collect() }
}

/// Removes unknown partitions from the request, and answers for them.
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
