use std::collections::BTreeMap;
use std::time::Duration;

use ottla_client::{
    Consumer, ConsumerConfig, Error, OffsetReset, OffsetSpec, Producer, ProducerConfig, ProducerRecord, Seek,
    TopicPartition,
};
use ottla_wire::Offset;
use ottla_wire::Timestamp;
use ottla_wire::compress::Codec;
use ottla_wire::protocol::ApiKey;

use super::broker::Brokers;
use super::{PATIENCE, client, producing};

const POLL: Duration = Duration::from_millis(200);

fn from_earliest() -> ConsumerConfig {
    ConsumerConfig { auto_offset_reset: OffsetReset::Earliest, ..ConsumerConfig::default() }
}

/// Brokers with `count` numbered records in each partition of topic `t`; record i has timestamp 1000 + i.
async fn filled(brokers: usize, partitions: usize, count: usize, compression: Codec) -> Brokers {
    let brokers = Brokers::start(brokers).await;
    brokers.topic("t", partitions);
    let config = ProducerConfig { compression, batch_size: 300, ..producing() };
    let producer = Producer::new(client(&brokers.bootstrap()), config).unwrap();
    for i in 0..count {
        for partition in 0..partitions {
            let record = ProducerRecord::new("t", i.to_string()).partition(partition as i32);
            producer.send(record.timestamp(Timestamp(1000 + i as i64))).await.unwrap();
        }
    }
    producer.close(PATIENCE).await;
    brokers
}

async fn read(consumer: &mut Consumer, count: usize) -> BTreeMap<i32, Vec<String>> {
    let mut values: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    let deadline = std::time::Instant::now() + PATIENCE;
    while values.values().map(Vec::len).sum::<usize>() < count {
        assert!(std::time::Instant::now() < deadline, "only {values:?}");
        for partition in consumer.poll(POLL).await.unwrap() {
            let of = values.entry(partition.partition.partition).or_default();
            for record in partition.records {
                of.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
            }
        }
    }
    values
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|i| i.to_string()).collect()
}

#[tokio::test]
async fn every_record_of_every_partition_in_order() {
    for compression in Codec::ALL {
        let brokers = filled(3, 4, 200, compression).await;
        let mut config = from_earliest();
        // Small, so that answers are cut within batches and polls within answers.
        (config.max_partition_fetch_bytes, config.max_poll_records) = (1000, 7);
        let mut consumer = Consumer::new(client(&brokers.bootstrap()), config).unwrap();
        consumer.assign((0..4).map(|p| TopicPartition::new("t", p)));
        let values = read(&mut consumer, 800).await;
        assert_eq!(values, (0..4).map(|p| (p, numbers(0..200))).collect());
        assert!(consumer.poll(Duration::from_millis(30)).await.unwrap().is_empty());
        let first = TopicPartition::new("t", 0);
        assert_eq!(consumer.position(&first), Some(Offset(200)));
        assert_eq!(consumer.high_watermark(&first), Some(Offset(200)));
    }
}

#[tokio::test]
async fn goes_where_it_is_told() {
    let brokers = filled(1, 1, 100, Codec::None).await;
    let of = TopicPartition::new("t", 0);
    let mut consumer = Consumer::new(client(&brokers.bootstrap()), from_earliest()).unwrap();
    assert!(matches!(consumer.seek(&of, Seek::Beginning), Err(Error::NotAssigned(_))));
    consumer.assign([of.clone()]);
    for (seek, rest) in [
        (Seek::Offset(Offset(42)), numbers(42..100)),
        (Seek::Beginning, numbers(0..100)),
        (Seek::Timestamp(Timestamp(1090)), numbers(90..100)),
    ] {
        consumer.seek(&of, seek).unwrap();
        assert_eq!(read(&mut consumer, rest.len()).await[&0], rest, "{seek:?}");
    }
    for seek in [Seek::End, Seek::Timestamp(Timestamp(999_999))] {
        consumer.seek(&of, seek).unwrap();
        while consumer.position(&of).is_none() {
            assert!(consumer.poll(Duration::from_millis(50)).await.unwrap().is_empty());
        }
        assert_eq!(consumer.position(&of), Some(Offset(100)), "{seek:?}");
    }
    let asked = BTreeMap::from([(of.clone(), OffsetSpec::At(Timestamp(1005)))]);
    let found = consumer.list_offsets(&asked).await.remove(&of).unwrap().unwrap();
    assert_eq!((found.offset, found.timestamp), (Some(Offset(5)), Some(Timestamp(1005))));
}

#[tokio::test]
async fn a_paused_partition_waits() {
    let brokers = filled(1, 2, 10, Codec::None).await;
    let (one, two) = (TopicPartition::new("t", 0), TopicPartition::new("t", 1));
    let mut consumer = Consumer::new(client(&brokers.bootstrap()), from_earliest()).unwrap();
    consumer.assign([one.clone(), two]);
    consumer.pause(&one).unwrap();
    assert_eq!(read(&mut consumer, 10).await.keys().collect::<Vec<_>>(), [&1]);
    assert!(consumer.poll(Duration::from_millis(30)).await.unwrap().is_empty());
    consumer.resume(&one).unwrap();
    assert_eq!(read(&mut consumer, 10).await.keys().collect::<Vec<_>>(), [&0]);
}

#[tokio::test]
async fn outside_of_the_log_the_policy_decides() {
    let of = TopicPartition::new("t", 0);
    for (reset, position) in
        [(OffsetReset::Earliest, Some(30)), (OffsetReset::Latest, Some(50)), (OffsetReset::None, None)]
    {
        let brokers = filled(1, 1, 50, Codec::None).await;
        brokers.world().partition("t", 0).log_start = 30;
        let config = ConsumerConfig { auto_offset_reset: reset, ..ConsumerConfig::default() };
        let mut consumer = Consumer::new(client(&brokers.bootstrap()), config).unwrap();
        consumer.assign([of.clone()]);
        consumer.seek(&of, Seek::Offset(Offset(3))).unwrap();
        let mut outcome = Ok(Vec::new());
        while outcome.is_ok() && matches!(consumer.position(&of), Some(Offset(3)) | None) {
            outcome = consumer.poll(POLL).await;
        }
        match (outcome, position) {
            (Err(error), None) => {
                assert!(matches!(error, Error::OffsetOutOfRange { offset: 3, .. }), "{error}");
            }
            (Ok(records), Some(offset)) => {
                // Where it was set to, or the first record from there.
                let first = records.first().map(|got| got.records[0].offset);
                assert_eq!(first.or(consumer.position(&of)), Some(Offset(offset)), "{reset:?}");
            }
            (outcome, _) => panic!("{reset:?}: {outcome:?}"),
        }
    }
}

#[tokio::test]
async fn the_new_leader_is_found_and_nothing_is_read_twice() {
    let brokers = filled(2, 1, 100, Codec::None).await;
    let config = ConsumerConfig { max_poll_records: 10, max_partition_fetch_bytes: 300, ..from_earliest() };
    let mut consumer = Consumer::new(client(&brokers.bootstrap()), config).unwrap();
    consumer.assign([TopicPartition::new("t", 0)]);
    let mut values = read(&mut consumer, 30).await.remove(&0).unwrap();
    brokers.world().move_leader("t", 0, 1);
    let rest = 100 - values.len();
    values.extend(read(&mut consumer, rest).await.remove(&0).unwrap());
    assert_eq!(values, numbers(0..100));
}

#[tokio::test]
async fn a_topic_that_comes_later_does_not_hold_up_the_others() {
    let brokers = filled(1, 1, 10, Codec::None).await;
    let client =
        ottla_client::ClientConfig { allow_auto_create_topics: false, ..client(&brokers.bootstrap()) };
    let mut consumer = Consumer::new(client, from_earliest()).unwrap();
    consumer.assign([TopicPartition::new("later", 0), TopicPartition::new("t", 0)]);
    assert_eq!(read(&mut consumer, 10).await[&0], numbers(0..10));
    {
        let mut world = brokers.world();
        world.create("later", 1);
        let batch = world.topics["t"].partitions[0].batches[0].clone();
        let later = world.partition("later", 0);
        (later.next_offset, later.batches) = (10, vec![batch]);
    }
    assert!(!read(&mut consumer, 1).await.is_empty());
}

#[tokio::test]
async fn corruption_is_told_and_the_position_stays() {
    let brokers = filled(1, 1, 10, Codec::None).await;
    {
        let mut world = brokers.world();
        let batch = &mut world.partition("t", 0).batches[0];
        let mut bytes = batch.to_vec();
        bytes[70] ^= 1;
        *batch = bytes.into();
    }
    let of = TopicPartition::new("t", 0);
    let mut consumer = Consumer::new(client(&brokers.bootstrap()), from_earliest()).unwrap();
    consumer.assign([of.clone()]);
    let error = loop {
        if let Err(error) = consumer.poll(POLL).await {
            break error;
        }
    };
    assert!(matches!(error, Error::CorruptBatch { offset: 0, .. }), "{error}");
    assert_eq!(consumer.position(&of), Some(Offset(0)));
}

#[tokio::test]
async fn an_old_broker_is_spoken_to_by_topic_name() {
    let brokers = filled(1, 1, 10, Codec::None).await;
    brokers.world().version_max.extend([
        (ApiKey::Fetch, 11),
        (ApiKey::Metadata, 7),
        (ApiKey::ListOffsets, 1),
    ]);
    let mut consumer = Consumer::new(client(&brokers.bootstrap()), from_earliest()).unwrap();
    consumer.assign([TopicPartition::new("t", 0)]);
    assert_eq!(read(&mut consumer, 10).await[&0], numbers(0..10));
}
