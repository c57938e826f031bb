//! The coordinator: its state, and how a transaction changes.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ottla_coordinator::{Moment, Output, Record, Ticket, Timers};
use ottla_wire::primitives::Str;
use ottla_wire::{LeaderEpoch, Timestamp};

use crate::config::{ID_BYTES_MAX, TxnConfig};
use crate::ending::Ending;
use crate::error::TxnError;
use crate::producer_ids::ProducerIds;
use crate::record;
use crate::request::{Call, Outbound};
use crate::table::{Facts, Table};
use crate::transaction::Transaction;

/// What is due at a deadline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// An open transaction is aborted.
    Timeout(Str),
    /// Markers that could not be written are asked for again.
    Markers(Str),
    /// Unused ids are forgotten.
    Expiry,
}

/// The transactional ids of one partition of `__transaction_state`.
#[derive(Debug)]
pub struct TxnCoordinator {
    pub(crate) config: TxnConfig,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) table: Table,
    pub(crate) timers: Timers<Timer>,
    /// Transactions whose markers are being written.
    pub(crate) endings: BTreeMap<Str, Ending>,
    pub(crate) ids: ProducerIds,
    /// Requests that wait for a producer id, oldest first.
    pub(crate) waiting: VecDeque<(Ticket, Call)>,
}

pub(crate) type Out = Output<Outbound>;

impl TxnCoordinator {
    /// `epoch` is the leader epoch of the partition. By it partitions know which coordinator of an id is the
    /// newest.
    pub fn new(config: TxnConfig, epoch: LeaderEpoch) -> TxnCoordinator {
        TxnCoordinator {
            config,
            epoch,
            table: Table::default(),
            timers: Timers::default(),
            endings: BTreeMap::new(),
            ids: ProducerIds::default(),
            waiting: VecDeque::new(),
        }
    }

    /// Settings have changed, or the finalized `transaction.version`.
    pub fn set_config(&mut self, config: TxnConfig) {
        self.config = config;
    }

    /// Every transactional id and its state.
    pub fn transactions(&self) -> impl Iterator<Item = (&Str, &Transaction)> {
        self.table.iter()
    }

    /// For metrics.
    pub fn facts(&self) -> Facts {
        self.table.facts()
    }

    /// Takes over the new state of a transactional id, writes it, and sets the next deadline.
    pub(crate) fn change(&mut self, at: &Moment, id: &Str, transaction: Transaction, out: &mut Out) {
        let record = record::set(id, &transaction, self.config.transaction_version);
        self.change_as(at, id, transaction, record, out);
    }

    /// The same, with a given record.
    pub(crate) fn change_as(
        &mut self,
        at: &Moment,
        id: &Str,
        transaction: Transaction,
        record: Record,
        out: &mut Out,
    ) {
        out.write(record);
        self.table.put(id, transaction);
        self.set_timeout(at, id);
    }

    /// Sets the deadline at which an open transaction is aborted. Its age is that of its record; the
    /// monotonic clock measures the rest.
    pub(crate) fn set_timeout(&mut self, at: &Moment, id: &Str) {
        let timer = Timer::Timeout(id.detached());
        match self.table.get(id).and_then(Transaction::deadline) {
            // Kafka aborts transactions that are older than their timeout.
            Some(deadline) => {
                self.timers.set(timer, at.now + until(at.wall, deadline) + Duration::from_millis(1));
            }
            None => self.timers.cancel(&timer),
        }
    }

    pub(crate) fn ask_for_ids(&mut self, out: &mut Out) {
        if let Some(count) = self.ids.ask(self.waiting.len()) {
            out.send(Outbound::WantProducerIds { count });
        }
    }
}

/// The time from `now` to `then`, or zero if `then` has passed.
fn until(now: Timestamp, then: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(then.0.saturating_sub(now.0)).unwrap_or(0))
}

/// Checks a transactional id from a client.
pub(crate) fn check_id(transactional_id: &str) -> Result<(), TxnError> {
    if transactional_id.is_empty() || transactional_id.len() > ID_BYTES_MAX {
        return Err(TxnError::TransactionalId);
    }
    Ok(())
}
