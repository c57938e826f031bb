//! Why something was not done, and the Kafka code that says so.

use ottla_wire::protocol::ErrorCode;
use ottla_wire::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};

/// Why a batch was not appended, or not acknowledged. All but [`AppendError::TimedOut`],
/// [`AppendError::NotEnoughReplicasAfterAppend`], and what a leader says when it loses its place
/// ([`AppendError::NotLeader`], [`AppendError::Storage`]) mean that the batch is not in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("this broker does not lead the partition; refresh the metadata and send to the leader")]
    NotLeader,
    #[error("the leader epoch is {current}, not {expected}")]
    StaleEpoch { expected: LeaderEpoch, current: LeaderEpoch },
    #[error(
        "{in_sync} replicas are in sync and min.insync.replicas asks for {required}; retry when replicas are back"
    )]
    NotEnoughReplicas { in_sync: u32, required: u32 },
    #[error(
        "appended, but only {in_sync} of the {required} replicas that min.insync.replicas asks for are in sync"
    )]
    NotEnoughReplicasAfterAppend { in_sync: u32, required: u32 },
    #[error("not acknowledged in time; the batch may be in the log or not")]
    TimedOut,
    #[error("{limit} acknowledgements wait already; retry later")]
    TooManyWaiters { limit: usize },
    #[error("{limit} producers have transactions open already; retry later")]
    TooManyProducers { limit: usize },
    #[error("the log directory of this partition has failed; another replica must lead")]
    Storage,
    #[error("the disk of this broker is full; nothing was appended; retry when there is room")]
    NoRoom,
    #[error("sequence {found} of producer {producer} does not follow {last}")]
    OutOfOrderSequence { producer: ProducerId, found: Sequence, last: Sequence },
    #[error("sequence {found} of producer {producer} was appended before, too long ago to tell its offset")]
    DuplicateSequence { producer: ProducerId, found: Sequence },
    #[error("{}", stale_producer_epoch(.producer, .found, .current))]
    InvalidProducerEpoch { producer: ProducerId, found: ProducerEpoch, current: ProducerEpoch },
    #[error("coordinator epoch {found} for producer {producer} is older than {current}")]
    CoordinatorFenced { producer: ProducerId, found: i32, current: i32 },
    #[error("producer {producer} wrote outside of a transaction while one is open")]
    NotTransactional { producer: ProducerId },
    #[error("producer {producer} wrote to a transaction that this partition was not added to")]
    NotVerified { producer: ProducerId },
    #[error("the batch is larger than what is left of the offsets of this partition")]
    OffsetsExhausted,
}

impl From<AppendError> for ErrorCode {
    fn from(error: AppendError) -> ErrorCode {
        match error {
            AppendError::NotLeader | AppendError::StaleEpoch { .. } => ErrorCode::NotLeaderOrFollower,
            // Clients of any age retry it, and know that nothing was appended.
            AppendError::NotEnoughReplicas { .. }
            | AppendError::TooManyWaiters { .. }
            | AppendError::TooManyProducers { .. }
            // KAFKA_STORAGE_ERROR is for a disk that has failed, and some clients lose what gets it.
            | AppendError::NoRoom => ErrorCode::NotEnoughReplicas,
            AppendError::NotEnoughReplicasAfterAppend { .. } => ErrorCode::NotEnoughReplicasAfterAppend,
            AppendError::TimedOut => ErrorCode::RequestTimedOut,
            AppendError::Storage => ErrorCode::KafkaStorageError,
            AppendError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
            AppendError::DuplicateSequence { .. } => ErrorCode::DuplicateSequenceNumber,
            AppendError::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            AppendError::CoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
            AppendError::NotTransactional { .. } | AppendError::NotVerified { .. } => {
                ErrorCode::InvalidTxnState
            }
            AppendError::OffsetsExhausted => ErrorCode::UnknownServerError,
        }
    }
}

/// Why records were not deleted, or not known to be deleted everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteError {
    #[error("this broker does not lead the partition; refresh the metadata and send to the leader")]
    NotLeader,
    #[error("offset {asked} is not between 0 and the high watermark {high_watermark}")]
    OffsetOutOfRange { asked: Offset, high_watermark: Offset },
    #[error("cleanup.policy does not contain delete")]
    Policy,
    #[error("some replicas have not deleted the records yet")]
    TimedOut,
    #[error("{limit} deletions wait already; retry later")]
    TooManyWaiters { limit: usize },
    #[error("the log directory of this partition has failed; another replica must lead")]
    Storage,
}

impl From<DeleteError> for ErrorCode {
    fn from(error: DeleteError) -> ErrorCode {
        match error {
            DeleteError::NotLeader => ErrorCode::NotLeaderOrFollower,
            DeleteError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            DeleteError::Policy => ErrorCode::PolicyViolation,
            // The start of the leader's log is not moved for a request that is refused: it can be sent again.
            DeleteError::TimedOut | DeleteError::TooManyWaiters { .. } => ErrorCode::RequestTimedOut,
            DeleteError::Storage => ErrorCode::KafkaStorageError,
        }
    }
}

/// A marker of transaction version 2 must bring a higher epoch than the transaction had (KIP-890). So its
/// epoch may be stale without being older.
fn stale_producer_epoch(producer: &ProducerId, found: &ProducerEpoch, current: &ProducerEpoch) -> String {
    if found < current {
        format!(
            "epoch {found} of producer {producer} is older than {current}: another instance has taken over"
        )
    } else {
        format!(
            "producer {producer} has epoch {current} already: the marker of its transaction must bring a higher one"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An epoch is never called older than itself.
    #[test]
    fn stale_epochs_are_explained() {
        let text = |found, current| {
            let (found, current) = (ProducerEpoch(found), ProducerEpoch(current));
            AppendError::InvalidProducerEpoch { producer: ProducerId(7), found, current }.to_string()
        };
        assert_eq!(text(0, 1), "epoch 0 of producer 7 is older than 1: another instance has taken over");
        assert_eq!(
            text(1, 1),
            "producer 7 has epoch 1 already: the marker of its transaction must bring a higher one"
        );
    }
}
