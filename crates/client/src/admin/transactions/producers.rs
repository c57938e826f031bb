//! DescribeProducers (key 61): who has written to partitions, and what is open there.

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::messages::DescribeProducersRequest;
use ottla_wire::messages::describe_producers_request::TopicRequest;
use ottla_wire::messages::describe_producers_response::ProducerState;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerId, Offset, ProducerId, Timestamp};

use super::super::{Admin, Repeat};
use crate::cluster::{Lane, TopicPartition, by_topic};
use crate::error::{ApiError, Error};
use crate::seam;

/// What a partition knows of a producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    pub producer_id: ProducerId,
    pub producer_epoch: i32,
    /// None if it has only written markers.
    pub last_sequence: Option<i32>,
    pub last_timestamp: Option<Timestamp>,
    /// Of the coordinator that wrote its last marker.
    pub coordinator_epoch: Option<i32>,
    /// Where its open transaction begins.
    pub transaction_start: Option<Offset>,
}

type Described = Result<Vec<ActiveProducer>, Error>;

impl Admin {
    /// The producers that the leaders of partitions know, again where that may help, for up to
    /// `default.api.timeout.ms`. Every partition is in the answer.
    pub async fn describe_producers(
        &self,
        partitions: &BTreeSet<TopicPartition>,
    ) -> BTreeMap<TopicPartition, Described> {
        let deadline = seam::now() + self.cluster.config().default_api_timeout;
        let mut left = partitions.clone();
        let mut described = BTreeMap::new();
        for failures in 1.. {
            let mut asked = self.describe_producers_once(&left).await;
            left.retain(|of| {
                let outcome = asked.remove(of).unwrap_or_else(|| Err(missing()));
                let again = outcome.as_ref().is_err_and(|error| Repeat::Harmless.allows(error));
                described.insert(of.clone(), outcome);
                again
            });
            let again = seam::now() + self.cluster.retry_delay(failures);
            if left.is_empty() || again >= deadline {
                break;
            }
            self.cluster.refresh_soon();
            tokio::time::sleep_until(again).await;
        }
        described
    }

    async fn describe_producers_once(
        &self,
        partitions: &BTreeSet<TopicPartition>,
    ) -> BTreeMap<TopicPartition, Described> {
        let mut described = BTreeMap::new();
        let mut by_leader: BTreeMap<BrokerId, BTreeSet<TopicPartition>> = BTreeMap::new();
        for of in partitions {
            match self.cluster.leader(of, self.cluster.config().request_timeout).await {
                Ok((leader, _)) => drop(by_leader.entry(leader).or_default().insert(of.clone())),
                Err(error) => drop(described.insert(of.clone(), Err(error))),
            }
        }
        for (leader, partitions) in by_leader {
            match self.describe_producers_of(leader, &partitions).await {
                Ok(outcomes) => described.extend(outcomes),
                Err(error) => described.extend(partitions.into_iter().map(|of| (of, Err(error.clone())))),
            }
        }
        described
    }

    async fn describe_producers_of(
        &self,
        leader: BrokerId,
        partitions: &BTreeSet<TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Described>, Error> {
        let topic = |(name, partition_indexes)| TopicRequest { name, partition_indexes };
        let request =
            DescribeProducersRequest { topics: by_topic(partitions).into_iter().map(topic).collect() };
        let response = self.cluster.connection(leader, Lane::SHARED).await?.call(&request).await?;
        let mut described = BTreeMap::new();
        for topic in response.topics {
            let name = topic.name.detached();
            for of in topic.partitions {
                let outcome = ApiError::check(of.error_code, of.error_message.as_deref());
                let partition = TopicPartition { topic: name.clone(), partition: of.partition_index };
                let producers = of.active_producers.iter().map(read).collect();
                described.insert(partition, outcome.map(|()| producers).map_err(Error::Api));
            }
        }
        Ok(described)
    }
}

fn read(state: &ProducerState) -> ActiveProducer {
    let known = |number: i32| (number >= 0).then_some(number);
    ActiveProducer {
        producer_id: ProducerId(state.producer_id),
        producer_epoch: state.producer_epoch,
        last_sequence: known(state.last_sequence),
        last_timestamp: (state.last_timestamp >= 0).then_some(Timestamp(state.last_timestamp)),
        coordinator_epoch: known(state.coordinator_epoch),
        transaction_start: (state.current_txn_start_offset >= 0)
            .then_some(Offset(state.current_txn_start_offset)),
    }
}

fn missing() -> Error {
    let message = Some("the leader said nothing of the partition".to_owned());
    Error::Api(ApiError { code: ErrorCode::UnknownServerError, message })
}
