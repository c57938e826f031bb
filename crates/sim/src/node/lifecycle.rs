//! What a broker tells the controller, and how it understands the answers.

use ottla_replica::{IsrProposal, IsrRefusal, ProposedReplica};
use ottla_wire::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};
use ottla_wire::messages::broker_registration_request::{Feature, Listener};
use ottla_wire::messages::{AlterPartitionRequest, AlterPartitionResponse, BrokerRegistrationRequest};
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerEpoch, BrokerId, PartitionEpoch, TopicId, Uuid};

use super::{CLUSTER, PARTITION};

/// A process announces itself. `previous_epoch` is what it shows of the last one, -1 if that may have lost
/// something.
pub fn registration(me: BrokerId, incarnation: Uuid, previous_epoch: i64) -> BrokerRegistrationRequest {
    let feature = |feature: &ottla_controller::image::Feature| Feature {
        name: feature.name.into(),
        min_supported_version: feature.min,
        max_supported_version: feature.max,
    };
    BrokerRegistrationRequest {
        broker_id: me.0,
        cluster_id: CLUSTER.into(),
        incarnation_id: incarnation,
        listeners: vec![Listener {
            name: "PLAINTEXT".into(),
            host: "sim".into(),
            port: 9092,
            security_protocol: 0,
        }],
        features: ottla_controller::image::Feature::ALL.iter().map(feature).collect(),
        log_dirs: vec![Uuid([me.0 as u8 + 100; 16])],
        previous_broker_epoch: previous_epoch,
        ..BrokerRegistrationRequest::default()
    }
}

/// A leader asks for another ISR.
pub fn alter_partition(
    me: BrokerId,
    epoch: BrokerEpoch,
    topic_id: TopicId,
    proposal: &IsrProposal,
) -> AlterPartitionRequest {
    let member = |one: &ProposedReplica| BrokerState {
        broker_id: one.broker.0,
        broker_epoch: one.epoch.map_or(-1, |epoch| epoch.0),
    };
    let partition = PartitionData {
        partition_index: PARTITION.0,
        leader_epoch: proposal.epoch.0,
        new_isr_with_epochs: proposal.isr.iter().map(member).collect(),
        leader_recovery_state: 0,
        partition_epoch: proposal.partition_epoch.0,
        ..PartitionData::default()
    };
    AlterPartitionRequest {
        broker_id: me.0,
        broker_epoch: epoch.0,
        topics: vec![TopicData { topic_id, partitions: vec![partition] }],
    }
}

/// What the controller says of a proposal, as the core understands it.
pub fn isr_outcome(response: &AlterPartitionResponse) -> Result<(Vec<BrokerId>, PartitionEpoch), IsrRefusal> {
    let code = |code: i16| ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError);
    let refusal = |code| match code {
        ErrorCode::FencedLeaderEpoch
        | ErrorCode::InvalidUpdateVersion
        | ErrorCode::NewLeaderElected
        | ErrorCode::UnknownTopicId
        | ErrorCode::UnknownTopicOrPartition => IsrRefusal::Stale,
        ErrorCode::IneligibleReplica | ErrorCode::InvalidRequest | ErrorCode::OperationNotAttempted => {
            IsrRefusal::Refused
        }
        _ => IsrRefusal::Unknown,
    };
    match code(response.error_code) {
        ErrorCode::None => {}
        other => return Err(refusal(other)),
    }
    let Some(partition) = response.topics.first().and_then(|topic| topic.partitions.first()) else {
        return Err(IsrRefusal::Unknown);
    };
    match code(partition.error_code) {
        ErrorCode::None => {
            let isr = partition.isr.iter().map(|id| BrokerId(*id)).collect();
            Ok((isr, PartitionEpoch(partition.partition_epoch)))
        }
        other => Err(refusal(other)),
    }
}
