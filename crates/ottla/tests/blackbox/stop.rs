//! SIGTERM: work under way is answered, the exit is clean, and the next start has nothing to repair.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ottla_wire::messages::MetadataRequest;
use rustix::process::Signal;

use crate::harness::{
    Setup, Wire, batch, create_topic, eventually, fetch, produced, read_all, try_produce, values,
};

const CLEAN_MARK: &str = ".kafka_cleanshutdown";

#[test]
fn sigterm_under_load() {
    let mut setup = Setup::new();
    for round in 0..3 {
        let broker = setup.start();
        assert!(!setup.data.join(CLEAN_MARK).exists(), "a running broker is not cleanly stopped");
        let mut wire = broker.connect();
        let topic = format!("stopped-{round}");
        create_topic(&mut wire, &topic, 4, &[]);
        let addr = broker.addr;
        let acked: Arc<[AtomicI64; 4]> = Arc::default();
        let writers: Vec<_> = (0..4)
            .map(|partition| {
                let (topic, acked) = (topic.clone(), acked.clone());
                std::thread::spawn(move || {
                    let mut wire = Wire::to(addr);
                    for number in 0.. {
                        match try_produce(&mut wire, &topic, partition, batch([format!("{number}")])) {
                            Ok(answer) if answer.error_code == 0 => assert_eq!(answer.base_offset, number),
                            // A broker that stops may say so, or close.
                            Ok(_) | Err(_) => return,
                        }
                        acked[partition as usize].store(number + 1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        let acked = || acked.iter().map(|acked| acked.load(Ordering::SeqCst));
        eventually("all are at it", || acked().all(|acked| acked > 0));
        std::thread::sleep(Duration::from_millis(300));
        let (code, log) = broker.stop();
        assert_eq!(code, 0, "{log}");
        assert!(log.contains("\"message\":\"stopped\""), "{log}");
        assert!(setup.data.join(CLEAN_MARK).exists());
        writers.into_iter().for_each(|writer| writer.join().unwrap());

        let broker = setup.start();
        let mut wire = broker.connect();
        for (partition, acked) in (0..).zip(acked()) {
            let read = values(&read_all(&mut wire, &topic, partition));
            // A last batch may have been stored without its answer getting out.
            assert!(
                (acked..=acked + 1).contains(&(read.len() as i64)),
                "{acked} acked, {} there",
                read.len()
            );
            assert!(read.iter().enumerate().all(|(at, value)| *value == at.to_string()));
        }
        let (code, log) = broker.stop();
        assert_eq!(code, 0);
        assert!(!log.contains("cut off"), "a clean stop leaves nothing to repair: {log}");
    }
}

/// A long poll does not hold up the end.
#[test]
fn a_waiting_consumer_does_not_delay_the_stop() {
    let mut setup = Setup::new();
    let broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "quiet", 1, &[]);
    assert_eq!(fetch(&mut wire, "quiet", 0, 0).error_code, 0);
    let mut poll = fetch_that_waits("quiet");
    poll.min_bytes = 1;
    wire.send(&poll, 12).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let began = std::time::Instant::now();
    let (code, log) = broker.stop();
    println!("stopped after {:?}", began.elapsed());
    assert_eq!(code, 0, "{log}");
}

fn fetch_that_waits(topic: &str) -> ottla_wire::messages::FetchRequest {
    use ottla_wire::messages::fetch_request::{FetchPartition, FetchTopic};
    let partition =
        FetchPartition { partition_max_bytes: 1 << 20, current_leader_epoch: -1, ..Default::default() };
    let topic = FetchTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() };
    ottla_wire::messages::FetchRequest {
        max_wait_ms: 600_000,
        min_bytes: 1,
        topics: vec![topic],
        ..Default::default()
    }
}

/// The other signals that ask for an end do the same, and a second one hurries.
#[test]
fn sigint_and_sighup_stop_cleanly() {
    let mut setup = Setup::new();
    for signal in [Signal::INT, Signal::HUP] {
        let mut broker = setup.start();
        let mut wire = broker.connect();
        assert_eq!(wire.call(&MetadataRequest::default(), 12).error_code, 0);
        broker.signal(signal);
        assert_eq!(broker.await_exit().code(), Some(0));
        assert!(setup.data.join(CLEAN_MARK).exists());
    }
    let mut broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "hurried", 1, &[]);
    produced(&mut wire, "hurried", 0, batch(["a"]));
    wire.send(&fetch_that_waits("hurried"), 12).unwrap();
    broker.signal(Signal::TERM);
    broker.signal(Signal::TERM);
    assert_eq!(broker.await_exit().code(), Some(0));
    let broker = setup.start();
    assert_eq!(values(&read_all(&mut broker.connect(), "hurried", 0)), ["a"]);
}
