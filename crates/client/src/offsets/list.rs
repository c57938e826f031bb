//! Asks brokers for offsets by place or time (ListOffsets), for the consumer and the admin client.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_wire::messages::ListOffsetsRequest;
use ottla_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_wire::messages::list_offsets_response::ListOffsetsPartitionResponse;
use ottla_wire::protocol::ApiKey;
use ottla_wire::{BrokerId, LeaderEpoch, Offset, Timestamp};
use tokio::task::JoinSet;

use crate::cluster::{Cluster, Lane, Metadata, TopicPartition};
use crate::error::{ApiError, Error};
use crate::seam;

/// `isolation.level`: whether records of open and aborted transactions are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsolationLevel {
    ReadUncommitted,
    ReadCommitted,
}

impl IsolationLevel {
    pub(crate) fn on_wire(self) -> i8 {
        match self {
            IsolationLevel::ReadUncommitted => 0,
            IsolationLevel::ReadCommitted => 1,
        }
    }
}

/// Which offset is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// Where the log begins.
    Earliest,
    /// Where the next record will be: the high watermark, or the last stable offset for `read_committed`.
    Latest,
    /// The record with the largest timestamp (KIP-734).
    MaxTimestamp,
    /// The first record with this timestamp or a later one.
    At(Timestamp),
}

impl OffsetSpec {
    fn on_wire(self) -> i64 {
        match self {
            OffsetSpec::Latest => -1,
            OffsetSpec::Earliest => -2,
            OffsetSpec::MaxTimestamp => -3,
            OffsetSpec::At(Timestamp(time)) => time,
        }
    }
}

/// An offset that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedOffset {
    /// None if there is no such record.
    pub offset: Option<Offset>,
    /// Of the record that was found by time; none otherwise.
    pub timestamp: Option<Timestamp>,
    pub leader_epoch: LeaderEpoch,
}

/// What came back for each partition.
pub type Listed = BTreeMap<TopicPartition, Result<ListedOffset, Error>>;

/// Asks the leaders, again for up to `timeout` where trying again may help. Every partition that is asked for
/// is in the answer.
pub(crate) async fn list(
    cluster: &Cluster,
    isolation: IsolationLevel,
    asked: &BTreeMap<TopicPartition, OffsetSpec>,
    timeout: Duration,
) -> Listed {
    let deadline = seam::now() + timeout;
    let mut todo = asked.clone();
    let mut listed = Listed::new();
    for attempt in 1.. {
        for (partition, outcome) in ask_once(cluster, isolation, &todo).await {
            if !matches!(&outcome, Err(error) if error.is_retriable()) {
                todo.remove(&partition);
            }
            listed.insert(partition, outcome);
        }
        let again = seam::now() + cluster.retry_delay(attempt);
        if todo.is_empty() || again >= deadline {
            break;
        }
        cluster.refresh_soon();
        tokio::time::sleep_until(again).await;
    }
    listed
}

/// One question to each leader, all at once. Every partition that is asked for is in the answer.
pub(crate) async fn ask_once(
    cluster: &Cluster,
    isolation: IsolationLevel,
    asked: &BTreeMap<TopicPartition, OffsetSpec>,
) -> Listed {
    // What nobody has asked for yet is not in the metadata; all of it comes with one fetch.
    let new = asked.keys().filter(|partition| !cluster.want(&partition.topic)).count();
    if new > 0
        && let Err(error) = cluster.refresh().await
    {
        return asked.keys().map(|partition| (partition.clone(), Err(error.clone()))).collect();
    }
    let metadata = cluster.metadata();
    let mut listed = Listed::new();
    let mut by_leader: BTreeMap<BrokerId, Vec<(TopicPartition, LeaderEpoch, OffsetSpec)>> = BTreeMap::new();
    for (partition, &spec) in asked {
        match metadata.leader(partition) {
            Some((leader, epoch)) => {
                by_leader.entry(leader).or_default().push((partition.clone(), epoch, spec));
            }
            None => drop(listed.insert(partition.clone(), Err(leaderless(&metadata, partition)))),
        }
    }
    let mut questions = JoinSet::new();
    for (leader, partitions) in by_leader {
        let cluster = cluster.clone();
        questions.spawn(async move { ask_leader(&cluster, leader, isolation, partitions).await });
    }
    while let Some(answered) = questions.join_next().await {
        // A question that panicked has no answer; its partitions are asked again.
        listed.extend(answered.unwrap_or_default());
    }
    listed
}

/// Why a partition has no leader to ask.
fn leaderless(metadata: &Metadata, of: &TopicPartition) -> Error {
    if let Some(&code) = metadata.failed.get(&of.topic) {
        return Error::Api(ApiError { code, message: Some(format!("topic {}", of.topic)) });
    }
    let (topic, partition) = (of.topic.to_string(), of.partition);
    match metadata.topic(&of.topic).map(|topic| topic.partitions.len()) {
        Some(partitions) if metadata.topic(&of.topic).is_some_and(|t| t.partition(partition).is_none()) => {
            Error::NoSuchPartition { topic, partition, partitions }
        }
        _ => Error::NoLeader { topic, partition },
    }
}

async fn ask_leader(
    cluster: &Cluster,
    leader: BrokerId,
    isolation: IsolationLevel,
    partitions: Vec<(TopicPartition, LeaderEpoch, OffsetSpec)>,
) -> Listed {
    let mut request = ListOffsetsRequest {
        replica_id: -1,
        isolation_level: isolation.on_wire(),
        timeout_ms: i32::try_from(cluster.config().request_timeout.as_millis()).unwrap_or(i32::MAX),
        ..ListOffsetsRequest::default()
    };
    for (partition, epoch, spec) in &partitions {
        let ask = ListOffsetsPartition {
            partition_index: partition.partition,
            current_leader_epoch: epoch.0,
            timestamp: spec.on_wire(),
        };
        match request.topics.iter_mut().find(|topic| topic.name == partition.topic) {
            Some(topic) => topic.partitions.push(ask),
            None => {
                request.topics.push(ListOffsetsTopic { name: partition.topic.clone(), partitions: vec![ask] })
            }
        }
    }
    let answer = async { Ok(cluster.connection(leader, Lane::SHARED).await?.call(&request).await?) }.await;
    let mut found = BTreeMap::new();
    if let Ok(response) = &answer {
        for topic in &response.topics {
            for partition in &topic.partitions {
                let of = TopicPartition::new(topic.name.detached(), partition.partition_index);
                found.insert(of, read(partition));
            }
        }
    }
    let missing = || match &answer {
        Err::<_, Error>(error) => error.clone(),
        Ok(_) => {
            let reason = "a partition that was asked for is missing".to_owned();
            Error::malformed(ApiKey::ListOffsets, &format!("broker {leader}"), reason)
        }
    };
    partitions
        .into_iter()
        .map(|(partition, ..)| {
            let outcome = found.remove(&partition).unwrap_or_else(|| Err(missing()));
            (partition, outcome)
        })
        .collect()
}

fn read(answer: &ListOffsetsPartitionResponse) -> Result<ListedOffset, Error> {
    ApiError::check(answer.error_code, None)?;
    Ok(ListedOffset {
        offset: (answer.offset >= 0).then_some(Offset(answer.offset)),
        timestamp: (answer.timestamp >= 0).then_some(Timestamp(answer.timestamp)),
        leader_epoch: LeaderEpoch(answer.leader_epoch),
    })
}
