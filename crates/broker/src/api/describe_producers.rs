//! DescribeProducers (key 61): the producers that a partition knows. KIP-664.

use ottla_replica::ProducerState as Known;
use ottla_wire::PartitionIndex;
use ottla_wire::messages::describe_producers_response::{PartitionResponse, ProducerState, TopicResponse};
use ottla_wire::messages::{DescribeProducersRequest, DescribeProducersResponse};
use ottla_wire::protocol::ErrorCode;
use tokio::sync::oneshot;

use super::call::Call;
use crate::door::{Operation, Resource};
use crate::shard::Mail;

pub async fn handle(call: &mut Call<'_>, request: DescribeProducersRequest) -> DescribeProducersResponse {
    let mut response = DescribeProducersResponse::default();
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        for index in topic.partition_indexes {
            partitions.push(answer(index, known(call, &topic.name, PartitionIndex(index)).await));
        }
        response.topics.push(TopicResponse { name: topic.name, partitions });
    }
    response
}

async fn known(call: &Call<'_>, topic: &str, index: PartitionIndex) -> Result<Vec<Known>, ErrorCode> {
    call.authorize(Operation::Read, Resource::Topic(topic))?;
    let partition = call.ctx.published.load().partition(topic, index)?.clone();
    partition.leader_view(None)?;
    let (reply, known) = oneshot::channel();
    let mail = Mail::DescribeProducers(partition.key, reply);
    partition.shard.send(mail).await.map_err(|_| ErrorCode::NotLeaderOrFollower)?;
    known.await.map_err(|_| ErrorCode::NotLeaderOrFollower)
}

fn answer(partition_index: i32, known: Result<Vec<Known>, ErrorCode>) -> PartitionResponse {
    match known {
        Ok(known) => PartitionResponse {
            partition_index,
            active_producers: known.into_iter().map(describe).collect(),
            ..Default::default()
        },
        Err(code) => PartitionResponse { partition_index, error_code: code.code(), ..Default::default() },
    }
}

fn describe(known: Known) -> ProducerState {
    ProducerState {
        producer_id: known.producer_id.0,
        producer_epoch: i32::from(known.epoch.0),
        last_sequence: known.last_sequence.0,
        last_timestamp: known.last_timestamp.0,
        coordinator_epoch: known.coordinator_epoch,
        current_txn_start_offset: known.txn_first.map_or(-1, |offset| offset.0),
    }
}
