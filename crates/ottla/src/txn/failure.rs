//! Errors that are special to transactions, with what to do about them.

use ottla_client::Error;
use ottla_wire::protocol::ErrorCode;

use crate::exit::Failure;

/// The failure with what to do about it, where that is special to transactions.
pub fn failure_of(error: &Error) -> Failure {
    let failure = Failure::from(error.clone());
    match error.code() {
        Some(ErrorCode::TransactionalIdNotFound) => {
            failure.hint("`ottla txn list` shows the transactional ids")
        }
        Some(ErrorCode::InvalidProducerEpoch) => {
            failure.hint("the producer has another epoch by now: `ottla txn hanging` shows what there is")
        }
        Some(ErrorCode::TransactionCoordinatorFenced) => {
            failure.hint("a later coordinator has written there: `ottla txn hanging` shows its epoch")
        }
        Some(ErrorCode::ConcurrentTransactions) => {
            failure.hint("the transaction is just being ended; --timeout SECONDS waits longer")
        }
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use ottla_client::ApiError;

    use super::*;

    #[test]
    fn errors_say_where_to_look() {
        let cases = [
            (ErrorCode::TransactionalIdNotFound, "ottla txn list"),
            (ErrorCode::InvalidProducerEpoch, "ottla txn hanging"),
            (ErrorCode::TransactionCoordinatorFenced, "ottla txn hanging"),
            (ErrorCode::ConcurrentTransactions, "--timeout"),
            (ErrorCode::UnknownTopicOrPartition, "ottla topic list"),
        ];
        for (code, hint) in cases {
            let failure = failure_of(&Error::Api(ApiError { code, message: None }));
            assert!(failure.hint.clone().unwrap().contains(hint), "{failure:?}");
        }
    }
}
