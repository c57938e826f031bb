//! Limits that outsiders reach: connections, bytes of requests, answers that nobody reads.

use std::time::{Duration, Instant};

use ottla_wire::ErrorCode;
use ottla_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_wire::messages::{FetchRequest, MetadataRequest};

use crate::harness::{
    Broker, Setup, Wire, batch, create_topic, eventually, latest, produced, read_all, times, try_produce,
    values,
};

fn serves(broker: &Broker) {
    assert_eq!(broker.connect().call(&MetadataRequest::default(), 12).error_code, 0);
}

fn connections_open(broker: &Broker) -> usize {
    broker.metric("ottla_connections_open") as usize
}

/// Raises how many files this process may have open, as far as it may.
fn open_files_max() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _as_it_was = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.and_then(|max| usize::try_from(max).ok()).unwrap_or(usize::MAX)
}

#[test]
fn a_flood_of_connections() {
    let count = times(2000, 8000);
    if open_files_max() < count + 100 {
        println!("skipped: this process may not open {count} connections");
        return;
    }
    let mut setup = Setup::new();
    let broker = setup.start();
    serves(&broker);
    let before = broker.rss_kib();
    let mut flood = Vec::new();
    for number in 0..count {
        let mut wire = broker.connect();
        // Some say nothing, some have begun a request, some have had an answer.
        match number % 3 {
            0 => {}
            1 => wire.send_raw(&[0, 0, 0, 50, 0, 3]).unwrap(),
            _ => drop(wire.call(&MetadataRequest::default(), 12)),
        }
        flood.push(wire);
    }
    eventually("all are open", || connections_open(&broker) >= count);
    serves(&broker);
    let after = broker.rss_kib();
    println!("{count} connections: {before} KiB, then {after} KiB");
    assert!(after < before + 32 * count, "{} KiB a connection", (after - before) / count);
    for wire in flood.iter_mut().skip(2).step_by(3) {
        assert_eq!(wire.call(&MetadataRequest::default(), 12).error_code, 0);
    }
    drop(flood);
    eventually("all are closed", || connections_open(&broker) == 0);
    serves(&broker);
}

#[test]
fn connections_from_one_address_are_limited() {
    let mut setup = Setup::new().set("max.connections.per.ip", 10);
    let broker = setup.start();
    let mut held: Vec<Wire> = (0..10).map(|_| broker.connect()).collect();
    for wire in &mut held {
        assert_eq!(wire.call(&MetadataRequest::default(), 12).error_code, 0);
    }
    for _ in 0..5 {
        broker.connect().expect_close("one more than max.connections.per.ip");
    }
    assert_eq!(broker.metric("ottla_connections_refused_per_ip_total"), 5.0);
    assert_eq!(held[0].call(&MetadataRequest::default(), 12).error_code, 0);
    held.pop();
    eventually("the place is free", || connections_open(&broker) == 9);
    serves(&broker);
}

#[test]
fn connections_are_limited() {
    let mut setup = Setup::new().set("max.connections", 10);
    let broker = setup.start();
    let mut held: Vec<Wire> = (0..10).map(|_| broker.connect()).collect();
    for wire in &mut held {
        assert_eq!(wire.call(&MetadataRequest::default(), 12).error_code, 0);
    }
    let mut waits = broker.connect();
    let id = waits.send(&MetadataRequest::default(), 12).unwrap();
    assert!(!waits.stirs(Duration::from_millis(200)), "nobody is served beyond max.connections");
    held.pop();
    assert_eq!(waits.answer::<MetadataRequest>(id, 12).unwrap().error_code, 0);
}

#[test]
fn idle_connections_are_closed() {
    const IDLE_MAX: Duration = Duration::from_millis(300);
    let mut setup = Setup::new().set("connections.max.idle.ms", IDLE_MAX.as_millis());
    let broker = setup.start();
    let mut quiet = broker.connect();
    let mut begun = broker.connect();
    begun.send_raw(&[0, 0, 0, 50, 0, 3]).unwrap();
    let mut busy = broker.connect();
    let patience = Instant::now() + Duration::from_secs(60);
    let mut since = Instant::now();
    let mut last = since;
    while since.elapsed() < 4 * IDLE_MAX {
        assert!(Instant::now() < patience, "the machine is too busy to keep a connection busy");
        let asked = Instant::now();
        if let Ok(answer) = busy.try_call(&MetadataRequest::default(), 12) {
            assert_eq!(answer.error_code, 0);
            last = asked;
            std::thread::sleep(IDLE_MAX / 6);
        } else {
            // On a busy machine it may be idle for so long against its will: then it begins anew.
            assert!(last.elapsed() >= IDLE_MAX, "closed {:?} after its last request", last.elapsed());
            busy = broker.connect();
            since = Instant::now();
            last = since;
        }
    }
    quiet.expect_close("nothing was ever said");
    begun.expect_close("half a header");
}

/// Kafka's default for requests is 100 MiB, for batches 1 MiB: what lies between is read, refused with a
/// reason, and the connection goes on.
#[test]
fn a_request_of_64_mib() {
    let mut setup = Setup::new();
    let broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "large", 1, &[]);
    for _ in 0..2 {
        let large = batch([vec![7; 64 << 20]]);
        let answer = try_produce(&mut wire, "large", 0, large).unwrap();
        assert_eq!(ErrorCode::from_code(answer.error_code), Some(ErrorCode::MessageTooLarge));
        assert!(answer.error_message.is_some());
    }
    assert_eq!(produced(&mut wire, "large", 0, batch(["small"])), 0);
    eventually("its memory is given back", || broker.rss_kib() < 200 << 10);
    // A topic may allow it.
    create_topic(&mut wire, "larger", 1, &[("max.message.bytes", "80000000")]);
    assert_eq!(produced(&mut wire, "larger", 0, batch([vec![7; 64 << 20]])), 0);
    drop(wire);
    broker.kill();
    let broker = setup.start();
    let read = read_all(&mut broker.connect(), "larger", 0);
    assert_eq!(read.records[0].value.as_ref().map(|value| value.len()), Some(64 << 20));
}

#[test]
fn a_request_over_the_limit_closes_the_connection_unread() {
    let mut setup = Setup::new().set("socket.request.max.bytes", 1_000_000);
    let broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "small", 1, &[]);
    let mut over = broker.connect();
    over.send_raw(&1_000_001_i32.to_be_bytes()).unwrap();
    over.expect_close("a length over the limit");
    assert_eq!(produced(&mut wire, "small", 0, batch(["x".repeat(900_000)])), 0);
    serves(&broker);
}

/// Lengths that are announced and never sent cost nothing, and do not keep others from being served.
#[test]
fn announced_requests_take_no_memory() {
    let mut setup = Setup::new();
    let broker = setup.start();
    create_topic(&mut broker.connect(), "busy", 1, &[]);
    let before = broker.rss_kib();
    let mut held = Vec::new();
    for _ in 0..200 {
        let mut wire = broker.connect();
        wire.send_raw(&(90_i32 << 20).to_be_bytes()).unwrap();
        wire.send_raw(&[0, 0, 0, 9, 0, 0, 0, 1]).unwrap();
        held.push(wire);
    }
    std::thread::sleep(Duration::from_millis(200));
    serves(&broker);
    let mut wire = broker.connect();
    for number in 0..20 {
        assert_eq!(produced(&mut wire, "busy", 0, batch(["x".repeat(10_000)])), number);
    }
    let after = broker.rss_kib();
    assert!(after < before + (64 << 10), "resident memory went from {before} to {after} KiB");
}

/// A consumer that asks and asks and never reads what it gets.
#[test]
fn a_reader_that_does_not_read() {
    let mut setup = Setup::new();
    let mut broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "wide", 1, &[]);
    for _ in 0..20 {
        produced(&mut wire, "wide", 0, batch(["x".repeat(1_000_000)]));
    }
    let partition =
        FetchPartition { current_leader_epoch: -1, partition_max_bytes: 16 << 20, ..Default::default() };
    let topic = FetchTopic { topic: "wide".into(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest { min_bytes: 1, topics: vec![topic], ..Default::default() };
    let small = FetchRequest {
        max_bytes: 1,
        topics: vec![FetchTopic {
            topic: "narrow".into(),
            partitions: vec![FetchPartition {
                partition_max_bytes: 1,
                ..request.topics[0].partitions[0].clone()
            }],
            ..Default::default()
        }],
        ..request.clone()
    };
    create_topic(&mut wire, "narrow", 1, &[]);
    // Small enough to be copied into each answer, many enough to fill every buffer.
    produced(&mut wire, "narrow", 0, batch(["y".repeat(30_000)]));
    let before = broker.rss_kib();
    let mut readers = Vec::new();
    for number in 0..20 {
        let mut reader = broker.connect();
        for _ in 0..200 {
            let asked = if number % 2 == 0 { &request } else { &small };
            reader.send(asked, 12).unwrap();
        }
        readers.push(reader);
    }
    std::thread::sleep(Duration::from_millis(500));
    let after = broker.rss_kib();
    println!("20 readers that do not read: {before} KiB, then {after} KiB");
    assert!(after < before + (96 << 10), "resident memory went from {before} to {after} KiB");
    serves(&broker);
    // Others read and write at the same partitions.
    let mut other = broker.connect();
    assert_eq!(read_all(&mut other, "wide", 0).records.len(), 20);
    assert_eq!(produced(&mut other, "narrow", 0, batch(["z"])), 1);
    assert_eq!(latest(&mut other, "narrow", 0), 2);
    drop(readers);
    eventually("they are let go", || connections_open(&broker) <= 2);
    assert!(broker.is_alive());
    assert_eq!(values(&read_all(&mut other, "narrow", 0)).len(), 2);
}

/// A producer that sends and never reads its acknowledgements is held up by the sockets, not kept in memory.
#[test]
fn a_producer_that_does_not_read_its_answers() {
    let mut setup = Setup::new();
    let broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "deaf", 1, &[]);
    let before = broker.rss_kib();
    let mut deaf = broker.connect();
    let bytes = batch(["x".repeat(100)]);
    for _ in 0..times(20_000, 200_000) {
        if deaf.send(&crate::harness::produce("deaf", 0, bytes.clone(), -1), 12).is_err() {
            break;
        }
    }
    let after = broker.rss_kib();
    println!("unread acknowledgements: {before} KiB, then {after} KiB");
    assert!(after < before + (64 << 10), "resident memory went from {before} to {after} KiB");
    serves(&broker);
}
