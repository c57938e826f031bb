//! The producer: records in, batches out, each record's fate back.
//!
//! - `config`: its settings.
//! - `record`: what goes in and what comes out.
//! - `partitioner`: which partition a record goes to.
//! - `accumulator`, `batch`: records that wait, in batches.
//! - `sender`, `response`: the task that sends, and what answers mean.
//! - `sequences`, `identity`: idempotence.
//! - `transaction`: transactions.
//! - `delivery`: how the caller learns what became of a record.

mod accumulator;
mod batch;
mod config;
mod delivery;
mod identity;
mod partitioner;
mod record;
mod response;
mod sender;
mod sequences;
mod transaction;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use crate::cluster::{Cluster, Lane, Topic, TopicPartition};
use crate::config::ClientConfig;
use crate::error::Error;
use crate::seam::{self, Instant};
use accumulator::{Accumulator, Rules};
use batch::{Batch, BatchId, Packing};
pub use config::{Acks, ProducerConfig};
pub use delivery::Delivery;
pub use partitioner::{murmur2, partition_of_key};
pub use record::{ProduceError, ProducerRecord, RecordMetadata};
use transaction::Transactions;
pub use transaction::{
    Cause, TransactionConfig, TransactionError, TransactionVersion, TransactionalProducer,
};

/// Sends records. Clones are the same producer.
///
/// When the last clone is dropped, what has accumulated is still sent in the background (as long as the runtime lives);
/// [`Producer::close`] waits for it.
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

/// What the callers and the sender share.
struct Shared {
    cluster: Cluster,
    lane: Lane,
    config: ProducerConfig,
    accumulator: Mutex<Accumulator>,
    /// Free bytes of `buffer.memory`.
    memory: Semaphore,
    waiting_for_memory: AtomicUsize,
    flushing: AtomicUsize,
    /// Wakes the sender.
    wake: Notify,
    /// Wakes those who wait for batches to be settled.
    progress: Notify,
    life: Mutex<Life>,
    failed: OnceLock<Error>,
    /// Of a transactional producer.
    transactions: Option<Transactions>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Life {
    Open,
    /// Nothing new; what there is, is sent.
    Draining,
    /// What there is, is given up.
    GivingUp,
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
        let rules = Rules {
            batch_size: config.batch_size,
            linger: config.linger,
            packing: packing(&config, transactions.is_some()),
            ignore_keys: config.partitioner_ignore_keys,
            adaptive: config.partitioner_adaptive,
        };
        let shared = Arc::new(Shared {
            accumulator: Mutex::new(Accumulator::new(rules, cluster.dice().clone())),
            memory: Semaphore::new(config.buffer_memory.min(Semaphore::MAX_PERMITS)),
            lane: cluster.new_lane(),
            cluster,
            config,
            waiting_for_memory: AtomicUsize::new(0),
            flushing: AtomicUsize::new(0),
            wake: Notify::new(),
            progress: Notify::new(),
            life: Mutex::new(Life::Open),
            failed: OnceLock::new(),
            transactions,
        });
        tokio::spawn(sender::Sender::new(shared.clone()).run());
        Ok(Producer { owner: Arc::new(Owner(shared)) })
    }

    /// Takes a record into a batch and gives the future of its fate. Waits, up to `max.block.ms`, for the topic's metadata
    /// and for buffer memory; when it fails, or is dropped before it ends, the record was not taken.
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

    /// Sends what has accumulated without lingering, and waits until everything that was taken before this call is
    /// settled, well or badly. Its end says nothing of success: the deliveries do.
    pub async fn flush(&self) {
        self.owner.0.flush().await;
    }

    /// Takes no more records, and waits up to `timeout` until all are settled; the rest is then given up (those on their
    /// way with an unknown outcome).
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

impl Shared {
    fn accumulator(&self) -> MutexGuard<'_, Accumulator> {
        self.accumulator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn packing(&self) -> Packing {
        packing(&self.config, self.transactions.is_some())
    }

    fn check(&self, record: &ProducerRecord, size: usize) -> Result<(), ProduceError> {
        if self.life() != Life::Open {
            return Err(self.refusal());
        }
        for (limit, max) in
            [("max.request.size", self.config.max_request_size), ("buffer.memory", self.config.buffer_memory)]
        {
            let size = size + ottla_wire::batch::HEADER_LEN;
            if size > max {
                return Err(ProduceError::TooLarge { size, limit, max });
            }
        }
        if let Some(partition) = record.partition.filter(|&partition| partition < 0) {
            let topic = record.topic.to_string();
            return Err(ProduceError::NotSent(Error::NoSuchPartition { topic, partition, partitions: 0 }));
        }
        Ok(())
    }

    /// The topic of a record, asked for; also again if the record names a partition that is not known (there may be more
    /// by now).
    async fn topic(&self, record: &ProducerRecord) -> Result<Arc<Topic>, ProduceError> {
        let topic = self.cluster.topic(&record.topic, self.config.max_block).await;
        let mut topic = topic.map_err(ProduceError::NotSent)?;
        let Some(partition) = record.partition else { return Ok(topic) };
        if topic.partition(partition).is_none() {
            self.cluster.refresh().await.map_err(ProduceError::NotSent)?;
            topic = self.cluster.metadata().topic(&record.topic).cloned().unwrap_or(topic);
        }
        if topic.partition(partition).is_none() {
            let (name, partitions) = (topic.name.to_string(), topic.partitions.len());
            return Err(ProduceError::NotSent(Error::NoSuchPartition { topic: name, partition, partitions }));
        }
        Ok(topic)
    }

    /// Takes `size` bytes of `buffer.memory`.
    async fn reserve(&self, size: usize) -> Result<(), ProduceError> {
        let permits = u32::try_from(size).unwrap_or(u32::MAX);
        if let Ok(permit) = self.memory.try_acquire_many(permits) {
            permit.forget();
            return Ok(());
        }
        let _waiting = Counted::new(&self.waiting_for_memory);
        // Batches that linger now stand in the way.
        self.wake.notify_one();
        match tokio::time::timeout(self.config.max_block, self.memory.acquire_many(permits)).await {
            Ok(Ok(permit)) => {
                permit.forget();
                Ok(())
            }
            Ok(Err(_)) => Err(self.refusal()),
            Err(_) => Err(ProduceError::BufferFull { after: self.config.max_block }),
        }
    }

    fn append(
        &self,
        topic: &Topic,
        record: &ProducerRecord,
        size: usize,
        now: Instant,
        timestamp: ottla_wire::Timestamp,
    ) -> Result<(Delivery, bool), ProduceError> {
        let mut accumulator = self.accumulator();
        // Looked at under the lock, so that nothing comes after the sender has seen that all is settled.
        if self.life() != Life::Open {
            self.memory.add_permits(size);
            return Err(self.refusal());
        }
        let Some(transactions) = &self.transactions else {
            return Ok(accumulator.append(topic, record, size, now, timestamp));
        };
        let mut core = transactions.core();
        if core.may_send("send").is_err() {
            self.memory.add_permits(size);
            return Err(ProduceError::Aborted);
        }
        let (delivery, wake) = accumulator.append(topic, record, size, now, timestamp);
        core.took(&TopicPartition { topic: topic.name.clone(), partition: delivery.partition() });
        Ok((delivery, wake))
    }

    /// Gives back what a settled batch held.
    fn release(&self, batch: &Batch) {
        self.memory.add_permits(batch.reserved);
        self.accumulator().settled(batch.id);
        self.progress.notify_waiters();
    }

    async fn flush(&self) {
        let limit: BatchId = self.accumulator().next_id();
        let _flushing = Counted::new(&self.flushing);
        self.wake.notify_one();
        self.until(|| self.accumulator().settled_before(limit)).await;
    }

    /// Waits for what the sender's progress brings about.
    async fn until(&self, holds: impl Fn() -> bool) {
        loop {
            let progress = self.progress.notified();
            tokio::pin!(progress);
            // Registered before the look, so that no progress is missed.
            progress.as_mut().enable();
            if holds() {
                return;
            }
            progress.await;
        }
    }

    /// Whether batches are to be sent without lingering.
    fn is_urgent(&self) -> bool {
        self.flushing.load(Ordering::Relaxed) > 0
            || self.waiting_for_memory.load(Ordering::Relaxed) > 0
            || self.life() != Life::Open
    }

    fn life(&self) -> Life {
        *self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves on to `life`, never back.
    fn end(&self, life: Life) {
        let mut now = self.life.lock().unwrap_or_else(PoisonError::into_inner);
        *now = life.max(*now);
        self.memory.close();
        self.wake.notify_one();
    }

    fn fail_all(&self, error: Error) {
        self.failed.get_or_init(|| error);
        self.end(Life::GivingUp);
    }

    fn must_give_up(&self) -> bool {
        self.life() == Life::GivingUp
    }

    /// Whether nothing is left to do: no record can come any more, and all are settled.
    fn is_drained(&self) -> bool {
        let accumulator = self.accumulator();
        self.life() != Life::Open && accumulator.is_empty()
    }

    /// Why nothing is taken any more.
    fn refusal(&self) -> ProduceError {
        match self.failed.get() {
            Some(error) => ProduceError::Failed(Box::new(error.clone())),
            None => ProduceError::Closed,
        }
    }
}

fn packing(config: &ProducerConfig, transactional: bool) -> Packing {
    Packing { codec: config.compression, level: config.compression_level, transactional }
}

/// Counts itself while it lives.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(counter: &'a AtomicUsize) -> Counted<'a> {
        counter.fetch_add(1, Ordering::Relaxed);
        Counted(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
