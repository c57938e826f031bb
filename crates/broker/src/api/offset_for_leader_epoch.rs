//! OffsetForLeaderEpoch (key 23): where a leader epoch ends in this log, for truncation. KIP-101.
//!
//! - 2: the leader epoch that the caller knows; the throttle time (KIP-320).
//! - 3: the id of the asking replica: consumers may ask, too (KIP-392).
//! - 4: flexible.

use ottla_wire::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use ottla_wire::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use ottla_wire::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{LeaderEpoch, PartitionIndex};

use super::call::Call;
use crate::door::{Operation, Resource};
use crate::fetch::epoch;
use crate::partition::PartitionError;
use crate::published::Published;

pub async fn handle(
    call: &mut Call<'_>,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let published = call.ctx.published.load();
    // Brokers may ask about every topic.
    let broker = call.may(Operation::ClusterAction, Resource::Cluster);
    let topics = request.topics.into_iter().map(|topic| {
        let allowed = match broker {
            true => Ok(()),
            false => call.authorize(Operation::Describe, Resource::Topic(&topic.topic)),
        };
        let answer = |asked: &OffsetForLeaderPartition| match allowed {
            Ok(()) => answer(&published, &topic.topic, asked),
            Err(code) => {
                EpochEndOffset { partition: asked.partition, error_code: code.code(), ..Default::default() }
            }
        };
        let partitions = topic.partitions.iter().map(answer).collect();
        OffsetForLeaderTopicResult { partitions, topic: topic.topic }
    });
    OffsetForLeaderEpochResponse { topics: topics.collect(), ..Default::default() }
}

fn answer(published: &Published, topic: &str, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let mut answer = EpochEndOffset { partition: asked.partition, ..Default::default() };
    match end_of(published, topic, asked) {
        Ok(Some((epoch, end))) => {
            answer.leader_epoch = epoch.0;
            answer.end_offset = end;
        }
        // An unknown epoch is answered with (-1, -1).
        Ok(None) => {}
        Err(error) => answer.error_code = ErrorCode::from(error).code(),
    }
    answer
}

fn end_of(
    published: &Published,
    topic: &str,
    asked: &OffsetForLeaderPartition,
) -> Result<Option<(LeaderEpoch, i64)>, PartitionError> {
    let partition = published.partition(topic, PartitionIndex(asked.partition))?;
    let view = partition.leader_view(epoch(asked.current_leader_epoch))?;
    let replica = &view.replica;
    let end = replica.epochs.end_of(LeaderEpoch(asked.leader_epoch), replica.log_end);
    Ok(end.map(|end| (end.epoch, end.end.0)))
}
