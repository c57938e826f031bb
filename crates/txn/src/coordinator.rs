//! The coordinator: dispatch of requests, records and timers.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ottla_coordinator::{Coordinator, Moment, Output, Producer, Record, ReplayError, Ticket, Timers};
use ottla_wire::primitives::Str;
use ottla_wire::{Instant, LeaderEpoch, Offset, ProducerId, Timestamp};

use crate::config::{ID_BYTES_MAX, TxnConfig};
use crate::error::TxnError;
use crate::markers::Ending;
use crate::producer_ids::ProducerIds;
use crate::record::{self, TxnRecord};
use crate::request::{AddGroup, Call, Outbound, Request, Response};
use crate::state::TxnState;
use crate::table::{Facts, Table};
use crate::transaction::Transaction;
use crate::{describe, end, init, partitions};

/// Requests that may wait for a producer id; more are told to try again.
pub const WAITING_MAX: usize = 1024;

/// What is due at a deadline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// An open transaction is aborted.
    Timeout(Str),
    /// Markers that could not be written are asked for again.
    Markers(Str),
    /// Ids that nobody uses any more are forgotten.
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
    waiting: VecDeque<(Ticket, Call)>,
}

pub(crate) type Out = Output<Outbound>;

impl TxnCoordinator {
    /// `epoch` is the leader epoch of the partition: partitions know by it which coordinator of an id is the newest.
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

    /// The partition has another leader epoch, led by the same broker.
    pub fn set_epoch(&mut self, epoch: LeaderEpoch) {
        self.epoch = epoch;
    }

    /// Every transactional id with what is known of it.
    pub fn transactions(&self) -> impl Iterator<Item = (&Str, &Transaction)> {
        self.table.iter()
    }

    /// For metrics.
    pub fn facts(&self) -> Facts {
        self.table.facts()
    }

    /// Producer ids that [`Outbound::WantProducerIds`] asked for. None at all says that there are none to be had now:
    /// requests that wait for one are told to try again.
    pub fn producer_ids(&mut self, at: &Moment, ids: impl IntoIterator<Item = ProducerId>, out: &mut Out) {
        self.ids.supply(ids);
        let none = self.ids.is_empty();
        while none || !self.ids.is_empty() {
            let Some((ticket, call)) = self.waiting.pop_front() else { break };
            if let Some(response) = self.serve(at, &call, false, out) {
                out.send(Outbound::Reply { to: ticket, response });
            }
        }
        if !none {
            self.ask_for_ids(out);
        }
    }

    /// The answer; `None` if the request must wait for a producer id.
    fn serve(&mut self, at: &Moment, call: &Call, may_wait: bool, out: &mut Out) -> Option<Response> {
        let version = call.version;
        let response = match &call.request {
            Request::InitProducerId(request) => {
                let outcome = self.init_producer_id(at, request, out);
                if may_wait && outcome == Err(TxnError::NoProducerId) {
                    return None;
                }
                Response::InitProducerId(init::response(version, outcome))
            }
            Request::AddPartitionsToTxn(request) => {
                Response::AddPartitionsToTxn(self.add_partitions_to_txn(at, version, request, out))
            }
            Request::AddOffsetsToTxn(AddGroup { request, partition }) => {
                let outcome = self.add_offsets_to_txn(at, request, *partition, out);
                Response::AddOffsetsToTxn(partitions::offsets_response(version, outcome))
            }
            Request::EndTxn(request) => {
                let outcome = self.end_txn(at, version, request, out);
                if may_wait && outcome == Err(TxnError::NoProducerId) {
                    return None;
                }
                Response::EndTxn(end::response(version, outcome))
            }
            Request::DescribeTransaction(id) => {
                Response::DescribeTransaction(describe::describe(&self.table, id))
            }
            Request::ListTransactions(request) => {
                Response::ListTransactions(describe::list(&self.table, at.wall, request))
            }
        };
        Some(response)
    }

    /// Takes over what a transactional id has become, writes it, and sets what is due.
    pub(crate) fn change(&mut self, at: &Moment, id: &Str, transaction: Transaction, out: &mut Out) {
        let record = record::set(id, &transaction, self.config.transaction_version);
        self.change_as(at, id, transaction, record, out);
    }

    /// The same, for who has made the record.
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

    /// An open transaction is aborted when it is too old. Its age is that of its record; what is left is waited for by the
    /// monotonic clock.
    pub(crate) fn set_timeout(&mut self, at: &Moment, id: &Str) {
        let timer = Timer::Timeout(id.detached());
        match self.table.get(id).and_then(Transaction::deadline) {
            // Kafka aborts what is older than its timeout.
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

impl Coordinator for TxnCoordinator {
    type Request = Call;
    type Outbound = Outbound;

    fn handle(&mut self, at: &Moment, ticket: Ticket, call: Call, out: &mut Out) {
        let may_wait = self.waiting.len() < WAITING_MAX;
        match self.serve(at, &call, may_wait, out) {
            Some(response) => out.send(Outbound::Reply { to: ticket, response }),
            None => self.waiting.push_back((ticket, call)),
        }
        self.ask_for_ids(out);
    }

    fn only_reads(call: &Call) -> bool {
        match &call.request {
            Request::DescribeTransaction(_) | Request::ListTransactions(_) => true,
            Request::AddPartitionsToTxn(request) => request.verify_only,
            Request::InitProducerId(_) | Request::AddOffsetsToTxn(_) | Request::EndTxn(_) => false,
        }
    }

    fn tick(&mut self, at: &Moment, out: &mut Out) {
        // Each timer does a bounded amount of work; a tick takes so many of them.
        for _ in 0..TIMERS_PER_TICK_MAX {
            match self.timers.pop_due(at.now) {
                Some(Timer::Timeout(id)) => self.time_out(at, &id, out),
                Some(Timer::Markers(id)) => self.send_markers(at, &id, out),
                Some(Timer::Expiry) => self.expire(at, out),
                None => break,
            }
        }
        self.ask_for_ids(out);
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    fn replay(
        &mut self,
        _offset: Offset,
        producer: Option<Producer>,
        record: Record,
    ) -> Result<(), ReplayError> {
        if producer.is_some() {
            return Err(ReplayError::Contradiction("a transaction in __transaction_state".to_owned()));
        }
        let TxnRecord { transactional_id, transaction } = TxnRecord::decode(record)?;
        match transaction {
            Some(transaction) => self.table.put(&transactional_id, transaction),
            None => {
                self.table.remove(&transactional_id);
            }
        }
        Ok(())
    }

    /// Nothing: this log holds no transactions of producers.
    fn end_transaction(&mut self, _producer: Producer, _commit: bool) {}

    fn start(&mut self, at: &Moment, out: &mut Out) {
        for id in self.table.open_ids() {
            match self.table.get(&id).map(|transaction| transaction.state) {
                // Whether markers were written, and whether who was asked will answer, is not known any more.
                Some(TxnState::Prepare(_)) => self.begin_markers(at, &id, out),
                Some(TxnState::Ongoing | TxnState::Empty | TxnState::Complete(_)) | None => {
                    self.set_timeout(at, &id)
                }
            }
        }
        self.timers.set(Timer::Expiry, at.now + self.config.expiry_interval);
        self.ids.forget_asking();
        self.ask_for_ids(out);
    }
}

/// Timers that one tick takes: the rest is due at once.
pub const TIMERS_PER_TICK_MAX: usize = 1000;

/// Time from `now` on; none if `then` has passed.
fn until(now: Timestamp, then: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(then.0.saturating_sub(now.0)).unwrap_or(0))
}

/// What a client may call a transaction.
pub(crate) fn check_id(transactional_id: &str) -> Result<(), TxnError> {
    if transactional_id.is_empty() || transactional_id.len() > ID_BYTES_MAX {
        return Err(TxnError::TransactionalId);
    }
    Ok(())
}
