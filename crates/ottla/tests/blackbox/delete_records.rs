//! DeleteRecords: what it has taken away stays away, whatever happens to the process.

use ottla_wire::messages::DeleteRecordsRequest;
use ottla_wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use ottla_wire::messages::delete_records_response::DeleteRecordsPartitionResult;

use crate::harness::{
    Setup, Wire, batch, create_topic, fetch, produced, read_all, read_from, segments, values,
};

const OFFSET_OUT_OF_RANGE: i16 = 1;

fn delete_before(wire: &mut Wire, topic: &str, offset: i64) -> DeleteRecordsPartitionResult {
    let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset }];
    let topics = vec![DeleteRecordsTopic { name: topic.into(), partitions }];
    let request = DeleteRecordsRequest { topics, timeout_ms: 10_000 };
    wire.call(&request, 2).topics.remove(0).partitions.remove(0)
}

#[test]
fn it_survives_a_kill() {
    let mut setup = Setup::new();
    let mut broker = setup.start();
    create_topic(&mut broker.connect(), "cut", 1, &[]);
    for number in 0..10 {
        produced(&mut broker.connect(), "cut", 0, batch([format!("{number}a"), format!("{number}b")]));
    }
    // In the middle of a batch, at the edge of one, nothing new, and everything.
    for (before, start) in [(5, 5), (8, 8), (3, 8), (-1, 20)] {
        let deleted = delete_before(&mut broker.connect(), "cut", before);
        assert_eq!((deleted.error_code, deleted.low_watermark), (0, start), "before {before}");
        broker.kill();
        broker = setup.start();
        let mut wire = broker.connect();
        let read = read_all(&mut wire, "cut", 0);
        assert_eq!(read.log_start, start, "before {before}");
        assert_eq!(read.records.len() as i64, 20 - start);
        assert_eq!(read.high_watermark, 20);
        assert_eq!(fetch(&mut wire, "cut", 0, start - 1).error_code, OFFSET_OUT_OF_RANGE);
    }
    let mut wire = broker.connect();
    assert_eq!(delete_before(&mut wire, "cut", 21).error_code, OFFSET_OUT_OF_RANGE);
    assert_eq!(delete_before(&mut wire, "cut", -2).error_code, OFFSET_OUT_OF_RANGE);
    assert_eq!(produced(&mut wire, "cut", 0, batch(["on"])), 20);
    assert_eq!(values(&read_from(&mut wire, "cut", 0, 20)), ["on"]);
}

/// Segments that hold nothing else any more are removed from the disk.
#[test]
fn whole_segments_go() {
    let mut setup = Setup::new();
    let broker = setup.start();
    let mut wire = broker.connect();
    let configs = [("segment.bytes", "1048576"), ("file.delete.delay.ms", "100")];
    create_topic(&mut wire, "big", 1, &configs);
    for _ in 0..12 {
        produced(&mut wire, "big", 0, batch(["x".repeat(400_000)]));
    }
    let before = segments(&setup.data, "big", 0).len();
    assert!(before >= 4, "{before} segments");
    assert_eq!(delete_before(&mut wire, "big", 11).low_watermark, 11);
    crate::harness::eventually("segments are removed", || segments(&setup.data, "big", 0).len() <= 2);
    crate::harness::eventually("files are removed", || {
        crate::harness::files(&setup.data.join("big-0"), ".deleted").is_empty()
    });
    assert_eq!(read_all(&mut wire, "big", 0).records.len(), 1);
}
