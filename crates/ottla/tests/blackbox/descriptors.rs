//! Few file descriptors: connections leave what files need, partitions are made as far as they can be opened,
//! and nothing of it is taken for a broken disk.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use ottla_wire::messages::create_topics_request::CreatableTopic;
use ottla_wire::messages::{CreateTopicsRequest, CreateTopicsResponse};

use crate::harness::{Broker, Setup, Wire, batch, eventually, produced, read_all, values};

/// `ulimit -n`. It is too few for a hundred connections, and for as many partitions.
const LIMIT: u64 = 512;

/// POLICY_VIOLATION
const REFUSED: i16 = 44;

/// What one that has no room says within this time.
const SOON: Duration = Duration::from_secs(10);

fn create(wire: &mut Wire, name: &str, num_partitions: i32) -> (i16, String) {
    let topic =
        CreatableTopic { name: name.into(), num_partitions, replication_factor: 1, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, ..Default::default() };
    let answer: CreateTopicsResponse = wire.call(&request, 7);
    let result = &answer.topics[0];
    (result.error_code, result.error_message.as_deref().unwrap_or_default().to_owned())
}

/// Connections until one is closed at once.
fn idle_connections(broker: &Broker) -> Vec<TcpStream> {
    let mut open = Vec::new();
    eventually("a connection is refused", || {
        for _ in 0..50 {
            open.push(TcpStream::connect(broker.addr).unwrap());
        }
        broker.metric("ottla_connections_refused_descriptors_total") > 0.0
    });
    open
}

#[test]
fn connections_and_partitions_beyond_the_limit_are_refused() {
    let mut setup = Setup::new().descriptors(LIMIT);
    let mut broker = setup.start();
    assert!(broker.log().contains("few file descriptors"), "{}", broker.log());
    let mut wire = broker.connect();
    let idle = idle_connections(&broker);
    // The refused one is closed, and the log says so, but not for each.
    let mut last = idle.last().unwrap();
    last.set_read_timeout(Some(SOON)).unwrap();
    assert_eq!(last.read(&mut [0]).unwrap(), 0, "it is closed");
    let lines = || broker.log().matches("connection refused: the descriptors").count();
    eventually("the log says so", || lines() > 0);
    assert!(lines() < 10, "{}", broker.log());

    // Files have what they need beside all those connections.
    let mut made = 0;
    let (code, message) = loop {
        let answer = create(&mut wire, &format!("t{made}"), 10);
        if answer.0 != 0 {
            break answer;
        }
        for partition in 0..10 {
            produced(&mut wire, &format!("t{made}"), partition, batch(["a"]));
        }
        made += 1;
        assert!(made < 100, "nothing is ever refused");
    };
    assert_eq!(code, REFUSED, "{message}");
    assert!(message.contains("ulimit -n"), "{message}");
    assert!(made >= 5, "{made} topics of 10 partitions");
    // Checkpoints come every five seconds.
    std::thread::sleep(Duration::from_secs(6));
    assert!(broker.is_alive(), "{}", broker.log());
    produced(&mut wire, "t0", 0, batch(["b"]));
    assert_eq!(values(&read_all(&mut wire, "t0", 0)), ["a", "b"]);
    let told = broker.log();
    assert!(!told.contains("Too many open files") && !told.contains("offline"), "{told}");

    // Who goes makes room.
    drop(idle);
    eventually("there is room again", || {
        let mut stream = TcpStream::connect(broker.addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        // One that is served waits for a request.
        !matches!(stream.read(&mut [0]), Ok(0))
    });
    let (code, log) = broker.stop();
    assert_eq!(code, 0, "{log}");
    let broker = setup.start();
    assert_eq!(values(&read_all(&mut broker.connect(), "t0", 0)), ["a", "b"]);
}

/// What the process may take it takes: a soft limit is only what it starts with.
#[test]
fn the_soft_limit_is_raised() {
    let mut setup = Setup::new().soft_descriptors(256);
    let broker = setup.start();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", broker.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let [soft, hard] = [3, 4].map(|at| line.split_whitespace().nth(at).unwrap());
    assert_eq!(soft, hard, "{line}");
    assert!(broker.log().contains("file descriptors"), "{}", broker.log());
}
