//! DeleteRecords (key 21): moves the start of partitions; -1 means the high watermark. KIP-107.
//!
//! - 2: flexible.

use std::sync::Arc;
use std::time::Duration;

use ottla_log::DataDir;
use ottla_replica::{DeleteError, DeleteTo};
use ottla_wire::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use ottla_wire::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{Instant, Offset, PartitionIndex};
use tokio::sync::oneshot;

use super::call::Call;
use crate::door::{Operation, Resource};
use crate::partition::PartitionHandle;
use crate::shard::Mail;

pub async fn handle(call: &mut Call<'_>, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let deadline = call.ctx.clock.now() + timeout;
    // All partitions get their request before the first answer is awaited.
    let mut asked = Vec::new();
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let index = PartitionIndex(partition.partition_index);
            let found = match call.authorize(Operation::Delete, Resource::Topic(&topic.name)) {
                Ok(()) => {
                    call.ctx.published.load().partition(&topic.name, index).cloned().map_err(ErrorCode::from)
                }
                Err(code) => Err(code),
            };
            let begun = match found {
                Ok(handle) => begin(&handle, partition.offset, deadline).await,
                Err(code) => Err(code),
            };
            partitions.push((partition.partition_index, begun));
        }
        asked.push((topic.name, partitions));
    }
    let mut response = DeleteRecordsResponse::default();
    for (name, begun) in asked {
        let mut partitions = Vec::with_capacity(begun.len());
        for (index, begun) in begun {
            partitions.push(answer(index, end(begun).await));
        }
        response.topics.push(DeleteRecordsTopicResult { name, partitions });
    }
    keep(call).await;
    response
}

/// Writes the checkpoints with the starts of logs, so an answered deletion survives a crash. A failure takes
/// the data directory offline.
async fn keep(call: &Call<'_>) {
    let dirs = call.ctx.data_dirs.clone();
    let written = tokio::task::spawn_blocking(move || dirs.iter().try_for_each(DataDir::checkpoint)).await;
    if let Err(error) = written.unwrap_or_else(|error| Err(error.into())) {
        tracing::error!(%error, "the new starts of logs could not be written down");
    }
}

type PendingDelete = oneshot::Receiver<Result<Offset, DeleteError>>;

async fn begin(
    partition: &Arc<PartitionHandle>,
    offset: i64,
    deadline: Instant,
) -> Result<PendingDelete, ErrorCode> {
    let before = match offset {
        -1 => DeleteTo::HighWatermark,
        offset if offset < 0 => return Err(ErrorCode::OffsetOutOfRange),
        offset => DeleteTo::Offset(Offset(offset)),
    };
    let (reply, waiting) = oneshot::channel();
    let mail = Mail::DeleteRecords { partition: partition.key, before, deadline, reply };
    partition.shard.send(mail).await.map_err(|_| ErrorCode::NotLeaderOrFollower)?;
    Ok(waiting)
}

async fn end(begun: Result<PendingDelete, ErrorCode>) -> Result<Offset, ErrorCode> {
    // A removed partition does not answer.
    begun?.await.map_err(|_| ErrorCode::NotLeaderOrFollower)?.map_err(ErrorCode::from)
}

fn answer(partition_index: i32, low_watermark: Result<Offset, ErrorCode>) -> DeleteRecordsPartitionResult {
    match low_watermark {
        Ok(low) => DeleteRecordsPartitionResult { partition_index, low_watermark: low.0, error_code: 0 },
        Err(code) => {
            DeleteRecordsPartitionResult { partition_index, low_watermark: -1, error_code: code.code() }
        }
    }
}
