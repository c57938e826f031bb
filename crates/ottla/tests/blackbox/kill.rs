//! kill -9 under load, again and again: every acknowledged record is there, once, in order, and nothing
//! half-written is served.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla_client::{ClientConfig, Producer, ProducerConfig, ProducerRecord};
use ottla_wire::Records;
use ottla_wire::batch::batches;
use ottla_wire::compress::Codec;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::harness::{
    Broker, Numbers, Setup, Wire, batch, create_topic, produced, read_all, times, try_fetch, try_produce,
    values,
};

const PARTITIONS: i32 = 3;

/// The load of a run, and what it was told.
struct Load {
    stop: AtomicBool,
    /// By partition: the offset that the broker gave for each record, by its number.
    acked: Vec<Mutex<BTreeMap<u64, i64>>>,
}

/// Sends numbered records to one partition until told to stop, and waits for the last answer. No delivery may
/// fail: the producer repeats what is unanswered when its broker is gone, and idempotence sorts it out.
async fn send(producer: Producer, load: Arc<Load>, partition: i32) -> u64 {
    let mut deliveries = JoinSet::new();
    let mut number = 0;
    while !load.stop.load(Ordering::Relaxed) {
        // Some are large, so that a kill meets writes of more than one page.
        let padding = "x".repeat(if number % 50 == 0 { 20_000 } else { 20 });
        let record = ProducerRecord::new("load", format!("{number}:{padding}")).partition(partition);
        let delivery = producer.send(record).await.unwrap();
        let load = load.clone();
        deliveries.spawn(async move {
            let stored =
                delivery.await.unwrap_or_else(|error| panic!("record {number} of {partition}: {error}"));
            if let Some(offset) = stored.offset {
                load.acked[partition as usize].lock().unwrap().insert(number, offset.0);
            }
        });
        number += 1;
        while deliveries.len() > 500 {
            deliveries.join_next().await.unwrap().unwrap();
        }
        // A steady load: everything is read again after each kill, so there must not be too much of it.
        if number % 4 == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    while let Some(delivered) = deliveries.join_next().await {
        delivered.unwrap();
    }
    number
}

fn number(value: &str) -> u64 {
    value.split(':').next().unwrap().parse().unwrap()
}

/// Everything that was acknowledged by now is where it was said to be, and each partition holds 0, 1, 2, ...
/// without a hole or a repeat.
fn check(broker: &Broker, load: &Load) {
    let mut wire = broker.connect();
    for partition in 0..PARTITIONS {
        let acked = load.acked[partition as usize].lock().unwrap().clone();
        let read = read_all(&mut wire, "load", partition);
        let numbers: Vec<u64> = values(&read).iter().map(|value| number(value)).collect();
        assert!(numbers.iter().copied().eq(0..numbers.len() as u64), "partition {partition}: in order, once");
        for (number, offset) in acked {
            let found = read.records.get(offset as usize).map(|record| record.offset.0);
            assert_eq!(found, Some(offset), "partition {partition}: record {number} was acknowledged");
            assert_eq!(numbers[offset as usize], number, "partition {partition} at {offset}");
        }
    }
}

#[test]
fn kill_9_under_load() {
    let mut setup = Setup::new();
    let mut broker = setup.start();
    create_topic(&mut broker.connect(), "load", PARTITIONS, &[]);
    let load = Arc::new(Load {
        stop: AtomicBool::new(false),
        acked: (0..PARTITIONS).map(|_| Mutex::default()).collect(),
    });
    let runtime = Runtime::new().unwrap();
    let mut senders = Vec::new();
    for partition in 0..PARTITIONS {
        let client = ClientConfig {
            request_timeout: Duration::from_secs(10),
            reconnect_backoff_max: Duration::from_millis(100),
            retry_backoff_max: Duration::from_millis(100),
            ..ClientConfig::new(&broker.addr.to_string())
        };
        let codec = [Codec::None, Codec::Lz4, Codec::Zstd][partition as usize];
        let config =
            ProducerConfig { compression: codec, linger: Duration::from_millis(1), ..Default::default() };
        let load = load.clone();
        senders.push(runtime.spawn(async move {
            let producer = Producer::new(client, config).unwrap();
            send(producer, load, partition).await
        }));
    }
    let mut numbers = Numbers(0x6b69_6c6c_2d39);
    for _ in 0..times(20, 200) {
        std::thread::sleep(Duration::from_millis(100 + numbers.below(200) as u64));
        broker.kill();
        broker = setup.start();
        check(&broker, &load);
    }
    load.stop.store(true, Ordering::Relaxed);
    let mut total = 0;
    for (partition, sender) in senders.into_iter().enumerate() {
        let sent = runtime.block_on(sender).unwrap();
        let read = read_all(&mut broker.connect(), "load", partition as i32);
        assert_eq!(
            read.records.len() as u64,
            sent,
            "partition {partition}: all that was sent is there, once"
        );
        total += sent;
    }
    check(&broker, &load);
    assert!(total > 100, "there was a load: {total}");
    println!("{total} records");
}

/// What was answered is on the disk when the answer leaves, also for the very first batches of a new topic.
#[test]
fn a_topic_and_its_first_batch_survive_a_kill() {
    let mut setup = Setup::new();
    let mut ids = Vec::new();
    for round in 0..5 {
        let broker = setup.start();
        let mut wire = broker.connect();
        let name = format!("round-{round}");
        ids.push(create_topic(&mut wire, &name, 2, &[]));
        assert_eq!(produced(&mut wire, &name, 1, batch([name.as_bytes()])), 0);
        broker.kill();
        let broker = setup.start();
        let mut wire = broker.connect();
        for earlier in 0..=round {
            let name = format!("round-{earlier}");
            assert_eq!(values(&read_all(&mut wire, &name, 1)), [name.as_str()]);
            assert_eq!(read_all(&mut wire, &name, 0).high_watermark, 0);
        }
        broker.kill();
    }
}

/// Reads one partition from its start until the connection is gone; everything it has seen.
fn read_until_closed(addr: SocketAddr) -> Vec<String> {
    let mut wire = Wire::to(addr);
    let mut seen = Vec::new();
    while let Ok(answer) = try_fetch(&mut wire, "seen", 0, seen.len() as i64) {
        assert_eq!(answer.error_code, 0);
        let Some(Records::Bytes(bytes)) = answer.records else { continue };
        // The last batch of an answer may be cut off.
        for batch in batches(bytes).map_while(Result::ok) {
            batch.check_crc().unwrap();
            assert_eq!(batch.header().base_offset.0, seen.len() as i64);
            let records = batch.records(1 << 20).unwrap().map(Result::unwrap);
            seen.extend(records.map(|record| String::from_utf8(record.value.unwrap().to_vec()).unwrap()));
        }
    }
    seen
}

/// Readers see no record that a kill can take back: what is served is at or below what is flushed.
#[test]
fn what_a_reader_has_seen_stays() {
    let mut setup = Setup::new();
    let mut broker = setup.start();
    create_topic(&mut broker.connect(), "seen", 1, &[]);
    for round in 0..times(4, 40) {
        let addr = broker.addr;
        let writer = std::thread::spawn(move || {
            let mut wire = Wire::to(addr);
            for number in 0.. {
                let values = (0..20).map(|at| format!("{round}.{number}.{at}"));
                if try_produce(&mut wire, "seen", 0, batch(values)).is_err() {
                    return;
                }
            }
        });
        let reader = std::thread::spawn(move || read_until_closed(addr));
        std::thread::sleep(Duration::from_millis(150));
        broker.kill();
        writer.join().unwrap();
        let before = reader.join().unwrap();
        broker = setup.start();
        let after = values(&read_all(&mut broker.connect(), "seen", 0));
        assert!(after.starts_with(&before), "{} records were seen, {} are there", before.len(), after.len());
    }
}
