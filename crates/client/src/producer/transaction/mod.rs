//! Transactions: records to many partitions, and offsets of a group, that readers of committed records see
//! together or not at all.
//!
//! - `config`, `error`: settings, and what a failure asks for.
//! - `core`, `verdict`: where a transaction stands, and what an error means for it; pure.
//! - `requests`: what coordinators are asked.
//! - `transactions`: what callers and the sender share.

mod config;
mod core;
#[cfg(test)]
mod core_tests;
mod error;
mod requests;
mod transactions;
mod verdict;

use std::future::Future;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use ottla_link::{Connection, Office};
use ottla_wire::primitives::Str;

pub(super) use self::core::Core;
pub use self::core::TransactionVersion;
pub(super) use self::core::{End, Step};
use super::Producer;
use super::config::ProducerConfig;
use super::delivery::Delivery;
use super::record::ProducerRecord;
use super::shared::Shared;
use crate::cluster::Cluster;
use crate::config::ClientConfig;
use crate::coordinator::{Coordinated, Coordinator};
use crate::error::Error;
use crate::offsets::{GroupMetadata, Offsets};
use crate::seam::{self, Instant};
pub use config::TransactionConfig;
pub use error::{Cause, TransactionError};
pub(super) use requests::add_partitions;
pub(super) use transactions::Transactions;
use verdict::Verdict;
pub(super) use verdict::{Asked, judge, verdict_on};

/// Sends records and offsets in transactions. Clones are the same producer.
///
/// One transaction at a time: [`begin`](Self::begin), [`send`](Self::send) and
/// [`send_offsets`](Self::send_offsets) as often as needed, then [`commit`](Self::commit) or
/// [`abort`](Self::abort). A call that fails says what to do next ([`TransactionError`]); a call that has no
/// place changes nothing.
///
/// When the last clone is dropped within a transaction, the coordinator aborts that after
/// `transaction.timeout.ms`; [`close`](Self::close) does at once.
#[derive(Clone)]
pub struct TransactionalProducer {
    producer: Producer,
    turn: Arc<tokio::sync::Mutex<Turn>>,
}

/// What only one call at a time has: those that talk to coordinators take turns.
#[derive(Default)]
struct Turn {
    /// Of the group whose offsets were sent last.
    group: Option<Arc<Coordinator>>,
}

impl TransactionalProducer {
    /// A producer with a cluster of its own. Nothing is sent yet.
    pub fn new(
        client: ClientConfig,
        config: ProducerConfig,
        transaction: TransactionConfig,
    ) -> Result<TransactionalProducer, Error> {
        TransactionalProducer::on(Cluster::new(client)?, config, transaction)
    }

    /// A producer on a cluster that others may use, too.
    pub fn on(
        cluster: Cluster,
        config: ProducerConfig,
        transaction: TransactionConfig,
    ) -> Result<TransactionalProducer, Error> {
        transaction.check(&config)?;
        let id = Str::from(transaction.transactional_id.as_str());
        let coordinator = Coordinator::new(cluster.clone(), Coordinated::Transactions, id);
        let timeout_ms = i32::try_from(transaction.transaction_timeout.as_millis()).unwrap_or(i32::MAX);
        let transactions = Transactions::new(coordinator, timeout_ms);
        let producer = Producer::start(cluster, config, Some(transactions))?;
        Ok(TransactionalProducer { producer, turn: Arc::default() })
    }

    /// Introduces the producer to its coordinator, once, before anything else: earlier producers with the
    /// same transactional id are fenced, and a transaction that one of them has left open is aborted.
    pub async fn init_transactions(&self) -> Result<(), TransactionError> {
        const CALL: &str = "init_transactions";
        let deadline = self.deadline();
        let _turn = self.turn(CALL, deadline).await?;
        self.core().may_init()?;
        let transactions = self.transactions();
        let ask = |way| requests::identity(transactions, way, None);
        let (identity, version) =
            self.ask(CALL, Asked::Identity, deadline, &transactions.coordinator, ask).await?;
        self.core().identified(identity, version);
        self.shared().wake.notify_one();
        Ok(())
    }

    /// Begins a transaction. Nothing is sent for that: the coordinator learns of it with the first record.
    pub fn begin(&self) -> Result<(), TransactionError> {
        self.core().begin()
    }

    /// [`Producer::send`] within the transaction. A record that cannot be taken fails the transaction, as one
    /// that is taken and cannot be stored does; its [`Delivery`] need not be awaited, since
    /// [`commit`](Self::commit) waits for all.
    pub async fn send(&self, record: ProducerRecord) -> Result<Delivery, TransactionError> {
        const CALL: &str = "send";
        self.core().may_send(CALL)?;
        let error = match self.producer.send(record).await {
            Ok(delivery) => return Ok(delivery),
            Err(error) => error,
        };
        let failure = {
            let mut core = self.core();
            // It may have ended while this waited for metadata or memory.
            core.may_send(CALL)?;
            let (verdict, cause) = (verdict_on(&error), Cause::from(error));
            core.record_failed(verdict, cause.clone(), false);
            core.failure(CALL, cause)
        };
        self.shared().wake.notify_one();
        Err(failure)
    }

    /// Commits offsets of a group with the transaction;
    /// [`GroupConsumer::group_metadata`](crate::GroupConsumer::group_metadata) tells who commits. If the
    /// group has given the member's partitions to another, the transaction fails (KIP-447).
    pub async fn send_offsets(&self, offsets: &Offsets, who: &GroupMetadata) -> Result<(), TransactionError> {
        const CALL: &str = "send_offsets";
        let deadline = self.deadline();
        let mut turn = self.turn(CALL, deadline).await?;
        self.core().may_send(CALL)?;
        if offsets.is_empty() {
            return Ok(());
        }
        let transactions = self.transactions();
        let (identity, version) = {
            let mut core = self.core();
            core.offsets_leave();
            let Some(identity) = core.identity() else {
                return Err(core.failure(CALL, Cause::OffsetsUnsettled));
            };
            (identity, core.version())
        };
        if version == TransactionVersion::V1 {
            let ask = |way| requests::add_offsets(transactions, way, identity, &who.group_id);
            self.ask(CALL, Asked::AddOffsets, deadline, &transactions.coordinator, ask).await?;
        }
        let group = turn.coordinator_of(self.cluster(), &who.group_id);
        let as_whom = (identity, version);
        let ask = |way| requests::commit_offsets(transactions, way, as_whom, who, offsets);
        self.ask(CALL, Asked::CommitOffsets, deadline, &group, ask).await?;
        self.core().offsets_settled();
        Ok(())
    }

    /// Waits until every record is stored, and commits. Up to `max.block.ms`; when that was not enough
    /// ([`TransactionError::Unfinished`]), and when the future was dropped, call it again: only then the
    /// outcome is known.
    pub async fn commit(&self) -> Result<(), TransactionError> {
        self.end(End::Commit).await
    }

    /// Drops what was not sent, waits for what is on its way, and aborts. Up to `max.block.ms`, as
    /// [`commit`](Self::commit).
    pub async fn abort(&self) -> Result<(), TransactionError> {
        self.end(End::Abort).await
    }

    /// Sends what has accumulated without lingering, and waits until it is settled.
    pub async fn flush(&self) {
        self.producer.flush().await;
    }

    /// Aborts a transaction that is open, and closes the producer; all within `timeout`.
    pub async fn close(&self, timeout: Duration) {
        let deadline = seam::now() + timeout;
        if self.core().is_open()
            && let Ok(Err(error)) = tokio::time::timeout_at(deadline, self.abort()).await
        {
            tracing::warn!(id = %self.transactions().coordinator.key(), %error, "not aborted at the close");
        }
        self.producer.close(deadline.saturating_duration_since(seam::now())).await;
    }

    pub fn cluster(&self) -> &Cluster {
        self.producer.cluster()
    }

    /// The version that this transaction has, or the next one will have.
    pub fn transaction_version(&self) -> TransactionVersion {
        self.core().version()
    }

    async fn end(&self, end: End) -> Result<(), TransactionError> {
        let (call, deadline) = (end.call(), self.deadline());
        let _turn = self.turn(call, deadline).await?;
        let (shared, transactions) = (self.shared(), self.transactions());
        self.core().end(end)?;
        shared.wake.notify_one();
        let settled = async {
            shared.flush().await;
            shared.until(|| !self.core().is_adding()).await;
        };
        if tokio::time::timeout_at(deadline, settled).await.is_err() {
            return Err(self.unfinished(call, None));
        }
        loop {
            let step = self.core().next_step(call)?;
            match step {
                Step::Done => break,
                Step::End { end, identity, version } => {
                    let ask = |way| requests::end(transactions, way, end, identity, version);
                    match self.ask(call, Asked::End, deadline, &transactions.coordinator, ask).await {
                        Ok((next, version)) => self.core().ended(next, version),
                        Err(_) if self.core().has_another_way() => {}
                        Err(error) => return Err(error),
                    }
                }
                Step::Renew(before) => {
                    let ask = |way| requests::identity(transactions, way, Some(before));
                    let asked =
                        self.ask(call, Asked::Identity, deadline, &transactions.coordinator, ask).await;
                    let (identity, version) = asked?;
                    self.core().renewed(identity, version);
                }
            }
        }
        shared.wake.notify_one();
        Ok(())
    }

    /// Asks a coordinator until it does what it is asked, or the error is one that trying again does not
    /// mend.
    async fn ask<T, F>(
        &self,
        call: &'static str,
        asked: Asked,
        deadline: Instant,
        coordinator: &Coordinator,
        attempt: impl Fn((Connection, Instant)) -> F + Send + Sync,
    ) -> Result<T, TransactionError>
    where
        T: Send,
        F: Future<Output = Result<T, Error>> + Send,
    {
        let may_repeat = |error: &Error| judge(asked, error) == Verdict::Retry;
        let attempt = |connection| attempt((connection, deadline));
        let error = match coordinator.ask(deadline, may_repeat, attempt).await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let verdict = judge(asked, &error);
        if verdict == Verdict::Retry {
            return Err(self.unfinished(call, Some(Box::new(error))));
        }
        let cause = Cause::from(error);
        let failure = {
            let mut core = self.core();
            core.judged(verdict, cause.clone());
            core.failure(call, cause)
        };
        // What has not left is of no use now.
        self.shared().wake.notify_one();
        Err(failure)
    }

    async fn turn(
        &self,
        call: &'static str,
        deadline: Instant,
    ) -> Result<tokio::sync::MutexGuard<'_, Turn>, TransactionError> {
        tokio::time::timeout_at(deadline, self.turn.lock()).await.map_err(|_| self.unfinished(call, None))
    }

    fn unfinished(&self, call: &'static str, last: Option<Box<Error>>) -> TransactionError {
        TransactionError::Unfinished { call, after: self.shared().config.max_block, last }
    }

    fn deadline(&self) -> Instant {
        seam::now() + self.shared().config.max_block
    }

    fn shared(&self) -> &Shared {
        &self.producer.owner.0
    }

    fn transactions(&self) -> &Transactions {
        let Some(transactions) = &self.shared().transactions else {
            unreachable!("it was started with transactions")
        };
        transactions
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.transactions().core()
    }
}

impl Turn {
    fn coordinator_of(&mut self, cluster: &Cluster, group: &Str) -> Arc<Coordinator> {
        match &self.group {
            Some(known) if known.key() == group => known.clone(),
            _ => {
                let of = Coordinator::new(cluster.clone(), Coordinated::Group, group.clone());
                self.group.insert(Arc::new(of)).clone()
            }
        }
    }
}
