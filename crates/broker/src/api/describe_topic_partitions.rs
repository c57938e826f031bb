//! DescribeTopicPartitions (key 75): topics with their eligible leader replicas, page by page. KIP-966.

use ottla_controller::controller::is_topic_name;
use ottla_controller::{Image, Partition, Topic};
use ottla_settings::key;
use ottla_wire::messages::describe_topic_partitions_request::Cursor as AskedCursor;
use ottla_wire::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use ottla_wire::messages::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerId, InternalTopic, PartitionIndex};

use super::call::Call;
use super::metadata::offline_replicas;
use crate::door::{Operation, Resource};

pub async fn handle(
    call: &mut Call<'_>,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let published = call.ctx.published.load();
    let limit_max = call.ctx.settings().read(key::MAX_REQUEST_PARTITION_SIZE_LIMIT);
    let limit = request.response_partition_limit.clamp(1, limit_max);
    let from = request.cursor.as_ref();
    let mut page = Page { left: usize::try_from(limit).unwrap_or(1), response: Default::default() };
    let lists_all = request.topics.is_empty();
    for name in names(&published.image, &request, from) {
        if let Err(code) = call.authorize(Operation::Describe, Resource::Topic(&name)) {
            // Topics that the client may not see are left out unless it named them.
            if !lists_all {
                page.refuse(name, code);
            }
            continue;
        }
        let operations = call.authorized_operations(true, Resource::Topic(&name));
        let first =
            from.filter(|cursor| cursor.topic_name == name).map_or(0, |cursor| cursor.partition_index);
        match published.image.topic(&name) {
            Some(topic) if !page.add(&published.image, topic, PartitionIndex(first.max(0)), operations) => {
                break;
            }
            Some(_) => {}
            None => page.add_unknown(name),
        }
    }
    page.response
}

/// The topics to describe, by name, starting at the cursor. An empty request means all.
fn names(image: &Image, request: &DescribeTopicPartitionsRequest, from: Option<&AskedCursor>) -> Vec<Str> {
    let start = from.map_or("", |cursor| cursor.topic_name.as_str());
    if request.topics.is_empty() {
        return image.topic_names_from(start).cloned().collect();
    }
    let mut names: Vec<Str> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    names.retain(|name| name.as_str() >= start);
    names.sort();
    names.dedup();
    names
}

/// An answer that is filled until its number of partitions is used up.
struct Page {
    left: usize,
    response: DescribeTopicPartitionsResponse,
}

impl Page {
    /// Adds a topic from partition `first` on. False if the page ends within or before it.
    fn add(&mut self, image: &Image, topic: &Topic, first: PartitionIndex, operations: i32) -> bool {
        if self.left == 0 {
            self.end(topic, first);
            return false;
        }
        let mut answer = DescribeTopicPartitionsResponseTopic {
            name: Some(topic.name.clone()),
            topic_id: topic.id,
            is_internal: InternalTopic::is_internal(&topic.name),
            topic_authorized_operations: operations,
            ..Default::default()
        };
        let mut next = None;
        for (index, partition) in topic.partitions.range(first..) {
            if self.left == 0 {
                next = Some(*index);
                break;
            }
            self.left -= 1;
            answer.partitions.push(describe(image, *index, partition));
        }
        self.response.topics.push(answer);
        match next {
            Some(index) => {
                self.end(topic, index);
                false
            }
            None => true,
        }
    }

    fn add_unknown(&mut self, name: Str) {
        let code = match is_topic_name(&name) {
            true => ErrorCode::UnknownTopicOrPartition,
            false => ErrorCode::InvalidTopicException,
        };
        self.refuse(name, code);
    }

    fn refuse(&mut self, name: Str, code: ErrorCode) {
        self.response.topics.push(DescribeTopicPartitionsResponseTopic {
            error_code: code.code(),
            name: Some(name),
            ..Default::default()
        });
    }

    fn end(&mut self, topic: &Topic, next: PartitionIndex) {
        self.response.next_cursor = Some(Cursor { topic_name: topic.name.clone(), partition_index: next.0 });
    }
}

fn describe(
    image: &Image,
    index: PartitionIndex,
    partition: &Partition,
) -> DescribeTopicPartitionsResponsePartition {
    let code = if partition.leader.is_some() { ErrorCode::None } else { ErrorCode::LeaderNotAvailable };
    DescribeTopicPartitionsResponsePartition {
        error_code: code.code(),
        partition_index: index.0,
        leader_id: partition.leader_id().0,
        leader_epoch: partition.leader_epoch.0,
        replica_nodes: numbers(&partition.replicas),
        isr_nodes: numbers(&partition.isr),
        eligible_leader_replicas: Some(numbers(&partition.elr)),
        last_known_elr: Some(numbers(&partition.last_known_elr)),
        offline_replicas: offline_replicas(image, partition),
    }
}

fn numbers(brokers: &[BrokerId]) -> Vec<i32> {
    brokers.iter().map(|id| id.0).collect()
}
