//! Transactional producers, with both transaction versions.

mod admin;
mod errors;
mod reading;

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_client::{
    ClientConfig, GroupMetadata, Offsets, ProducerConfig, ProducerRecord, TopicPartition, TransactionConfig,
    TransactionError, TransactionalProducer,
};
use ottla_wire::Offset;
use ottla_wire::protocol::{ApiKey, ErrorCode};

use super::broker::{Brokers, Fault};
use super::groups::Committed;
use super::{PATIENCE, client, producing};

const VERSIONS: [i16; 2] = [1, 2];

/// Brokers with topic `t` of two partitions.
async fn brokers(transaction_version: i16) -> Brokers {
    let brokers = Brokers::start(2).await;
    brokers.topic("t", 2);
    brokers.world().transaction_version = transaction_version;
    brokers
}

fn producer_with(client: ClientConfig, config: ProducerConfig) -> TransactionalProducer {
    TransactionalProducer::new(client, config, TransactionConfig::new("tx")).unwrap()
}

/// A producer that has been introduced.
async fn producer(brokers: &Brokers) -> TransactionalProducer {
    let producer = producer_with(client(&brokers.bootstrap()), producing());
    producer.init_transactions().await.unwrap();
    producer
}

fn record(value: impl std::fmt::Display, partition: i32) -> ProducerRecord {
    ProducerRecord::new("t", value.to_string()).partition(partition)
}

fn offsets(offset: i64) -> Offsets {
    BTreeMap::from([(TopicPartition::new("t", 0), Offset(offset).into())])
}

/// What readers of committed records see of a partition.
fn committed(brokers: &Brokers, partition: usize) -> Vec<String> {
    reading::committed_values(brokers, partition)
}

fn states(brokers: &Brokers) -> (i16, &'static str) {
    let world = brokers.world();
    let txn = &world.transactions["tx"];
    (txn.epoch, txn.state())
}

#[tokio::test]
async fn what_is_committed_is_seen_and_what_is_aborted_is_not() {
    for version in VERSIONS {
        let brokers = brokers(version).await;
        let producer = producer(&brokers).await;
        for (round, commit) in [true, false, true, false, true].into_iter().enumerate() {
            producer.begin().unwrap();
            for i in 0..20 {
                producer.send(record(format!("{round}-{i}"), i % 2)).await.unwrap();
            }
            producer.flush().await;
            if commit {
                producer.commit().await.unwrap();
            } else {
                producer.abort().await.unwrap();
            }
        }
        for partition in 0..2 {
            let expected: Vec<String> = [0, 2, 4]
                .iter()
                .flat_map(|round| (0..10).map(move |i| format!("{round}-{}", 2 * i + partition)))
                .collect();
            assert_eq!(committed(&brokers, partition), expected, "version {version}");
        }
        let adds = brokers.count(ApiKey::AddPartitionsToTxn);
        assert_eq!(adds > 0, version == 1, "version {version}: {adds}");
        let max = |key| {
            let world = brokers.world();
            world.requests.iter().filter(|(_, of, _)| *of == key).map(|of| of.2).max().unwrap()
        };
        let (ends, produces) = (max(ApiKey::EndTxn), max(ApiKey::Produce));
        assert_eq!((ends >= 5, produces >= 12), (version == 2, version == 2), "{ends} {produces}");
        // In version 2 every transaction has an epoch of its own; in version 1 nothing went wrong.
        assert_eq!(states(&brokers).0, if version == 2 { 5 } else { 0 });
    }
}

#[tokio::test]
async fn commit_waits_for_records_and_abort_drops_those_that_were_not_sent() {
    for version in VERSIONS {
        let brokers = brokers(version).await;
        let config = ProducerConfig { linger: PATIENCE, ..producing() };
        let producer = producer_with(client(&brokers.bootstrap()), config);
        producer.init_transactions().await.unwrap();
        producer.begin().unwrap();
        let mut lingering = producer.send(record("dropped", 0)).await.unwrap();
        producer.abort().await.unwrap();
        let error = lingering.outcome().unwrap().unwrap_err();
        assert!(matches!(error, ottla_client::ProduceError::Aborted), "{error}");
        assert_eq!(brokers.count(ApiKey::Produce), 0);

        producer.begin().unwrap();
        let mut lingering = producer.send(record("kept", 0)).await.unwrap();
        producer.commit().await.unwrap();
        assert_eq!(lingering.outcome().unwrap().unwrap().offset, Some(Offset(0)));
        assert_eq!(committed(&brokers, 0), ["kept"]);
    }
}

#[tokio::test]
async fn a_transaction_without_records_asks_nobody() {
    let brokers = brokers(2).await;
    let producer = producer(&brokers).await;
    for _ in 0..2 {
        producer.begin().unwrap();
        producer.commit().await.unwrap();
        producer.begin().unwrap();
        producer.abort().await.unwrap();
    }
    assert_eq!(brokers.count(ApiKey::EndTxn), 0);
}

#[tokio::test]
async fn offsets_are_committed_with_the_transaction_or_not_at_all() {
    for version in VERSIONS {
        let brokers = brokers(version).await;
        let producer = producer(&brokers).await;
        let who = GroupMetadata::outside("g");
        producer.begin().unwrap();
        producer.send_offsets(&offsets(5), &who).await.unwrap();
        producer.abort().await.unwrap();
        assert!(brokers.world().group("g").offsets.is_empty());

        producer.begin().unwrap();
        producer.send(record("a", 1)).await.unwrap();
        producer.send_offsets(&offsets(5), &who).await.unwrap();
        producer.send_offsets(&offsets(7), &who).await.unwrap();
        producer.send_offsets(&Offsets::new(), &who).await.unwrap();
        assert!(brokers.world().group("g").offsets.is_empty(), "not before the commit");
        producer.commit().await.unwrap();
        let expected = Committed { offset: 7, leader_epoch: -1, metadata: String::new() };
        assert_eq!(brokers.world().group("g").offsets[&("t".to_owned(), 0)], expected);
        assert_eq!(brokers.count(ApiKey::AddOffsetsToTxn) > 0, version == 1);
    }
}

#[tokio::test]
async fn the_member_of_a_group_that_has_moved_on_cannot_commit() {
    for version in VERSIONS {
        let brokers = brokers(version).await;
        let producer = producer(&brokers).await;
        let gone = GroupMetadata { generation: 3, member_id: "gone".into(), ..GroupMetadata::outside("g") };
        producer.begin().unwrap();
        let error = producer.send_offsets(&offsets(5), &gone).await.unwrap_err();
        assert!(error.asks_to_abort() && error.to_string().contains("UNKNOWN_MEMBER_ID"), "{error}");
        assert!(producer.commit().await.unwrap_err().asks_to_abort());
        producer.abort().await.unwrap();
        assert!(brokers.world().group("g").offsets.is_empty());
    }
}

#[tokio::test]
async fn a_second_producer_fences_the_first_and_aborts_what_it_left() {
    for version in VERSIONS {
        let brokers = brokers(version).await;
        let first = producer(&brokers).await;
        first.begin().unwrap();
        first.send(record("left", 0)).await.unwrap().await.unwrap();
        let second = producer(&brokers).await;
        second.begin().unwrap();
        second.send(record("second", 0)).await.unwrap().await.unwrap();
        second.commit().await.unwrap();
        let delivery = first.send(record("late", 0)).await.unwrap();
        let _ = delivery.await.unwrap_err();
        // A partition cannot tell whether the epoch has passed for good; the coordinator can.
        assert!(first.commit().await.unwrap_err().asks_to_abort());
        let error = first.abort().await.unwrap_err();
        assert!(error.is_fatal() && error.to_string().contains("PRODUCER_FENCED"), "{error}");
        assert!(first.begin().unwrap_err().is_fatal());
        assert_eq!(committed(&brokers, 0), ["second"]);
    }
}

#[tokio::test]
async fn misuse_is_an_error() {
    let brokers = brokers(2).await;
    let producer = producer_with(client(&brokers.bootstrap()), producing());
    let is_misuse =
        |error: TransactionError| assert!(matches!(error, TransactionError::Misuse { .. }), "{error}");
    is_misuse(producer.begin().unwrap_err());
    is_misuse(producer.send(record("a", 0)).await.unwrap_err());
    producer.init_transactions().await.unwrap();
    is_misuse(producer.init_transactions().await.unwrap_err());
    is_misuse(producer.send(record("a", 0)).await.unwrap_err());
    is_misuse(producer.send_offsets(&offsets(1), &GroupMetadata::outside("g")).await.unwrap_err());
    is_misuse(producer.commit().await.unwrap_err());
    is_misuse(producer.abort().await.unwrap_err());
    producer.begin().unwrap();
    is_misuse(producer.begin().unwrap_err());
    producer.send(record("a", 0)).await.unwrap();
    producer.commit().await.unwrap();
    assert_eq!(committed(&brokers, 0), ["a"]);
    for (config, name) in [
        (TransactionConfig::new(""), "transactional.id"),
        (
            TransactionConfig { transaction_timeout: Duration::ZERO, ..TransactionConfig::new("x") },
            "transaction.timeout.ms",
        ),
    ] {
        let refused = TransactionalProducer::new(client(&brokers.bootstrap()), producing(), config);
        assert!(refused.err().unwrap().to_string().contains(name));
    }
}

#[tokio::test]
async fn a_farewell_aborts() {
    let brokers = brokers(2).await;
    let producer = producer(&brokers).await;
    producer.begin().unwrap();
    producer.send(record("a", 0)).await.unwrap().await.unwrap();
    producer.close(PATIENCE).await;
    assert_eq!(states(&brokers), (1, "CompleteAbort"));
    assert!(producer.begin().is_ok() && producer.send(record("b", 0)).await.unwrap_err().is_fatal());
}

#[tokio::test]
async fn records_go_on_where_they_were_when_an_answer_was_lost() {
    for version in VERSIONS {
        let brokers = brokers(version).await;
        brokers.faults([Fault::StoreAndHangUp, Fault::HangUp, Fault::Refuse(ErrorCode::NotEnoughReplicas)]);
        let config = ProducerConfig { batch_size: 1, ..producing() };
        let producer = producer_with(client(&brokers.bootstrap()), config);
        producer.init_transactions().await.unwrap();
        producer.begin().unwrap();
        for i in 0..20 {
            producer.send(record(i, 0)).await.unwrap();
        }
        producer.commit().await.unwrap();
        assert_eq!(committed(&brokers, 0), (0..20).map(|i| i.to_string()).collect::<Vec<_>>());
    }
}
