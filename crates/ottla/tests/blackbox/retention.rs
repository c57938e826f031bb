//! Retention: whole segments that are too old, or too much, go; the newest data stays.

use std::time::Duration;

use ottla_wire::Timestamp;
use ottla_wire::batch::BatchBuilder;

use crate::harness::{
    Setup, Wire, batch, create_topic, earliest, eventually, fetch, files, now, produced, read_all, segments,
    values,
};

const OFFSET_OUT_OF_RANGE: i16 = 1;

/// About 300 KB, so that a segment of 1 MiB takes three.
fn fill(wire: &mut Wire, topic: &str, records: usize, time: Timestamp) {
    for _ in 0..records {
        let mut builder = BatchBuilder::new();
        builder.push(time, None, Some("x".repeat(300_000).as_bytes()));
        produced(wire, topic, 0, builder.build().unwrap());
    }
}

#[test]
fn by_size() {
    let mut setup = Setup::new().set("log.retention.check.interval.ms", 200);
    let broker = setup.start();
    let mut wire = broker.connect();
    let configs =
        [("segment.bytes", "1048576"), ("retention.bytes", "2000000"), ("file.delete.delay.ms", "100")];
    create_topic(&mut wire, "sized", 1, &configs);
    fill(&mut wire, "sized", 20, now());
    eventually("old segments are removed", || segments(&setup.data, "sized", 0).len() <= 3);
    eventually("their files, too", || files(&setup.data.join("sized-0"), ".deleted").is_empty());
    let read = read_all(&mut wire, "sized", 0);
    let bytes: usize = read.headers.iter().map(|header| header.total_len()).sum();
    // Kafka removes a segment only if what is left is still at least the limit.
    assert!((2_000_000..3_100_000).contains(&bytes), "{bytes} bytes are left");
    assert_eq!(read.high_watermark, 20);
    assert!(read.log_start > 0);
    assert_eq!(fetch(&mut wire, "sized", 0, 0).error_code, OFFSET_OUT_OF_RANGE);
    let start = read.log_start;
    broker.kill();
    let broker = setup.start();
    assert!(read_all(&mut broker.connect(), "sized", 0).log_start >= start, "the start never goes back");
}

#[test]
fn by_time() {
    let mut setup = Setup::new().set("log.retention.check.interval.ms", 200);
    let broker = setup.start();
    let mut wire = broker.connect();
    let configs =
        [("segment.bytes", "1048576"), ("retention.ms", "3600000"), ("file.delete.delay.ms", "100")];
    create_topic(&mut wire, "aged", 1, &configs);
    fill(&mut wire, "aged", 6, Timestamp(now().0 - 2 * 3_600_000));
    fill(&mut wire, "aged", 6, now());
    produced(&mut wire, "aged", 0, batch(["young"]));
    eventually("old segments are removed", || earliest(&mut wire, "aged", 0) == 6);
    let read = read_all(&mut wire, "aged", 0);
    assert_eq!(values(&read).last().map(String::as_str), Some("young"));
    assert_eq!(read.high_watermark, 13);

    // A log that nobody writes to any more empties as a whole, and keeps its place.
    create_topic(&mut wire, "over", 1, &[("retention.ms", "500"), ("file.delete.delay.ms", "100")]);
    produced(&mut wire, "over", 0, batch(["a", "b", "c"]));
    eventually("all of it is removed", || earliest(&mut wire, "over", 0) == 3);
    broker.kill();
    let broker = setup.start();
    let mut wire = broker.connect();
    let read = read_all(&mut wire, "over", 0);
    assert_eq!((read.log_start, read.high_watermark), (3, 3));
    assert_eq!(produced(&mut wire, "over", 0, batch(["d"])), 3);
}

/// A topic that was never written to has nothing to lose, and nothing to fail on.
#[test]
fn empty_topics_are_left_alone() {
    let mut setup = Setup::new().set("log.retention.check.interval.ms", 100);
    let mut broker = setup.start();
    let mut wire = broker.connect();
    for topic in ["never", "written"] {
        create_topic(&mut wire, topic, 3, &[("retention.ms", "1"), ("retention.bytes", "0")]);
    }
    std::thread::sleep(Duration::from_millis(2500));
    assert!(broker.is_alive());
    assert_eq!(produced(&mut wire, "never", 0, batch(["a"])), 0);
}
