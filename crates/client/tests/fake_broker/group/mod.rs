//! Consumers of groups against the coordinator of the fake broker; here is what the tests have in common.
//!
//! - `members`: how they come to their partitions and lose them.
//! - `offsets`: what is read and what is committed.
//! - `errors`: a coordinator that refuses, moves, and speaks old versions.
//! - `admin`: groups from outside.

mod admin;
mod errors;
mod members;
mod offsets;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ottla_client::{
    Assignor, ConsumerConfig, GroupConfig, GroupConsumer, GroupProtocol, OffsetReset, Producer,
    ProducerRecord, Rebalance, RebalanceListener, TopicPartition,
};

use super::broker::Brokers;
use super::{PATIENCE, client, producing};

const POLL: Duration = Duration::from_millis(20);

/// The ways to be in a group.
fn ways() -> Vec<(&'static str, GroupConfig)> {
    let config = GroupConfig {
        heartbeat_interval: Duration::from_millis(10),
        auto_commit_interval: Duration::from_millis(50),
        ..GroupConfig::new("g")
    };
    let classic = |assignors: &[Assignor]| GroupConfig {
        partition_assignment_strategy: assignors.to_vec(),
        ..config.clone()
    };
    vec![
        ("eager", classic(&[Assignor::Range, Assignor::CooperativeSticky])),
        ("cooperative", classic(&[Assignor::CooperativeSticky])),
        ("consumer", GroupConfig { group_protocol: GroupProtocol::Consumer, ..config.clone() }),
    ]
}

fn from_earliest() -> ConsumerConfig {
    ConsumerConfig {
        auto_offset_reset: OffsetReset::Earliest,
        fetch_max_wait: Duration::from_millis(5),
        ..ConsumerConfig::default()
    }
}

fn member(brokers: &Brokers, config: &GroupConfig) -> GroupConsumer {
    // The id of a member comes from the seed.
    static SEEDS: AtomicU64 = AtomicU64::new(1);
    let seed = Some(SEEDS.fetch_add(1, Ordering::Relaxed));
    let client = ottla_client::ClientConfig { seed, ..client(&brokers.bootstrap()) };
    GroupConsumer::new(client, from_earliest(), config.clone()).unwrap()
}

fn of(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

async fn produce(brokers: &Brokers, topic: &str, partitions: i32, values: std::ops::Range<usize>) {
    let producer = Producer::new(client(&brokers.bootstrap()), producing()).unwrap();
    for value in values {
        for partition in 0..partitions {
            producer.send(ProducerRecord::new(topic, value.to_string()).partition(partition)).await.unwrap();
        }
    }
    producer.close(PATIENCE).await;
}

/// Who owns what, by what the listeners are told. Two owners at once are a failure.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<Owners>>);

#[derive(Default)]
struct Owners {
    owner: BTreeMap<TopicPartition, usize>,
    /// `"1 revoked t-0 t-1"`.
    log: Vec<String>,
    /// Members that were put out: who took their partitions meanwhile is right.
    deposed: BTreeSet<usize>,
}

struct Listener {
    ledger: Ledger,
    id: usize,
}

impl Ledger {
    fn listener(&self, id: usize) -> impl RebalanceListener + use<> {
        Listener { ledger: self.clone(), id }
    }

    fn log(&self) -> Vec<String> {
        self.0.lock().unwrap().log.clone()
    }

    fn depose(&self, id: usize) {
        let mut owners = self.0.lock().unwrap();
        owners.deposed.insert(id);
        owners.owner.retain(|_, owner| *owner != id);
    }

    /// How many partitions each member has.
    fn counts(&self) -> BTreeMap<usize, usize> {
        let owners = self.0.lock().unwrap();
        let mut counts = BTreeMap::new();
        for owner in owners.owner.values() {
            *counts.entry(*owner).or_default() += 1;
        }
        counts
    }
}

impl Listener {
    fn note(&self, what: &str, partitions: &[TopicPartition]) {
        let partitions: Vec<String> = partitions.iter().map(ToString::to_string).collect();
        self.ledger.0.lock().unwrap().log.push(format!("{} {what} {}", self.id, partitions.join(" ")));
    }

    fn gone(&self, partitions: &[TopicPartition]) {
        let mut owners = self.ledger.0.lock().unwrap();
        for partition in partitions {
            if owners.owner.get(partition) == Some(&self.id) {
                owners.owner.remove(partition);
            } else {
                assert!(
                    owners.deposed.contains(&self.id),
                    "{} gives up {partition}, which it has not",
                    self.id
                );
            }
        }
    }
}

impl RebalanceListener for Listener {
    fn assigned(&mut self, _: &mut Rebalance<'_>, partitions: &[TopicPartition]) {
        self.note("assigned", partitions);
        let mut owners = self.ledger.0.lock().unwrap();
        for partition in partitions {
            let before = owners.owner.insert(partition.clone(), self.id);
            assert_eq!(
                before, None,
                "{partition} goes to {} while another has it: {:?}",
                self.id, owners.log
            );
        }
        owners.deposed.remove(&self.id);
    }

    fn revoked(&mut self, _: &mut Rebalance<'_>, partitions: &[TopicPartition]) {
        self.note("revoked", partitions);
        self.gone(partitions);
    }

    fn lost(&mut self, _: &mut Rebalance<'_>, partitions: &[TopicPartition]) {
        self.note("lost", partitions);
        self.gone(partitions);
    }
}

type Read = Arc<Mutex<Vec<(TopicPartition, i64)>>>;

/// A member that polls until it is told to stop, and then closes.
struct Running {
    stop: Arc<tokio::sync::Notify>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(mut consumer: GroupConsumer, read: Read) -> Running {
        let stop = Arc::new(tokio::sync::Notify::new());
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    records = consumer.poll(POLL) => {
                        for of in records.unwrap() {
                            let offsets = of.records.iter().map(|record| (of.partition.clone(), record.offset.0));
                            read.lock().unwrap().extend(offsets);
                        }
                    }
                    () = stopped.notified() => break,
                }
            }
            consumer.close(PATIENCE).await.unwrap();
        });
        Running { stop, task }
    }

    async fn stop(self) {
        self.stop.notify_one();
        self.task.await.unwrap();
    }
}

async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "still not: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Polls until something is so.
async fn poll_until(consumer: &mut GroupConsumer, what: &str, is: impl Fn(&GroupConsumer) -> bool) -> usize {
    let (deadline, mut read) = (Instant::now() + PATIENCE, 0);
    while !is(consumer) {
        assert!(Instant::now() < deadline, "still not: {what}");
        read += consumer.poll(POLL).await.unwrap().iter().map(|of| of.records.len()).sum::<usize>();
    }
    read
}

fn owns(count: usize) -> impl Fn(&GroupConsumer) -> bool {
    move |consumer| consumer.assignment().count() == count
}

async fn read_count(consumer: &mut GroupConsumer, count: usize) {
    let (deadline, mut read) = (Instant::now() + PATIENCE, 0);
    while read < count {
        assert!(Instant::now() < deadline, "read {read} of {count}");
        read += consumer.poll(POLL).await.unwrap().iter().map(|of| of.records.len()).sum::<usize>();
    }
    assert_eq!(read, count);
}
