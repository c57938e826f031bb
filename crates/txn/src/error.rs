//! Why a request is refused, and the code that says so.

use ottla_wire::ErrorCode;

use crate::config::ID_BYTES_MAX;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TxnError {
    #[error("a transactional id has 1 to {ID_BYTES_MAX} bytes")]
    TransactionalId,
    #[error("producer id and epoch are given together or not at all")]
    HalfAProducer,
    #[error("the transaction timeout must be above 0 and at most transaction.max.timeout.ms")]
    Timeout,
    #[error("two-phase commit is off on this broker: set transaction.two.phase.commit.enable")]
    TwoPhaseDisabled,
    #[error("a prepared transaction cannot be kept: that part of KIP-939 is not in Kafka 4.3")]
    KeepPrepared,
    #[error("the transactional id belongs to another producer id, or expired")]
    ProducerIdMapping,
    #[error("a newer producer with this transactional id is at work")]
    Fenced,
    #[error("an earlier transaction of this id is still being completed; try again")]
    Concurrent,
    #[error("the transaction does not stand where this could be done")]
    State,
    #[error("the partition is not part of the transaction: abort it")]
    NotInTransaction,
    #[error(
        "the client speaks transaction version 2, which needs the feature transaction.version at level 1 or above"
    )]
    UnservedVersion,
    #[error("nothing is known of this transactional id")]
    NotFound,
    #[error("no producer id is at hand; try again")]
    NoProducerId,
    #[error("this coordinator keeps as many transactional ids as it can")]
    TooManyIds,
    #[error("the transaction has as many partitions as it can")]
    TooManyPartitions,
    #[error("the pattern for transactional ids is not a regular expression, or too large a one")]
    Pattern,
}

impl TxnError {
    pub fn code(self) -> ErrorCode {
        match self {
            TxnError::TransactionalId | TxnError::HalfAProducer => ErrorCode::InvalidRequest,
            TxnError::Timeout => ErrorCode::InvalidTransactionTimeout,
            TxnError::TwoPhaseDisabled => ErrorCode::TransactionalIdAuthorizationFailed,
            TxnError::KeepPrepared | TxnError::UnservedVersion => ErrorCode::UnsupportedVersion,
            TxnError::ProducerIdMapping => ErrorCode::InvalidProducerIdMapping,
            TxnError::Fenced => ErrorCode::ProducerFenced,
            TxnError::Concurrent => ErrorCode::ConcurrentTransactions,
            TxnError::State => ErrorCode::InvalidTxnState,
            TxnError::NotInTransaction => ErrorCode::TransactionAbortable,
            TxnError::NotFound => ErrorCode::TransactionalIdNotFound,
            TxnError::NoProducerId => ErrorCode::CoordinatorLoadInProgress,
            // Not to be retried: an administrator must act.
            TxnError::TooManyIds | TxnError::TooManyPartitions => ErrorCode::PolicyViolation,
            TxnError::Pattern => ErrorCode::InvalidRegularExpression,
        }
    }

    /// For APIs whose older versions do not know PRODUCER_FENCED: `since` is the first that does.
    pub fn code_at(self, version: i16, since: i16) -> ErrorCode {
        match self.code() {
            ErrorCode::ProducerFenced if version < since => ErrorCode::InvalidProducerEpoch,
            code => code,
        }
    }
}

/// The code of a response.
pub(crate) fn code_of<T>(outcome: &Result<T, TxnError>, version: i16, since: i16) -> i16 {
    match outcome {
        Ok(_) => ErrorCode::None.code(),
        Err(why) => why.code_at(version, since).code(),
    }
}
