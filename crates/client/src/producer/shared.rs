//! What the callers and the sender share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::{Notify, Semaphore};

use super::accumulator::{Accumulator, Rules};
use super::batch::Packing;
use super::batch_id::BatchId;
use super::config::ProducerConfig;
use super::delivery::Delivery;
use super::record::{ProduceError, ProducerRecord};
use super::transaction::Transactions;
use crate::cluster::{Cluster, Lane, Topic, TopicPartition};
use crate::error::Error;
use crate::seam::Instant;

pub(super) struct Shared {
    pub(super) cluster: Cluster,
    pub(super) lane: Lane,
    pub(super) config: ProducerConfig,
    accumulator: Mutex<Accumulator>,
    /// Free bytes of `buffer.memory`.
    pub(super) memory: Semaphore,
    waiting_for_memory: AtomicUsize,
    flushing: AtomicUsize,
    /// Wakes the sender.
    pub(super) wake: Notify,
    /// Wakes those who wait for batches to be settled.
    pub(super) progress: Notify,
    life: Mutex<Life>,
    failed: OnceLock<Error>,
    /// Of a transactional producer.
    pub(super) transactions: Option<Transactions>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Life {
    Open,
    /// Nothing new; what there is, is sent.
    Draining,
    /// What there is, is given up.
    GivingUp,
}

impl Shared {
    pub(super) fn new(
        cluster: Cluster,
        config: ProducerConfig,
        transactions: Option<Transactions>,
    ) -> Shared {
        let rules = Rules {
            batch_size: config.batch_size,
            linger: config.linger,
            packing: packing(&config, transactions.is_some()),
            ignore_keys: config.partitioner_ignore_keys,
            adaptive: config.partitioner_adaptive,
        };
        Shared {
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
        }
    }

    pub(super) fn accumulator(&self) -> MutexGuard<'_, Accumulator> {
        self.accumulator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn packing(&self) -> Packing {
        packing(&self.config, self.transactions.is_some())
    }

    pub(super) fn check(&self, record: &ProducerRecord, size: usize) -> Result<(), ProduceError> {
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

    /// The topic of a record, asked for; also again if the record names a partition that is not known (there
    /// may be more by now).
    pub(super) async fn topic(&self, record: &ProducerRecord) -> Result<Arc<Topic>, ProduceError> {
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
    pub(super) async fn reserve(&self, size: usize) -> Result<(), ProduceError> {
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

    pub(super) fn append(
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

    pub(super) async fn flush(&self) {
        let limit: BatchId = self.accumulator().next_id();
        let _flushing = Counted::new(&self.flushing);
        self.wake.notify_one();
        self.until(|| self.accumulator().settled_before(limit)).await;
    }

    /// Waits for what the sender's progress brings about.
    pub(super) async fn until(&self, holds: impl Fn() -> bool) {
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
    pub(super) fn is_urgent(&self) -> bool {
        self.flushing.load(Ordering::Relaxed) > 0
            || self.waiting_for_memory.load(Ordering::Relaxed) > 0
            || self.life() != Life::Open
    }

    pub(super) fn life(&self) -> Life {
        *self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves on to `life`, never back.
    pub(super) fn end(&self, life: Life) {
        let mut now = self.life.lock().unwrap_or_else(PoisonError::into_inner);
        *now = life.max(*now);
        self.memory.close();
        self.wake.notify_one();
    }

    pub(super) fn fail_all(&self, error: Error) {
        self.failed.get_or_init(|| error);
        self.end(Life::GivingUp);
    }

    pub(super) fn must_give_up(&self) -> bool {
        self.life() == Life::GivingUp
    }

    /// Whether nothing is left to do: no record can come any more, and all are settled.
    pub(super) fn is_drained(&self) -> bool {
        let accumulator = self.accumulator();
        self.life() != Life::Open && accumulator.is_empty()
    }

    /// Why nothing is taken any more.
    pub(super) fn refusal(&self) -> ProduceError {
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
