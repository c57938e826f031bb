//! What is asked of many groups or transactional ids goes to their coordinators in as few requests as there
//! are coordinators, and what became of each is told apart.

use std::collections::BTreeMap;
use std::future::Future;

use ottla_link::Connection;
use ottla_wire::BrokerId;
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::{Admin, Repeat};
use crate::cluster::Lane;
use crate::coordinator::{self, Coordinated};
use crate::error::{ApiError, Error};
use crate::seam;

/// What became of each group or transactional id.
pub(super) type Outcomes<T> = BTreeMap<Str, Result<T, Error>>;

impl Admin {
    /// Asks the coordinators of groups or transactional ids, again where that may help, for up to
    /// `default.api.timeout.ms`. `ask` asks one coordinator for all that is its own; what it says nothing of
    /// has failed. Every key is in the answer.
    pub(super) async fn ask_coordinators<T, F>(
        &self,
        of: Coordinated,
        keys: impl IntoIterator<Item = Str>,
        repeat: Repeat,
        ask: impl Fn(BrokerId, Connection, Vec<Str>) -> F,
    ) -> Outcomes<T>
    where
        F: Future<Output = Outcomes<T>>,
    {
        let deadline = seam::now() + self.cluster.config().default_api_timeout;
        let mut left: Vec<Str> = keys.into_iter().collect();
        left.sort_unstable();
        left.dedup();
        let mut outcomes = Outcomes::new();
        for failures in 1.. {
            let mut asked = self.ask_once(of, &left, &ask).await;
            left.retain(|key| {
                let outcome = asked.remove(key).unwrap_or_else(|| Err(missing()));
                let again = outcome.as_ref().is_err_and(|error| repeat.allows(error));
                outcomes.insert(key.clone(), outcome);
                again
            });
            let again = seam::now() + self.cluster.retry_delay(failures);
            if left.is_empty() || again >= deadline {
                break;
            }
            tokio::time::sleep_until(again).await;
        }
        outcomes
    }

    async fn ask_once<T, F>(
        &self,
        of: Coordinated,
        keys: &[Str],
        ask: &impl Fn(BrokerId, Connection, Vec<Str>) -> F,
    ) -> Outcomes<T>
    where
        F: Future<Output = Outcomes<T>>,
    {
        let mut outcomes = Outcomes::new();
        let mut by_coordinator: BTreeMap<BrokerId, Vec<Str>> = BTreeMap::new();
        for (key, found) in coordinator::find(&self.cluster, of, keys).await {
            match found {
                Ok(broker) => by_coordinator.entry(broker).or_default().push(key),
                Err(error) => drop(outcomes.insert(key, Err(error))),
            }
        }
        for (broker, keys) in by_coordinator {
            match coordinator::connect(&self.cluster, broker, Lane::SHARED).await {
                Ok(connection) => outcomes.extend(ask(broker, connection, keys).await),
                Err(error) => outcomes.extend(keys.into_iter().map(|key| (key, Err(error.clone())))),
            }
        }
        outcomes
    }

    /// [`Admin::ask_coordinators`] of one.
    pub(super) async fn ask_coordinator<T, F>(
        &self,
        of: Coordinated,
        key: &str,
        repeat: Repeat,
        ask: impl Fn(Connection) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let id = Str::from(key);
        let asked = |_, connection, _| {
            let (id, answer) = (id.clone(), ask(connection));
            async move { Outcomes::from([(id, answer.await)]) }
        };
        let mut outcomes = self.ask_coordinators(of, [id.clone()], repeat, asked).await;
        outcomes.remove(&id).unwrap_or_else(|| Err(missing()))
    }
}

/// The same failure for every key of a request.
pub(super) fn all_failed<T>(keys: &[Str], error: &Error) -> Outcomes<T> {
    keys.iter().map(|key| (key.clone(), Err(error.clone()))).collect()
}

fn missing() -> Error {
    let message = Some("the coordinator said nothing of it".to_owned());
    Error::Api(ApiError { code: ErrorCode::UnknownServerError, message })
}

pub(super) fn by_name<T>(outcomes: Outcomes<T>) -> BTreeMap<String, Result<T, Error>> {
    outcomes.into_iter().map(|(key, outcome)| (key.into(), outcome)).collect()
}
