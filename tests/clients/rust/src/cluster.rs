//! The broker under test: one admin client for all scenarios, fresh producers and consumers for each.

use std::cell::Cell;
use std::future::Future;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::producer::future_producer::Delivery;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use crate::{Outcome, check, same};

const READ_MAX: Duration = Duration::from_secs(30);
pub const TIMEOUT: Duration = Duration::from_secs(10);

pub struct Cluster {
    pub bootstrap: String,
    pub admin: AdminClient<DefaultClientContext>,
    runtime: tokio::runtime::Runtime,
    run: u128,
    topics: Cell<u32>,
}

impl Cluster {
    pub fn connect(bootstrap: String) -> Outcome<Cluster> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        // Asking for a topic must not create it, as it would for a producer.
        let admin = config(&bootstrap).set("allow.auto.create.topics", "false").create()?;
        let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
        Ok(Cluster { bootstrap, admin, runtime, run, topics: Cell::new(0) })
    }

    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// A topic name that no other scenario or run has.
    pub fn name(&self, scenario: &str) -> String {
        self.topics.set(self.topics.get() + 1);
        format!("rust-{scenario}-{:x}-{}", self.run, self.topics.get())
    }

    pub fn topic(&self, scenario: &str, partitions: i32, configs: &[(&str, &str)]) -> Outcome<String> {
        let name = self.name(scenario);
        self.create(&name, partitions, configs)?.map_err(|code| format!("creating {name}: {code}"))?;
        Ok(name)
    }

    /// The answer for the one topic: created, or the broker's error.
    pub fn create(
        &self,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> Outcome<Result<(), RDKafkaErrorCode>> {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let topic = configs.iter().fold(topic, |topic, (name, value)| topic.set(name, value));
        let answer = self.wait(self.admin.create_topics([&topic], &AdminOptions::new()))?;
        settle();
        let result = answer.into_iter().next().ok_or("no answer")?;
        Ok(result.map(drop).map_err(|(_, code)| code))
    }

    /// Sends the records and gives what the broker told of each, in order.
    pub fn send(
        &self,
        settings: &[(&str, &str)],
        records: Vec<FutureRecord<'_, [u8], [u8]>>,
    ) -> Outcome<Vec<Delivery>> {
        let mut config = config(&self.bootstrap);
        config.set("linger.ms", "5").set("delivery.timeout.ms", "20000").set("request.timeout.ms", "10000");
        for (name, value) in settings {
            config.set(*name, *value);
        }
        let producer: FutureProducer = config.create()?;
        let mut sent = Vec::new();
        for record in records {
            sent.push(producer.send_result(record).map_err(|(error, _)| error)?);
        }
        producer.flush(READ_MAX)?;
        sent.into_iter().map(|one| Ok(self.wait(one)?.map_err(|(error, _)| error)?)).collect()
    }

    /// Numbered records, round robin over the partitions.
    pub fn fill(&self, topic: &str, partitions: i32, count: i32, settings: &[(&str, &str)]) -> Outcome {
        let values: Vec<Vec<u8>> = (0..count).map(value).collect();
        let records = (0..count)
            .zip(&values)
            .map(|(i, value)| FutureRecord::to(topic).partition(i % partitions).payload(value.as_slice()))
            .collect();
        self.send(settings, records).map(drop)
    }

    /// A consumer that stands at an offset of each partition.
    pub fn consumer(&self, topic: &str, partitions: i32, from: Offset) -> KafkaResult<BaseConsumer> {
        let mut config = config(&self.bootstrap);
        // The client must be given a group; reading by assignment does not use it.
        config
            .set("group.id", "never-used")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error");
        let consumer: BaseConsumer = config.create()?;
        let mut assignment = TopicPartitionList::new();
        for partition in 0..partitions {
            assignment.add_partition_offset(topic, partition, from)?;
        }
        consumer.assign(&assignment)?;
        Ok(consumer)
    }

    /// A member-to-be of a group. What it has not committed it reads again.
    pub fn member(&self, group: &str, settings: &[(&str, &str)]) -> KafkaResult<BaseConsumer> {
        let mut config = config(&self.bootstrap);
        config.set("group.id", group).set("enable.auto.commit", "false").set("auto.offset.reset", "earliest");
        if !settings.contains(&("group.protocol", "consumer")) {
            config.set("session.timeout.ms", "6000").set("heartbeat.interval.ms", "100");
        }
        for (name, value) in settings {
            config.set(*name, *value);
        }
        config.create()
    }

    pub fn read_from(
        &self,
        topic: &str,
        partitions: i32,
        from: Offset,
        count: usize,
    ) -> Outcome<Vec<OwnedMessage>> {
        read(&self.consumer(topic, partitions, from)?, count)
    }

    /// The numbered records are there: each once, in order and without a gap in every partition.
    pub fn check_filled(&self, topic: &str, partitions: i32, count: usize) -> Outcome {
        let mut next = vec![0; partitions as usize];
        for record in self.read_from(topic, partitions, Offset::Beginning, count)? {
            let partition = record.partition();
            let position = next[partition as usize];
            next[partition as usize] += 1;
            same!(i64::from(position), record.offset(), "partition {partition} offset");
            let expected = value(position * partitions + partition);
            same!(
                Some(expected.as_slice()),
                record.payload(),
                "partition {partition} record {position} value"
            );
        }
        Ok(())
    }

    /// The low and high watermarks of a partition.
    pub fn watermarks(&self, topic: &str, partition: i32) -> Outcome<(i64, i64)> {
        let consumer: BaseConsumer = config(&self.bootstrap).create()?;
        Ok(consumer.fetch_watermarks(topic, partition, TIMEOUT)?)
    }
}

/// Waits after a change for a cluster that answers before all of it knows (SETTLE_MS, see `run`).
pub fn settle() {
    let ms = std::env::var("SETTLE_MS").ok().and_then(|ms| ms.parse().ok()).unwrap_or(0);
    std::thread::sleep(Duration::from_millis(ms));
}

fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("socket.timeout.ms", "10000");
    config
}

/// Reads until `count` records came, and then a little longer for any too many.
pub fn read(consumer: &BaseConsumer, count: usize) -> Outcome<Vec<OwnedMessage>> {
    let mut records = Vec::new();
    let deadline = Instant::now() + READ_MAX;
    while records.len() < count && Instant::now() < deadline {
        records.extend(poll(consumer, Duration::from_millis(500))?);
    }
    records.extend(poll(consumer, Duration::from_millis(200))?);
    check!(records.len() == count, "records read: expected {count}, found {}", records.len());
    Ok(records)
}

/// One record, if one comes in time. Errors about the coordinator of the group that is never used are passed
/// over.
pub fn poll(consumer: &BaseConsumer, wait: Duration) -> KafkaResult<Option<OwnedMessage>> {
    use RDKafkaErrorCode::{CoordinatorNotAvailable, NotCoordinator, UnsupportedFeature};
    match consumer.poll(wait) {
        None => Ok(None),
        Some(Ok(message)) => Ok(Some(message.detach())),
        Some(Err(KafkaError::MessageConsumption(
            UnsupportedFeature | CoordinatorNotAvailable | NotCoordinator,
        ))) => Ok(None),
        Some(Err(error)) => Err(error),
    }
}

pub fn value(i: i32) -> Vec<u8> {
    format!("value-{i}-{}", "abcdefgh".repeat(12)).into_bytes()
}
