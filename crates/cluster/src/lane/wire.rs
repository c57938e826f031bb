//! A lane's requests and answers as Kafka's Fetch (version 17 and later).

use std::time::Duration;

use bytes::Bytes;
use ottla_replica::FetchRequest as Want;
use ottla_wire::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic, ReplicaState};
use ottla_wire::messages::fetch_response::PartitionData;
use ottla_wire::messages::{FetchRequest, FetchResponse};
use ottla_wire::primitives::Records;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerEpoch, BrokerId, LeaderEpoch, Offset, PartitionIndex, TopicId, Uuid};

use super::message::{LaneAnswer, LaneRequest, PartitionAnswer, PartitionOutcome};
use crate::id::PartitionId;

/// What every request of a follower says.
#[derive(Clone, Copy, Debug)]
pub struct FetchTerms {
    pub broker: BrokerId,
    /// Of this incarnation (KIP-903).
    pub epoch: BrokerEpoch,
    /// Where its replicas are (KIP-853).
    pub directory: Uuid,
    /// `replica.fetch.wait.max.ms`.
    pub wait: Duration,
    /// `replica.fetch.min.bytes`.
    pub min_bytes: i32,
    /// `replica.fetch.response.max.bytes`.
    pub max_bytes: i32,
    /// `replica.fetch.max.bytes`, of one partition.
    pub partition_max_bytes: i32,
}

/// What no leader should have sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("the leader's answer has error code {0}, which is not known")]
    Code(i16),
    #[error("the records of partition {0} are not in the answer")]
    Records(PartitionId),
}

/// A request as it is sent.
pub fn write_request(request: &LaneRequest, terms: &FetchTerms) -> FetchRequest {
    let partitions = request.wanted.iter().map(|(id, want)| (id.topic, write_partition(*id, want, terms)));
    let forgotten = request.forgotten.iter().map(|id| (id.topic, id.index.0));
    FetchRequest {
        replica_state: ReplicaState { replica_id: terms.broker.0, replica_epoch: terms.epoch.0 },
        max_wait_ms: i32::try_from(terms.wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: terms.min_bytes,
        max_bytes: terms.max_bytes,
        session_id: request.session_id,
        session_epoch: request.session_epoch,
        topics: by_topic(partitions)
            .map(|(topic_id, partitions)| FetchTopic { topic_id, partitions, ..FetchTopic::default() })
            .collect(),
        forgotten_topics_data: by_topic(forgotten)
            .map(|(topic_id, partitions)| ForgottenTopic {
                topic_id,
                partitions,
                ..ForgottenTopic::default()
            })
            .collect(),
        ..FetchRequest::default()
    }
}

fn write_partition(id: PartitionId, want: &Want, terms: &FetchTerms) -> FetchPartition {
    FetchPartition {
        partition: id.index.0,
        current_leader_epoch: want.epoch.0,
        fetch_offset: want.offset.0,
        last_fetched_epoch: want.last_fetched_epoch.unwrap_or(LeaderEpoch::NONE).0,
        log_start_offset: want.log_start.0,
        partition_max_bytes: terms.partition_max_bytes,
        replica_directory_id: terms.directory,
        ..FetchPartition::default()
    }
}

/// Puts together what follows each other of one topic. The ids of a request come in order.
fn by_topic<T>(items: impl Iterator<Item = (TopicId, T)>) -> impl Iterator<Item = (TopicId, Vec<T>)> {
    let mut topics: Vec<(TopicId, Vec<T>)> = Vec::new();
    for (topic, item) in items {
        match topics.last_mut() {
            Some((last, items)) if *last == topic => items.push(item),
            _ => topics.push((topic, vec![item])),
        }
    }
    topics.into_iter()
}

/// An answer as it came. Nothing is copied.
pub fn read_answer(response: FetchResponse) -> Result<LaneAnswer, Unreadable> {
    let outcome = match code(response.error_code)? {
        ErrorCode::None => Ok(response.session_id),
        code => Err(code),
    };
    let topics = response.responses.into_iter();
    let partitions = topics.flat_map(|topic| {
        let id = move |data: &PartitionData| PartitionId {
            topic: topic.topic_id,
            index: PartitionIndex(data.partition_index),
        };
        topic.partitions.into_iter().map(move |data| (id(&data), data))
    });
    let partitions = partitions.map(|(partition, data)| {
        Ok(PartitionAnswer { partition, outcome: read_partition(partition, data)? })
    });
    Ok(LaneAnswer { outcome, partitions: partitions.collect::<Result<_, _>>()? })
}

fn read_partition(partition: PartitionId, data: PartitionData) -> Result<PartitionOutcome, Unreadable> {
    let diverging = &data.diverging_epoch;
    match code(data.error_code)? {
        ErrorCode::None if diverging.epoch >= 0 => Ok(PartitionOutcome::Diverged {
            epoch: LeaderEpoch(diverging.epoch),
            end: Offset(diverging.end_offset),
        }),
        ErrorCode::None => {
            let records = match data.records {
                None => Bytes::new(),
                Some(Records::Bytes(bytes)) => bytes,
                Some(Records::Chain(_) | Records::Gap { .. }) => return Err(Unreadable::Records(partition)),
            };
            Ok(PartitionOutcome::Records {
                records,
                high_watermark: Offset(data.high_watermark),
                log_start: Offset(data.log_start_offset),
            })
        }
        code => Ok(PartitionOutcome::Failed(code)),
    }
}

fn code(code: i16) -> Result<ErrorCode, Unreadable> {
    ErrorCode::from_code(code).ok_or(Unreadable::Code(code))
}

#[cfg(test)]
mod tests {
    use ottla_wire::messages::fetch_response::{EpochEndOffset, FetchableTopicResponse};

    use super::super::message::RequestNumber;
    use super::*;

    const TERMS: FetchTerms = FetchTerms {
        broker: BrokerId(2),
        epoch: BrokerEpoch(77),
        directory: Uuid([5; 16]),
        wait: Duration::from_millis(500),
        min_bytes: 1,
        max_bytes: 10 << 20,
        partition_max_bytes: 1 << 20,
    };

    fn id(topic: u8, index: i32) -> PartitionId {
        PartitionId { topic: Uuid([topic; 16]), index: PartitionIndex(index) }
    }

    fn want(offset: i64) -> Want {
        Want {
            leader: BrokerId(1),
            epoch: LeaderEpoch(4),
            offset: Offset(offset),
            last_fetched_epoch: (offset > 0).then_some(LeaderEpoch(3)),
            log_start: Offset(0),
            after_pause: false,
        }
    }

    #[test]
    fn a_request_names_each_topic_once() {
        let request = LaneRequest {
            number: RequestNumber(1),
            session_id: 9,
            session_epoch: 3,
            wanted: vec![(id(1, 0), want(0)), (id(1, 2), want(8)), (id(2, 0), want(1))],
            forgotten: vec![id(1, 1), id(3, 0), id(3, 4)],
        };
        let wire = write_request(&request, &TERMS);
        assert_eq!((wire.replica_state.replica_id, wire.replica_state.replica_epoch), (2, 77));
        assert_eq!((wire.session_id, wire.session_epoch, wire.max_wait_ms), (9, 3, 500));
        let named: Vec<Vec<_>> = wire.topics.iter().map(|topic| offsets(&topic.partitions)).collect();
        assert_eq!(named, [vec![(0, 0, -1), (2, 8, 3)], vec![(0, 1, 3)]]);
        let forgotten: Vec<_> = wire.forgotten_topics_data.iter().map(|topic| &topic.partitions).collect();
        assert_eq!(forgotten, [&vec![1], &vec![0, 4]]);
    }

    fn offsets(partitions: &[FetchPartition]) -> Vec<(i32, i64, i32)> {
        partitions.iter().map(|one| (one.partition, one.fetch_offset, one.last_fetched_epoch)).collect()
    }

    #[test]
    fn an_answer_is_read_as_it_is_meant() {
        let records = Bytes::from_static(b"batches");
        let run = PartitionData {
            partition_index: 0,
            high_watermark: 5,
            log_start_offset: 2,
            records: Some(records.clone().into()),
            ..PartitionData::default()
        };
        let none = PartitionData { partition_index: 1, records: None, ..run.clone() };
        let diverged = PartitionData {
            partition_index: 2,
            diverging_epoch: EpochEndOffset { epoch: 3, end_offset: 4 },
            ..PartitionData::default()
        };
        let fenced = PartitionData { partition_index: 3, error_code: 74, ..PartitionData::default() };
        let response = FetchResponse {
            session_id: 9,
            responses: vec![FetchableTopicResponse {
                topic_id: Uuid([1; 16]),
                partitions: vec![run, none, diverged, fenced],
                ..FetchableTopicResponse::default()
            }],
            ..FetchResponse::default()
        };
        let answer = read_answer(response).unwrap();
        let (high_watermark, log_start) = (Offset(5), Offset(2));
        assert_eq!(answer.outcome, Ok(9));
        let outcomes: Vec<_> =
            answer.partitions.into_iter().map(|one| (one.partition, one.outcome)).collect();
        let expected = [
            PartitionOutcome::Records { records, high_watermark, log_start },
            PartitionOutcome::Records { records: Bytes::new(), high_watermark, log_start },
            PartitionOutcome::Diverged { epoch: LeaderEpoch(3), end: Offset(4) },
            PartitionOutcome::Failed(ErrorCode::FencedLeaderEpoch),
        ];
        assert_eq!(outcomes, (0..).map(|index| id(1, index)).zip(expected).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        let response = FetchResponse { error_code: 9_999, ..FetchResponse::default() };
        assert_eq!(read_answer(response).unwrap_err(), Unreadable::Code(9_999));
    }
}
