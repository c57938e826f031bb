//! ListOffsets (key 2): the offset where a partition begins, ends, or reaches a time.
//!
//! - 1: one offset for a partition, with its timestamp (KIP-79).
//! - 2: isolation levels (KIP-98); the time of throttling.
//! - 4: leader epochs, in both directions (KIP-320).
//! - 5: OFFSET_NOT_AVAILABLE of a new leader (KIP-207).
//! - 6: flexible.
//! - 7: -3, the largest timestamp (KIP-734).
//! - 8: -4, the start of what is stored locally (KIP-405).
//! - 9: -5, the end of what is tiered (KIP-1005).
//! - 10: a time-out for searches in tiers (KIP-1075), which do not exist here.
//! - 11: -6, the first offset that is not tiered yet (KIP-1023).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_log::{ReadError, TimestampAndOffset};
use ottla_partition::{PartitionView, ReadLimit};
use ottla_wire::messages::list_offsets_request::ListOffsetsPartition;
use ottla_wire::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use ottla_wire::messages::{ListOffsetsRequest, ListOffsetsResponse};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{LeaderEpoch, Offset, PartitionIndex, Timestamp};

use super::call::Call;
use crate::cold_reads::ColdReads;
use crate::door::{Operation, Resource};
use crate::fetch::{epoch, unreadable};
use crate::partition::{PartitionError, PartitionHandle};

pub async fn handle(call: &mut Call<'_>, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let reader = Asker::of(&request, call.version);
    let mut response = ListOffsetsResponse::default();
    let mut repeated = repeated(&request);
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            // Refused once for all mentions.
            match repeated.get_mut(&(topic.name.clone(), asked.partition_index)) {
                Some(true) => continue,
                Some(told) => {
                    *told = true;
                    partitions.push(answer(asked.partition_index, Err(ListError::Repeated)));
                    continue;
                }
                None => {}
            }
            let found = match find(call, &topic.name, asked.partition_index) {
                Ok(partition) => list(&call.ctx.searches, partition, &asked, reader).await,
                Err(error) => Err(error),
            };
            let mut answer = answer(asked.partition_index, found);
            // The field exists from version 4 on (KIP-320).
            if call.version < 4 {
                answer.leader_epoch = LeaderEpoch::NONE.0;
            }
            partitions.push(answer);
        }
        response.topics.push(ListOffsetsTopicResponse { name: topic.name, partitions });
    }
    response
}

/// The partitions that the request names more than once. None of them has been told of yet.
fn repeated(request: &ListOffsetsRequest) -> BTreeMap<(Str, i32), bool> {
    let mut seen = BTreeSet::new();
    let named = request.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| (topic.name.clone(), partition.partition_index))
    });
    named.filter(|partition| !seen.insert(partition.clone())).map(|partition| (partition, false)).collect()
}

fn find(call: &Call<'_>, topic: &str, index: i32) -> Result<Arc<PartitionHandle>, ListError> {
    call.authorize(Operation::Describe, Resource::Topic(topic)).map_err(|_| ListError::NotAuthorized)?;
    Ok(call.ctx.published.load().partition(topic, PartitionIndex(index)).cloned()?)
}

/// The client and its version.
#[derive(Clone, Copy)]
struct Asker {
    limit: ReadLimit,
    version: i16,
}

impl Asker {
    fn of(request: &ListOffsetsRequest, version: i16) -> Asker {
        let limit = match (request.replica_id, request.isolation_level) {
            (0.., _) => ReadLimit::LogEnd,
            (_, 1) => ReadLimit::LastStable,
            _ => ReadLimit::HighWatermark,
        };
        Asker { limit, version }
    }
}

/// What to look for: the protocol's magic timestamps, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spec {
    Latest,
    Earliest,
    MaxTimestamp,
    EarliestLocal,
    LatestTiered,
    EarliestPendingUpload,
    At(Timestamp),
}

impl Spec {
    fn of(timestamp: i64, version: i16) -> Result<Spec, ListError> {
        let (spec, since) = match timestamp {
            -1 => (Spec::Latest, 0),
            -2 => (Spec::Earliest, 0),
            -3 => (Spec::MaxTimestamp, 7),
            -4 => (Spec::EarliestLocal, 8),
            -5 => (Spec::LatestTiered, 9),
            -6 => (Spec::EarliestPendingUpload, 11),
            at => (Spec::At(Timestamp(at)), 0),
        };
        if version < since { Err(ListError::NotInVersion) } else { Ok(spec) }
    }
}

/// The offset found, and the leader epoch of its record.
struct Found {
    timestamp: Timestamp,
    offset: Offset,
    epoch: LeaderEpoch,
}

impl Found {
    const NOTHING: Found = Found { timestamp: Timestamp::NONE, offset: Offset(-1), epoch: LeaderEpoch::NONE };

    fn offset(offset: Offset, epoch: LeaderEpoch) -> Found {
        Found { timestamp: Timestamp::NONE, offset, epoch }
    }
}

impl From<Option<TimestampAndOffset>> for Found {
    fn from(found: Option<TimestampAndOffset>) -> Found {
        found.map_or(Found::NOTHING, |found| Found {
            timestamp: found.timestamp,
            offset: found.offset,
            epoch: found.leader_epoch,
        })
    }
}

async fn list(
    searches: &ColdReads,
    partition: Arc<PartitionHandle>,
    asked: &ListOffsetsPartition,
    asker: Asker,
) -> Result<Found, ListError> {
    let spec = Spec::of(asked.timestamp, asker.version)?;
    let view = partition.leader_view(epoch(asked.current_leader_epoch)).map(|view| Arc::clone(&view))?;
    let replica = &view.replica;
    let upper = view.bound(asker.limit);
    let about_end = matches!(spec, Spec::Latest | Spec::MaxTimestamp | Spec::At(_));
    if about_end && asker.limit != ReadLimit::LogEnd && knows_its_end_late(&view) {
        let known_since_v5 = asker.version >= 5;
        return Err(if known_since_v5 { ListError::NotAvailable } else { ListError::LeaderNotAvailable });
    }
    match spec {
        Spec::Latest => Ok(Found::offset(upper.offset, replica.leader_epoch)),
        Spec::Earliest | Spec::EarliestLocal => {
            Ok(Found::offset(replica.log_start, epoch_at(&view, replica.log_start)))
        }
        // There is no tiered storage.
        Spec::LatestTiered | Spec::EarliestPendingUpload => Ok(Found::NOTHING),
        // A search unpacks batches, so it does not run here even if everything is in memory.
        Spec::MaxTimestamp => Ok(searches.run(move || partition.reader.max_timestamp(upper)).await?.into()),
        Spec::At(timestamp) => {
            Ok(searches.run(move || partition.reader.find_timestamp(timestamp, upper)).await?.into())
        }
    }
}

/// A leader whose high watermark is below its own first offset does not know yet what is committed (KIP-207).
fn knows_its_end_late(view: &PartitionView) -> bool {
    let replica = &view.replica;
    let current = replica.epochs.entries().last().filter(|entry| entry.epoch == replica.leader_epoch);
    current.is_some_and(|entry| replica.high_watermark < entry.start)
}

/// The epoch that wrote the record at `offset`.
fn epoch_at(view: &PartitionView, offset: Offset) -> LeaderEpoch {
    let entries = view.replica.epochs.entries();
    let after = entries.partition_point(|entry| entry.start <= offset);
    after.checked_sub(1).map_or(LeaderEpoch::NONE, |at| entries[at].epoch)
}

fn answer(index: i32, found: Result<Found, ListError>) -> ListOffsetsPartitionResponse {
    let mut answer = ListOffsetsPartitionResponse { partition_index: index, ..Default::default() };
    match found {
        Ok(found) => {
            answer.timestamp = found.timestamp.0;
            answer.offset = found.offset.0;
            answer.leader_epoch = found.epoch.0;
        }
        Err(error) => {
            if let ListError::Storage(error) = &error {
                tracing::error!(partition = index, %error, "a log cannot be searched");
            }
            answer.error_code = ErrorCode::from(error).code();
        }
    }
    answer
}

#[derive(Debug, thiserror::Error)]
enum ListError {
    #[error("the client may not describe the topic")]
    NotAuthorized,
    #[error(transparent)]
    Partition(#[from] PartitionError),
    #[error("the request names the partition more than once")]
    Repeated,
    #[error("this version of the request cannot ask for it")]
    NotInVersion,
    #[error("the new leader does not know yet what is committed")]
    NotAvailable,
    #[error("the new leader does not know yet what is committed")]
    LeaderNotAvailable,
    #[error(transparent)]
    Storage(#[from] ReadError),
}

impl From<ListError> for ErrorCode {
    fn from(error: ListError) -> ErrorCode {
        match error {
            ListError::NotAuthorized => ErrorCode::TopicAuthorizationFailed,
            ListError::Partition(error) => error.into(),
            ListError::Repeated => ErrorCode::InvalidRequest,
            ListError::NotInVersion => ErrorCode::UnsupportedVersion,
            ListError::NotAvailable => ErrorCode::OffsetNotAvailable,
            ListError::LeaderNotAvailable => ErrorCode::LeaderNotAvailable,
            ListError::Storage(error) => unreadable(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magic_timestamps_have_their_versions() {
        let cases = [
            (-1, 1, Some(Spec::Latest)),
            (-2, 1, Some(Spec::Earliest)),
            (-3, 6, None),
            (-3, 7, Some(Spec::MaxTimestamp)),
            (-4, 7, None),
            (-4, 8, Some(Spec::EarliestLocal)),
            (-5, 9, Some(Spec::LatestTiered)),
            (-6, 10, None),
            (-6, 11, Some(Spec::EarliestPendingUpload)),
            (1_700_000_000_000, 1, Some(Spec::At(Timestamp(1_700_000_000_000)))),
        ];
        for (timestamp, version, spec) in cases {
            assert_eq!(Spec::of(timestamp, version).ok(), spec, "{timestamp} in version {version}");
        }
    }
}
