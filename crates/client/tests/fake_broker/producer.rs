use std::collections::BTreeMap;
use std::time::Duration;

use ottla_client::{
    Acks, Advice, ClientConfig, Error, ProduceError, Producer, ProducerConfig, ProducerRecord, RecordMetadata,
};
use ottla_wire::Offset;
use ottla_wire::compress::Codec;
use ottla_wire::protocol::{ApiKey, ErrorCode};
use proptest::prelude::*;

use super::broker::{Brokers, Fault};
use super::steady::steady;
use super::{PATIENCE, client, producing};

fn record(value: impl std::fmt::Display) -> ProducerRecord {
    ProducerRecord::new("t", value.to_string()).partition(0)
}

/// Sends values 0.. to partition 0 of `t` and waits for all; what lingers, lingers until the last is there.
async fn send_all(producer: &Producer, count: usize) -> Vec<Result<RecordMetadata, ProduceError>> {
    let mut deliveries = Vec::new();
    for i in 0..count {
        deliveries.push(producer.send(record(i)).await.unwrap());
    }
    producer.flush().await;
    let mut outcomes = Vec::new();
    for delivery in deliveries {
        outcomes.push(delivery.await);
    }
    outcomes
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|i| i.to_string()).collect()
}

fn one_at_a_time(config: ProducerConfig) -> ProducerConfig {
    ProducerConfig { batch_size: 1, ..config }
}

#[tokio::test]
async fn records_are_stored_in_order_and_told_their_offsets() {
    for compression in Codec::ALL {
        let brokers = Brokers::start(2).await;
        brokers.topic("t", 1);
        let config = ProducerConfig { compression, batch_size: 500, linger: PATIENCE, ..producing() };
        let producer = Producer::new(client(&brokers.bootstrap()), config).unwrap();
        for (i, outcome) in send_all(&producer, 300).await.into_iter().enumerate() {
            assert_eq!(outcome.unwrap().offset, Some(Offset(i as i64)));
        }
        assert_eq!(brokers.values("t", 0), numbers(300));
        let requests = brokers.count(ApiKey::Produce);
        assert!(requests < 50, "{requests} requests for 300 records");
    }
}

#[tokio::test]
async fn keys_choose_partitions_and_headers_arrive() {
    let brokers = Brokers::start(2).await;
    brokers.topic("t", 4);
    let producer = Producer::new(client(&brokers.bootstrap()), producing()).unwrap();
    let record = ProducerRecord::new("t", "v").key("foobar").header("h", "1");
    let metadata = producer.send(record).await.unwrap().await.unwrap();
    assert_eq!(metadata.partition, (-790_332_482i32 & 0x7fff_ffff) % 4);
    let stored = &brokers.records("t", metadata.partition as usize)[0];
    assert_eq!(stored.key.as_deref(), Some(&b"foobar"[..]));
    assert_eq!(stored.headers[0].key, "h");
    assert_eq!(stored.timestamp, metadata.timestamp);
}

#[tokio::test]
async fn keyless_records_fill_a_batch_before_they_go_elsewhere() {
    let brokers = Brokers::start(1).await;
    brokers.topic("t", 8);
    let config = ProducerConfig { batch_size: 1000, linger: PATIENCE, ..producing() };
    let producer = Producer::new(client(&brokers.bootstrap()), config).unwrap();
    let mut partitions = Vec::new();
    for _ in 0..2000 {
        partitions.push(producer.send(ProducerRecord::new("t", "0123456789")).await.unwrap().partition());
    }
    producer.flush().await;
    let switches = partitions.windows(2).filter(|pair| pair[0] != pair[1]).count();
    let batches = brokers.world().accepted_batches;
    // A batch ends a little before `batch.size`, so that (as in Java) it takes two to make a batch's worth.
    assert!((15..=45).contains(&switches), "{switches} switches for about 40 batches' worth");
    assert!(batches <= 2 * switches + 10, "{batches} batches, {switches} switches");
    let used: std::collections::BTreeSet<i32> = partitions.into_iter().collect();
    assert_eq!(used.len(), 8, "all partitions are used");
}

#[tokio::test]
async fn what_the_broker_stored_without_answering_is_not_stored_twice() {
    steady();
    for fault in [Fault::StoreAndHangUp, Fault::StoreAndStaySilent] {
        let brokers = Brokers::start(1).await;
        brokers.topic("t", 1).faults([Fault::None, fault.clone(), fault]);
        let client =
            ClientConfig { request_timeout: Duration::from_millis(500), ..client(&brokers.bootstrap()) };
        let producer = Producer::new(client, one_at_a_time(producing())).unwrap();
        for (i, outcome) in send_all(&producer, 20).await.into_iter().enumerate() {
            assert_eq!(outcome.unwrap().offset, Some(Offset(i as i64)));
        }
        assert_eq!(brokers.values("t", 0), numbers(20));
        assert!(brokers.world().duplicates > 0);
    }
}

#[tokio::test]
async fn without_idempotence_nothing_is_lost() {
    let brokers = Brokers::start(1).await;
    brokers.topic("t", 1).faults([
        Fault::HangUp,
        Fault::StoreAndHangUp,
        Fault::Refuse(ErrorCode::NotEnoughReplicas),
    ]);
    let config = ProducerConfig { enable_idempotence: false, max_in_flight: 1, ..one_at_a_time(producing()) };
    let producer = Producer::new(client(&brokers.bootstrap()), config).unwrap();
    assert!(send_all(&producer, 10).await.iter().all(Result::is_ok));
    let mut values = brokers.values("t", 0);
    assert!(values.len() > 10, "one was stored twice: {values:?}");
    values.dedup();
    assert_eq!(values, numbers(10), "one in flight keeps the order");
    assert_eq!(brokers.count(ApiKey::InitProducerId), 0);
}

#[tokio::test]
async fn a_broker_that_forgot_the_producer_gets_a_new_epoch() {
    let brokers = Brokers::start(1).await;
    brokers.topic("t", 1).faults([Fault::None, Fault::None, Fault::Forget, Fault::None, Fault::Forget]);
    let producer = Producer::new(client(&brokers.bootstrap()), one_at_a_time(producing())).unwrap();
    assert!(send_all(&producer, 30).await.iter().all(Result::is_ok));
    assert_eq!(brokers.values("t", 0), numbers(30));
    let world = brokers.world();
    let producers = &world.topics["t"].partitions[0].producers;
    assert!(producers[&1001].epoch >= 1, "{}", producers[&1001].epoch);
}

#[tokio::test]
async fn the_new_leader_is_found() {
    let brokers = Brokers::start(2).await;
    brokers.topic("t", 1);
    let producer = Producer::new(client(&brokers.bootstrap()), one_at_a_time(producing())).unwrap();
    assert!(send_all(&producer, 5).await.iter().all(Result::is_ok));
    brokers.world().move_leader("t", 0, 1);
    assert!(send_all(&producer, 5).await.iter().all(Result::is_ok));
    assert_eq!(brokers.values("t", 0), [numbers(5), numbers(5)].concat());
}

#[tokio::test]
async fn an_old_broker_is_spoken_to_by_topic_name() {
    let brokers = Brokers::start(1).await;
    brokers.topic("t", 1);
    brokers.world().version_max.extend([
        (ApiKey::Produce, 8),
        (ApiKey::Metadata, 4),
        (ApiKey::InitProducerId, 1),
    ]);
    let producer = Producer::new(client(&brokers.bootstrap()), producing()).unwrap();
    assert!(send_all(&producer, 5).await.iter().all(Result::is_ok));
    assert_eq!(brokers.values("t", 0), numbers(5));
}

/// A client whose requests are given up soon. The test MUST have [`steady`] time.
fn impatient(bootstrap: &str) -> (ClientConfig, ProducerConfig) {
    let client = ClientConfig { request_timeout: Duration::from_millis(200), ..client(bootstrap) };
    (client, ProducerConfig { delivery_timeout: Duration::from_millis(500), ..producing() })
}

#[tokio::test]
async fn a_timeout_after_the_record_was_sent_is_an_unknown_outcome() {
    steady();
    let brokers = Brokers::start(1).await;
    brokers.topic("t", 1).faults(vec![Fault::StoreAndStaySilent; 100]);
    let (client, config) = impatient(&brokers.bootstrap());
    let producer = Producer::new(client, config).unwrap();
    let error = producer.send(record("a")).await.unwrap().await.unwrap_err();
    assert!(matches!(error, ProduceError::OutcomeUnknown { .. }), "{error}");
    assert_eq!(error.advice(), Advice::OutcomeUnknown);
    assert_eq!(brokers.values("t", 0), ["a"], "it was stored indeed");
}

#[tokio::test]
async fn a_timeout_of_what_was_always_refused_is_a_failure() {
    steady();
    let brokers = Brokers::start(1).await;
    brokers.topic("t", 1).faults(vec![Fault::Refuse(ErrorCode::NotEnoughReplicas); 1000]);
    // The time runs out in the pause after the first refusal: never while a request is on its way, whose fate
    // is unknown.
    let (client, config) = impatient(&brokers.bootstrap());
    let client = ClientConfig { retry_backoff: PATIENCE, retry_backoff_max: PATIENCE, ..client };
    let producer = Producer::new(client, config).unwrap();
    let error = producer.send(record("a")).await.unwrap().await.unwrap_err();
    assert_eq!(error.advice(), Advice::Retry, "{error}");
    assert!(error.to_string().contains("NOT_ENOUGH_REPLICAS"), "{error}");
}

#[tokio::test]
async fn after_a_batch_of_unknown_fate_the_next_ones_are_stored_once_and_in_order() {
    steady();
    let brokers = Brokers::start(1).await;
    brokers.topic("t", 1).faults(vec![Fault::StoreAndStaySilent; 100]);
    let (client, config) = impatient(&brokers.bootstrap());
    let producer = Producer::new(client, config).unwrap();
    let lost = producer.send(record("lost")).await.unwrap().await;
    assert!(lost.unwrap_err().outcome_unknown());
    brokers.world().faults.clear();
    assert!(send_all(&producer, 5).await.iter().all(Result::is_ok));
    assert_eq!(brokers.values("t", 0), [vec!["lost".to_owned()], numbers(5)].concat());
}

#[tokio::test]
async fn a_refused_record_is_told_from_those_refused_with_it() {
    let brokers = Brokers::start(1).await;
    brokers.topic("t", 1);
    brokers.world().poison = Some(b"1");
    let config = ProducerConfig { linger: PATIENCE, ..producing() };
    let producer = Producer::new(client(&brokers.bootstrap()), config).unwrap();
    let outcomes = send_all(&producer, 3).await;
    assert!(matches!(&outcomes[0], Err(ProduceError::RefusedWithOthers(_))), "{:?}", outcomes[0]);
    let Err(ProduceError::Refused(error)) = &outcomes[1] else { panic!("{:?}", outcomes[1]) };
    assert_eq!((error.code, error.message.as_deref()), (ErrorCode::InvalidRecord, Some("poison")));
    assert_eq!(outcomes[2].as_ref().unwrap_err().advice(), Advice::Retry);
    // The numbers of the refused batch are closed by a new epoch.
    let after = producer.send(record("after")).await.unwrap();
    producer.flush().await;
    assert!(after.await.is_ok());
    assert_eq!(brokers.values("t", 0), ["after"]);
}

/// A batch is refused while those after it are on their way: these are a gap to the broker, until the epoch
/// is raised.
#[tokio::test]
async fn a_refused_batch_does_not_hold_up_those_after_it() {
    for lenient in [false, true] {
        let brokers = Brokers::start(1).await;
        brokers.topic("t", 1).faults([Fault::None, Fault::Refuse(ErrorCode::InvalidRecord)]);
        brokers.world().lenient = lenient;
        let producer = Producer::new(client(&brokers.bootstrap()), one_at_a_time(producing())).unwrap();
        let outcomes = send_all(&producer, 20).await;
        assert_eq!(outcomes.iter().position(Result::is_err), Some(1), "{outcomes:?}");
        assert!(outcomes[2..].iter().all(Result::is_ok), "{outcomes:?}");
        let mut stored = numbers(20);
        stored.remove(1);
        assert_eq!(brokers.values("t", 0), stored);
    }
}

#[tokio::test]
async fn a_batch_that_is_too_large_goes_in_parts() {
    let brokers = Brokers::start(1).await;
    brokers.topic("t", 1);
    brokers.world().message_bytes_max = 150;
    let config = ProducerConfig { linger: PATIENCE, ..producing() };
    let producer = Producer::new(client(&brokers.bootstrap()), config).unwrap();
    for (i, outcome) in send_all(&producer, 64).await.into_iter().enumerate() {
        assert_eq!(outcome.unwrap().offset, Some(Offset(i as i64)));
    }
    assert_eq!(brokers.values("t", 0), numbers(64));
    let alone = producer.send(record("x".repeat(300))).await.unwrap();
    producer.flush().await;
    let error = alone.await.unwrap_err();
    assert!(matches!(&error, ProduceError::Refused(e) if e.code == ErrorCode::MessageTooLarge), "{error}");
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_at_once() {
    let brokers = Brokers::start(1).await;
    brokers.topic("t", 2);
    let config = ProducerConfig { max_request_size: 1000, ..producing() };
    let producer = Producer::new(client(&brokers.bootstrap()), config).unwrap();
    let error = producer.send(record("x".repeat(1000))).await.unwrap_err();
    assert!(matches!(error, ProduceError::TooLarge { limit: "max.request.size", .. }), "{error}");
    for partition in [-1, 2] {
        let error = producer.send(record("a").partition(partition)).await.unwrap_err();
        assert!(matches!(error, ProduceError::NotSent(Error::NoSuchPartition { .. })), "{error}");
        assert_eq!(error.advice(), Advice::FixInput);
    }
}

#[tokio::test]
async fn an_unknown_topic_is_waited_for() {
    steady();
    let brokers = Brokers::start(1).await;
    let config = ProducerConfig { max_block: Duration::from_millis(100), ..producing() };
    let producer = Producer::new(client(&brokers.bootstrap()), config).unwrap();
    let error = producer.send(record("a")).await.unwrap_err();
    assert!(error.to_string().contains("UNKNOWN_TOPIC_OR_PARTITION"), "{error}");
    brokers.world().auto_create = Some(1);
    assert!(producer.send(record("a")).await.unwrap().await.is_ok());
}

#[tokio::test]
async fn memory_is_bounded_and_comes_back() {
    steady();
    let brokers = Brokers::start(1).await;
    brokers.topic("t", 1).faults([Fault::Late(Duration::from_millis(150))]);
    let config = ProducerConfig {
        buffer_memory: 2000,
        batch_size: 400,
        max_in_flight: 1,
        max_block: Duration::from_millis(50),
        linger: Duration::from_secs(1),
        ..producing()
    };
    let producer = Producer::new(client(&brokers.bootstrap()), config).unwrap();
    let mut taken = Vec::new();
    let full = loop {
        match producer.send(record("x".repeat(200))).await {
            Ok(delivery) => taken.push(delivery),
            Err(error) => break error,
        }
        assert!(taken.len() < 20, "more than the memory holds");
    };
    assert!(matches!(full, ProduceError::BufferFull { .. }), "{full}");
    assert_eq!(full.advice(), Advice::Retry);
    for delivery in taken {
        delivery.await.unwrap();
    }
    assert!(producer.send(record("again")).await.is_ok());
}

#[tokio::test]
async fn flush_does_not_linger_and_close_settles_everything() {
    steady();
    let brokers = Brokers::start(1).await;
    brokers.topic("t", 1);
    let config = ProducerConfig { linger: Duration::from_secs(4), ..producing() };
    let producer = Producer::new(client(&brokers.bootstrap()), config).unwrap();
    let began = tokio::time::Instant::now();
    let mut delivery = producer.send(record("a")).await.unwrap();
    assert!(delivery.outcome().is_none());
    producer.flush().await;
    assert!(delivery.outcome().unwrap().is_ok());
    let delivery = producer.send(record("b")).await.unwrap();
    producer.close(PATIENCE).await;
    assert!(delivery.await.is_ok());
    assert!(began.elapsed() < Duration::from_secs(3));
    assert!(matches!(producer.send(record("c")).await, Err(ProduceError::Closed)));
}

#[tokio::test]
async fn closing_in_a_hurry_gives_up() {
    let brokers = Brokers::start(1).await;
    brokers.topic("t", 1).faults([Fault::StoreAndStaySilent]);
    let config = ProducerConfig { max_in_flight: 1, ..one_at_a_time(producing()) };
    let producer = Producer::new(client(&brokers.bootstrap()), config).unwrap();
    let sent = producer.send(record("sent")).await.unwrap();
    while brokers.count(ApiKey::Produce) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let queued = producer.send(record("queued")).await.unwrap();
    producer.close(Duration::from_millis(10)).await;
    assert!(sent.await.unwrap_err().outcome_unknown());
    assert!(matches!(queued.await.unwrap_err(), ProduceError::Closed));
}

#[tokio::test]
async fn a_dropped_producer_still_sends() {
    let brokers = Brokers::start(1).await;
    brokers.topic("t", 1);
    let config = ProducerConfig { linger: Duration::from_secs(4), ..producing() };
    let producer = Producer::new(client(&brokers.bootstrap()), config).unwrap();
    let delivery = producer.send(record("a")).await.unwrap();
    drop(producer);
    assert!(delivery.await.is_ok());
}

#[tokio::test]
async fn without_acks_there_is_no_offset() {
    let brokers = Brokers::start(1).await;
    brokers.topic("t", 1);
    let config = ProducerConfig { acks: Acks::None, enable_idempotence: false, ..producing() };
    let producer = Producer::new(client(&brokers.bootstrap()), config).unwrap();
    for outcome in send_all(&producer, 50).await {
        assert_eq!(outcome.unwrap().offset, None);
    }
    while brokers.values("t", 0).len() < 50 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(brokers.values("t", 0), numbers(50));
}

#[tokio::test]
async fn a_producer_that_may_not_be_idempotent_fails_for_good() {
    let brokers = Brokers::start(1).await;
    brokers.topic("t", 1);
    brokers
        .world()
        .init_faults
        .extend([ErrorCode::CoordinatorLoadInProgress, ErrorCode::ClusterAuthorizationFailed]);
    let producer = Producer::new(client(&brokers.bootstrap()), producing()).unwrap();
    let error = producer.send(record("a")).await.unwrap().await.unwrap_err();
    assert!(error.to_string().contains("CLUSTER_AUTHORIZATION_FAILED"), "{error}");
    assert_eq!(error.advice(), Advice::GiveUp);
    assert!(matches!(producer.send(record("b")).await, Err(ProduceError::Failed(_))));
}

#[tokio::test]
async fn settings_that_contradict_each_other_are_refused() {
    let refused = |config: ProducerConfig| Producer::new(client("a:1"), config).err().map(|e| e.to_string());
    let all = producing;
    for (config, name) in [
        (ProducerConfig { acks: Acks::Leader, ..all() }, "acks"),
        (ProducerConfig { retries: 0, ..all() }, "retries"),
        (ProducerConfig { max_in_flight: 6, ..all() }, "max.in.flight"),
        (ProducerConfig { delivery_timeout: Duration::from_millis(100), ..all() }, "delivery.timeout.ms"),
        (
            ProducerConfig { compression: Codec::Gzip, compression_level: Some(10), ..all() },
            "compression level",
        ),
    ] {
        let error = refused(config).unwrap();
        assert!(error.contains(name), "{error}");
    }
    assert!(refused(all()).is_none());
}

fn any_fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        4 => Just(Fault::None),
        1 => Just(Fault::HangUp),
        1 => Just(Fault::StoreAndHangUp),
        1 => Just(Fault::Refuse(ErrorCode::NotLeaderOrFollower)),
        1 => Just(Fault::Refuse(ErrorCode::NotEnoughReplicas)),
        1 => (1u64..5).prop_map(|ms| Fault::Late(Duration::from_millis(ms))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_breaks_each_record_is_stored_once_in_order_at_the_offset_that_was_told(
        faults in prop::collection::vec(any_fault(), 0..30),
        moves in prop::collection::vec(0usize..2, 0..3),
        batch_size in prop_oneof![Just(1usize), Just(100), Just(1000)],
        partitions in 1usize..4,
        lenient in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let brokers = Brokers::start(2).await;
            brokers.topic("t", partitions).faults(faults);
            brokers.world().lenient = lenient;
            let config = ProducerConfig { batch_size, ..producing() };
            let producer = Producer::new(client(&brokers.bootstrap()), config).unwrap();
            let mut deliveries = Vec::new();
            for i in 0..60usize {
                if i % 20 == 10 && let Some(&leader) = moves.get(i / 20) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    let mut world = brokers.world();
                    // A new leader knows what the old one knew.
                    world.move_leader("t", 0, leader);
                }
                let of = (i % partitions) as i32;
                let delivery = producer.send(ProducerRecord::new("t", i.to_string()).partition(of)).await.unwrap();
                deliveries.push((i, of, delivery));
            }
            let mut expected: BTreeMap<i32, Vec<String>> = BTreeMap::new();
            for (i, of, delivery) in deliveries {
                let stored = delivery.await.unwrap();
                let values = expected.entry(of).or_default();
                assert_eq!(stored.offset, Some(Offset(values.len() as i64)));
                values.push(i.to_string());
            }
            for (of, values) in expected {
                assert_eq!(brokers.values("t", of as usize), values);
            }
        });
    }
}
