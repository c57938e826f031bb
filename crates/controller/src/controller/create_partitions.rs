//! CreatePartitions (key 37): more partitions for a topic. The count is the new total.

use std::collections::BTreeMap;

use ottla_wire::BrokerId;
use ottla_wire::messages::create_partitions_request::CreatePartitionsTopic;
use ottla_wire::messages::create_partitions_response::CreatePartitionsTopicResult;
use ottla_wire::messages::{CreatePartitionsRequest, CreatePartitionsResponse, MetadataRecord};
use ottla_wire::protocol::ErrorCode;

use super::create_topics::{check_assignment, limit, new_partition};
use super::placement::Placer;
use super::{Call, Controller, Cuts, Failure, Outcome, parts};
use crate::image::Topic;

impl Controller {
    pub fn create_partitions(
        &mut self,
        call: &mut Call<'_>,
        request: &CreatePartitionsRequest,
    ) -> Outcome<CreatePartitionsResponse> {
        let mut mentions: BTreeMap<&str, usize> = BTreeMap::new();
        for topic in &request.topics {
            *mentions.entry(&topic.name).or_default() += 1;
        }
        let (mut records, mut starts) = (Vec::new(), Vec::new());
        let mut response = CreatePartitionsResponse::default();
        let mut present = call.image.partition_count();
        for asked in &request.topics {
            let result = match mentions.get_mut(asked.name.as_str()) {
                // Told once for all mentions.
                Some(0) => continue,
                Some(count) if *count > 1 => {
                    *count = 0;
                    Err(Failure::new(ErrorCode::InvalidRequest, "Duplicate topic name."))
                }
                _ => more_partitions(call, asked, present).map(|new| {
                    present += new.len();
                    starts.push(records.len());
                    records.extend(new);
                }),
            };
            let (error_code, error_message) = parts(result);
            let name = asked.name.clone();
            response.results.push(CreatePartitionsTopicResult { name, error_code, error_message });
        }
        if request.validate_only {
            return Outcome::only(response);
        }
        // A topic gets all of its new partitions or none.
        Outcome { records, cuts: Cuts::Before(starts), response }
    }
}

fn more_partitions(
    call: &mut Call<'_>,
    asked: &CreatePartitionsTopic,
    present: usize,
) -> Result<Vec<MetadataRecord>, Failure> {
    let topic = call.image.topic(&asked.name).ok_or_else(|| {
        Failure::new(ErrorCode::UnknownTopicOrPartition, "This server does not host this topic-partition.")
    })?;
    let new = additional(topic, asked)?;
    limit(call, &topic.name, new, topic.partitions.len().saturating_add(new), present)?;
    let replication_factor = topic.partitions.values().next().map_or(1, |first| first.target_len());
    let first = topic.partition_count();
    let replicas: Vec<Vec<BrokerId>> = match &asked.assignments {
        Some(assignments) => {
            let check = |(index, brokers): (i32, &Vec<i32>)| {
                check_assignment(call.image, index, brokers, Some(replication_factor))
            };
            (first..)
                .zip(assignments.iter().map(|one| &one.broker_ids))
                .map(check)
                .collect::<Result<_, _>>()?
        }
        None => {
            let mut placer = Placer::new(call.image, replication_factor, call.ids.random())?;
            (0..new).map(|_| placer.next()).collect()
        }
    };
    let record = |(index, replicas)| new_partition(call.image, topic.id, index, replicas);
    Ok((first..).zip(replicas).map(record).collect())
}

/// How many partitions are to be added.
fn additional(topic: &Topic, asked: &CreatePartitionsTopic) -> Result<usize, Failure> {
    let count = topic.partition_count();
    let new = match usize::try_from(i64::from(asked.count) - i64::from(count)) {
        Ok(0) => {
            let why = format!("Topic already has {count} partition(s).");
            return Err(Failure::new(ErrorCode::InvalidPartitions, why));
        }
        Ok(new) => new,
        Err(_) => {
            let why = format!(
                "The topic {} currently has {count} partition(s); {} would not be an increase.",
                topic.name, asked.count
            );
            return Err(Failure::new(ErrorCode::InvalidPartitions, why));
        }
    };
    match &asked.assignments {
        Some(assignments) if assignments.len() != new => {
            let why = format!(
                "Attempted to add {new} additional partition(s), but only {} assignment(s) were specified.",
                assignments.len()
            );
            Err(Failure::new(ErrorCode::InvalidReplicaAssignment, why))
        }
        _ => Ok(new),
    }
}
