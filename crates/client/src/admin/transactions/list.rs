//! ListTransactions (key 66).

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_wire::messages::ListTransactionsRequest;
use ottla_wire::primitives::{Request, Str};
use ottla_wire::{BrokerId, ProducerId};

use super::super::{Admin, Repeat};
use super::TransactionState;
use crate::cluster::Lane;
use crate::error::{ApiError, Error};

/// The first versions that filter by how long a transaction is open (KIP-994), and by its id (KIP-1152).
const DURATION_MIN: i16 = 1;
const PATTERN_MIN: i16 = 2;

/// Which transactions are listed. What is empty or none means all.
#[derive(Clone, Debug, Default)]
pub struct TransactionFilter {
    pub states: Vec<TransactionState>,
    pub producer_ids: Vec<ProducerId>,
    /// Only those that are open for longer.
    pub open_for: Option<Duration>,
    /// A regular expression (RE2) for the whole transactional id.
    pub id_pattern: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionListing {
    pub transactional_id: String,
    pub producer_id: ProducerId,
    /// None if the broker tells what this client does not know.
    pub state: Option<TransactionState>,
    pub coordinator: BrokerId,
}

/// The transactions of the brokers that answered, by id, and why the others did not.
#[derive(Clone, Debug, Default)]
pub struct TransactionListings {
    pub transactions: Vec<TransactionListing>,
    pub errors: BTreeMap<BrokerId, Error>,
}

impl Admin {
    /// Transactional ids of all coordinators. A broker that is too old for the filter has failed.
    pub async fn list_transactions(&self, filter: &TransactionFilter) -> Result<TransactionListings, Error> {
        let brokers: Vec<BrokerId> = self.cluster.refresh().await?.brokers.keys().copied().collect();
        let mut listings = TransactionListings::default();
        for broker in brokers {
            match self.repeat(Repeat::Harmless, || self.list_transactions_of(broker, filter)).await {
                Ok(transactions) => listings.transactions.extend(transactions),
                Err(error) => drop(listings.errors.insert(broker, error)),
            }
        }
        listings.transactions.sort_unstable_by(|a, b| a.transactional_id.cmp(&b.transactional_id));
        Ok(listings)
    }

    async fn list_transactions_of(
        &self,
        broker: BrokerId,
        filter: &TransactionFilter,
    ) -> Result<Vec<TransactionListing>, Error> {
        let connection = self.cluster.connection(broker, Lane::SHARED).await?;
        let version = connection.version_of::<ListTransactionsRequest>()?;
        let too_old = filter.open_for.is_some() && version < DURATION_MIN
            || filter.id_pattern.is_some() && version < PATTERN_MIN;
        if too_old {
            return Err(Error::unsupported(ListTransactionsRequest::KEY, connection.address()));
        }
        let open_for = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let request = ListTransactionsRequest {
            state_filters: filter.states.iter().map(|state| Str::from_static(state.name())).collect(),
            producer_id_filters: filter.producer_ids.iter().map(|id| id.0).collect(),
            duration_filter: filter.open_for.map_or(-1, open_for),
            transactional_id_pattern: filter.id_pattern.as_deref().map(Str::from),
        };
        let response = connection.call(&request).await?;
        ApiError::check(response.error_code, None)?;
        let listings = response.transaction_states.into_iter().map(|state| TransactionListing {
            transactional_id: state.transactional_id.into(),
            producer_id: ProducerId(state.producer_id),
            state: TransactionState::from_name(&state.transaction_state),
            coordinator: broker,
        });
        Ok(listings.collect())
    }
}
