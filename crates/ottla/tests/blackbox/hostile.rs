//! Peers that send anything but what the protocol asks for: the process lives, its memory stays, others are
//! served.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ottla_wire::messages::MetadataRequest;

use crate::benign::{self, Benign, Subject};
use crate::harness::{Numbers, Setup, Wire, batch, create_topic, fetch, produced, read_all, times, values};

const THREADS: u64 = 4;

/// What the resident memory may grow by while bent frames come: noise of the allocator, not one frame's
/// claims.
const RSS_GROWTH_KIB_MAX: usize = 48 << 10;

/// What others store meanwhile, at least.
const BYSTANDER_RECORDS_MIN: u64 = 100;

/// How long a request may be under way before its sender gives up (a bent fetch may wait for weeks).
const STIR_MAX: Duration = Duration::from_millis(50);

/// A frame that is not what it should be.
fn bend(frame: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bent = frame.to_vec();
    let len = bent.len();
    match numbers.below(10) {
        // Cut off, and honest about its length.
        0..3 => {
            bent.truncate(4 + numbers.below(len - 4));
            let length = (bent.len() - 4) as i32;
            bent[..4].copy_from_slice(&length.to_be_bytes());
        }
        // Bits flipped behind the length.
        3..7 => {
            for _ in 0..=numbers.below(3) {
                let at = 4 + numbers.below(len - 4);
                bent[at] ^= 1 << numbers.below(8);
            }
        }
        // Counts and lengths that claim the world, or less than nothing.
        7 => {
            let (at, wide) = (12 + numbers.below(len - 12), 1 + numbers.below(4));
            let byte = [0xff, 0x7f, 0x80][numbers.below(3)];
            bent[at..(at + wide).min(len)].fill(byte);
        }
        // A length that is not that of the frame.
        8 => {
            let claims = [0, 1, 3, len as i32 / 2, len as i32 + 9, 100 << 20, i32::MAX, -1, i32::MIN];
            bent[..4].copy_from_slice(&claims[numbers.below(claims.len())].to_be_bytes());
        }
        // A good header, and noise.
        _ => bent[12..].fill_with(|| numbers.next() as u8),
    }
    bent
}

/// Sends bent frames, each on a connection of its own; every one of those must come to an end.
fn attack(addr: SocketAddr, requests: &[Benign], count: usize, seed: u64) {
    let mut numbers = Numbers(seed);
    for _ in 0..count {
        let of = &requests[numbers.below(requests.len())];
        let bent = bend(&of.frame, &mut numbers);
        let mut wire = Wire::to(addr);
        // The broker may close before it has read all.
        if wire.send_raw(&bent).is_ok() {
            wire.stirs(STIR_MAX);
            wire.half_close();
        }
        let ended = wire.drain().is_some();
        assert!(ended, "{} version {}: the connection stays open after {bent:02x?}", of.key, of.version);
    }
}

fn attack_with_all(addr: SocketAddr, requests: &Arc<Vec<Benign>>, count: usize, seed: u64) {
    let attackers: Vec<_> = (1..=THREADS)
        .map(|thread| {
            let requests = requests.clone();
            let share = count.div_ceil(THREADS as usize);
            std::thread::spawn(move || attack(addr, &requests, share, seed.wrapping_mul(2 * thread + 1)))
        })
        .collect();
    attackers.into_iter().for_each(|attacker| attacker.join().unwrap());
}

/// A client that minds its own business all the while.
struct Bystander {
    stop: Arc<AtomicBool>,
    stored: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Bystander {
    fn begin(addr: SocketAddr) -> Bystander {
        let (stop, stored) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counts) = (stop.clone(), stored.clone());
        let thread = std::thread::spawn(move || {
            let mut wire = Wire::to(addr);
            while !stopped.load(Ordering::Relaxed) {
                let number = counts.load(Ordering::Relaxed) as i64;
                assert_eq!(produced(&mut wire, "bystander", 0, batch([number.to_string()])), number);
                let seen = fetch(&mut wire, "bystander", 0, number);
                assert!(seen.error_code == 0 && seen.records.is_some_and(|records| !records.is_empty()));
                counts.fetch_add(1, Ordering::Relaxed);
            }
        });
        Bystander { stop, stored, thread }
    }

    fn stored(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }

    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        self.stored.load(Ordering::Relaxed)
    }
}

#[test]
fn ten_thousand_bent_frames() {
    // A bit that turns one partition into a million must meet a limit, and nothing may be made by chance.
    let mut setup = Setup::new()
        .set("topic.partitions.max", 20)
        .set("partitions.max", 100)
        .set("offsets.topic.num.partitions", 5)
        .set("group.initial.rebalance.delay.ms", 0)
        .set("auto.create.topics.enable", false);
    let mut broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "bystander", 1, &[]);
    let id = create_topic(&mut wire, "subject", 1, &[]);
    produced(&mut wire, "subject", 0, batch(["a"]));
    let requests = Arc::new(benign::all(&Subject { name: "subject", id }));

    let bystander = Bystander::begin(broker.addr);
    attack_with_all(broker.addr, &requests, 1_000, 0x7761_726d);
    let before = broker.rss_kib();
    attack_with_all(broker.addr, &requests, times(10_000, 200_000), 0x6174_7461_636b);
    // Where flushes are slow, the others need longer to show that they are served under attack.
    let mut seed = 0x6d6f_7265;
    while bystander.stored() <= BYSTANDER_RECORDS_MIN {
        attack_with_all(broker.addr, &requests, 100, seed);
        seed += 1;
    }
    let after = broker.rss_kib();
    let stored = bystander.end();

    println!("resident: {before} KiB, then {after} KiB; the bystander stored {stored} records");
    assert!(broker.is_alive());
    assert!(after < before + RSS_GROWTH_KIB_MAX, "resident memory went from {before} to {after} KiB");
    let read = values(&read_all(&mut wire, "bystander", 0));
    assert_eq!(read.len() as u64, stored);
    assert!(!broker.log().contains("panicked"), "{}", broker.log());
    // Every good request is still answered as before.
    for one in requests.iter() {
        wire.send_raw(&one.frame).unwrap();
        let answer = wire.frame().unwrap_or_else(|_| panic!("{} version {}", one.key, one.version));
        assert!((one.read)(answer, one.version).is_ok(), "{} version {}", one.key, one.version);
    }
    drop(wire);
    let open = || broker.metric("ottla_connections_open");
    crate::harness::eventually("every connection is closed", || open() == 0.0);
    assert_eq!(broker.stop().0, 0);
}

/// The shortest frames there are.
#[test]
fn frames_that_are_too_short_for_a_header() {
    let mut setup = Setup::new();
    let broker = setup.start();
    for length in 0..10_u8 {
        let mut wire = broker.connect();
        let mut frame = vec![0, 0, 0, length];
        frame.extend(std::iter::repeat_n(0, length.into()));
        wire.send_raw(&frame).unwrap();
        wire.expect_close(&format!("a frame of {length} bytes"));
    }
    for prefix in [-1, i32::MIN, (100 << 20) + 1, i32::MAX] {
        let mut wire = broker.connect();
        wire.send_raw(&prefix.to_be_bytes()).unwrap();
        wire.expect_close(&format!("a frame of {prefix} bytes"));
    }
    // What speaks another protocol.
    for hello in
        [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", b"PING\r\n"]
    {
        let mut wire = broker.connect();
        wire.send_raw(hello).unwrap();
        wire.half_close();
        assert_eq!(wire.drain(), Some(0));
    }
}

/// One byte at a time is slow, and valid.
#[test]
fn a_request_in_single_bytes_is_a_request() {
    let mut setup = Setup::new();
    let broker = setup.start();
    let mut wire = broker.connect();
    let frame = crate::harness::frame(&MetadataRequest::default(), 12, 77);
    for byte in frame.iter() {
        wire.send_raw(&[*byte]).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(wire.answer::<MetadataRequest>(77, 12).unwrap().error_code, 0);
}
