//! Every class of error, from every coordinator and from partitions.

use std::time::Duration;

use ottla_client::{ClientConfig, GroupMetadata, ProducerConfig, TransactionError, TransactionalProducer};
use ottla_wire::protocol::{ApiKey, ErrorCode};

use super::super::broker::{Brokers, Fault};
use super::super::steady::steady;
use super::super::{client, producing};
use super::{VERSIONS, brokers, committed, offsets, producer, producer_with, record, states};

/// A transaction with a record and offsets, up to its commit.
async fn transact(producer: &TransactionalProducer, value: &str) -> Result<(), TransactionError> {
    producer.begin()?;
    producer.send(record(value, 0)).await?;
    producer.send_offsets(&offsets(5), &GroupMetadata::outside("g")).await?;
    producer.commit().await
}

/// What is asked of coordinators in a transaction.
fn keys(version: i16) -> Vec<ApiKey> {
    match version {
        1 => {
            vec![ApiKey::AddPartitionsToTxn, ApiKey::AddOffsetsToTxn, ApiKey::TxnOffsetCommit, ApiKey::EndTxn]
        }
        _ => vec![ApiKey::TxnOffsetCommit, ApiKey::EndTxn],
    }
}

#[tokio::test]
async fn what_may_pass_is_asked_again() {
    use ErrorCode::*;
    for version in VERSIONS {
        for key in keys(version).into_iter().chain([ApiKey::InitProducerId, ApiKey::FindCoordinator]) {
            let brokers = brokers(version).await;
            let mut script = vec![
                CoordinatorLoadInProgress,
                CoordinatorNotAvailable,
                NotCoordinator,
                ConcurrentTransactions,
            ];
            if key == ApiKey::FindCoordinator {
                script.truncate(2);
            }
            brokers.world().group_fault(key, script);
            let producer = producer(&brokers).await;
            transact(&producer, "a").await.unwrap();
            assert_eq!(committed(&brokers, 0), ["a"], "version {version}, {key}");
            assert_eq!(brokers.world().group("g").commits.len(), 1, "version {version}, {key}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_lost_changes_nothing() {
    for version in VERSIONS {
        for key in keys(version).into_iter().chain([ApiKey::InitProducerId]) {
            let brokers = brokers(version).await;
            brokers.world().deaf.insert(key, 2);
            let producer = producer(&brokers).await;
            transact(&producer, "a").await.unwrap();
            transact(&producer, "b").await.unwrap();
            assert_eq!(committed(&brokers, 0), ["a", "b"], "version {version}, {key}");
        }
    }
}

#[tokio::test]
async fn the_coordinator_may_move() {
    for version in VERSIONS {
        let brokers = brokers(version).await;
        let producer = producer(&brokers).await;
        transact(&producer, "a").await.unwrap();
        brokers.world().coordinator = 0;
        transact(&producer, "b").await.unwrap();
        assert_eq!(committed(&brokers, 0), ["a", "b"]);
    }
}

#[tokio::test]
async fn what_is_abortable_is_aborted_and_the_next_one_succeeds() {
    use ErrorCode::*;
    let cases = [
        (ApiKey::AddPartitionsToTxn, TransactionAbortable),
        (ApiKey::AddPartitionsToTxn, TopicAuthorizationFailed),
        (ApiKey::AddPartitionsToTxn, InvalidProducerIdMapping),
        (ApiKey::AddOffsetsToTxn, GroupAuthorizationFailed),
        (ApiKey::TxnOffsetCommit, IllegalGeneration),
        (ApiKey::TxnOffsetCommit, TransactionAbortable),
        (ApiKey::TxnOffsetCommit, FencedInstanceId),
        (ApiKey::EndTxn, TransactionAbortable),
        (ApiKey::EndTxn, InvalidProducerIdMapping),
    ];
    for version in VERSIONS {
        for (key, error) in cases.into_iter().filter(|(key, _)| keys(version).contains(key)) {
            let brokers = brokers(version).await;
            let producer = producer(&brokers).await;
            brokers.world().group_fault(key, [error]);
            let failure = transact(&producer, "aborted").await.unwrap_err();
            assert!(failure.asks_to_abort(), "version {version}, {key}, {error:?}: {failure}");
            assert!(failure.to_string().contains(error.name()), "{failure}");
            producer.abort().await.unwrap();
            transact(&producer, "next").await.unwrap();
            assert_eq!(committed(&brokers, 0), ["next"], "version {version}, {key}, {error:?}");
        }
    }
}

#[tokio::test]
async fn what_is_fatal_ends_the_producer() {
    use ErrorCode::*;
    let errors =
        [ProducerFenced, InvalidProducerEpoch, TransactionalIdAuthorizationFailed, UnsupportedVersion];
    for version in VERSIONS {
        for key in keys(version) {
            for error in errors {
                let brokers = brokers(version).await;
                let producer = producer(&brokers).await;
                brokers.world().group_fault(key, [error]);
                let failure = transact(&producer, "a").await.unwrap_err();
                assert!(failure.is_fatal(), "version {version}, {key}, {error:?}: {failure}");
                assert!(producer.abort().await.unwrap_err().is_fatal());
                assert!(producer.begin().unwrap_err().is_fatal());
                assert!(committed(&brokers, 0).is_empty());
                producer.close(Duration::from_secs(1)).await;
            }
        }
    }
}

#[tokio::test]
async fn a_producer_that_may_not_begin_is_told() {
    for error in [ErrorCode::InvalidTransactionTimeout, ErrorCode::TransactionalIdAuthorizationFailed] {
        let brokers = brokers(2).await;
        brokers.world().group_fault(ApiKey::InitProducerId, [error]);
        let producer = producer_with(client(&brokers.bootstrap()), producing());
        assert!(producer.init_transactions().await.unwrap_err().is_fatal());
    }
}

#[tokio::test]
async fn a_record_that_is_not_stored_fails_the_transaction_and_the_next_one_succeeds() {
    for version in VERSIONS {
        for error in [
            ErrorCode::TransactionAbortable,
            ErrorCode::InvalidTxnState,
            ErrorCode::InvalidRecord,
            ErrorCode::UnknownProducerId,
            ErrorCode::OutOfOrderSequenceNumber,
        ] {
            let brokers = brokers(version).await;
            let config = ProducerConfig { batch_size: 1, ..producing() };
            let producer = producer_with(client(&brokers.bootstrap()), config);
            producer.init_transactions().await.unwrap();
            transact(&producer, "first").await.unwrap();
            brokers.faults([Fault::Refuse(error)]);
            producer.begin().unwrap();
            let mut deliveries = Vec::new();
            for i in 0..5 {
                match producer.send(record(format!("aborted {i}"), 0)).await {
                    Ok(delivery) => deliveries.push(delivery),
                    Err(error) => assert!(error.asks_to_abort()),
                }
            }
            let failure = producer.commit().await.unwrap_err();
            assert!(failure.asks_to_abort(), "version {version}, {error:?}: {failure}");
            producer.abort().await.unwrap();
            for mut delivery in deliveries {
                assert!(delivery.outcome().is_some(), "the abort leaves nothing open");
            }
            transact(&producer, "next").await.unwrap();
            assert_eq!(committed(&brokers, 0), ["first", "next"], "version {version}, {error:?}");
            // Numbers of an epoch in which one was lost are not used again.
            assert!(states(&brokers).0 > 0);
        }
    }
}

#[tokio::test]
async fn a_record_that_cannot_be_taken_fails_the_transaction() {
    let brokers = brokers(1).await;
    let producer = producer(&brokers).await;
    producer.begin().unwrap();
    let failure = producer.send(record("x".repeat(2 << 20), 0)).await.unwrap_err();
    assert!(failure.asks_to_abort() && failure.to_string().contains("max.request.size"), "{failure}");
    assert!(producer.commit().await.unwrap_err().asks_to_abort());
    producer.abort().await.unwrap();
    assert_eq!(states(&brokers).0, 0, "no number was used");
    transact(&producer, "next").await.unwrap();
}

#[tokio::test]
async fn a_broker_that_is_too_old_for_the_version_of_transactions_is_fatal() {
    for (key, max) in [(ApiKey::Produce, 11), (ApiKey::TxnOffsetCommit, 4), (ApiKey::EndTxn, 4)] {
        let brokers = brokers(2).await;
        brokers.world().version_max.insert(key, max);
        let producer = producer(&brokers).await;
        let failure = transact(&producer, "a").await.unwrap_err();
        // The record may fail before or after the offsets are sent.
        assert!(failure.is_fatal(), "{key}: {failure}");
        assert!(failure.to_string().contains("serves no version"), "{key}: {failure}");
    }
}

/// A producer that gives calls up soon. The test MUST have [`steady`] time.
async fn impatient(brokers: &Brokers) -> TransactionalProducer {
    let client = ClientConfig { request_timeout: Duration::from_millis(100), ..client(&brokers.bootstrap()) };
    let config = ProducerConfig { max_block: Duration::from_millis(300), ..producing() };
    let producer = producer_with(client, config);
    producer.init_transactions().await.unwrap();
    producer
}

#[tokio::test]
async fn a_commit_that_did_not_end_is_asked_for_again() {
    steady();
    for version in VERSIONS {
        for stored in [false, true] {
            let brokers = brokers(version).await;
            let producer = impatient(&brokers).await;
            if stored {
                brokers.world().deaf.insert(ApiKey::EndTxn, 1000);
            } else {
                let script = std::iter::repeat_n(ErrorCode::CoordinatorLoadInProgress, 1000);
                brokers.world().group_fault(ApiKey::EndTxn, script);
            }
            let failure = transact(&producer, "a").await.unwrap_err();
            assert!(matches!(failure, TransactionError::Unfinished { call: "commit", .. }), "{failure}");
            // Nothing else has a place until that is known.
            assert!(matches!(producer.abort().await, Err(TransactionError::Misuse { .. })));
            assert!(matches!(producer.begin(), Err(TransactionError::Misuse { .. })));
            brokers.world().deaf.clear();
            brokers.world().group_faults.clear();
            producer.commit().await.unwrap();
            transact(&producer, "b").await.unwrap();
            assert_eq!(committed(&brokers, 0), ["a", "b"], "version {version}, {stored}");
        }
    }
}

#[tokio::test]
async fn offsets_of_unknown_fate_fail_the_commit() {
    steady();
    for version in VERSIONS {
        let brokers = brokers(version).await;
        let producer = impatient(&brokers).await;
        let script = std::iter::repeat_n(ErrorCode::CoordinatorLoadInProgress, 1000);
        brokers.world().group_fault(ApiKey::TxnOffsetCommit, script);
        let failure = transact(&producer, "a").await.unwrap_err();
        assert!(matches!(failure, TransactionError::Unfinished { call: "send_offsets", .. }), "{failure}");
        brokers.world().group_faults.clear();
        assert!(producer.commit().await.unwrap_err().asks_to_abort());
        producer.abort().await.unwrap();
        transact(&producer, "b").await.unwrap();
        assert_eq!(committed(&brokers, 0), ["b"]);
    }
}
