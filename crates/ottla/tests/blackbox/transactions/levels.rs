//! Transactions at each level of the feature `transaction.version`, and while it is raised and lowered: what
//! a Kafka 4.3.1 answers to the same requests, but for what its coordinator cannot recover from.

use ottla_client::{
    ClientConfig, GroupMetadata, OffsetAndMetadata, Offsets, ProducerConfig, ProducerRecord, TopicPartition,
    TransactionConfig, TransactionError, TransactionVersion, TransactionalProducer,
};
use ottla_wire::messages::update_features_request::FeatureUpdateKey;
use ottla_wire::messages::*;
use ottla_wire::primitives::{Reader, decode_from};
use ottla_wire::{ErrorCode, Offset};

use super::offset_of;
use crate::harness::{
    Broker, Protocol, Setup, TxnProducer, Wire, committed_values, create_topic, eventually, name_of, read_all,
};

const FEATURE: &str = "transaction.version";

/// Kinds of updates of a feature.
const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;

fn update(wire: &mut Wire, level: i16, upgrade_type: i8) -> ErrorCode {
    let update = FeatureUpdateKey {
        feature: FEATURE.into(),
        max_version_level: level,
        upgrade_type,
        ..Default::default()
    };
    let request =
        UpdateFeaturesRequest { timeout_ms: 30_000, feature_updates: vec![update], ..Default::default() };
    name_of(wire.call(&request, 1).error_code)
}

/// What clients are told of the features: the level, the levels that are supported, and the epoch.
fn told(wire: &mut Wire) -> (i16, (i16, i16), i64) {
    let request =
        ApiVersionsRequest { client_software_name: "blackbox".into(), client_software_version: "1".into() };
    let answer = wire.call(&request, 4);
    let finalized = answer.finalized_features.iter().find(|one| one.name.as_str() == FEATURE);
    if let Some(one) = finalized {
        assert_eq!(one.min_version_level, one.max_version_level);
        assert_ne!(one.max_version_level, 0, "level 0 is not there at all, as in Kafka");
    }
    let supported = answer.supported_features.iter().find(|one| one.name.as_str() == FEATURE).unwrap();
    (
        finalized.map_or(0, |one| one.max_version_level),
        (supported.min_version, supported.max_version),
        answer.finalized_features_epoch,
    )
}

#[track_caller]
pub fn set_level(wire: &mut Wire, level: i16) {
    let (now, _, _) = told(wire);
    let upgrade_type = if level > now { UPGRADE } else { SAFE_DOWNGRADE };
    assert_eq!(update(wire, level, upgrade_type), ErrorCode::None);
    assert_eq!(told(wire).0, level, "what was changed is seen by who asks next");
}

/// A broker whose cluster is at this level, with a topic of two partitions.
fn at_level(level: i16) -> (Setup, Broker, Wire) {
    let mut setup = Setup::new().set("transaction.state.log.num.partitions", 1);
    let broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "t", 2, &[]);
    set_level(&mut wire, level);
    (setup, broker, wire)
}

/// What the coordinator has written: version of the value, status, epoch, and what the client spoke.
fn state_log(wire: &mut Wire) -> Vec<(i16, i8, i16, i16)> {
    let records = read_all(wire, "__transaction_state", 0).records.into_iter();
    let read = |record: ottla_wire::batch::Record| {
        let mut reader = Reader::new(record.value.unwrap());
        let version = reader.i16("version").unwrap();
        let value: TransactionLogValue = decode_from(reader.rest(), version).unwrap();
        (version, value.transaction_status, value.producer_epoch, value.client_transaction_version)
    };
    records.map(read).collect()
}

const EMPTY: i8 = 0;
const ONGOING: i8 = 1;
const PREPARE_COMMIT: i8 = 2;
const COMPLETE_COMMIT: i8 = 4;

#[track_caller]
fn finish(producer: &mut TxnProducer, committed: bool) {
    producer.end(committed);
    let state = if committed { "CompleteCommit" } else { "CompleteAbort" };
    eventually("the markers", || producer.state() == state);
}

#[test]
fn clients_are_told_of_the_level() {
    let mut setup = Setup::new();
    let broker = setup.start();
    let mut wire = broker.connect();
    let (level, supported, mut epoch) = told(&mut wire);
    assert_eq!((level, supported), (2, (0, 2)), "a new cluster");
    for refused in [(3, UPGRADE), (1, UPGRADE), (-1, SAFE_DOWNGRADE)] {
        assert_eq!(update(&mut wire, refused.0, refused.1), ErrorCode::InvalidUpdateVersion, "{refused:?}");
    }
    for level in [1, 0, 1, 2, 0] {
        set_level(&mut wire, level);
        let now = told(&mut wire);
        assert_eq!(now.1, (0, 2));
        assert!(now.2 > epoch, "clients take what is newer");
        epoch = now.2;
    }
    assert_eq!(update(&mut wire, 2, SAFE_DOWNGRADE), ErrorCode::InvalidUpdateVersion, "that would be higher");
    broker.kill();
    assert_eq!(told(&mut setup.start().connect()).0, 0);
}

/// Clients of version 1 are served alike at every level; only the format of the records depends on it.
#[test]
fn every_level_serves_clients_of_version_1() {
    for level in [0, 1, 2] {
        let (mut setup, broker, _) = at_level(level);
        let mut producer = TxnProducer::begin(&broker, "id", Protocol::One);
        let before = producer.producer;
        assert_eq!(producer.send("t", 0, &["x"], 10), ErrorCode::InvalidTxnState, "level {level}");
        assert_eq!(producer.send("t", 0, &["x"], 11), ErrorCode::TransactionAbortable, "level {level}");
        assert_eq!(producer.send_offset("g", "t", 1, 4), ErrorCode::TransactionAbortable, "level {level}");
        producer.write("t", 0, &["a"]);
        assert_eq!(producer.commit_offset("g", "t", 5), ErrorCode::None);

        broker.kill();
        let broker = setup.start();
        let mut wire = broker.connect();
        producer.wire = broker.connect();
        assert_eq!(told(&mut wire).0, level);
        producer.write("t", 0, &["b"]);
        assert!(committed_values(&mut wire, "t", 0).is_empty());
        finish(&mut producer, true);
        assert_eq!(producer.try_end(true), ErrorCode::None, "asked again");
        assert_eq!(producer.try_end(false), ErrorCode::InvalidTxnState);
        producer.write("t", 0, &["never", "seen"]);
        assert_eq!(producer.commit_offset("g", "t", 9), ErrorCode::None);
        finish(&mut producer, false);
        producer.write("t", 0, &["c"]);
        finish(&mut producer, true);
        assert_eq!(producer.producer, before, "level {level}: the epoch stays");
        assert_eq!(committed_values(&mut wire, "t", 0), ["a", "b", "c"], "level {level}");
        assert_eq!(offset_of(&mut wire, "g", "t", true), Ok(5), "level {level}");
        let log = state_log(&mut wire);
        assert!(log.iter().all(|&(version, _, _, client)| version == level.min(1) && client == 0), "{log:?}");
    }
}

/// It is the version of the requests that decides: level 1 bumps the epochs of clients of version 2 as level
/// 2 does.
#[test]
fn clients_of_version_2_are_served_from_level_1_on() {
    for level in [1, 2] {
        let (mut setup, broker, _) = at_level(level);
        let mut producer = TxnProducer::begin(&broker, "id", Protocol::Two);
        let (id, first) = producer.producer;
        producer.write("t", 0, &["a"]);
        assert_eq!(producer.commit_offset("g", "t", 5), ErrorCode::None);

        broker.kill();
        let broker = setup.start();
        let mut wire = broker.connect();
        producer.wire = broker.connect();
        assert_eq!(told(&mut wire).0, level);
        producer.write("t", 0, &["b"]);
        assert!(committed_values(&mut wire, "t", 0).is_empty());
        finish(&mut producer, true);
        let next = producer.producer;
        assert_eq!((next.0, next.1.0), (id, first.0 + 1), "level {level}: the epoch is bumped");
        producer.producer = (id, first);
        assert_eq!(producer.try_end(true), ErrorCode::None, "asked again");
        assert_eq!(producer.producer, next);
        let log = state_log(&mut wire);
        let bumped = next.1.0;
        let expected = [
            (1, EMPTY, first.0, 0),
            (1, ONGOING, first.0, 2),
            (1, ONGOING, first.0, 2),
            (1, PREPARE_COMMIT, bumped, 2),
            (1, COMPLETE_COMMIT, bumped, 2),
        ];
        assert_eq!(log, expected, "level {level}");
        producer.write("t", 0, &["never", "seen"]);
        finish(&mut producer, false);
        // At once: the marker of the transaction before may void the first guard.
        for value in ["c", "d", "e"] {
            producer.write("t", 0, &[value]);
            producer.end(true);
        }
        eventually("the markers", || producer.state() == "CompleteCommit");
        assert_eq!(committed_values(&mut wire, "t", 0), ["a", "b", "c", "d", "e"], "level {level}");
        assert_eq!(offset_of(&mut wire, "g", "t", true), Ok(5), "level {level}");
    }
}

/// Kafka answers the same the first time; then its coordinator says CONCURRENT_TRANSACTIONS until it is
/// restarted.
#[test]
fn level_0_refuses_clients_of_version_2() {
    let (mut setup, broker, _) = at_level(0);
    let mut producer = TxnProducer::begin(&broker, "id", Protocol::Two);
    for _ in 0..2 {
        assert_eq!(producer.send("t", 0, &["x"], 12), ErrorCode::UnsupportedVersion);
        assert_eq!(producer.send_offset("g", "t", 1, 5), ErrorCode::UnsupportedVersion);
        assert_eq!(producer.try_end(false), ErrorCode::UnsupportedVersion);
    }
    assert_eq!(producer.state(), "Empty");
    // What was added otherwise may be written to by anyone who has the epoch.
    producer.protocol = Protocol::One;
    producer.write("t", 0, &["a"]);
    producer.protocol = Protocol::Two;
    assert_eq!(producer.send("t", 0, &["b"], 12), ErrorCode::None);
    assert_eq!(producer.send("t", 1, &["x"], 12), ErrorCode::UnsupportedVersion);
    assert_eq!(producer.try_end(true), ErrorCode::UnsupportedVersion);
    broker.kill();
    let broker = setup.start();
    let mut wire = broker.connect();
    producer.wire = broker.connect();
    producer.protocol = Protocol::One;
    finish(&mut producer, true);
    assert_eq!(committed_values(&mut wire, "t", 0), ["a", "b"]);
    assert!(read_all(&mut wire, "t", 1).records.is_empty());
    assert_eq!(offset_of(&mut wire, "g", "t", true), Ok(-1));
}

/// A producer that is fenced at any level never writes again, and what it has left open holds nobody up.
#[test]
fn every_level_fences() {
    for level in [0, 1, 2] {
        let (_setup, broker, mut wire) = at_level(level);
        let protocols = if level == 0 { &[Protocol::One][..] } else { &Protocol::BOTH };
        for (partition, &protocol) in (0..).zip(protocols) {
            let id = if protocol == Protocol::One { "one" } else { "two" };
            let mut first = TxnProducer::begin(&broker, id, protocol);
            first.write("t", partition, &["of the first"]);
            let mut second = TxnProducer::begin(&broker, id, protocol);
            assert!(second.producer.1 > first.producer.1);
            let version = if protocol == Protocol::One { 11 } else { 12 };
            let late = first.send("t", partition, &["too late"], version);
            assert_eq!(late, ErrorCode::InvalidProducerEpoch, "level {level}, {protocol:?}");
            assert_eq!(first.try_end(true), ErrorCode::ProducerFenced, "level {level}, {protocol:?}");
            second.write("t", partition, &["of the second"]);
            finish(&mut second, true);
            let mut third = TxnProducer::begin_with_timeout(&broker, id, protocol, 200);
            let _too_late_perhaps = third.try_write("t", partition, &["abandoned"]);
            eventually("the abort", || third.state() == "CompleteAbort");
            let seen = committed_values(&mut wire, "t", partition);
            assert_eq!(seen, ["of the second"], "level {level}, {protocol:?}");
        }
    }
}

/// What is open ends by the rules that it began with, and the next transaction has those of the new level.
#[test]
fn an_open_transaction_outlives_a_change_of_the_level() {
    for (before, after) in [(0, 2), (0, 1), (1, 2), (2, 1), (2, 0), (1, 0)] {
        for (committed, killed) in [(true, false), (true, true), (false, true)] {
            let what = format!("{before} to {after}, committed: {committed}, killed: {killed}");
            let (mut setup, mut broker, mut wire) = at_level(before);
            // The newest that a client at this level may speak.
            let speaks = |level| if level == 2 { Protocol::Two } else { Protocol::One };
            let mut producer = TxnProducer::begin(&broker, "id", speaks(before));
            let first = producer.producer;
            producer.write("t", 0, &["a"]);
            assert_eq!(producer.commit_offset("g", "t", 5), ErrorCode::None, "{what}");
            set_level(&mut wire, after);
            if killed {
                broker.kill();
                broker = setup.start();
                wire = broker.connect();
                producer.wire = broker.connect();
            }
            producer.write("t", 0, &["b"]);
            if (before, after) == (2, 0) {
                assert_eq!(producer.try_write("t", 1, &["x"]), ErrorCode::UnsupportedVersion, "{what}");
            } else {
                producer.write("t", 1, &["c"]);
            }
            assert!(committed_values(&mut wire, "t", 0).is_empty(), "{what}");
            finish(&mut producer, committed);
            let bump = i16::from(before == 2);
            assert_eq!(producer.producer.1.0, first.1.0 + bump, "{what}");
            producer.protocol = speaks(after);
            let second = producer.producer;
            producer.write("t", 1, &["d"]);
            finish(&mut producer, true);
            assert_eq!(producer.producer.1.0, second.1.0 + i16::from(after == 2), "{what}");
            let mut expected =
                [vec!["a", "b"], vec!["c"]].map(|values| if committed { values } else { vec![] });
            expected[1].retain(|_| (before, after) != (2, 0));
            expected[1].push("d");
            for (partition, expected) in (0..).zip(expected) {
                assert_eq!(committed_values(&mut wire, "t", partition), expected, "{what}");
            }
            let offset = if committed { 5 } else { -1 };
            assert_eq!(offset_of(&mut wire, "g", "t", true), Ok(offset), "{what}");
            let (last, ..) = *state_log(&mut wire).last().unwrap();
            assert_eq!(last, i16::from(after > 0), "{what}");
        }
    }
}

async fn transact(
    producer: &TransactionalProducer,
    value: &str,
    offset: i64,
    commit: bool,
) -> Result<(), TransactionError> {
    producer.begin()?;
    drop(producer.send(ProducerRecord::new("t", value.to_owned()).partition(0)).await?);
    let offsets = Offsets::from([(TopicPartition::new("t", 0), OffsetAndMetadata::from(Offset(offset)))]);
    producer.send_offsets(&offsets, &GroupMetadata::outside("g")).await?;
    if commit { producer.commit().await } else { producer.abort().await }
}

/// Our own producer finds out what the cluster speaks, and goes on when the level changes as long as the
/// cluster lets it.
#[test]
fn the_client_library_goes_by_the_level() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (_setup, broker, mut wire) = at_level(2);
    let begin = || {
        let config = TransactionConfig::new("id");
        let client = ClientConfig::new(&broker.addr.to_string());
        runtime.block_on(async {
            let producer = TransactionalProducer::new(client, ProducerConfig::default(), config).unwrap();
            producer.init_transactions().await.unwrap();
            producer
        })
    };
    let mut expected = Vec::new();
    let mut number = 0;
    let mut go_on = |producer: &TransactionalProducer, wire: &mut Wire, speaks| {
        assert_eq!(producer.transaction_version(), speaks);
        for commit in [true, false, true] {
            number += 1;
            runtime.block_on(transact(producer, &number.to_string(), number, commit)).unwrap();
            if commit {
                expected.push(number.to_string());
            }
        }
        eventually("the markers", || committed_values(wire, "t", 0) == expected);
        eventually("the offset", || offset_of(wire, "g", "t", true) == Ok(number));
    };
    let two = begin();
    go_on(&two, &mut wire, TransactionVersion::V2);
    set_level(&mut wire, 1);
    go_on(&two, &mut wire, TransactionVersion::V2);
    let one = begin();
    go_on(&one, &mut wire, TransactionVersion::V1);
    let fenced = runtime.block_on(transact(&two, "fenced", 99, true));
    assert!(fenced.as_ref().is_err_and(|error| error.is_fatal() || error.asks_to_abort()), "{fenced:?}");
    set_level(&mut wire, 0);
    go_on(&one, &mut wire, TransactionVersion::V1);
    set_level(&mut wire, 2);
    go_on(&one, &mut wire, TransactionVersion::V1);
    let two = begin();
    go_on(&two, &mut wire, TransactionVersion::V2);
    // It has not heard of the change; what it cannot do is not done.
    set_level(&mut wire, 0);
    let refused = runtime.block_on(transact(&two, "refused", 99, true));
    assert!(refused.as_ref().is_err_and(TransactionError::is_fatal), "{refused:?}");
    go_on(&begin(), &mut wire, TransactionVersion::V1);
}
