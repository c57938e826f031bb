//! Fetch requests, one to each broker at a time, and what their answers mean.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_link::Terms;
use ottla_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_wire::messages::fetch_response::PartitionData;
use ottla_wire::messages::{FetchRequest, FetchResponse};
use ottla_wire::primitives::{Records, Str};
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerId, LeaderEpoch, Offset};

use super::fetched::Fetched;
use super::{Consumer, Event, Position, reset_of};
use crate::cluster::{Broker, TopicPartition};
use crate::error::{ApiError, Error};
use crate::seam::{self, Instant};

/// The last version of Fetch that names topics rather than their ids.
const FETCH_BY_NAME_MAX: i16 = 12;
/// How long a poll sleeps at most before it looks at everything again.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What a fetch asked for.
pub(super) struct FetchTarget {
    partition: TopicPartition,
    generation: u64,
    offset: Offset,
}

impl Consumer {
    /// Asks every broker that has no fetch under way for the partitions of its that have nothing fetched.
    /// Gives the time to look again.
    pub(super) fn start_fetches(&mut self) -> Instant {
        let now = seam::now();
        let metadata = self.cluster.metadata();
        let mut look_again = now + LOOK_AGAIN;
        let mut by_broker: BTreeMap<BrokerId, Vec<(FetchTarget, LeaderEpoch)>> = BTreeMap::new();
        let mut leaderless = false;
        for (partition, assigned) in &self.assigned {
            let Position::At { offset } = assigned.position else { continue };
            if assigned.paused || assigned.in_flight || assigned.fetched.is_some() {
                continue;
            }
            if let Some(not_before) = assigned.not_before.filter(|&at| at > now) {
                look_again = look_again.min(not_before);
                continue;
            }
            self.cluster.want(&partition.topic);
            let Some((leader, epoch)) = metadata.leader(partition) else {
                leaderless = true;
                continue;
            };
            let preferred = assigned
                .preferred
                .filter(|(broker, until)| *until > now && metadata.brokers.contains_key(broker));
            let from = preferred.map_or(leader, |(broker, _)| broker);
            let (partition, generation) = (partition.clone(), assigned.generation);
            by_broker.entry(from).or_default().push((FetchTarget { partition, generation, offset }, epoch));
        }
        if leaderless {
            self.cluster.refresh_soon();
            look_again = look_again.min(now + self.cluster.config().retry_backoff);
        }
        for (broker, asked) in by_broker {
            match self.unreachable.get(&broker) {
                Some(&(_, until)) if until > now => look_again = look_again.min(until),
                _ if self.fetching.contains(&broker) => {}
                _ => self.fetch(broker, asked),
            }
        }
        look_again
    }

    fn fetch(&mut self, broker: BrokerId, asked: Vec<(FetchTarget, LeaderEpoch)>) {
        let (request, version_max) = self.request(&asked);
        let asked: Vec<FetchTarget> = asked.into_iter().map(|(asked, _)| asked).collect();
        for one in &asked {
            if let Some(assigned) = self.assigned.get_mut(&one.partition) {
                assigned.in_flight = true;
            }
        }
        self.fetching.insert(broker);
        let (cluster, lane, events) = (self.cluster.clone(), self.lane, self.sender.clone());
        tokio::spawn(async move {
            let answer = async {
                Ok(cluster
                    .connection(broker, lane)
                    .await?
                    .call_on(&request, Terms::up_to(version_max))
                    .await?)
            };
            let answer = answer.await;
            // Refused only when the consumer is gone.
            let _ = events.send(Event::Fetched { broker, asked, answer }).await;
        });
    }

    fn request(&self, asked: &[(FetchTarget, LeaderEpoch)]) -> (FetchRequest, i16) {
        let metadata = self.cluster.metadata();
        let mut version_max = i16::MAX;
        let mut request = FetchRequest {
            max_wait_ms: i32::try_from(self.config.fetch_max_wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: self.config.fetch_min_bytes,
            max_bytes: self.config.fetch_max_bytes,
            isolation_level: self.config.isolation_level.on_wire(),
            rack_id: Str::from(self.config.client_rack.as_str()),
            ..FetchRequest::default()
        };
        for (asked, epoch) in asked {
            let partition = FetchPartition {
                partition: asked.partition.partition,
                current_leader_epoch: epoch.0,
                fetch_offset: asked.offset.0,
                partition_max_bytes: self.config.max_partition_fetch_bytes,
                ..FetchPartition::default()
            };
            let name = &asked.partition.topic;
            match request.topics.iter_mut().find(|topic| topic.topic == *name) {
                Some(topic) => topic.partitions.push(partition),
                None => {
                    let topic_id = metadata.topic(name).map(|topic| topic.id).unwrap_or_default();
                    if topic_id.is_zero() {
                        version_max = FETCH_BY_NAME_MAX;
                    }
                    let topic = name.clone();
                    request.topics.push(FetchTopic { topic, topic_id, partitions: vec![partition] });
                }
            }
        }
        (request, version_max)
    }

    pub(super) fn fetched(
        &mut self,
        broker: BrokerId,
        asked: Vec<FetchTarget>,
        answer: Result<FetchResponse, Error>,
    ) {
        self.fetching.remove(&broker);
        let answer = answer.and_then(|response| {
            ApiError::check(response.error_code, None)?;
            Ok(response)
        });
        let mut found = BTreeMap::new();
        let mut endpoints = BTreeMap::new();
        match answer {
            Ok(response) => {
                self.unreachable.remove(&broker);
                let metadata = self.cluster.metadata();
                endpoints = response.node_endpoints.iter().map(read_endpoint).collect();
                for topic in response.responses {
                    // By name up to version 12, by id from 13 on.
                    let name = if topic.topic.is_empty() {
                        metadata.topic_name(topic.topic_id)
                    } else {
                        Some(&topic.topic)
                    };
                    let Some(name) = name else { continue };
                    for data in topic.partitions {
                        found.insert(TopicPartition::new(name.detached(), data.partition_index), data);
                    }
                }
            }
            Err(error) => self.unanswered(broker, error),
        }
        for one in asked {
            let Some(assigned) = self.assigned.get_mut(&one.partition) else { continue };
            assigned.in_flight = false;
            // The answer to a position that has been left.
            if assigned.generation != one.generation {
                continue;
            }
            if let Some(data) = found.remove(&one.partition) {
                self.read_partition(one, data, &endpoints);
            }
        }
    }

    fn unanswered(&mut self, broker: BrokerId, error: Error) {
        let failures = self.unreachable.get(&broker).map_or(1, |(failures, _)| failures + 1);
        let until = seam::now() + self.cluster.retry_delay(failures);
        self.unreachable.insert(broker, (failures, until));
        self.cluster.refresh_soon();
        if !error.is_retriable() {
            self.errors.push_back(error);
        }
    }

    fn read_partition(
        &mut self,
        asked: FetchTarget,
        data: PartitionData,
        endpoints: &BTreeMap<BrokerId, Broker>,
    ) {
        let reading = self.reading();
        let preferred_until = seam::now() + self.cluster.config().metadata_max_age;
        let Some(assigned) = self.assigned.get_mut(&asked.partition) else { return };
        if let Err(error) = ApiError::check(data.error_code, None) {
            return self.refused(asked, error, &data, endpoints);
        }
        (assigned.failures, assigned.not_before) = (0, None);
        if data.preferred_read_replica >= 0 {
            assigned.preferred = Some((BrokerId(data.preferred_read_replica), preferred_until));
        }
        assigned.high_watermark = Some(Offset(data.high_watermark));
        // An old broker has no transactions, and says -1.
        assigned.last_stable = Some(Offset(data.last_stable_offset)).filter(|end| end.0 >= 0);
        let Some(Records::Bytes(bytes)) = data.records else { return };
        if !bytes.is_empty() {
            let aborted = data.aborted_transactions.unwrap_or_default();
            assigned.fetched = Some(Fetched::new(bytes, asked.offset, aborted, reading));
            self.filled.push_back(asked.partition);
        }
    }

    fn refused(
        &mut self,
        asked: FetchTarget,
        error: ApiError,
        data: &PartitionData,
        endpoints: &BTreeMap<BrokerId, Broker>,
    ) {
        let partition = asked.partition;
        let leader = BrokerId(data.current_leader.leader_id);
        if leader >= BrokerId(0) {
            let epoch = LeaderEpoch(data.current_leader.leader_epoch);
            self.cluster.learn_leader(&partition, leader, epoch, endpoints.get(&leader).cloned());
        }
        let Some(assigned) = self.assigned.get_mut(&partition) else { return };
        assigned.failures += 1;
        assigned.not_before = Some(seam::now() + self.cluster.retry_delay(assigned.failures));
        let from_follower = assigned.preferred.take().is_some();
        match error.code {
            // A follower may lag or have begun later: the leader knows better.
            ErrorCode::OffsetOutOfRange if from_follower => assigned.not_before = None,
            ErrorCode::OffsetOutOfRange => {
                let Some(reset) = reset_of(self.config.auto_offset_reset) else {
                    let (topic, partition) = (partition.topic.to_string(), partition.partition);
                    let offset = asked.offset.0;
                    return self.errors.push_back(Error::OffsetOutOfRange { topic, partition, offset });
                };
                tracing::info!(%partition, offset = asked.offset.0, ?reset, "fetch offset is out of range");
                (assigned.position, assigned.not_before) = (Position::Wanted(reset), None);
            }
            code if code.is_retriable() => self.cluster.refresh_soon(),
            _ => {
                let message = Some(format!("fetching {partition}"));
                self.errors.push_back(Error::Api(ApiError { code: error.code, message }));
            }
        }
    }
}

fn read_endpoint(node: &ottla_wire::messages::fetch_response::NodeEndpoint) -> (BrokerId, Broker) {
    let id = BrokerId(node.node_id);
    let rack = node.rack.as_ref().map(Str::detached);
    (id, Broker { id, host: node.host.detached(), port: node.port, rack })
}
