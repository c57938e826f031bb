//! The producer: records in, batches out, each record's fate back.
//!
//! - `config`: its settings.
//! - `record`: what goes in and what comes out.
//! - `partitioner`: which partition a record goes to.
//! - `accumulator`, `batch`: records that wait, in batches.
//! - `outbox`: which batch leaves when, and what answers mean; pure.
//! - `sender`: the task that carries it out; `shared`: what it shares with callers.
//! - `sequences`: idempotence.
//! - `transaction`: transactions.
//! - `delivery`: how the caller learns what became of a record.

mod accumulator;
mod batch;
mod batch_id;
mod config;
mod delivery;
mod outbox;
mod partitioner;
mod record;
mod sender;
mod sequences;
mod shared;
mod transaction;

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::{Cluster, Topic};
use crate::config::ClientConfig;
use crate::error::Error;
use crate::seam;
pub use config::{Acks, ProducerConfig};
pub use delivery::Delivery;
pub use partitioner::{murmur2, partition_of_key};
pub use record::{ProduceError, ProducerRecord, RecordMetadata};
use shared::{Life, Shared};
use transaction::Transactions;
pub use transaction::{
    Cause, TransactionConfig, TransactionError, TransactionVersion, TransactionalProducer,
};

/// Sends records. Clones are the same producer.
///
/// When the last clone is dropped, what has accumulated is still sent in the background (as long as the
/// runtime lives); [`Producer::close`] waits for it.
#[derive(Clone)]
pub struct Producer {
    owner: Arc<Owner>,
}

struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.end(Life::Draining);
    }
}

impl Producer {
    /// A producer with a cluster of its own. Nothing is sent yet.
    pub fn new(client: ClientConfig, config: ProducerConfig) -> Result<Producer, Error> {
        Producer::on(Cluster::new(client)?, config)
    }

    /// A producer on a cluster that others may use, too.
    pub fn on(cluster: Cluster, config: ProducerConfig) -> Result<Producer, Error> {
        Producer::start(cluster, config, None)
    }

    fn start(
        cluster: Cluster,
        config: ProducerConfig,
        transactions: Option<Transactions>,
    ) -> Result<Producer, Error> {
        config.check(cluster.config())?;
        let shared = Arc::new(Shared::new(cluster, config, transactions));
        tokio::spawn(sender::Sender::new(shared.clone()).run());
        Ok(Producer { owner: Arc::new(Owner(shared)) })
    }

    /// Takes a record into a batch and gives the future of its fate. Waits, up to `max.block.ms`, for the
    /// topic's metadata and for buffer memory; when it fails, or is dropped before it ends, the record was
    /// not taken.
    ///
    /// Records of one task to one partition are stored in the order of these calls.
    pub async fn send(&self, record: ProducerRecord) -> Result<Delivery, ProduceError> {
        let shared = &self.owner.0;
        let size = record.size_max();
        shared.check(&record, size)?;
        let known = shared.cluster.metadata().topic(&record.topic).cloned();
        let topic = match known {
            Some(topic) if record.partition.is_none_or(|p| topic.partition(p).is_some()) => topic,
            _ => shared.topic(&record).await?,
        };
        shared.reserve(size).await?;
        let now = seam::now();
        let timestamp = record.timestamp.unwrap_or_else(seam::wall_clock);
        let (delivery, wake) = shared.append(&topic, &record, size, now, timestamp)?;
        if wake {
            shared.cluster.want(&topic.name);
            shared.wake.notify_one();
        }
        Ok(delivery)
    }

    /// Sends what has accumulated without lingering, and waits until everything that was taken before this
    /// call is settled, well or badly. Its end says nothing of success: the deliveries do.
    pub async fn flush(&self) {
        self.owner.0.flush().await;
    }

    /// Takes no more records, and waits up to `timeout` until all are settled; the rest is then given up
    /// (those on their way with an unknown outcome).
    pub async fn close(&self, timeout: Duration) {
        let shared = &self.owner.0;
        shared.end(Life::Draining);
        if tokio::time::timeout(timeout, shared.flush()).await.is_err() {
            shared.end(Life::GivingUp);
            shared.flush().await;
        }
    }

    /// The topic as the producer sees it; waits for its metadata up to `max.block.ms`.
    pub async fn topic(&self, name: &str) -> Result<Arc<Topic>, Error> {
        let shared = &self.owner.0;
        shared.cluster.topic(name, shared.config.max_block).await
    }

    pub fn cluster(&self) -> &Cluster {
        &self.owner.0.cluster
    }
}
