//! DescribeTransactions (key 65).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_link::Connection;
use ottla_wire::messages::DescribeTransactionsRequest;
use ottla_wire::messages::describe_transactions_response;
use ottla_wire::primitives::Str;
use ottla_wire::{BrokerId, ProducerEpoch, ProducerId, Timestamp};

use super::super::coordinators::{Outcomes, all_failed, by_name};
use super::super::{Admin, Repeat};
use super::TransactionState;
use crate::cluster::TopicPartition;
use crate::coordinator::Coordinated;
use crate::error::{ApiError, Error};

/// What the coordinator knows of a transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionDescription {
    pub coordinator: BrokerId,
    /// None if the broker tells what this client does not know.
    pub state: Option<TransactionState>,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub timeout: Duration,
    /// When the transaction was begun that is open.
    pub started: Option<Timestamp>,
    /// The partitions of the transaction that is open, those that have no marker yet if it is being ended.
    pub partitions: BTreeSet<TopicPartition>,
}

impl Admin {
    /// Describes the transactions of transactional ids. One that does not exist is
    /// TRANSACTIONAL_ID_NOT_FOUND.
    pub async fn describe_transactions(
        &self,
        ids: &[impl AsRef<str>],
    ) -> BTreeMap<String, Result<TransactionDescription, Error>> {
        let ids = ids.iter().map(|id| Str::from(id.as_ref()));
        by_name(self.ask_coordinators(Coordinated::Transactions, ids, Repeat::Harmless, describe).await)
    }
}

async fn describe(
    coordinator: BrokerId,
    connection: Connection,
    ids: Vec<Str>,
) -> Outcomes<TransactionDescription> {
    let request = DescribeTransactionsRequest { transactional_ids: ids.clone() };
    let response = match connection.call(&request).await {
        Ok(response) => response,
        Err(error) => return all_failed(&ids, &error.into()),
    };
    let described = response.transaction_states.into_iter().map(|state| {
        let outcome = ApiError::check(state.error_code, None).map_err(Error::Api);
        (state.transactional_id.detached(), outcome.map(|()| read(coordinator, &state)))
    });
    described.collect()
}

fn read(
    coordinator: BrokerId,
    state: &describe_transactions_response::TransactionState,
) -> TransactionDescription {
    let partitions = state.topics.iter().flat_map(|topic| {
        let name = topic.topic.detached();
        topic.partitions.iter().map(move |&partition| TopicPartition { topic: name.clone(), partition })
    });
    TransactionDescription {
        coordinator,
        state: TransactionState::from_name(&state.transaction_state),
        producer_id: ProducerId(state.producer_id),
        producer_epoch: ProducerEpoch(state.producer_epoch),
        timeout: Duration::from_millis(u64::try_from(state.transaction_timeout_ms).unwrap_or(0)),
        started: (state.transaction_start_time_ms >= 0).then_some(Timestamp(state.transaction_start_time_ms)),
        partitions: partitions.collect(),
    }
}
