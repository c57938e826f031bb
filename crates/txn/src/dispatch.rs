//! The frame's input: requests, records, timers, and requested producer ids.

use ottla_coordinator::{Coordinator, Moment, Producer, Record, ReplayError, Ticket};
use ottla_wire::{Instant, Offset, ProducerId};

use crate::coordinator::{Out, Timer, TxnCoordinator};
use crate::error::TxnError;
use crate::record::TxnRecord;
use crate::request::{AddGroup, Call, Outbound, Request, Response};
use crate::state::TxnState;
use crate::{describe, end, init, partitions};

/// The most requests that may wait for a producer id. Further ones are refused, and their clients try again.
pub const WAITING_MAX: usize = 1024;

/// The most timers of one tick. The rest is due at once.
pub const TIMERS_PER_TICK_MAX: usize = 1000;

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
        // Each timer does a bounded amount of work, and a tick takes a bounded number.
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

    /// Nothing to do: this log holds no transactions of producers.
    fn end_transaction(&mut self, _producer: Producer, _commit: bool) {}

    fn start(&mut self, at: &Moment, out: &mut Out) {
        for id in self.table.open_ids() {
            match self.table.get(&id).map(|transaction| transaction.state) {
                // It is unknown which markers were written, and whether answers are still to come.
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

impl TxnCoordinator {
    /// Takes in the producer ids requested by [`Outbound::WantProducerIds`]. None at all means that there are
    /// none now. Waiting requests are then refused, and their clients try again.
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

    /// The answer, or `None` if the request must wait for a producer id.
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
}
