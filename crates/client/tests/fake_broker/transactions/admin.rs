//! Administration of transactions.

use std::collections::BTreeSet;
use std::time::Duration;

use ottla_client::admin::{AbortTransaction, TransactionFilter, TransactionState};
use ottla_client::{Admin, TopicPartition};
use ottla_wire::batch::BatchBuilder;
use ottla_wire::protocol::{ApiKey, ErrorCode};
use ottla_wire::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use super::super::broker::Brokers;
use super::super::client;
use super::{brokers, committed, producer, record};

fn admin(brokers: &Brokers) -> Admin {
    Admin::new(client(&brokers.bootstrap())).unwrap()
}

fn of(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn all() -> BTreeSet<TopicPartition> {
    BTreeSet::from([of(0), of(1)])
}

/// A transaction in partition 1 that no coordinator knows.
fn hang(brokers: &Brokers) {
    let mut builder =
        BatchBuilder::new().producer(ProducerId(77), ProducerEpoch(3), Sequence(0)).transactional();
    builder.push(Timestamp(1), None, Some(b"hangs"));
    let batch = builder.build().unwrap();
    let mut world = brokers.world();
    let partition = world.partition("t", 1);
    partition.append(batch, false).unwrap();
    partition.producers.get_mut(&77).unwrap().epoch = 3;
}

#[tokio::test]
async fn transactions_are_listed_and_described() {
    let brokers = brokers(2).await;
    let producer = producer(&brokers).await;
    producer.begin().unwrap();
    producer.send(record("a", 1)).await.unwrap().await.unwrap();
    // The first coordinator that is found is about to load its transactions.
    for key in [ApiKey::ListTransactions, ApiKey::DescribeTransactions] {
        brokers.world().group_fault(key, [ErrorCode::CoordinatorLoadInProgress]);
    }
    let admin = admin(&brokers);
    let listed = admin.list_transactions(&TransactionFilter::default()).await.unwrap();
    assert!(listed.errors.is_empty());
    let [one] = &listed.transactions[..] else { panic!("{listed:?}") };
    assert_eq!((one.transactional_id.as_str(), one.state), ("tx", Some(TransactionState::Ongoing)));
    let filters = [
        (TransactionFilter { states: vec![TransactionState::Empty], ..Default::default() }, 0),
        (TransactionFilter { states: vec![TransactionState::Ongoing], ..Default::default() }, 1),
        (TransactionFilter { producer_ids: vec![ProducerId(5)], ..Default::default() }, 0),
        (TransactionFilter { producer_ids: vec![one.producer_id], ..Default::default() }, 1),
    ];
    for (filter, count) in filters {
        let listed = admin.list_transactions(&filter).await.unwrap();
        assert_eq!(listed.transactions.len(), count, "{filter:?}");
    }
    let described = admin.describe_transactions(&["tx", "none"]).await;
    let tx = described["tx"].as_ref().unwrap();
    assert_eq!((tx.state, tx.timeout), (Some(TransactionState::Ongoing), Duration::from_secs(60)));
    assert_eq!((tx.partitions.clone(), tx.started), (BTreeSet::from([of(1)]), Some(Timestamp(1000))));
    let none = described["none"].as_ref().unwrap_err();
    assert_eq!(none.code(), Some(ErrorCode::TransactionalIdNotFound));
}

#[tokio::test]
async fn a_filter_that_the_broker_does_not_know_is_an_error() {
    let brokers = brokers(2).await;
    brokers.world().version_max.insert(ApiKey::ListTransactions, 0);
    for filter in [
        TransactionFilter { open_for: Some(Duration::from_secs(1)), ..Default::default() },
        TransactionFilter { id_pattern: Some("a.*".to_owned()), ..Default::default() },
    ] {
        let listed = admin(&brokers).list_transactions(&filter).await.unwrap();
        assert_eq!(listed.errors.len(), 2, "{filter:?}: {listed:?}");
    }
}

#[tokio::test]
async fn what_hangs_is_found_and_aborted_and_what_is_open_is_left_alone() {
    let brokers = brokers(2).await;
    let producer = producer(&brokers).await;
    producer.begin().unwrap();
    producer.send(record("open", 0)).await.unwrap().await.unwrap();
    hang(&brokers);
    producer.send(record("held up", 1)).await.unwrap().await.unwrap();
    let admin = admin(&brokers);
    let producers = admin.describe_producers(&all()).await;
    assert_eq!(producers[&of(0)].as_ref().unwrap().len(), 1);
    assert_eq!(producers[&of(1)].as_ref().unwrap().len(), 2);

    let hanging = admin.find_hanging(&all(), Duration::from_secs(900)).await.unwrap();
    let [found] = &hanging.transactions[..] else { panic!("{hanging:?}") };
    assert_eq!((&found.partition, found.producer.producer_id), (&of(1), ProducerId(77)));
    assert_eq!(found.producer.transaction_start, Some(Offset(0)));

    producer.commit().await.unwrap();
    assert!(committed(&brokers, 1).is_empty(), "it is held up by the transaction that hangs");
    let mut abort = AbortTransaction {
        partition: of(1),
        producer_id: ProducerId(77),
        producer_epoch: ProducerEpoch(2),
        coordinator_epoch: 0,
    };
    let error = admin.abort_transaction(&abort).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::InvalidProducerEpoch));
    abort.producer_epoch = ProducerEpoch(3);
    admin.abort_transaction(&abort).await.unwrap();
    assert_eq!(committed(&brokers, 1), ["held up"]);
    let hanging = admin.find_hanging(&all(), Duration::from_secs(900)).await.unwrap();
    assert!(hanging.transactions.is_empty() && hanging.errors.is_empty(), "{hanging:?}");
}

#[tokio::test]
async fn without_all_coordinators_nothing_is_called_hanging() {
    let brokers = brokers(2).await;
    hang(&brokers);
    brokers.world().group_fault(ApiKey::ListTransactions, [ErrorCode::ClusterAuthorizationFailed]);
    let outcome = admin(&brokers).find_hanging(&all(), Duration::ZERO).await;
    assert_eq!(outcome.unwrap_err().code(), Some(ErrorCode::ClusterAuthorizationFailed));
}

#[tokio::test]
async fn a_producer_that_is_fenced_has_lost_its_transaction() {
    let brokers = brokers(2).await;
    let producer = producer(&brokers).await;
    producer.begin().unwrap();
    producer.send(record("a", 0)).await.unwrap().await.unwrap();
    brokers.world().group_fault(ApiKey::InitProducerId, [ErrorCode::ConcurrentTransactions]);
    let fenced = admin(&brokers).fence_producers(&["tx", "new"]).await;
    assert_eq!(fenced["tx"].as_ref().unwrap().1, ProducerEpoch(1));
    assert_eq!(fenced["new"].as_ref().unwrap().1, ProducerEpoch(0));
    assert!(producer.commit().await.unwrap_err().is_fatal());
    assert!(committed(&brokers, 0).is_empty());
}
