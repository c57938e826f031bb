//! OffsetForLeaderEpoch (key 23): where a leader epoch ends in this log, for truncation. KIP-101, KIP-279, KIP-320.

use ottla_wire::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use ottla_wire::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use ottla_wire::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{LeaderEpoch, PartitionIndex};

use super::call::Call;
use crate::fetch::epoch;
use crate::partition::PartitionError;
use crate::published::Published;

pub async fn handle(
    call: &mut Call<'_>,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let published = call.ctx.published.load();
    let topics = request.topics.into_iter().map(|topic| OffsetForLeaderTopicResult {
        partitions: topic.partitions.iter().map(|asked| answer(&published, &topic.topic, asked)).collect(),
        topic: topic.topic,
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
        // Not known here: (-1, -1).
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
