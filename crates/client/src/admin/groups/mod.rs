//! Groups: list, describe, remove members, delete; and what they have committed.
//!
//! - `list`, `describe`: what there is.
//! - `offsets`: read, alter and delete what groups have committed.
//! - `remove`: members and whole groups.
//!
//! What is asked of many groups goes to their coordinators in as few requests as there are coordinators, and what became of
//! each group is told apart.

mod describe;
mod list;
mod offsets;
mod remove;

use std::collections::BTreeMap;
use std::future::Future;

use ottla_wire::BrokerId;
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::{Admin, Repeat};
use crate::cluster::Lane;
use crate::connection::Connection;
use crate::coordinator;
use crate::error::{ApiError, Error};
use crate::seam;
pub use describe::{GroupDescription, GroupEpochs, MemberDescription};
pub use list::{GroupFilter, GroupListing, GroupListings, GroupState, GroupType};
pub use remove::MemberToRemove;

/// What became of each group.
type Outcomes<T> = BTreeMap<Str, Result<T, Error>>;

impl Admin {
    /// Asks the coordinators of groups, again where that may help, for up to `default.api.timeout.ms`. `ask` asks one
    /// coordinator for all of its groups; one that it says nothing of has failed. Every group is in the answer.
    async fn ask_coordinators<T, F>(
        &self,
        groups: impl IntoIterator<Item = Str>,
        repeat: Repeat,
        ask: impl Fn(BrokerId, Connection, Vec<Str>) -> F,
    ) -> Outcomes<T>
    where
        F: Future<Output = Outcomes<T>>,
    {
        let deadline = seam::now() + self.cluster.config().default_api_timeout;
        let mut left: Vec<Str> = groups.into_iter().collect();
        left.sort_unstable();
        left.dedup();
        let mut outcomes = Outcomes::new();
        for failures in 1.. {
            let mut asked = self.ask_once(&left, &ask).await;
            left.retain(|group| {
                let outcome = asked.remove(group).unwrap_or_else(|| Err(missing()));
                let again = outcome.as_ref().is_err_and(|error| repeat.allows(error));
                outcomes.insert(group.clone(), outcome);
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
        groups: &[Str],
        ask: &impl Fn(BrokerId, Connection, Vec<Str>) -> F,
    ) -> Outcomes<T>
    where
        F: Future<Output = Outcomes<T>>,
    {
        let mut outcomes = Outcomes::new();
        let mut by_coordinator: BTreeMap<BrokerId, Vec<Str>> = BTreeMap::new();
        for (group, found) in coordinator::find(&self.cluster, groups).await {
            match found {
                Ok(broker) => by_coordinator.entry(broker).or_default().push(group),
                Err(error) => drop(outcomes.insert(group, Err(error))),
            }
        }
        for (broker, groups) in by_coordinator {
            match coordinator::connect(&self.cluster, broker, Lane::SHARED).await {
                Ok(connection) => outcomes.extend(ask(broker, connection, groups).await),
                Err(error) => outcomes.extend(groups.into_iter().map(|group| (group, Err(error.clone())))),
            }
        }
        outcomes
    }

    /// [`Admin::ask_coordinators`] of one group.
    async fn ask_coordinator<T, F>(
        &self,
        group: &str,
        repeat: Repeat,
        ask: impl Fn(Connection) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let id = Str::from(group);
        let asked = |_, connection, _| {
            let (id, answer) = (id.clone(), ask(connection));
            async move { Outcomes::from([(id, answer.await)]) }
        };
        let mut outcomes = self.ask_coordinators([id.clone()], repeat, asked).await;
        outcomes.remove(&id).unwrap_or_else(|| Err(missing()))
    }
}

/// The same failure for every group of a request.
fn all_failed<T>(groups: &[Str], error: &Error) -> Outcomes<T> {
    groups.iter().map(|group| (group.clone(), Err(error.clone()))).collect()
}

fn missing() -> Error {
    let message = Some("the coordinator said nothing of the group".to_owned());
    Error::Api(ApiError { code: ErrorCode::UnknownServerError, message })
}

fn by_name<T>(outcomes: Outcomes<T>) -> BTreeMap<String, Result<T, Error>> {
    outcomes.into_iter().map(|(group, outcome)| (group.into(), outcome)).collect()
}
