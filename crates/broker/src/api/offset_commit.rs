//! OffsetCommit (key 8): how far a group has read.
//! KIP-98 (leader epochs), KIP-345 (static members), KIP-848 (member epochs, topic ids).
//!
//! What is committed to partitions that are not there fails alone; the rest goes to the coordinator.

use ottla_group::{Request, Response};
use ottla_wire::PartitionIndex;
use ottla_wire::messages::offset_commit_request::OffsetCommitRequestTopic;
use ottla_wire::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use ottla_wire::messages::{OffsetCommitRequest, OffsetCommitResponse};
use ottla_wire::protocol::ErrorCode;

use super::Call;
use crate::coordinator::groups::ask;
use crate::published::Published;

/// From this version on, topics are named by their ids.
const BY_ID_VERSION: i16 = 10;

pub async fn handle(call: &mut Call<'_>, mut request: OffsetCommitRequest) -> OffsetCommitResponse {
    let by_id = call.version >= BY_ID_VERSION;
    let mut response = OffsetCommitResponse::default();
    {
        let published = call.ctx.published.load();
        request.topics.retain_mut(|topic| {
            let answer = take_unknown(&published, topic, by_id);
            if !answer.partitions.is_empty() {
                response.topics.push(answer);
            }
            !topic.partitions.is_empty()
        });
    }
    // With nothing left to commit, the answer is known; but an empty request is for the coordinator to judge.
    if request.topics.is_empty() && !response.topics.is_empty() {
        return response;
    }
    let group = request.group_id.clone();
    let asked: Vec<OffsetCommitResponseTopic> = request.topics.iter().map(unanswered).collect();
    let answered = match ask(call, &group, Request::OffsetCommit(request)).await {
        Ok(Response::OffsetCommit(answered)) => answered.topics,
        Ok(_) => unreachable!("a coordinator answers what it was asked"),
        Err(code) => refuse(asked, code),
    };
    count(call, &answered);
    for topic in answered {
        match response.topics.iter_mut().find(|known| is_same(known, &topic, by_id)) {
            Some(known) => known.partitions.extend(topic.partitions),
            None => response.topics.push(topic),
        }
    }
    response
}

/// Names the topic, takes the partitions that are not there out of it, and answers for them.
fn take_unknown(
    published: &Published,
    topic: &mut OffsetCommitRequestTopic,
    by_id: bool,
) -> OffsetCommitResponseTopic {
    let (known, code) = match by_id {
        true => (published.image.topic_by_id(topic.topic_id), ErrorCode::UnknownTopicId),
        false => (published.image.topic(&topic.name), ErrorCode::UnknownTopicOrPartition),
    };
    if let Some(known) = known {
        topic.name = known.name.clone();
    }
    let code = if known.is_some() { ErrorCode::UnknownTopicOrPartition } else { code };
    let mut answer = OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        ..Default::default()
    };
    topic.partitions.retain(|partition| {
        let index = partition.partition_index;
        let there = known.is_some_and(|known| known.partition(PartitionIndex(index)).is_some());
        if !there {
            answer.partitions.push(answer_for(index, code));
        }
        there
    });
    answer
}

fn unanswered(topic: &OffsetCommitRequestTopic) -> OffsetCommitResponseTopic {
    let partitions = topic.partitions.iter();
    OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: partitions.map(|one| answer_for(one.partition_index, ErrorCode::None)).collect(),
    }
}

/// The coordinator could not be asked: no partition is known to be committed.
fn refuse(mut topics: Vec<OffsetCommitResponseTopic>, code: ErrorCode) -> Vec<OffsetCommitResponseTopic> {
    let partitions = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    partitions.for_each(|partition| partition.error_code = code.code());
    topics
}

fn answer_for(partition_index: i32, code: ErrorCode) -> OffsetCommitResponsePartition {
    OffsetCommitResponsePartition { partition_index, error_code: code.code() }
}

fn is_same(one: &OffsetCommitResponseTopic, other: &OffsetCommitResponseTopic, by_id: bool) -> bool {
    if by_id { one.topic_id == other.topic_id } else { one.name == other.name }
}

fn count(call: &Call<'_>, topics: &[OffsetCommitResponseTopic]) {
    let partitions = topics.iter().flat_map(|topic| &topic.partitions);
    let committed = partitions.filter(|partition| partition.error_code == 0).count();
    crate::metrics::add(&call.ctx.metrics.offsets_committed, committed);
}
