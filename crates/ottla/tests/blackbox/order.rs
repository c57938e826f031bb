//! Requests of one connection are served, and answered, in the order in which they came.

use ottla_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_wire::messages::{FetchRequest, ListOffsetsRequest, MetadataRequest, ProduceRequest};

use crate::harness::{Setup, batch, create_topic, frame, produce, read_all, values};

fn fetch_at(offset: i64, max_wait_ms: i32) -> FetchRequest {
    let partition = FetchPartition {
        fetch_offset: offset,
        current_leader_epoch: -1,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topic = FetchTopic { topic: "piped".into(), partitions: vec![partition], ..Default::default() };
    FetchRequest { max_wait_ms, min_bytes: 1, topics: vec![topic], ..Default::default() }
}

fn latest() -> ListOffsetsRequest {
    let partition = ListOffsetsPartition { timestamp: -1, current_leader_epoch: -1, ..Default::default() };
    let topics = vec![ListOffsetsTopic { name: "piped".into(), partitions: vec![partition] }];
    ListOffsetsRequest { replica_id: -1, topics, ..Default::default() }
}

/// A fetch or a question for the end that follows a produce on the same connection sees what it stored.
#[test]
fn what_was_produced_before_is_seen() {
    let mut setup = Setup::new();
    let broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "piped", 1, &[]);
    let mut ids = Vec::new();
    // All at once, so that the broker gets many in one read.
    let mut together = Vec::new();
    for number in 0..50_i32 {
        let produced = produce("piped", 0, batch([format!("{number}")]), -1);
        together.extend_from_slice(&frame(&produced, 12, 3 * number));
        together.extend_from_slice(&frame(&fetch_at(number.into(), 0), 12, 3 * number + 1));
        together.extend_from_slice(&frame(&latest(), 10, 3 * number + 2));
        ids.push(3 * number);
    }
    wire.send_raw(&together).unwrap();
    for (number, id) in (0_i64..).zip(ids) {
        let produced = wire.answer::<ProduceRequest>(id, 12).unwrap();
        assert_eq!(produced.responses[0].partition_responses[0].base_offset, number);
        let fetched = wire.answer::<FetchRequest>(id + 1, 12).unwrap();
        let records = fetched.responses[0].partitions[0].records.clone();
        assert!(
            records.is_some_and(|records| !records.is_empty()),
            "fetch {number} sees what was acknowledged"
        );
        let end = wire.answer::<ListOffsetsRequest>(id + 2, 10).unwrap();
        assert_eq!(end.topics[0].partitions[0].offset, number + 1);
    }
}

/// Many produce requests in flight on one connection keep their order in the log.
#[test]
fn pipelined_batches_keep_their_order() {
    let mut setup = Setup::new();
    let broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "piped", 1, &[]);
    let ids: Vec<i32> = (0..500)
        .map(|number| {
            wire.send(
                &produce("piped", 0, batch([format!("{number}")]), if number % 3 == 0 { 1 } else { -1 }),
                12,
            )
        })
        .map(Result::unwrap)
        .collect();
    for (offset, id) in (0..).zip(ids) {
        let answer = wire.answer::<ProduceRequest>(id, 12).unwrap();
        assert_eq!(answer.responses[0].partition_responses[0].base_offset, offset);
    }
    let read = values(&read_all(&mut wire, "piped", 0));
    assert!(read.iter().enumerate().all(|(at, value)| *value == at.to_string()));
}

/// A long poll delays what comes behind it on its connection, and nothing else.
#[test]
fn a_long_poll_holds_its_place() {
    let mut setup = Setup::new();
    let broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "piped", 1, &[]);
    let poll = wire.send(&fetch_at(0, 30_000), 12).unwrap();
    let behind = wire.send(&MetadataRequest::default(), 12).unwrap();
    let mut other = broker.connect();
    assert_eq!(other.call(&MetadataRequest::default(), 12).error_code, 0);
    let answer = other.call(&produce("piped", 0, batch(["wakes"]), -1), 12);
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
    let fetched = wire.answer::<FetchRequest>(poll, 12).unwrap();
    assert!(fetched.responses[0].partitions[0].records.is_some());
    assert_eq!(wire.answer::<MetadataRequest>(behind, 12).unwrap().error_code, 0);
}
