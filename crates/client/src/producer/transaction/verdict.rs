//! What an error means for a transaction. Pure.

use ottla_wire::protocol::ErrorCode;

use crate::error::{Error, LinkError};
use crate::producer::record::ProduceError;

/// What was asked for when the error came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::producer) enum Asked {
    /// InitProducerId.
    Identity,
    /// AddPartitionsToTxn.
    AddPartitions,
    /// AddOffsetsToTxn.
    AddOffsets,
    /// TxnOffsetCommit.
    CommitOffsets,
    /// EndTxn.
    End,
    /// Produce; the producer has given the batch up.
    Produce,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::producer) enum Verdict {
    /// Ask again, after a while.
    Retry,
    /// The transaction can only be aborted.
    Abort,
    /// Likewise; and in transaction version 1 the next one needs another epoch, since the broker may have
    /// numbers that this producer does not know of, or the other way round.
    AbortAndRenew,
    /// The coordinator has forgotten the producer, and would not even end the transaction: get another
    /// identity.
    Forgotten,
    /// The producer cannot go on.
    Fatal,
}

/// Judges an error.
pub(in crate::producer) fn judge(asked: Asked, error: &Error) -> Verdict {
    let verdict = match error.code() {
        Some(code) => judge_code(asked, code),
        None if error.is_retriable() => Verdict::Retry,
        None if matches!(error, Error::Link(LinkError::UnsupportedVersion { .. })) => Verdict::Fatal,
        None => match asked {
            // What cannot be sent to a partition says nothing of the producer.
            Asked::Produce => Verdict::AbortAndRenew,
            Asked::Identity
            | Asked::AddPartitions
            | Asked::AddOffsets
            | Asked::CommitOffsets
            | Asked::End => Verdict::Fatal,
        },
    };
    match (asked, verdict) {
        // It was tried again for as long as that was of use.
        (Asked::Produce, Verdict::Retry) => Verdict::AbortAndRenew,
        (_, verdict) => verdict,
    }
}

/// What a record that was not stored means for its transaction.
pub(in crate::producer) fn verdict_on(error: &ProduceError) -> Verdict {
    match error {
        ProduceError::Refused(error) | ProduceError::RefusedWithOthers(error) => {
            judge(Asked::Produce, &Error::Api(error.clone()))
        }
        ProduceError::NotSent(error) => judge(Asked::Produce, error),
        ProduceError::Closed | ProduceError::Failed(_) => Verdict::Fatal,
        ProduceError::TooLarge { .. }
        | ProduceError::BufferFull { .. }
        | ProduceError::Expired { .. }
        | ProduceError::OutcomeUnknown { .. }
        | ProduceError::Unencodable(_)
        | ProduceError::Aborted => Verdict::AbortAndRenew,
    }
}

fn judge_code(asked: Asked, code: ErrorCode) -> Verdict {
    match code {
        code if code.is_retriable() => Verdict::Retry,
        ErrorCode::TransactionalIdAuthorizationFailed
        | ErrorCode::ClusterAuthorizationFailed
        | ErrorCode::UnsupportedVersion
        | ErrorCode::UnsupportedForMessageFormat
        | ErrorCode::ProducerFenced => Verdict::Fatal,
        // A partition does not know whether the epoch has passed for good; the coordinator does, and says so
        // at the abort.
        ErrorCode::InvalidProducerEpoch if asked == Asked::Produce => Verdict::AbortAndRenew,
        ErrorCode::InvalidProducerEpoch => Verdict::Fatal,
        code => match asked {
            Asked::Identity => Verdict::Fatal,
            Asked::Produce => match code {
                ErrorCode::InvalidProducerIdMapping => Verdict::Fatal,
                _ => Verdict::AbortAndRenew,
            },
            Asked::AddPartitions => match code {
                ErrorCode::InvalidProducerIdMapping => Verdict::Forgotten,
                ErrorCode::UnknownProducerId => Verdict::AbortAndRenew,
                ErrorCode::InvalidTxnState => Verdict::Fatal,
                // One of the partitions: TOPIC_AUTHORIZATION_FAILED, OPERATION_NOT_ATTEMPTED for the others,
                // and so on.
                _ => Verdict::Abort,
            },
            Asked::AddOffsets | Asked::CommitOffsets => match code {
                ErrorCode::InvalidProducerIdMapping => Verdict::Forgotten,
                ErrorCode::UnknownProducerId => Verdict::AbortAndRenew,
                _ if is_of_group(code) => Verdict::Abort,
                _ => Verdict::Fatal,
            },
            Asked::End => match code {
                ErrorCode::InvalidProducerIdMapping | ErrorCode::UnknownProducerId => Verdict::Forgotten,
                ErrorCode::TransactionAbortable => Verdict::Abort,
                _ => Verdict::Fatal,
            },
        },
    }
}

/// Errors that end this transaction but not the producer: another member has what this one had, or the
/// offsets are wrong.
fn is_of_group(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::TransactionAbortable
            | ErrorCode::GroupAuthorizationFailed
            | ErrorCode::TopicAuthorizationFailed
            | ErrorCode::FencedInstanceId
            | ErrorCode::UnknownMemberId
            | ErrorCode::IllegalGeneration
            | ErrorCode::StaleMemberEpoch
            | ErrorCode::RebalanceInProgress
            | ErrorCode::OffsetMetadataTooLarge
            | ErrorCode::InvalidCommitOffsetSize
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ApiError;

    #[test]
    fn each_error_has_its_meaning() {
        use Asked::*;
        use ErrorCode as E;
        use Verdict::*;
        const COORDINATED: [Asked; 5] = [Identity, AddPartitions, AddOffsets, CommitOffsets, End];
        let everywhere = [
            (E::ConcurrentTransactions, Retry),
            (E::CoordinatorLoadInProgress, Retry),
            (E::CoordinatorNotAvailable, Retry),
            (E::NotCoordinator, Retry),
            (E::RequestTimedOut, Retry),
            (E::UnknownTopicOrPartition, Retry),
            (E::ProducerFenced, Fatal),
            (E::InvalidProducerEpoch, Fatal),
            (E::TransactionalIdAuthorizationFailed, Fatal),
            (E::UnsupportedVersion, Fatal),
        ];
        let cases = [
            (Identity, E::InvalidTransactionTimeout, Fatal),
            (AddPartitions, E::TransactionAbortable, Abort),
            (AddPartitions, E::TopicAuthorizationFailed, Abort),
            (AddPartitions, E::OperationNotAttempted, Abort),
            (AddPartitions, E::InvalidTxnState, Fatal),
            (AddPartitions, E::InvalidProducerIdMapping, Forgotten),
            (AddOffsets, E::GroupAuthorizationFailed, Abort),
            (AddOffsets, E::InvalidTxnState, Fatal),
            (CommitOffsets, E::IllegalGeneration, Abort),
            (CommitOffsets, E::UnknownMemberId, Abort),
            (CommitOffsets, E::FencedInstanceId, Abort),
            (CommitOffsets, E::UnsupportedForMessageFormat, Fatal),
            (End, E::TransactionAbortable, Abort),
            (End, E::UnknownProducerId, Forgotten),
            (End, E::InvalidProducerIdMapping, Forgotten),
            (End, E::InvalidTxnState, Fatal),
            (Produce, E::TransactionAbortable, AbortAndRenew),
            (Produce, E::InvalidProducerEpoch, AbortAndRenew),
            (Produce, E::NotEnoughReplicas, AbortAndRenew),
            (Produce, E::MessageTooLarge, AbortAndRenew),
            (Produce, E::InvalidTxnState, AbortAndRenew),
            (Produce, E::InvalidProducerIdMapping, Fatal),
            (Produce, E::ProducerFenced, Fatal),
        ];
        let everywhere = everywhere
            .into_iter()
            .flat_map(|(code, verdict)| COORDINATED.map(|asked| (asked, code, verdict)));
        for (asked, code, verdict) in everywhere.chain(cases) {
            assert_eq!(
                judge(asked, &Error::Api(ApiError { code, message: None })),
                verdict,
                "{asked:?} {code:?}"
            );
        }
        let lost = Error::Waited { what: "x", after: std::time::Duration::ZERO };
        assert_eq!((judge(End, &lost), judge(Produce, &lost)), (Retry, AbortAndRenew));
        let config = Error::Config { name: "x", value: String::new(), reason: "x" };
        assert_eq!((judge(End, &config), judge(Produce, &config)), (Fatal, AbortAndRenew));
    }
}
