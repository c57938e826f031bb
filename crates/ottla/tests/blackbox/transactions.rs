//! Transactions from outside, in both versions of the protocol: what is committed is seen once, what is
//! aborted never, through fencing, timeouts and kills.

mod kills;
mod levels;

use std::time::Duration;

use ottla_wire::ErrorCode;
use ottla_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_wire::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use ottla_wire::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use ottla_wire::messages::*;

use crate::harness::{
    Protocol, Setup, TxnProducer, Wire, batch, committed_values, create_topic, eventually, fetch_committed,
    is_passing, name_of, produced, read_all, times,
};

fn stable_end(wire: &mut Wire, topic: &str) -> i64 {
    let asked = ListOffsetsPartition { timestamp: -1, current_leader_epoch: -1, ..Default::default() };
    let topics = vec![ListOffsetsTopic { name: topic.into(), partitions: vec![asked] }];
    let request = ListOffsetsRequest { replica_id: -1, isolation_level: 1, topics, ..Default::default() };
    wire.call(&request, 7).topics[0].partitions[0].offset
}

#[test]
fn committed_is_seen_and_aborted_is_not() {
    let mut setup = Setup::new();
    let broker = setup.start();
    let mut wire = broker.connect();
    for (topic, protocol) in ["one", "two"].into_iter().zip(Protocol::BOTH) {
        create_topic(&mut wire, topic, 2, &[]);
        let mut producer = TxnProducer::begin(&broker, topic, protocol);
        let before = producer.producer;
        producer.write(topic, 0, &["a", "b"]);
        producer.write(topic, 1, &["x"]);
        producer.write(topic, 0, &["c"]);
        assert_eq!(producer.state(), "Ongoing");
        // Nothing of it is stable yet, and what others write waits behind it.
        produced(&mut wire, topic, 0, batch(["plain"]));
        assert!(committed_values(&mut wire, topic, 0).is_empty());
        assert_eq!(stable_end(&mut wire, topic), 0);
        producer.end(true);
        match protocol {
            Protocol::One => assert_eq!(producer.producer, before, "the epoch stays"),
            Protocol::Two => assert_eq!(producer.producer.1.0, before.1.0 + 1, "the epoch is bumped"),
        }
        eventually("the markers", || producer.state() == "CompleteCommit");
        assert_eq!(committed_values(&mut wire, topic, 0), ["a", "b", "c", "plain"], "{protocol:?}");
        assert_eq!(committed_values(&mut wire, topic, 1), ["x"], "{protocol:?}");

        producer.write(topic, 0, &["never", "seen"]);
        producer.end(false);
        eventually("the markers", || producer.state() == "CompleteAbort");
        producer.write(topic, 0, &["d"]);
        producer.end(true);
        eventually("the markers", || producer.state() == "CompleteCommit");
        assert_eq!(committed_values(&mut wire, topic, 0), ["a", "b", "c", "plain", "d"], "{protocol:?}");
        let read = fetch_committed(&mut wire, topic, 0, 0);
        assert_eq!(read.aborted_transactions.map(|aborted| aborted.len()), Some(1));
        // 4 records and a marker, 2 and a marker, 1 and a marker.
        assert_eq!(stable_end(&mut wire, topic), 10);
        let everything = ["a", "b", "c", "plain", "never", "seen", "d"];
        let all = read_all(&mut wire, topic, 0);
        let data: Vec<_> = all.records.iter().filter(|record| record.key.is_none()).collect();
        assert_eq!(data.len(), everything.len(), "who reads uncommitted data sees all of it");
    }
}

/// An end that is repeated because its answer was lost is the same end.
#[test]
fn a_repeated_end_is_answered_as_the_first() {
    let mut setup = Setup::new();
    let broker = setup.start();
    create_topic(&mut broker.connect(), "t", 1, &[]);
    for (id, protocol) in ["one", "two"].into_iter().zip(Protocol::BOTH) {
        let mut producer = TxnProducer::begin(&broker, id, protocol);
        producer.write("t", 0, &["a"]);
        let before = producer.producer;
        producer.end(true);
        let after = producer.producer;
        producer.producer = before;
        producer.end(true);
        assert_eq!(producer.producer, after);
        producer.producer = before;
        assert_eq!(producer.try_end(false), ErrorCode::InvalidTxnState, "{protocol:?}: it was committed");
    }
}

#[test]
fn a_second_producer_fences_the_first_and_aborts_its_transaction() {
    let mut setup = Setup::new();
    let broker = setup.start();
    let mut wire = broker.connect();
    for (topic, protocol) in ["one", "two"].into_iter().zip(Protocol::BOTH) {
        create_topic(&mut wire, topic, 1, &[]);
        let mut first = TxnProducer::begin(&broker, topic, protocol);
        first.write(topic, 0, &["of the first"]);
        let mut second = TxnProducer::begin(&broker, topic, protocol);
        assert!(second.producer.1 > first.producer.1);
        let version = if protocol == Protocol::One { 11 } else { 12 };
        assert_eq!(first.send(topic, 0, &["too late"], version), ErrorCode::InvalidProducerEpoch);
        assert_eq!(first.try_end(true), ErrorCode::ProducerFenced, "{protocol:?}");
        second.write(topic, 0, &["of the second"]);
        second.end(true);
        eventually("the markers", || second.state() == "CompleteCommit");
        assert_eq!(committed_values(&mut wire, topic, 0), ["of the second"], "{protocol:?}");
    }
}

/// A partition that is not part of the transaction is not written to (KIP-890). Each version of the API has
/// its own error.
#[test]
fn what_was_not_added_is_not_written() {
    let mut setup = Setup::new();
    let broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "t", 2, &[]);
    let mut producer = TxnProducer::begin(&broker, "id", Protocol::One);
    // One transaction is open, and the other partition is not part of it.
    producer.write("t", 1, &["a"]);
    assert_eq!(producer.send("t", 0, &["b"], 10), ErrorCode::InvalidTxnState);
    assert_eq!(producer.send("t", 0, &["b"], 11), ErrorCode::TransactionAbortable);
    assert_eq!(producer.send_offset("g", "t", 1, 3), ErrorCode::InvalidTxnState);
    assert_eq!(producer.send_offset("g", "t", 1, 4), ErrorCode::TransactionAbortable);
    assert!(read_all(&mut wire, "t", 0).records.is_empty());
    assert_eq!(producer.add("t", 2), ErrorCode::UnknownTopicOrPartition);
    // It is never asked for where the transaction is open.
    producer.write("t", 1, &["c"]);
    producer.end(true);
    eventually("the markers", || producer.state() == "CompleteCommit");
    assert_eq!(committed_values(&mut wire, "t", 1), ["a", "c"]);
}

#[test]
fn a_transaction_that_takes_too_long_is_aborted() {
    let mut setup = Setup::new();
    let broker = setup.start();
    let mut wire = broker.connect();
    // Long enough for a busy machine to write within it, and to see that readers are held up.
    let timeout_ms = 5_000;
    let producers = ["one", "two"].into_iter().zip(Protocol::BOTH).map(|(topic, protocol)| {
        create_topic(&mut wire, topic, 1, &[]);
        let mut producer = TxnProducer::begin_with_timeout(&broker, topic, protocol, timeout_ms);
        producer.write(topic, 0, &["abandoned"]);
        assert_eq!(stable_end(&mut wire, topic), 0);
        (topic, protocol, producer)
    });
    for (topic, protocol, mut producer) in producers.collect::<Vec<_>>() {
        eventually("the abort", || producer.state() == "CompleteAbort");
        eventually("readers go on", || stable_end(&mut wire, topic) == 2);
        assert!(committed_values(&mut wire, topic, 0).is_empty());
        let refused = producer.try_end(true);
        assert!(
            matches!(refused, ErrorCode::ProducerFenced | ErrorCode::InvalidTxnState),
            "{protocol:?}: {refused:?}"
        );
    }
}

/// The committed offset, or the error.
fn offset_of(wire: &mut Wire, group: &str, topic: &str, require_stable: bool) -> Result<i64, ErrorCode> {
    let topics = vec![OffsetFetchRequestTopics {
        name: topic.into(),
        partition_indexes: vec![0],
        ..Default::default()
    }];
    let asked =
        OffsetFetchRequestGroup { group_id: group.into(), topics: Some(topics), ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![asked], require_stable, ..Default::default() };
    let mut answer = OffsetFetchResponse::default();
    eventually("the offset", || {
        answer = wire.call(&request, 9);
        !is_passing(answer.groups[0].error_code)
    });
    let partition = &answer.groups[0].topics[0].partitions[0];
    match name_of(partition.error_code) {
        ErrorCode::None => Ok(partition.committed_offset),
        code => Err(code),
    }
}

#[test]
fn offsets_come_into_force_with_their_transaction() {
    let mut setup = Setup::new();
    let broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "t", 1, &[]);
    for (id, protocol) in ["one", "two"].into_iter().zip(Protocol::BOTH) {
        let mut producer = TxnProducer::begin(&broker, id, protocol);
        producer.write("t", 0, &["a"]);
        assert_eq!(producer.commit_offset(id, "t", 3), ErrorCode::None);
        assert_eq!(offset_of(&mut wire, id, "t", true), Err(ErrorCode::UnstableOffsetCommit));
        assert_eq!(offset_of(&mut wire, id, "t", false), Ok(-1));
        producer.end(true);
        eventually("the offset", || offset_of(&mut wire, id, "t", true) == Ok(3));

        // Without any records: the offsets alone are a transaction.
        assert_eq!(producer.commit_offset(id, "t", 7), ErrorCode::None);
        assert_eq!(offset_of(&mut wire, id, "t", false), Ok(3));
        producer.end(false);
        eventually("it is dropped", || offset_of(&mut wire, id, "t", true) == Ok(3));
        // Of a producer that is fenced, nothing is taken.
        let _second = TxnProducer::begin(&broker, id, protocol);
        let refused = producer.commit_offset(id, "t", 9);
        assert!(
            matches!(refused, ErrorCode::InvalidProducerEpoch | ErrorCode::ProducerFenced),
            "{protocol:?}: {refused:?}"
        );
        assert_eq!(offset_of(&mut wire, id, "t", true), Ok(3));
    }
}

/// A topic that is deleted does not keep its transactions from ending.
#[test]
fn a_transaction_ends_without_a_topic_that_is_gone() {
    let mut setup = Setup::new();
    let broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "stays", 1, &[]);
    create_topic(&mut wire, "goes", 1, &[]);
    let mut producer = TxnProducer::begin(&broker, "id", Protocol::Two);
    producer.write("stays", 0, &["a"]);
    producer.write("goes", 0, &["b"]);
    assert_eq!(crate::harness::delete_topic(&mut wire, "goes"), 0);
    producer.end(true);
    eventually("the markers", || producer.state() == "CompleteCommit");
    assert_eq!(committed_values(&mut wire, "stays", 0), ["a"]);
}

/// Nobody waits for the markers of the transaction before: at most a write is put off.
#[test]
fn the_next_transaction_begins_at_once() {
    let mut setup = Setup::new();
    let broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "t", 1, &[]);
    for (id, protocol) in ["one", "two"].into_iter().zip(Protocol::BOTH) {
        let mut producer = TxnProducer::begin(&broker, id, protocol);
        let before = committed_values(&mut wire, "t", 0).len();
        let rounds = times(30, 300);
        for round in 0..rounds {
            producer.write("t", 0, &[&round.to_string()]);
            assert_eq!(producer.commit_offset(id, "t", round as i64), ErrorCode::None);
            producer.end(round % 3 != 2);
        }
        let complete = if (rounds - 1) % 3 == 2 { "CompleteAbort" } else { "CompleteCommit" };
        eventually("the markers", || producer.state() == complete);
        let expected: Vec<_> =
            (0..rounds).filter(|round| round % 3 != 2).map(|round| round.to_string()).collect();
        assert_eq!(committed_values(&mut wire, "t", 0)[before..], expected, "{protocol:?}");
        let last = (0..rounds as i64).rfind(|round| round % 3 != 2).unwrap();
        eventually("the offset", || offset_of(&mut wire, id, "t", true) == Ok(last));
    }
    assert_eq!(broker.metric("ottla_coordinator_loads_total"), 100.0, "none had to be loaded anew");
}

/// A reader of committed data that waits is woken by the end of the transaction, not by its records.
#[test]
fn a_reader_that_waits_hears_of_the_end() {
    let mut setup = Setup::new();
    let broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "t", 1, &[]);
    let mut producer = TxnProducer::begin(&broker, "id", Protocol::Two);
    producer.write("t", 0, &["a"]);
    let asked = FetchPartition {
        fetch_offset: 0,
        current_leader_epoch: -1,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topics = vec![FetchTopic { topic: "t".into(), partitions: vec![asked], ..Default::default() }];
    let request =
        FetchRequest { max_wait_ms: 60_000, min_bytes: 1, isolation_level: 1, topics, ..Default::default() };
    let waiting = wire.send(&request, 12).unwrap();
    producer.write("t", 0, &["b"]);
    assert!(!wire.stirs(Duration::from_millis(200)), "nothing is stable yet");
    producer.end(true);
    let answer = wire.answer::<FetchRequest>(waiting, 12).unwrap();
    let partition = &answer.responses[0].partitions[0];
    assert_eq!((partition.error_code, partition.last_stable_offset), (0, 3));
    assert!(partition.records.as_ref().is_some_and(|records| !records.is_empty()));
}

/// A request is of one producer, and a marker is of somebody.
#[test]
fn what_no_client_sends_is_refused() {
    let mut setup = Setup::new();
    let broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "t", 2, &[]);
    let mut producer = TxnProducer::begin(&broker, "id", Protocol::Two);
    let mut request = producer.request("t", 0, &["a"]);
    producer.producer.1.0 += 1;
    let other = producer.request("t", 1, &["b"]).topic_data.remove(0);
    request.topic_data[0].partition_data.extend(other.partition_data);
    let answer = wire.call(&request, 12);
    let codes = answer.responses[0].partition_responses.iter().map(|one| name_of(one.error_code));
    assert!(codes.eq([ErrorCode::InvalidProducerIdMapping; 2]));

    for (producer_id, producer_epoch) in [(-1, -1), (-1, 0), (1, -1), (i64::MIN, i16::MIN)] {
        let topics = vec![WritableTxnMarkerTopic { name: "t".into(), partition_indexes: vec![0] }];
        let marker = WritableTxnMarker { producer_id, producer_epoch, topics, ..Default::default() };
        let answer = wire.call(&WriteTxnMarkersRequest { markers: vec![marker] }, 2);
        let code = answer.markers[0].topics[0].partitions[0].error_code;
        assert_eq!(name_of(code), ErrorCode::InvalidRequest);
    }
    assert!(read_all(&mut wire, "t", 0).headers.is_empty());
}

/// A transaction that no coordinator knows of holds readers up; an administrator finds it and ends it
/// (KIP-664).
#[test]
fn a_transaction_that_hangs_is_found_and_ended() {
    let mut setup = Setup::new().set("transaction.partition.verification.enable", false);
    let broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "t", 1, &[]);
    let mut producer = TxnProducer::begin(&broker, "id", Protocol::One);
    // Without verification, a client can forget to say what it writes to.
    assert_eq!(producer.send("t", 0, &["hangs"], 10), ErrorCode::None);
    assert_eq!(producer.state(), "Empty");
    produced(&mut wire, "t", 0, batch(["waits"]));
    assert!(committed_values(&mut wire, "t", 0).is_empty());
    eventually("the metric tells", || broker.metric("ottla_stable_offset_held_seconds") > 0.0);

    let topic = describe_producers_request::TopicRequest { name: "t".into(), partition_indexes: vec![0] };
    let described = wire.call(&DescribeProducersRequest { topics: vec![topic] }, 0);
    let found = described.topics[0].partitions[0].active_producers[0].clone();
    assert_eq!((found.producer_id, found.current_txn_start_offset), (producer.producer.0.0, 0));
    let topics = vec![WritableTxnMarkerTopic { name: "t".into(), partition_indexes: vec![0, 9] }];
    let marker = WritableTxnMarker {
        producer_id: found.producer_id,
        producer_epoch: i16::try_from(found.producer_epoch).unwrap(),
        transaction_result: false,
        topics,
        coordinator_epoch: found.coordinator_epoch.max(0),
        ..Default::default()
    };
    let answer = wire.call(&WriteTxnMarkersRequest { markers: vec![marker] }, 1);
    let codes: Vec<_> =
        answer.markers[0].topics[0].partitions.iter().map(|p| name_of(p.error_code)).collect();
    assert_eq!(codes, [ErrorCode::None, ErrorCode::UnknownTopicOrPartition]);
    assert_eq!(committed_values(&mut wire, "t", 0), ["waits"]);
    eventually("the metric tells", || broker.metric("ottla_stable_offset_held_seconds") == 0.0);
}

#[test]
fn transactional_ids_are_listed_and_described() {
    let mut setup = Setup::new();
    let broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "t", 1, &[]);
    let mut open = TxnProducer::begin(&broker, "open", Protocol::Two);
    open.write("t", 0, &["a"]);
    let mut idle = TxnProducer::begin(&broker, "idle", Protocol::Two);
    assert_eq!(idle.state(), "Empty");
    let listed = |wire: &mut Wire, states: &[&str]| {
        let state_filters = states.iter().map(|state| (*state).into()).collect();
        let request = ListTransactionsRequest { state_filters, duration_filter: -1, ..Default::default() };
        let answer = wire.call(&request, 1);
        assert_eq!(answer.error_code, 0);
        let mut ids: Vec<String> =
            answer.transaction_states.iter().map(|one| one.transactional_id.to_string()).collect();
        ids.sort();
        (ids, answer.unknown_state_filters.len())
    };
    let everything = vec!["idle".to_owned(), "open".to_owned()];
    eventually("all coordinators", || listed(&mut wire, &[]).0 == everything);
    assert_eq!(listed(&mut wire, &["Ongoing", "Nonsense"]), (vec!["open".to_owned()], 1));
    let request = DescribeTransactionsRequest { transactional_ids: vec!["open".into(), "none".into()] };
    let described = wire.call(&request, 0).transaction_states;
    assert_eq!(described[0].topics[0].topic.as_str(), "t");
    assert_eq!(name_of(described[1].error_code), ErrorCode::TransactionalIdNotFound);
    assert_eq!(broker.metric("ottla_transactions{state=\"Ongoing\"}"), 1.0);
    open.end(true);
    eventually("it has ended", || listed(&mut wire, &["Ongoing"]).0.is_empty());
}

/// Batches that are pipelined behind the first of a transaction do not overtake it.
#[test]
fn pipelined_writes_of_a_transaction_keep_their_order() {
    let mut setup = Setup::new();
    let broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "t", 1, &[]);
    let mut producer = TxnProducer::begin(&broker, "id", Protocol::Two);
    for round in 0..times(5, 50) {
        producer.pipeline("t", 0, &["0", "1", "2", "3", "4"]);
        producer.end(true);
        eventually("the markers", || producer.state() == "CompleteCommit");
        let seen = committed_values(&mut wire, "t", 0);
        assert_eq!(seen[5 * round..], ["0", "1", "2", "3", "4"]);
    }
}

/// The marker of the transaction before may come between the question whether the next one may write and its
/// write.
#[test]
fn producers_that_go_on_at_once_after_each_commit() {
    const IDS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
    const TRANSACTIONS: usize = 40;
    let mut setup = Setup::new();
    let broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "t", 1, &[]);
    std::thread::scope(|scope| {
        for id in IDS {
            let mut producer = TxnProducer::begin(&broker, id, Protocol::Two);
            scope.spawn(move || {
                for _ in 0..TRANSACTIONS {
                    producer.write("t", 0, &[id]);
                    producer.end(true);
                }
            });
        }
    });
    eventually("all of them", || committed_values(&mut wire, "t", 0).len() == IDS.len() * TRANSACTIONS);
}
