//! OffsetFetch (key 9): tells how far groups have read.
//!
//! - 2: all topics of a group; an error for the whole request.
//! - 3: the throttle time.
//! - 5: the leader epoch of the last read record (KIP-320).
//! - 6: flexible.
//! - 7: offsets that no open transaction can change (KIP-447).
//! - 8: several groups (KIP-709).
//! - 9: member epochs (KIP-848).
//! - 10: topics by their ids (KIP-848).

use std::collections::BTreeMap;

use ottla_group::request::FetchOfGroup;
use ottla_wire::TopicId;
use ottla_wire::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use ottla_wire::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use ottla_wire::messages::{OffsetFetchRequest, OffsetFetchResponse};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::call::Call;
use crate::door::{Operation, Resource};
use crate::published::Published;

/// From this version on, a request names several groups.
const SEVERAL_VERSION: i16 = 8;

/// From this version on, topics are named by their ids.
const BY_ID_VERSION: i16 = 10;

/// From this version on, there is an error code for the whole answer.
const ERROR_VERSION: i16 = 2;

pub async fn handle(call: &mut Call<'_>, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let require_stable = request.require_stable;
    if call.version < SEVERAL_VERSION {
        return fetch_one(call, request).await;
    }
    let mut groups = Vec::with_capacity(request.groups.len());
    for group in request.groups {
        groups.push(match call.version >= BY_ID_VERSION {
            true => fetch_by_id(call, group, require_stable).await,
            false => fetch(call, group, require_stable).await,
        });
    }
    OffsetFetchResponse { groups, ..Default::default() }
}

/// Fetches the offsets that the client may see. It gets an error for topics that it named and may not
/// describe. Others are left out.
async fn fetch(
    call: &Call<'_>,
    mut group: OffsetFetchRequestGroup,
    require_stable: bool,
) -> OffsetFetchResponseGroup {
    let group_id = group.group_id.clone();
    let authorize = |topic: &str| call.authorize(Operation::Describe, Resource::Topic(topic));
    let mut refused = Vec::new();
    if let Some(topics) = &mut group.topics {
        topics.retain(|topic| match authorize(&topic.name) {
            Ok(()) => true,
            Err(code) => {
                refused.push(without_offsets(topic, code));
                false
            }
        });
    }
    let asked = FetchOfGroup { group, require_stable };
    match call.ask_group(Operation::Describe, asked).await {
        Ok(mut answer) => {
            answer.topics.retain(|topic| authorize(&topic.name).is_ok());
            // An error for the whole request stands alone.
            if answer.error_code == 0 {
                answer.topics.extend(refused);
            }
            answer
        }
        Err(code) => OffsetFetchResponseGroup { group_id, error_code: code.code(), ..Default::default() },
    }
}

/// The coordinator knows topics by name, so ids are translated on the way there and back. Deleted topics keep
/// their ids if they were requested, and are left out otherwise.
async fn fetch_by_id(
    call: &Call<'_>,
    mut group: OffsetFetchRequestGroup,
    require_stable: bool,
) -> OffsetFetchResponseGroup {
    let mut asked = BTreeMap::new();
    let mut unknown = Vec::new();
    if let Some(topics) = &mut group.topics {
        let published = call.ctx.published.load();
        topics.retain_mut(|topic| match published.image.topic_by_id(topic.topic_id) {
            Some(known) => {
                topic.name = known.name.clone();
                asked.insert(known.name.clone(), topic.topic_id);
                true
            }
            None => {
                unknown.push(without_offsets(topic, ErrorCode::UnknownTopicId));
                false
            }
        });
    }
    let mut answer = fetch(call, group, require_stable).await;
    if answer.error_code != 0 {
        return answer;
    }
    let published = call.ctx.published.load();
    answer.topics.retain_mut(|topic| {
        if let Some(id) = id_of(topic, &asked, &published) {
            topic.topic_id = id;
        }
        !topic.topic_id.is_zero()
    });
    answer.topics.extend(unknown);
    answer
}

fn id_of(
    topic: &OffsetFetchResponseTopics,
    asked: &BTreeMap<Str, TopicId>,
    published: &Published,
) -> Option<TopicId> {
    asked.get(&topic.name).copied().or_else(|| published.image.topic_id(&topic.name))
}

fn without_offsets(topic: &OffsetFetchRequestTopics, code: ErrorCode) -> OffsetFetchResponseTopics {
    let partition = |index: &i32| OffsetFetchResponsePartitions {
        partition_index: *index,
        committed_offset: -1,
        metadata: Some(Str::default()),
        error_code: code.code(),
        ..Default::default()
    };
    OffsetFetchResponseTopics {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic.partition_indexes.iter().map(partition).collect(),
    }
}

/// The old form: one group, whose answer is the response itself.
async fn fetch_one(call: &Call<'_>, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let topics = request.topics.map(|topics| {
        let topics = topics.into_iter().map(|topic| OffsetFetchRequestTopics {
            name: topic.name,
            partition_indexes: topic.partition_indexes,
            ..Default::default()
        });
        topics.collect::<Vec<_>>()
    });
    let group =
        OffsetFetchRequestGroup { group_id: request.group_id, topics: topics.clone(), ..Default::default() };
    let answer = fetch(call, group, request.require_stable).await;
    if answer.error_code != 0 && call.version < ERROR_VERSION {
        let topics = topics.into_iter().flatten().map(|topic| failed(topic, answer.error_code));
        return OffsetFetchResponse { topics: topics.collect(), ..Default::default() };
    }
    let topics = answer.topics.into_iter().map(|topic| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(old_form).collect(),
    });
    OffsetFetchResponse { topics: topics.collect(), error_code: answer.error_code, ..Default::default() }
}

fn old_form(partition: OffsetFetchResponsePartitions) -> OffsetFetchResponsePartition {
    OffsetFetchResponsePartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
    }
}

/// Before there was an error code for the whole answer, each partition carried it.
fn failed(topic: OffsetFetchRequestTopics, error_code: i16) -> OffsetFetchResponseTopic {
    let partition = |index| OffsetFetchResponsePartition {
        partition_index: index,
        committed_offset: -1,
        metadata: Some(Str::default()),
        error_code,
        ..Default::default()
    };
    OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partition_indexes.into_iter().map(partition).collect(),
    }
}
