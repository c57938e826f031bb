//! ElectLeaders (key 43): preferred elections, and unclean ones by hand (KIP-460).

use std::collections::BTreeSet;

use ottla_wire::PartitionIndex;
use ottla_wire::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use ottla_wire::messages::{ElectLeadersRequest, ElectLeadersResponse, MetadataRecord};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::change::{Change, Election};
use super::{Call, Controller, Failure, Outcome, parts};
use crate::image::Partition;
use ottla_settings::TopicConfig;

impl Controller {
    /// No list means every partition; those that need no election are left out of the answer then. A
    /// partition is elected once, however often it is named: further mentions are refused.
    pub fn elect_leaders(
        &mut self,
        call: &mut Call<'_>,
        request: &ElectLeadersRequest,
    ) -> Outcome<ElectLeadersResponse> {
        let election = match request.election_type {
            0 => Election::Preferred,
            1 => Election::Unclean,
            _ => {
                let error_code = ErrorCode::InvalidRequest.code();
                return Outcome::only(ElectLeadersResponse { error_code, ..Default::default() });
            }
        };
        let asked: Vec<(Str, Vec<i32>)> = match &request.topic_partitions {
            Some(topics) => topics.iter().map(|one| (one.topic.clone(), one.partitions.clone())).collect(),
            None => {
                let indexes =
                    |topic: &crate::image::Topic| topic.partitions.keys().map(|index| index.0).collect();
                call.image.topics().map(|topic| (topic.name.clone(), indexes(topic))).collect()
            }
        };
        let all = request.topic_partitions.is_none();
        let mut seen = BTreeSet::new();
        let mut records = Vec::new();
        let mut response = ElectLeadersResponse::default();
        for (topic, partitions) in asked {
            let mut config = None;
            let results = partitions.into_iter().filter_map(|partition_id| {
                let result = if seen.insert((topic.clone(), partition_id)) {
                    elect(call, &topic, PartitionIndex(partition_id), election, &mut config)
                } else {
                    Err(Failure::new(ErrorCode::InvalidRequest, "The partition is named more than once."))
                };
                let needless = |failure: &Failure| failure.code == ErrorCode::ElectionNotNeeded;
                if all && result.as_ref().is_err_and(needless) {
                    return None;
                }
                let (error_code, error_message) = parts(result.map(|record| records.push(record)));
                Some(PartitionResult { partition_id, error_code, error_message })
            });
            let partition_result: Vec<PartitionResult> = results.collect();
            if !(all && partition_result.is_empty()) {
                response.replica_election_results.push(ReplicaElectionResult { topic, partition_result });
            }
        }
        Outcome::cut(records, response)
    }
}

/// Elects one partition; the topic's settings, once worked out, go to `config`.
fn elect(
    call: &Call<'_>,
    topic: &str,
    index: PartitionIndex,
    election: Election,
    config: &mut Option<TopicConfig>,
) -> Result<MetadataRecord, Failure> {
    let unknown = |what: String| Failure::new(ErrorCode::UnknownTopicOrPartition, what);
    let found = call.image.topic(topic).ok_or_else(|| unknown(format!("No such topic as {topic}")))?;
    let partition =
        found.partition(index).ok_or_else(|| unknown(format!("No such partition as {topic}-{index}")))?;
    if !is_needed(partition, election) {
        return Err(Failure::new(
            ErrorCode::ElectionNotNeeded,
            "The partition has the leader that is asked for.",
        ));
    }
    let config = config.get_or_insert_with(|| TopicConfig::effective(call.image, call.settings, topic));
    let may_lead = |broker| call.image.is_active(broker);
    let record =
        Change::new(call.image, found, index, partition, config, &may_lead).election(election).record();
    record.filter(elects).ok_or_else(|| match election {
        Election::Preferred => {
            Failure::new(ErrorCode::PreferredLeaderNotAvailable, "The preferred leader was not available.")
        }
        Election::Online | Election::Unclean => {
            Failure::new(ErrorCode::EligibleLeadersNotAvailable, "No replica of the partition is alive.")
        }
    })
}

fn is_needed(partition: &Partition, election: Election) -> bool {
    match election {
        Election::Preferred => partition.leader != partition.preferred_leader(),
        Election::Online | Election::Unclean => partition.leader.is_none(),
    }
}

pub(super) fn elects(record: &MetadataRecord) -> bool {
    matches!(record, MetadataRecord::PartitionChange(change) if change.leader >= 0)
}
