//! AlterPartitionReassignments (key 45): move replicas, or stop moving them (KIP-455).

use std::collections::BTreeSet;

use ottla_wire::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use ottla_wire::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, MetadataRecord,
};
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerId, PartitionIndex};

use super::change::Change;
use super::{Call, Controller, Failure, Outcome, parts};
use crate::image::{Partition, Topic};
use ottla_settings::TopicConfig;

impl Controller {
    pub fn alter_partition_reassignments(
        &mut self,
        call: &mut Call<'_>,
        request: &AlterPartitionReassignmentsRequest,
    ) -> Outcome<AlterPartitionReassignmentsResponse> {
        let mut records = Vec::new();
        let mut response = AlterPartitionReassignmentsResponse {
            allow_replication_factor_change: request.allow_replication_factor_change,
            ..AlterPartitionReassignmentsResponse::default()
        };
        let mut seen = BTreeSet::new();
        for topic in &request.topics {
            let mut config = None;
            let partitions = topic.partitions.iter().map(|asked| {
                let index = PartitionIndex(asked.partition_index);
                let result = if seen.insert((topic.name.as_str(), index)) {
                    let target = asked.replicas.as_deref();
                    let may_change_factor = request.allow_replication_factor_change;
                    reassign(call, &topic.name, index, target, may_change_factor, &mut config)
                } else {
                    Err(Failure::new(ErrorCode::InvalidRequest, "The partition is named more than once."))
                };
                let (error_code, error_message) = parts(result.map(|record| records.extend(record)));
                ReassignablePartitionResponse { partition_index: index.0, error_code, error_message }
            });
            let partitions = partitions.collect();
            response.responses.push(ReassignableTopicResponse { name: topic.name.clone(), partitions });
        }
        Outcome::cut(records, response)
    }
}

/// Decides on one partition; the topic's settings, once worked out, go to `config`.
fn reassign(
    call: &Call<'_>,
    name: &str,
    index: PartitionIndex,
    target: Option<&[i32]>,
    may_change_factor: bool,
    config: &mut Option<TopicConfig>,
) -> Result<Option<MetadataRecord>, Failure> {
    let unknown = |what: String| Failure::new(ErrorCode::UnknownTopicOrPartition, what);
    let topic =
        call.image.topic(name).ok_or_else(|| unknown(format!("Unable to find a topic named {name}.")))?;
    let partition =
        topic.partition(index).ok_or_else(|| unknown(format!("Unable to find partition {name}:{index}.")))?;
    let config = config.get_or_insert_with(|| TopicConfig::effective(call.image, call.settings, name));
    let may_lead = |broker| call.image.is_active(broker);
    let change = Change::new(call.image, topic, index, partition, config, &may_lead);
    match target {
        None => cancel(call, topic, index, partition, change, config.unclean_leader_election),
        Some(target) => {
            let target: Vec<BrokerId> = target.iter().copied().map(BrokerId).collect();
            check_target(call, partition, &target, may_change_factor)?;
            // Replicas that an earlier reassignment was still adding are not part of what the partition had.
            let had: Vec<BrokerId> = original(partition);
            let adding = target.iter().copied().filter(|broker| !had.contains(broker)).collect();
            let removing: Vec<BrokerId> =
                partition.replicas.iter().copied().filter(|broker| !target.contains(broker)).collect();
            // Those that leave keep serving until those that come are in sync.
            let replicas = target.iter().chain(&removing).copied().collect();
            Ok(change.assignment(replicas, adding, removing).record())
        }
    }
}

/// Back to the replicas there were.
fn cancel(
    call: &Call<'_>,
    topic: &Topic,
    index: PartitionIndex,
    partition: &Partition,
    change: Change<'_>,
    unclean: bool,
) -> Result<Option<MetadataRecord>, Failure> {
    if !partition.is_reassigning() {
        let why = "No partition reassignment is in progress.";
        return Err(Failure::new(ErrorCode::NoReassignmentInProgress, why));
    }
    let replicas = original(partition);
    let isr: Vec<BrokerId> =
        partition.isr.iter().copied().filter(|broker| replicas.contains(broker)).collect();
    // With nobody left in sync, one that is eligible or (where that is allowed) alive must be there to lead.
    let eligible = partition.elr.iter().any(|broker| replicas.contains(broker));
    let online = |broker: &BrokerId| {
        call.image.is_active(*broker) && call.image.has_online_replica(partition, *broker)
    };
    let electable = unclean && replicas.iter().any(online);
    if isr.is_empty() && !eligible && !electable {
        let why = format!(
            "Unable to revert partition assignment for {}:{index} because it would require an unclean leader election.",
            topic.name
        );
        return Err(Failure::new(ErrorCode::InvalidReplicaAssignment, why));
    }
    Ok(change.isr(isr).assignment(replicas, Vec::new(), Vec::new()).record())
}

fn original(partition: &Partition) -> Vec<BrokerId> {
    partition.replicas.iter().copied().filter(|broker| !partition.adding.contains(broker)).collect()
}

fn check_target(
    call: &Call<'_>,
    partition: &Partition,
    target: &[BrokerId],
    may_change_factor: bool,
) -> Result<(), Failure> {
    let refuse = |why: String| Err(Failure::new(ErrorCode::InvalidReplicaAssignment, why));
    if target.is_empty() {
        return refuse("The manual partition assignment includes an empty replica list.".to_owned());
    }
    if target.iter().collect::<BTreeSet<_>>().len() != target.len() {
        return refuse("The manual partition assignment includes the same broker twice.".to_owned());
    }
    if let Some(broker) = target.iter().find(|broker| call.image.broker(**broker).is_none()) {
        return refuse(format!(
            "The manual partition assignment includes broker {broker}, but no such broker is registered."
        ));
    }
    let factor = original(partition).len();
    if !may_change_factor && target.len() != factor {
        let why = format!("The replication factor is changed from {factor} to {}", target.len());
        return Err(Failure::new(ErrorCode::InvalidReplicationFactor, why));
    }
    Ok(())
}
