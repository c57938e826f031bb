//! The admin client: topics, configs, records, groups, and what the cluster is made of.
//!
//! - `topics`: create, list, describe, delete; more partitions.
//! - `configs`: describe and alter configs.
//! - `records`: delete records, list offsets.
//! - `groups`: list, describe and delete groups; their members and offsets.
//! - `transactions`: list, describe, abort; those that hang; fence producers.
//! - `describe`: the cluster and its log directories.
//! - `coordinators`: finds and asks those who coordinate groups and transactions.
//!
//! An `Err` of a call is about the whole of it; what became of each topic, group, resource or partition is in
//! its answer.

mod configs;
mod coordinators;
mod describe;
mod groups;
mod records;
mod topics;
mod transactions;

use std::future::Future;

use ottla_link::{Connection, Office};
use ottla_wire::BrokerId;
use ottla_wire::primitives::Request;

use crate::cluster::{Cluster, Lane};
use crate::config::ClientConfig;
use crate::controller::Controller;
use crate::error::{Advice, Error};
use crate::seam;
pub use configs::{AlterOp, ConfigChange, ConfigEntry, ConfigResource, ConfigSynonym, ResourceType};
pub use describe::{ClusterDescription, DescribedBroker, LogDir, LogDirPartition};
pub use groups::{
    GroupDescription, GroupEpochs, GroupFilter, GroupListing, GroupListings, GroupState, GroupType,
    MemberDescription, MemberToRemove,
};
pub use topics::{CreatedTopic, NewPartitions, NewTopic, TopicListing};
pub use transactions::{
    AbortTransaction, ActiveProducer, Hanging, OpenTransaction, TransactionDescription, TransactionFilter,
    TransactionListing, TransactionListings, TransactionState,
};

/// Administers a cluster. Clones are the same.
#[derive(Clone, Debug)]
pub struct Admin {
    cluster: Cluster,
}

/// Whether a request may be sent again when it is not known whether it took effect.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    /// It only reads, or doing it twice is the same as doing it once.
    Harmless,
    /// A second time would fail or do more: the caller is told that the outcome is unknown.
    OnlyIfNotDone,
}

impl Repeat {
    /// Whether to try again after an error.
    fn allows(self, error: &Error) -> bool {
        match self {
            Repeat::Harmless => error.is_retriable(),
            Repeat::OnlyIfNotDone => error.advice() == Advice::Retry,
        }
    }
}

impl Admin {
    /// An admin client with a cluster of its own. Never creates topics by asking for them.
    pub fn new(client: ClientConfig) -> Result<Admin, Error> {
        Ok(Admin::on(Cluster::new(ClientConfig { allow_auto_create_topics: false, ..client })?))
    }

    /// An admin client on a cluster that others may use, too.
    pub fn on(cluster: Cluster) -> Admin {
        Admin { cluster }
    }

    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Sends any request to any broker, once.
    pub async fn call<R: Request>(&self, request: &R) -> Result<R::Response, Error> {
        Ok(self.cluster.any().await?.call(request).await?)
    }

    /// Sends any request to one broker, once.
    pub async fn call_broker<R: Request>(&self, broker: BrokerId, request: &R) -> Result<R::Response, Error> {
        Ok(self.broker(broker).await?.call(request).await?)
    }

    /// Sends any request to the controller, once.
    pub async fn call_controller<R: Request>(&self, request: &R) -> Result<R::Response, Error> {
        Ok(self.cluster.controller().await?.call(request).await?)
    }

    /// Does `attempt` until it succeeds or fails for good, for up to `default.api.timeout.ms`.
    async fn repeat<T, F>(&self, repeat: Repeat, attempt: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let deadline = seam::now() + self.cluster.config().default_api_timeout;
        for failures in 1.. {
            let error = match attempt().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let again = seam::now() + self.cluster.retry_delay(failures);
            if !repeat.allows(&error) || again >= deadline {
                return Err(error);
            }
            // Another controller or leader may be the reason.
            self.cluster.refresh_soon();
            tokio::time::sleep_until(again).await;
        }
        unreachable!("the attempts have no end")
    }

    /// [`Admin::repeat`] of what the controller is asked.
    async fn ask_controller<T, F>(
        &self,
        repeat: Repeat,
        attempt: impl Fn(Connection) -> F + Send + Sync,
    ) -> Result<T, Error>
    where
        T: Send,
        F: Future<Output = Result<T, Error>> + Send,
    {
        let deadline = seam::now() + self.cluster.config().default_api_timeout;
        Controller(&self.cluster).ask(deadline, |error| repeat.allows(error), attempt).await
    }

    async fn broker(&self, broker: BrokerId) -> Result<Connection, Error> {
        if !self.cluster.metadata().brokers.contains_key(&broker) {
            self.cluster.refresh().await?;
        }
        self.cluster.connection(broker, Lane::SHARED).await
    }

    /// What requests say about how long the broker may take.
    fn timeout_ms(&self) -> i32 {
        i32::try_from(self.cluster.config().request_timeout.as_millis()).unwrap_or(i32::MAX)
    }
}
