//! InitProducerId: a producer begins with a transactional id, or continues after an error. KIP-98, KIP-360
//! (with producer id and epoch), KIP-890, KIP-939 (two-phase commit).

use std::time::Duration;

use ottla_coordinator::{Moment, Producer};
use ottla_wire::messages::{InitProducerIdRequest, InitProducerIdResponse};
use ottla_wire::primitives::Str;
use ottla_wire::{ProducerEpoch, ProducerId};

use crate::coordinator::{Out, TxnCoordinator, check_id};
use crate::error::{TxnError, code_of};
use crate::state::TxnState;
use crate::transaction::{EPOCH_MAX, NO_EPOCH, NO_TIMEOUT_MS, Transaction};

/// The first version whose clients know PRODUCER_FENCED.
const FENCED_SINCE: i16 = 4;

impl TxnCoordinator {
    /// Gives the producer its id and epoch. Their previous holder is fenced. Its open transaction is aborted
    /// first, and the caller must ask again.
    pub(crate) fn init_producer_id(
        &mut self,
        at: &Moment,
        request: &InitProducerIdRequest,
        out: &mut Out,
    ) -> Result<Producer, TxnError> {
        let id = request.transactional_id.as_ref().ok_or(TxnError::TransactionalId)?;
        let expected = expected_producer(request)?;
        check_id(id)?;
        let timeout_ms = self.check_timeout(request)?;
        let Some(transaction) = self.table.get(id) else {
            return self.new_transactional_id(at, id, timeout_ms, out);
        };
        if let TxnState::Prepare(_) = transaction.state {
            return Err(TxnError::Concurrent);
        }
        if expected.is_some_and(|expected| !may_go_on(transaction, expected)) {
            return Err(TxnError::Fenced);
        }
        if transaction.state == TxnState::Ongoing {
            self.abort_and_fence(at, id, out)?;
            return Err(TxnError::Concurrent);
        }
        self.next_producer(at, id, expected, timeout_ms, out)
    }

    fn check_timeout(&self, request: &InitProducerIdRequest) -> Result<i32, TxnError> {
        if request.enable2_pc && !self.config.two_phase_commit {
            return Err(TxnError::TwoPhaseDisabled);
        }
        if request.keep_prepared_txn {
            return Err(TxnError::KeepPrepared);
        }
        if request.enable2_pc {
            return Ok(NO_TIMEOUT_MS);
        }
        match u64::try_from(request.transaction_timeout_ms) {
            Ok(ms @ 1..) if Duration::from_millis(ms) <= self.config.timeout_max => {
                Ok(request.transaction_timeout_ms)
            }
            Ok(_) | Err(_) => Err(TxnError::Timeout),
        }
    }

    fn new_transactional_id(
        &mut self,
        at: &Moment,
        id: &Str,
        timeout_ms: i32,
        out: &mut Out,
    ) -> Result<Producer, TxnError> {
        if self.table.len() >= self.config.limits.transactional_ids_max {
            return Err(TxnError::TooManyIds);
        }
        let producer_id = self.ids.take().ok_or(TxnError::NoProducerId)?;
        let transaction = Transaction::new(producer_id, timeout_ms, at.wall);
        let producer = transaction.producer();
        self.change(at, id, transaction, out);
        Ok(producer)
    }

    /// Bumps the epoch of an id without an open transaction, or takes another producer id when epochs are
    /// used up. `expected` MUST have passed [`may_go_on`].
    fn next_producer(
        &mut self,
        at: &Moment,
        id: &Str,
        expected: Option<Producer>,
        timeout_ms: i32,
        out: &mut Out,
    ) -> Result<Producer, TxnError> {
        let transaction = self.table.get(id).ok_or(TxnError::NotFound)?;
        let current = transaction.producer();
        let (producer, last_epoch) = match expected.map(|expected| expected.epoch) {
            // The last epoch: this is a retry after a lost answer. That epoch is forgotten when another
            // producer begins.
            Some(epoch) if epoch != current.epoch => (current, epoch),
            Some(_) => (self.bump(current)?, current.epoch),
            None => (self.bump(current)?, NO_EPOCH),
        };
        let transaction = self.table.get(id).ok_or(TxnError::NotFound)?;
        let begun = transaction.begun(producer, last_epoch, timeout_ms, at.wall);
        self.change(at, id, begun, out);
        Ok(producer)
    }

    fn bump(&mut self, producer: Producer) -> Result<Producer, TxnError> {
        if producer.epoch < EPOCH_MAX {
            return Ok(Producer { epoch: ProducerEpoch(producer.epoch.0 + 1), ..producer });
        }
        let id = self.ids.take().ok_or(TxnError::NoProducerId)?;
        Ok(Producer { id, epoch: ProducerEpoch(0) })
    }
}

/// The producer that continues (KIP-360), or `None` if a new one begins.
fn expected_producer(request: &InitProducerIdRequest) -> Result<Option<Producer>, TxnError> {
    let (id, epoch) = (ProducerId(request.producer_id), ProducerEpoch(request.producer_epoch));
    match (id == ProducerId::NONE, epoch == NO_EPOCH) {
        (true, true) => Ok(None),
        (false, false) => Ok(Some(Producer { id, epoch })),
        (true, false) | (false, true) => Err(TxnError::HalfAProducer),
    }
}

/// Whether the caller is the producer of the id, and not a fenced one.
///
/// Kafka checks the epoch only if no transaction is open. There a fenced producer can abort the transaction
/// of its successor. Here it cannot.
fn may_go_on(transaction: &Transaction, expected: Producer) -> bool {
    let same = expected.id == transaction.producer_id;
    // Its epochs were used up, and it does not know its new id yet.
    let before = expected.id == transaction.previous_producer_id && expected.epoch >= EPOCH_MAX;
    let epoch = expected.epoch;
    (same || before) && (epoch == transaction.epoch || epoch == transaction.last_epoch)
}

pub(crate) fn response(version: i16, outcome: Result<Producer, TxnError>) -> InitProducerIdResponse {
    let error_code = code_of(&outcome, version, FENCED_SINCE);
    let none = Producer { id: ProducerId::NONE, epoch: NO_EPOCH };
    let producer = outcome.unwrap_or(none);
    InitProducerIdResponse {
        error_code,
        producer_id: producer.id.0,
        producer_epoch: producer.epoch.0,
        ..InitProducerIdResponse::default()
    }
}
