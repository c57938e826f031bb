//! Proposals and their outcomes as Kafka's AlterPartition (version 3).

use std::collections::BTreeMap;

use ottla_replica::{IsrProposal, IsrRefusal, ProposedReplica};
use ottla_wire::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};
use ottla_wire::messages::alter_partition_response::PartitionData as AlteredData;
use ottla_wire::messages::{AlterPartitionRequest, AlterPartitionResponse};
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerEpoch, BrokerId, PartitionEpoch, PartitionIndex};

use super::{IsrOutcome, ProposalRequest};
use crate::id::PartitionId;

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Altered {
    Partitions(BTreeMap<PartitionId, IsrOutcome>),
    /// Of the request as a whole.
    Failed(IsrRefusal),
}

/// A request of this incarnation of a broker, as it is sent.
pub fn write_request(
    request: &ProposalRequest,
    broker: BrokerId,
    epoch: BrokerEpoch,
) -> AlterPartitionRequest {
    let mut topics: Vec<TopicData> = Vec::new();
    for (id, proposal) in &request.proposals {
        match topics.last_mut() {
            Some(topic) if topic.topic_id == id.topic => {
                topic.partitions.push(write_partition(*id, proposal))
            }
            _ => {
                topics
                    .push(TopicData { topic_id: id.topic, partitions: vec![write_partition(*id, proposal)] });
            }
        }
    }
    AlterPartitionRequest { broker_id: broker.0, broker_epoch: epoch.0, topics }
}

fn write_partition(id: PartitionId, proposal: &IsrProposal) -> PartitionData {
    let member = |one: &ProposedReplica| BrokerState {
        broker_id: one.broker.0,
        broker_epoch: one.epoch.map_or(-1, |epoch| epoch.0),
    };
    PartitionData {
        partition_index: id.index.0,
        leader_epoch: proposal.epoch.0,
        new_isr_with_epochs: proposal.isr.iter().map(member).collect(),
        leader_recovery_state: 0,
        partition_epoch: proposal.partition_epoch.0,
        ..PartitionData::default()
    }
}

/// What the controller says, as the leaders understand it.
pub fn read_answer(response: &AlterPartitionResponse) -> Altered {
    if let Some(refusal) = refusal(response.error_code) {
        return Altered::Failed(refusal);
    }
    let topics = response.topics.iter();
    let partitions = topics.flat_map(|topic| topic.partitions.iter().map(|one| (topic.topic_id, one)));
    let outcome = |(topic, one): (_, &AlteredData)| {
        let id = PartitionId { topic, index: PartitionIndex(one.partition_index) };
        (id, read_partition(one))
    };
    Altered::Partitions(partitions.map(outcome).collect())
}

fn read_partition(one: &AlteredData) -> IsrOutcome {
    match refusal(one.error_code) {
        None => {
            let isr = one.isr.iter().map(|id| BrokerId(*id)).collect();
            Ok((isr, PartitionEpoch(one.partition_epoch)))
        }
        Some(refusal) => Err(refusal),
    }
}

fn refusal(code: i16) -> Option<IsrRefusal> {
    match ErrorCode::from_code(code) {
        Some(ErrorCode::None) => None,
        Some(
            ErrorCode::FencedLeaderEpoch
            | ErrorCode::InvalidUpdateVersion
            | ErrorCode::NewLeaderElected
            | ErrorCode::UnknownTopicId
            | ErrorCode::UnknownTopicOrPartition,
        ) => Some(IsrRefusal::Stale),
        Some(ErrorCode::IneligibleReplica | ErrorCode::InvalidRequest | ErrorCode::OperationNotAttempted) => {
            Some(IsrRefusal::Refused)
        }
        // Whatever else it is, nobody can be sure that nothing was changed.
        Some(_) | None => Some(IsrRefusal::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use ottla_wire::messages::alter_partition_response::TopicData as AlteredTopic;
    use ottla_wire::{LeaderEpoch, Uuid};

    use super::super::ProposalNumber;
    use super::*;

    fn id(topic: u8, index: i32) -> PartitionId {
        PartitionId { topic: Uuid([topic; 16]), index: PartitionIndex(index) }
    }

    #[test]
    fn members_go_with_the_incarnation_that_was_seen() {
        let member = |broker, epoch| ProposedReplica { broker: BrokerId(broker), epoch };
        let isr = vec![member(1, None), member(2, Some(BrokerEpoch(9)))];
        let proposal = IsrProposal { epoch: LeaderEpoch(3), partition_epoch: PartitionEpoch(5), isr };
        let proposals =
            vec![(id(1, 0), proposal.clone()), (id(1, 4), proposal.clone()), (id(2, 0), proposal)];
        let request = ProposalRequest { number: ProposalNumber(1), proposals };
        let wire = write_request(&request, BrokerId(1), BrokerEpoch(7));
        assert_eq!((wire.broker_id, wire.broker_epoch), (1, 7));
        let named: Vec<Vec<i32>> = wire
            .topics
            .iter()
            .map(|topic| topic.partitions.iter().map(|one| one.partition_index).collect())
            .collect();
        assert_eq!(named, [vec![0, 4], vec![0]]);
        let members: Vec<_> = wire.topics[0].partitions[0]
            .new_isr_with_epochs
            .iter()
            .map(|one| (one.broker_id, one.broker_epoch))
            .collect();
        assert_eq!(members, [(1, -1), (2, 9)]);
    }

    #[test]
    fn refusals_are_told_apart() {
        let answered = |error_code: ErrorCode| {
            let data = AlteredData {
                error_code: error_code.code(),
                isr: vec![1, 2],
                partition_epoch: 6,
                ..AlteredData::default()
            };
            let topics = vec![AlteredTopic { topic_id: Uuid([1; 16]), partitions: vec![data] }];
            match read_answer(&AlterPartitionResponse { topics, ..AlterPartitionResponse::default() }) {
                Altered::Partitions(mut outcomes) => outcomes.remove(&id(1, 0)).unwrap(),
                Altered::Failed(refusal) => panic!("{refusal:?}"),
            }
        };
        let isr = vec![BrokerId(1), BrokerId(2)];
        for (code, outcome) in [
            (ErrorCode::None, Ok((isr, PartitionEpoch(6)))),
            (ErrorCode::FencedLeaderEpoch, Err(IsrRefusal::Stale)),
            (ErrorCode::NewLeaderElected, Err(IsrRefusal::Stale)),
            (ErrorCode::IneligibleReplica, Err(IsrRefusal::Refused)),
            (ErrorCode::UnknownServerError, Err(IsrRefusal::Unknown)),
        ] {
            assert_eq!(answered(code), outcome, "{code}");
        }
        let error_code = ErrorCode::NotController.code();
        let response = AlterPartitionResponse { error_code, ..AlterPartitionResponse::default() };
        assert_eq!(read_answer(&response), Altered::Failed(IsrRefusal::Unknown));
    }
}
