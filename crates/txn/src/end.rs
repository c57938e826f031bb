//! EndTxn, and ends by the coordinator itself: transactions that take too long, and those of a fenced
//! producer. KIP-98, KIP-890.

use std::time::Duration;

use ottla_coordinator::{Moment, Producer};
use ottla_wire::messages::{EndTxnRequest, EndTxnResponse};
use ottla_wire::primitives::Str;
use ottla_wire::{ProducerEpoch, ProducerId};

use crate::coordinator::{Out, Timer, TxnCoordinator, check_id};
use crate::error::{TxnError, code_of};
use crate::state::{Outcome, TxnState};
use crate::transaction::{EPOCH_MAX, NO_EPOCH, Transaction};
use crate::version::TransactionVersion;

/// The first version whose clients know PRODUCER_FENCED.
const FENCED_SINCE: i16 = 2;

/// The pause before an abort without a producer id is tried again.
const TIMEOUT_RETRY: Duration = Duration::from_millis(500);

/// The effect of EndTxn on a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    End,
    /// It has already ended in this way, and the answer was lost.
    Repeated,
}

impl TxnCoordinator {
    /// Decides the outcome. Returns the producer of the next transaction; clients before version 2 get none.
    pub(crate) fn end_txn(
        &mut self,
        at: &Moment,
        version: i16,
        request: &EndTxnRequest,
        out: &mut Out,
    ) -> Result<Producer, TxnError> {
        let id = &request.transactional_id;
        check_id(id)?;
        let transaction = self.table.get(id).ok_or(TxnError::ProducerIdMapping)?;
        let producer =
            Producer { id: ProducerId(request.producer_id), epoch: ProducerEpoch(request.producer_epoch) };
        let outcome = Outcome::of(request.committed);
        let client = TransactionVersion::of_end_txn(version);
        let step = if client.bumps_epochs() {
            step_v2(transaction, producer, outcome)?
        } else {
            step_v1(transaction, producer, outcome)?
        };
        let producer = match step {
            // The epoch that fences belongs to nobody. A client that had it would write with an epoch that no
            // marker can exceed.
            Step::Repeated if transaction.epoch > EPOCH_MAX => return Err(TxnError::Fenced),
            Step::Repeated => transaction.producer(),
            Step::End => self.end(at, id, outcome, client, out)?,
        };
        Ok(if client.bumps_epochs() { producer } else { Producer { id: ProducerId::NONE, epoch: NO_EPOCH } })
    }

    fn end(
        &mut self,
        at: &Moment,
        id: &Str,
        outcome: Outcome,
        client: TransactionVersion,
        out: &mut Out,
    ) -> Result<Producer, TxnError> {
        let transaction = self.table.get(id).ok_or(TxnError::ProducerIdMapping)?;
        // A transaction from before the level was lowered may end.
        let serves = self.config.transaction_version.serves_v2() || transaction.client.bumps_epochs();
        if client.bumps_epochs() && !(serves && self.can_record_bump(transaction)) {
            return Err(TxnError::UnservedVersion);
        }
        let next = self.next_id(id, client)?;
        let transaction = self.table.get(id).ok_or(TxnError::ProducerIdMapping)?;
        let ended = transaction.ended(outcome, client, next, at.wall);
        let producer = ended.producer_at_completion();
        self.change(at, id, ended, out);
        self.begin_markers(at, id, out);
        Ok(producer)
    }

    /// Aborts an open transaction and fences its producer, by the newer of two rules: the finalized version's
    /// and its client's. A client of version 2 continues with the epoch that fenced it. So a late marker with
    /// that epoch must not be taken for one of the next transaction.
    pub(crate) fn abort_and_fence(&mut self, at: &Moment, id: &Str, out: &mut Out) -> Result<(), TxnError> {
        let transaction = self.table.get(id).ok_or(TxnError::NotFound)?;
        let server = self.config.transaction_version;
        let rules = if self.can_record_bump(transaction) { server.max(transaction.client) } else { server };
        let next = self.next_id(id, rules)?;
        let transaction = self.table.get(id).ok_or(TxnError::NotFound)?;
        let fenced = transaction.fenced(rules, next, at.wall);
        self.change(at, id, fenced, out);
        self.begin_markers(at, id, out);
        Ok(())
    }

    /// An open transaction is too old.
    pub(crate) fn time_out(&mut self, at: &Moment, id: &Str, out: &mut Out) {
        match self.table.get(id).map(|transaction| transaction.state) {
            Some(TxnState::Ongoing) => {}
            Some(TxnState::Empty | TxnState::Prepare(_) | TxnState::Complete(_)) | None => return,
        }
        if self.abort_and_fence(at, id, out).is_err() {
            self.timers.set(Timer::Timeout(id.clone()), at.now + TIMEOUT_RETRY);
        }
    }

    /// Whether a record can hold the result of an end by version 2. Those of level 0 cannot name another
    /// producer id.
    fn can_record_bump(&self, transaction: &Transaction) -> bool {
        self.config.transaction_version.serves_v2() || !transaction.is_epoch_exhausted()
    }

    /// The producer id after an end. It is another one if the bump of the epoch uses up the present one.
    fn next_id(&mut self, id: &str, version: TransactionVersion) -> Result<ProducerId, TxnError> {
        let exhausted = self.table.get(id).is_some_and(Transaction::is_epoch_exhausted);
        if version.bumps_epochs() && exhausted {
            return self.ids.take().ok_or(TxnError::NoProducerId);
        }
        Ok(ProducerId::NONE)
    }
}

/// Before version 2 the epoch stays, so a repeated EndTxn looks like the first.
fn step_v1(transaction: &Transaction, producer: Producer, outcome: Outcome) -> Result<Step, TxnError> {
    if producer.id != transaction.producer_id {
        return Err(TxnError::ProducerIdMapping);
    }
    if producer.epoch != transaction.epoch {
        return Err(TxnError::Fenced);
    }
    match transaction.state {
        TxnState::Ongoing => Ok(Step::End),
        TxnState::Prepare(_) => Err(TxnError::Concurrent),
        TxnState::Complete(was) if was == outcome => Ok(Step::Repeated),
        TxnState::Complete(_) | TxnState::Empty => Err(TxnError::State),
    }
}

/// In version 2 the epoch distinguishes a repeated EndTxn (one less than now) from the end of the next
/// transaction. A transaction without partitions can be aborted, because a Produce request that adds some may
/// be in flight.
fn step_v2(transaction: &Transaction, producer: Producer, outcome: Outcome) -> Result<Step, TxnError> {
    // The last epoch was bumped, which gave another producer id.
    let overflowed = producer.id == transaction.previous_producer_id
        && producer.epoch == EPOCH_MAX
        && transaction.epoch == ProducerEpoch(0);
    let same = producer.id == transaction.producer_id;
    if !same && !overflowed {
        return Err(TxnError::ProducerIdMapping);
    }
    let repeated = overflowed || i32::from(transaction.epoch.0) == i32::from(producer.epoch.0) + 1;
    let current = same && producer.epoch == transaction.epoch;
    match transaction.state {
        // Checked before the epoch, because the producer after the end may ask already (KAFKA-18464).
        TxnState::Prepare(_) => Err(TxnError::Concurrent),
        TxnState::Complete(was) if repeated && was == outcome => Ok(Step::Repeated),
        TxnState::Complete(_) if repeated => Err(TxnError::State),
        TxnState::Complete(_) | TxnState::Empty | TxnState::Ongoing if !current => Err(TxnError::Fenced),
        TxnState::Ongoing => Ok(Step::End),
        TxnState::Empty | TxnState::Complete(_) => match outcome {
            Outcome::Abort => Ok(Step::End),
            Outcome::Commit => Err(TxnError::State),
        },
    }
}

pub(crate) fn response(version: i16, outcome: Result<Producer, TxnError>) -> EndTxnResponse {
    let error_code = code_of(&outcome, version, FENCED_SINCE);
    let none = Producer { id: ProducerId::NONE, epoch: NO_EPOCH };
    let producer = outcome.unwrap_or(none);
    EndTxnResponse {
        error_code,
        producer_id: producer.id.0,
        producer_epoch: producer.epoch.0,
        ..EndTxnResponse::default()
    }
}
