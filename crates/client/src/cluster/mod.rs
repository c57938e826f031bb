//! The cluster as a client sees it: who its brokers are, who leads what, and connections to them.
//!
//! - `metadata`: the snapshot of brokers, topics and leaders.
//! - `lane`: connections that do not hold each other up.
//! - `refresh`: the task that fetches metadata when asked to, and when it has become old.

mod lane;
mod metadata;
mod refresh;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ottla_link::{Backoff, ConnectCause, Connection, Links};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerId, LeaderEpoch};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::config::ClientConfig;
use crate::error::{ApiError, Error, LinkError};
use crate::seam::{self, Dice, Instant};
pub use lane::Lane;
use lane::Node;
pub use metadata::{Broker, Metadata, Partition, Topic, TopicPartition};
pub(crate) use metadata::{by_topic, read_topic};

/// A cluster. Clones are the same; producers, consumers and admin clients may share one, and then share its
/// metadata and connections. A background task keeps metadata fresh until the last clone is dropped.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
    /// Ends the refresh task with the last clone.
    _refresh: Arc<RefreshTask>,
}

struct Inner {
    config: Arc<ClientConfig>,
    dice: Dice,
    retry: Backoff,
    nodes: Links<(Node, Lane)>,
    lanes: AtomicU32,
    metadata: watch::Sender<Arc<Metadata>>,
    /// Counts fetches of metadata, failed ones too.
    fetches: watch::Sender<u64>,
    last_error: Mutex<Option<Error>>,
    /// Topics of interest, with the time of the last question for each.
    wanted: Mutex<BTreeMap<Str, Instant>>,
    fetch_asked: Notify,
}

struct RefreshTask(JoinHandle<()>);

impl Drop for RefreshTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Cluster {
    /// A cluster that nobody has talked to yet: connections are made when needed. MUST be called in a tokio
    /// runtime.
    pub fn new(config: ClientConfig) -> Result<Cluster, Error> {
        config.check()?;
        let config = Arc::new(config);
        let dice = Dice::new(config.seed);
        let inner = Arc::new(Inner {
            nodes: Links::new(config.link(), dice.clone()),
            retry: Backoff::new(config.retry_backoff, config.retry_backoff_max, dice.clone()),
            dice,
            lanes: AtomicU32::new(Lane::SHARED.0 + 1),
            metadata: watch::Sender::default(),
            fetches: watch::Sender::new(0),
            last_error: Mutex::default(),
            wanted: Mutex::default(),
            fetch_asked: Notify::new(),
            config,
        });
        let refresh = Arc::new(RefreshTask(tokio::spawn(refresh::run(inner.clone()))));
        Ok(Cluster { inner, _refresh: refresh })
    }

    /// [`Cluster::new`], and waits until a broker has answered.
    pub async fn connect(config: ClientConfig) -> Result<Cluster, Error> {
        let cluster = Cluster::new(config)?;
        cluster.refresh().await?;
        Ok(cluster)
    }

    pub fn config(&self) -> &ClientConfig {
        &self.inner.config
    }

    /// What is known now, perhaps nothing.
    pub fn metadata(&self) -> Arc<Metadata> {
        self.inner.metadata.borrow().clone()
    }

    /// Changes whenever the metadata does.
    pub fn watch(&self) -> watch::Receiver<Arc<Metadata>> {
        self.inner.metadata.subscribe()
    }

    /// Asks for fresh metadata of all topics of interest, without waiting for it.
    pub fn refresh_soon(&self) {
        self.inner.fetch_asked.notify_one();
    }

    /// Fetches metadata now and waits until it is there; tries again, with backoff, until
    /// `default.api.timeout.ms`.
    pub async fn refresh(&self) -> Result<Arc<Metadata>, Error> {
        let timeout = self.inner.config.default_api_timeout;
        let deadline = seam::now() + timeout;
        let mut fetches = self.inner.fetches.subscribe();
        loop {
            self.refresh_soon();
            match tokio::time::timeout_at(deadline, fetches.changed()).await {
                Ok(Ok(())) if self.inner.last_error().is_none() => return Ok(self.metadata()),
                Ok(Ok(())) => {}
                _ => return Err(self.inner.late("metadata", timeout)),
            }
        }
    }

    /// Names a topic as being of interest: the next fetch brings it. True if it is already known.
    pub fn want(&self, topic: &str) -> bool {
        let known = self.inner.metadata.borrow().topics.contains_key(topic);
        let mut wanted = self.inner.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        match wanted.get_mut(topic) {
            Some(asked) => *asked = seam::now(),
            None => drop(wanted.insert(Str::from(topic), seam::now())),
        }
        known
    }

    /// The topic, fetched if it is not known. Tries again for up to `timeout` while the broker says that it
    /// does not know the topic or has no leader for it yet (it may be being created).
    pub async fn topic(&self, name: &str, timeout: Duration) -> Result<Arc<Topic>, Error> {
        let deadline = seam::now() + timeout;
        let mut changes = self.inner.fetches.subscribe();
        for attempt in 0.. {
            self.want(name);
            let metadata = self.metadata();
            if let Some(topic) = metadata.topic(name) {
                return Ok(topic.clone());
            }
            let refused = metadata.failed.get(name).copied();
            if let Some(code) = refused.filter(|code| attempt > 0 && !code.is_retriable()) {
                return Err(topic_error(name, code));
            }
            self.refresh_soon();
            let fetched = async {
                tokio::time::sleep(self.inner.retry.after(attempt)).await;
                changes.changed().await
            };
            if tokio::time::timeout_at(deadline, fetched).await.is_err() {
                return Err(match refused {
                    Some(code) => topic_error(name, code),
                    None => self.inner.late("metadata of the topic", timeout),
                });
            }
        }
        unreachable!("the attempts have no end")
    }

    /// The leader of a partition and its epoch, from what is known or by asking, for up to `timeout`.
    pub async fn leader(
        &self,
        partition: &TopicPartition,
        timeout: Duration,
    ) -> Result<(BrokerId, LeaderEpoch), Error> {
        let deadline = seam::now() + timeout;
        for attempt in 1.. {
            let topic = self.topic(&partition.topic, deadline.saturating_duration_since(seam::now())).await?;
            let Some(found) = topic.partition(partition.partition) else {
                let (topic, partitions) = (partition.topic.to_string(), topic.partitions.len());
                return Err(Error::NoSuchPartition { topic, partition: partition.partition, partitions });
            };
            if let Some(leader) = found.leader {
                return Ok((leader, found.leader_epoch));
            }
            let again = seam::now() + self.inner.retry.after(attempt);
            if again >= deadline {
                let (topic, partition) = (partition.topic.to_string(), partition.partition);
                return Err(Error::NoLeader { topic, partition });
            }
            self.refresh_soon();
            tokio::time::sleep_until(again).await;
        }
        unreachable!("the attempts have no end")
    }

    /// Takes over a leader that an answer named (KIP-951). Older news is ignored.
    pub fn learn_leader(
        &self,
        of: &TopicPartition,
        leader: BrokerId,
        epoch: LeaderEpoch,
        endpoint: Option<Broker>,
    ) {
        self.inner.metadata.send_if_modified(|metadata| {
            let next = metadata.with_leader(of, leader, epoch, endpoint);
            let changed = next.is_some();
            if let Some(next) = next {
                *metadata = Arc::new(next);
            }
            changed
        });
    }

    /// A lane that nobody else uses.
    pub fn new_lane(&self) -> Lane {
        Lane(self.inner.lanes.fetch_add(1, Ordering::Relaxed))
    }

    /// The open connection to a broker, without waiting for one.
    pub fn ready(&self, broker: BrokerId, lane: Lane) -> Option<Connection> {
        let address = self.inner.metadata.borrow().brokers.get(&broker)?.address();
        self.inner.nodes.ready((Node::Broker(broker), lane), &address)
    }

    /// A connection to a broker; made if there is none, after the backoff if the last attempt failed.
    pub async fn connection(&self, broker: BrokerId, lane: Lane) -> Result<Connection, Error> {
        let address = self.inner.metadata.borrow().brokers.get(&broker).map(Broker::address);
        let Some(address) = address else {
            self.refresh_soon();
            let (address, cause) = (format!("broker {broker}"), ConnectCause::Unresolved);
            let reason = "no such broker in the metadata".to_owned();
            return Err(LinkError::Connect { address, cause, reason }.into());
        };
        let connection = self.inner.nodes.connection((Node::Broker(broker), lane), &address).await;
        if connection.is_err() {
            // The broker may be gone or may have moved.
            self.refresh_soon();
        }
        Ok(connection?)
    }

    /// A connection to any broker: one that is open if possible, else to a known broker, else to a bootstrap
    /// server.
    pub async fn any(&self) -> Result<Connection, Error> {
        self.inner.any().await
    }

    /// A connection to the broker that takes requests which change the cluster.
    pub async fn controller(&self) -> Result<Connection, Error> {
        let known = self.metadata().controller;
        let controller = match known {
            Some(controller) => Some(controller),
            None => self.refresh().await?.controller,
        };
        match controller {
            Some(controller) => self.connection(controller, Lane::SHARED).await,
            None => self.any().await,
        }
    }

    /// The delay before retry number `failures` of something.
    pub(crate) fn retry_delay(&self, failures: u32) -> Duration {
        self.inner.retry.after(failures)
    }

    pub(crate) fn dice(&self) -> &Dice {
        &self.inner.dice
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("servers", &self.inner.config.bootstrap_servers)
            .finish_non_exhaustive()
    }
}

impl Inner {
    async fn any(&self) -> Result<Connection, Error> {
        let brokers: Vec<(Node, String)> = {
            let metadata = self.metadata.borrow();
            metadata.brokers.values().map(|broker| (Node::Broker(broker.id), broker.address())).collect()
        };
        let open = |(node, address): &(Node, String)| self.nodes.ready((*node, Lane::SHARED), address);
        if let Some(connection) = self.shuffled(brokers.clone()).iter().find_map(open) {
            return Ok(connection);
        }
        let bootstrap = self.config.bootstrap_servers.iter().enumerate();
        let bootstrap = bootstrap.map(|(i, address)| (Node::Bootstrap(i), address.clone())).collect();
        let mut last = None;
        // Known brokers first; when none answers the cluster may have moved as a whole, so start over
        // (KIP-899).
        for (node, address) in self.shuffled(brokers).into_iter().chain(self.shuffled(bootstrap)) {
            match self.nodes.connection((node, Lane::SHARED), &address).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = Some((address, error)),
            }
        }
        let (address, reason) = match last {
            Some((_, LinkError::Connect { address, reason, .. })) => (address, reason),
            Some((address, error)) => (address, error.to_string()),
            None => unreachable!("bootstrap.servers is checked not to be empty"),
        };
        Err(Error::Unreachable { address, reason })
    }

    fn shuffled<T>(&self, mut items: Vec<T>) -> Vec<T> {
        for i in (1..items.len()).rev() {
            items.swap(i, self.dice.below(i + 1));
        }
        items
    }

    fn last_error(&self) -> Option<Error> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why something did not come in time: what went wrong last says more than that time is over.
    fn late(&self, what: &'static str, after: Duration) -> Error {
        self.last_error().unwrap_or(Error::Waited { what, after })
    }
}

fn topic_error(name: &str, code: ErrorCode) -> Error {
    Error::Api(ApiError { code, message: Some(format!("topic {name}")) })
}
