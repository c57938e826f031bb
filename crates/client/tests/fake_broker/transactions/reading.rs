//! What readers see of transactions.

use std::time::Duration;

use ottla_client::{Consumer, ConsumerConfig, IsolationLevel, OffsetReset, TopicPartition};
use ottla_wire::Offset;

use super::super::broker::Brokers;
use super::super::client;
use super::super::steady::steady;
use super::{brokers, producer, record};

const POLL: Duration = Duration::from_millis(100);

/// What readers of committed records see of a partition, by the rules of the broker alone.
pub fn committed_values(brokers: &Brokers, partition: usize) -> Vec<String> {
    use ottla_wire::batch::BatchView;
    let world = brokers.world();
    let partition = &world.topics["t"].partitions[partition];
    let mut values = Vec::new();
    for batch in &partition.batches {
        let view = BatchView::parse(batch.clone()).unwrap();
        let header = view.header();
        let aborted = partition.aborted.iter().any(|&(id, first, last)| {
            id == header.producer_id.0 && (first..last).contains(&header.base_offset.0)
        });
        if header.is_control() || aborted || header.base_offset.0 >= partition.stable_end() {
            continue;
        }
        for record in view.records(1 << 20).unwrap() {
            values.push(String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap());
        }
    }
    values
}

fn consumer(brokers: &Brokers, isolation_level: IsolationLevel) -> Consumer {
    let config = ConsumerConfig {
        auto_offset_reset: OffsetReset::Earliest,
        isolation_level,
        // Small, so that answers begin and end within transactions.
        max_partition_fetch_bytes: 200,
        ..ConsumerConfig::default()
    };
    let mut consumer = Consumer::new(client(&brokers.bootstrap()), config).unwrap();
    consumer.assign([TopicPartition::new("t", 0)]);
    consumer
}

/// Everything up to where the consumer gets no further. The test MUST have [`steady`] time.
async fn read(consumer: &mut Consumer) -> Vec<String> {
    let (mut values, mut empty) = (Vec::new(), 0);
    while empty < 3 {
        let polled = consumer.poll(POLL).await.unwrap();
        empty = if polled.is_empty() { empty + 1 } else { 0 };
        let records = polled.into_iter().flat_map(|of| of.records);
        values.extend(records.map(|record| String::from_utf8(record.value.unwrap().to_vec()).unwrap()));
    }
    values
}

#[tokio::test]
async fn committed_records_only_and_none_behind_an_open_transaction() {
    steady();
    let brokers = brokers(2).await;
    let producer = producer(&brokers).await;
    let mut expected = Vec::new();
    for round in 0..6 {
        producer.begin().unwrap();
        for i in 0..10 {
            producer.send(record(format!("{round}-{i}"), 0)).await.unwrap().await.unwrap();
        }
        if round % 2 == 0 {
            producer.commit().await.unwrap();
            expected.extend((0..10).map(|i| format!("{round}-{i}")));
        } else {
            producer.abort().await.unwrap();
        }
    }
    let mut committed = consumer(&brokers, IsolationLevel::ReadCommitted);
    assert_eq!(read(&mut committed).await, expected);
    let of = TopicPartition::new("t", 0);
    let end = Offset(6 * 11);
    assert_eq!(committed.position(&of), Some(end), "markers and aborted records are passed over");

    producer.begin().unwrap();
    producer.send(record("open", 0)).await.unwrap().await.unwrap();
    assert!(read(&mut committed).await.is_empty(), "it is not decided yet");
    assert_eq!(committed.position(&of), Some(end));
    assert_eq!(committed.readable_end(&of), Some(end), "nothing is left to read");
    assert_eq!(committed.high_watermark(&of), Some(end.plus(1)));
    let mut all = consumer(&brokers, IsolationLevel::ReadUncommitted);
    assert_eq!(read(&mut all).await.len(), 61, "without the markers");
    producer.commit().await.unwrap();
    assert_eq!(read(&mut committed).await, ["open"]);
}
