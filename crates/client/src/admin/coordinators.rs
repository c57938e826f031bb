//! What is asked of many groups or transactional ids goes to their coordinators in as few requests as there
//! are coordinators, and what became of each is told apart.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ottla_link::{Connection, Office};
use ottla_wire::BrokerId;
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::{Admin, Repeat};
use crate::cluster::{Cluster, Lane};
use crate::coordinator::{self, Coordinated};
use crate::error::{ApiError, Error};
use crate::seam;

/// What became of each group or transactional id.
pub(super) type Outcomes<T> = BTreeMap<Str, Result<T, Error>>;

/// The coordinators of many groups or transactional ids, looked for anew each time.
struct Coordinators<'a> {
    cluster: &'a Cluster,
    of: Coordinated,
    /// What is not settled yet.
    left: Mutex<Vec<Str>>,
}

/// Who coordinates what, and what of it has no coordinator that can be reached.
struct Found {
    asked: Vec<(BrokerId, Connection, Vec<Str>)>,
    lost: Vec<(Str, Error)>,
}

impl Office for Coordinators<'_> {
    type Holder = Found;
    type Error = Error;

    /// Does not fail as a whole.
    async fn find(&self) -> Result<Found, Error> {
        let keys = self.left().clone();
        let mut found = Found { asked: Vec::new(), lost: Vec::new() };
        let mut by_coordinator: BTreeMap<BrokerId, Vec<Str>> = BTreeMap::new();
        for (key, coordinator) in coordinator::find(self.cluster, self.of, &keys).await {
            match coordinator {
                Ok(broker) => by_coordinator.entry(broker).or_default().push(key),
                Err(error) => found.lost.push((key, error)),
            }
        }
        for (broker, keys) in by_coordinator {
            match coordinator::connect(self.cluster, broker, Lane::SHARED).await {
                Ok(connection) => found.asked.push((broker, connection, keys)),
                Err(error) => found.lost.extend(keys.into_iter().map(|key| (key, error.clone()))),
            }
        }
        Ok(found)
    }

    fn has_moved(&self, error: &Error) -> bool {
        error.is_retriable()
    }

    fn may_be_found(&self, error: &Error) -> bool {
        error.is_retriable()
    }

    /// Nothing of it is remembered.
    fn forget(&self) {}

    fn pause(&self, _: &Error, failures: u32) -> Duration {
        self.cluster.retry_delay(failures)
    }

    fn late(&self, after: Duration) -> Error {
        Error::Waited { what: "the coordinators", after }
    }
}

impl Coordinators<'_> {
    /// Takes down what became of each key that was asked for. An error is one that may pass, of a key that is
    /// left.
    fn settle<T>(
        &self,
        mut asked: Outcomes<T>,
        repeat: Repeat,
        outcomes: &Mutex<Outcomes<T>>,
    ) -> Result<(), Error> {
        let mut outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut passing = None;
        self.left().retain(|key| {
            let outcome = asked.remove(key).unwrap_or_else(|| Err(missing()));
            let again = outcome.as_ref().err().filter(|error| repeat.allows(error)).cloned();
            outcomes.insert(key.clone(), outcome);
            let is_left = again.is_some();
            passing = passing.take().or(again);
            is_left
        });
        passing.map_or(Ok(()), Err)
    }

    fn left(&self) -> MutexGuard<'_, Vec<Str>> {
        // Nothing in here panics half-way.
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admin {
    /// Asks the coordinators of groups or transactional ids, again where that may help, for up to
    /// `default.api.timeout.ms`. `ask` asks one coordinator for all that is its own; what it says nothing of
    /// has failed. Every key is in the answer.
    pub(super) async fn ask_coordinators<T, F>(
        &self,
        of: Coordinated,
        keys: impl IntoIterator<Item = Str>,
        repeat: Repeat,
        ask: impl Fn(BrokerId, Connection, Vec<Str>) -> F + Send + Sync,
    ) -> Outcomes<T>
    where
        T: Send,
        F: Future<Output = Outcomes<T>> + Send,
    {
        let deadline = seam::now() + self.cluster.config().default_api_timeout;
        let mut keys: Vec<Str> = keys.into_iter().collect();
        keys.sort_unstable();
        keys.dedup();
        let office = &Coordinators { cluster: &self.cluster, of, left: Mutex::new(keys) };
        let outcomes = &Mutex::new(Outcomes::new());
        let ask = &ask;
        let attempt = |found: Found| async move {
            let mut asked: Outcomes<T> =
                found.lost.into_iter().map(|(key, error)| (key, Err(error))).collect();
            for (broker, connection, keys) in found.asked {
                asked.extend(ask(broker, connection, keys).await);
            }
            office.settle(asked, repeat, outcomes)
        };
        let ended = office.ask(deadline, |_| true, attempt).await;
        let mut outcomes = std::mem::take(&mut *outcomes.lock().unwrap_or_else(PoisonError::into_inner));
        if let Err(error) = ended {
            // Time may be over before they were asked at all.
            for key in office.left().iter() {
                outcomes.entry(key.clone()).or_insert_with(|| Err(error.clone()));
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
        ask: impl Fn(Connection) -> F + Send + Sync,
    ) -> Result<T, Error>
    where
        T: Send,
        F: Future<Output = Result<T, Error>> + Send,
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
