//! AlterPartition (key 56): a leader asks for another ISR (KIP-497), naming the epochs of its members
//! (KIP-903).

use std::collections::BTreeSet;

use ottla_wire::messages::alter_partition_request::PartitionData as AskedPartition;
use ottla_wire::messages::alter_partition_response::{PartitionData, TopicData};
use ottla_wire::messages::{AlterPartitionRequest, AlterPartitionResponse, MetadataRecord};
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerEpoch, BrokerId, LeaderEpoch, PartitionEpoch, PartitionIndex, TopicId};

use super::broker_heartbeat::check_epoch;
use super::change::Change;
use super::{Call, Controller, Outcome};
use crate::image::{Image, LeaderRecovery, Partition, changed_partition, numbers};
use ottla_settings::TopicConfig;

impl Controller {
    pub fn alter_partition(
        &mut self,
        call: &mut Call<'_>,
        request: &AlterPartitionRequest,
    ) -> Outcome<AlterPartitionResponse> {
        if let Err(failure) = check_epoch(call.image, request.broker_id, request.broker_epoch) {
            return Outcome::only(AlterPartitionResponse {
                error_code: failure.code.code(),
                ..Default::default()
            });
        }
        let mut records = Vec::new();
        let mut seen = BTreeSet::new();
        let mut response = AlterPartitionResponse::default();
        for topic in &request.topics {
            let mut config = None;
            let partitions = topic.partitions.iter().map(|asked| {
                // All are decided on one image, so a second change of a partition would not know of the
                // first.
                let result = if seen.insert((topic.topic_id, asked.partition_index)) {
                    alter(call, BrokerId(request.broker_id), topic.topic_id, asked, &mut config, &mut records)
                } else {
                    Err(ErrorCode::InvalidRequest)
                };
                result.unwrap_or_else(|code| PartitionData {
                    partition_index: asked.partition_index,
                    error_code: code.code(),
                    ..PartitionData::default()
                })
            });
            let partitions = partitions.collect();
            response.topics.push(TopicData { topic_id: topic.topic_id, partitions });
        }
        Outcome::cut(records, response)
    }
}

/// Decides on one partition; the record, if one is needed, goes to `records`, and the topic's settings, once
/// worked out, to `config`.
fn alter(
    call: &Call<'_>,
    leader: BrokerId,
    topic: TopicId,
    asked: &AskedPartition,
    config: &mut Option<TopicConfig>,
    records: &mut Vec<MetadataRecord>,
) -> Result<PartitionData, ErrorCode> {
    let topic = call.image.topic_by_id(topic).ok_or(ErrorCode::UnknownTopicId)?;
    let index = PartitionIndex(asked.partition_index);
    let partition = topic.partition(index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let isr = check(call.image, leader, partition, asked)?;
    let recovery = check_recovery(partition, asked, &isr)?;
    let config = config.get_or_insert_with(|| TopicConfig::effective(call.image, call.settings, &topic.name));
    let may_lead = |broker| call.image.is_active(broker);
    let change =
        Change::new(call.image, topic, index, partition, config, &may_lead).isr(isr).recovery(recovery);
    let Some(record) = change.record() else { return Ok(described(index, partition)) };
    let MetadataRecord::PartitionChange(change) = &record else {
        unreachable!("a change of a partition is a PartitionChangeRecord")
    };
    let next = changed_partition(partition, change).map_err(|_| ErrorCode::UnknownServerError)?;
    records.push(record);
    if next.leader != Some(leader) {
        // The ISR completed a reassignment that takes the leader away: it is no longer the one to be told of
        // the ISR.
        return Err(ErrorCode::NewLeaderElected);
    }
    Ok(described(index, &next))
}

/// The ISR that is asked for, if it may be asked for.
fn check(
    image: &Image,
    leader: BrokerId,
    partition: &Partition,
    asked: &AskedPartition,
) -> Result<Vec<BrokerId>, ErrorCode> {
    let (leader_epoch, partition_epoch) =
        (LeaderEpoch(asked.leader_epoch), PartitionEpoch(asked.partition_epoch));
    // The leader knows of something that this controller does not: it is no longer in charge.
    if leader_epoch > partition.leader_epoch || partition_epoch > partition.partition_epoch {
        return Err(ErrorCode::NotController);
    }
    if leader_epoch < partition.leader_epoch {
        return Err(ErrorCode::FencedLeaderEpoch);
    }
    if partition.leader != Some(leader) {
        return Err(ErrorCode::InvalidRequest);
    }
    if partition_epoch < partition.partition_epoch {
        return Err(ErrorCode::InvalidUpdateVersion);
    }
    let isr = asked_isr(asked);
    let unknown = isr.iter().any(|(broker, _)| !partition.is_replica(*broker));
    let repeated = (1..isr.len()).any(|at| isr[..at].iter().any(|(broker, _)| *broker == isr[at].0));
    if unknown || repeated || !isr.iter().any(|(broker, _)| *broker == leader) {
        return Err(ErrorCode::InvalidRequest);
    }
    if !isr.iter().all(|(broker, epoch)| is_eligible(image, *broker, *epoch)) {
        return Err(ErrorCode::IneligibleReplica);
    }
    Ok(isr.into_iter().map(|(broker, _)| broker).collect())
}

/// Members and their epochs; versions before 3 do not say the epochs.
fn asked_isr(asked: &AskedPartition) -> Vec<(BrokerId, Option<BrokerEpoch>)> {
    if asked.new_isr_with_epochs.is_empty() {
        return asked.new_isr.iter().map(|id| (BrokerId(*id), None)).collect();
    }
    let epoch = |epoch: i64| (epoch >= 0).then_some(BrokerEpoch(epoch));
    asked.new_isr_with_epochs.iter().map(|one| (BrokerId(one.broker_id), epoch(one.broker_epoch))).collect()
}

/// A broker that is fenced, shutting down or started anew since it fetched may not join (KIP-841, KIP-903).
fn is_eligible(image: &Image, broker: BrokerId, epoch: Option<BrokerEpoch>) -> bool {
    image.broker(broker).is_some_and(|one| one.is_active() && epoch.is_none_or(|epoch| epoch == one.epoch))
}

fn check_recovery(
    partition: &Partition,
    asked: &AskedPartition,
    isr: &[BrokerId],
) -> Result<LeaderRecovery, ErrorCode> {
    let recovery = LeaderRecovery::from_code(asked.leader_recovery_state).ok_or(ErrorCode::InvalidRequest)?;
    let recovering = recovery == LeaderRecovery::Recovering;
    if recovering && (isr.len() > 1 || partition.recovery == LeaderRecovery::Recovered) {
        return Err(ErrorCode::InvalidRequest);
    }
    Ok(recovery)
}

fn described(index: PartitionIndex, partition: &Partition) -> PartitionData {
    PartitionData {
        partition_index: index.0,
        error_code: ErrorCode::None.code(),
        leader_id: partition.leader_id().0,
        leader_epoch: partition.leader_epoch.0,
        isr: numbers(&partition.isr),
        leader_recovery_state: partition.recovery.code(),
        partition_epoch: partition.partition_epoch.0,
    }
}
