//! What ApiVersions says is what is served: every version of every API, and nothing else.

use ottla_wire::messages::{ApiVersionsRequest, ApiVersionsResponse, ResponseHeader};
use ottla_wire::primitives::{Message, Reader};
use ottla_wire::protocol::ApiKey;

use crate::benign::{self, Benign, CORRELATION_ID, Subject};
use crate::harness::{Broker, Setup, Wire, batch, create_topic, produced};

/// Key, name, lowest and highest version. A row is added when an API is served in full; none is ever taken
/// away.
const ADVERTISED: &str = "
 0 Produce                   0 13
 1 Fetch                     4 18
 2 ListOffsets               1 11
 3 Metadata                  0 13
 8 OffsetCommit              2 10
 9 OffsetFetch               1 10
10 FindCoordinator           0  6
11 JoinGroup                 0  9
12 Heartbeat                 0  4
13 LeaveGroup                0  5
14 SyncGroup                 0  5
15 DescribeGroups            0  6
16 ListGroups                0  5
18 ApiVersions               0  4
19 CreateTopics              2  7
20 DeleteTopics              1  6
21 DeleteRecords             0  2
22 InitProducerId            0  5
23 OffsetForLeaderEpoch      2  4
24 AddPartitionsToTxn        0  5
25 AddOffsetsToTxn           0  4
26 EndTxn                    0  5
27 WriteTxnMarkers           1  2
28 TxnOffsetCommit           0  5
32 DescribeConfigs           1  4
33 AlterConfigs              0  2
35 DescribeLogDirs           1  5
37 CreatePartitions          0  3
42 DeleteGroups              0  2
44 IncrementalAlterConfigs   0  1
47 OffsetDelete              0  0
57 UpdateFeatures            0  2
60 DescribeCluster           0  2
61 DescribeProducers         0  0
65 DescribeTransactions      0  0
66 ListTransactions          0  2
68 ConsumerGroupHeartbeat    0  1
69 ConsumerGroupDescribe     0  1
74 ListConfigResources       0  1
75 DescribeTopicPartitions   0  0
";

/// Produce is advertised from version 0 on, for librdkafka, and served from version 3 on (KAFKA-18659).
const PRODUCE_SERVED_MIN: i16 = 3;

const UNSUPPORTED_VERSION: i16 = 35;

const SUBJECT: &str = "subject";

fn stage() -> (Setup, Broker, Vec<Benign>) {
    // A group of one need not wait for others.
    let mut setup = Setup::new().set("group.initial.rebalance.delay.ms", 0);
    let broker = setup.start();
    let mut wire = broker.connect();
    let id = create_topic(&mut wire, SUBJECT, 1, &[]);
    produced(&mut wire, SUBJECT, 0, batch(["a"]));
    let requests = benign::all(&Subject { name: SUBJECT, id });
    (setup, broker, requests)
}

fn advertised(wire: &mut Wire) -> Vec<(i16, i16, i16)> {
    let answer = wire.call(&ApiVersionsRequest::default(), 0);
    assert_eq!(answer.error_code, 0);
    rows(&answer)
}

fn rows(answer: &ApiVersionsResponse) -> Vec<(i16, i16, i16)> {
    answer.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version)).collect()
}

fn expected() -> Vec<(i16, i16, i16)> {
    let row = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| columns[at].parse::<i16>().unwrap();
        assert_eq!(ApiKey::from_code(number(0)).map(ApiKey::name), Some(columns[1]));
        (number(0), number(2), number(3))
    };
    ADVERTISED.trim_matches('\n').lines().map(row).collect()
}

#[test]
fn the_table_is_as_it_was() {
    let (_setup, broker, _) = stage();
    assert_eq!(advertised(&mut broker.connect()), expected());
}

#[test]
fn every_advertised_version_is_answered() {
    let (_setup, broker, requests) = stage();
    let mut wire = broker.connect();
    let mut answered = Vec::new();
    for Benign { key, version, frame, read } in requests {
        wire.send_raw(&frame).unwrap();
        let Ok(answer) = wire.frame() else { panic!("{key} version {version}: closed") };
        match read(answer, version) {
            Ok((CORRELATION_ID, errors)) => {
                assert!(errors.iter().all(|code| *code == 0), "{key} version {version}: {errors:?}");
            }
            wrong => panic!("{key} version {version}: {wrong:?}"),
        }
        answered.push((key.code(), version));
    }
    for (key, min, max) in expected() {
        let min = if key == ApiKey::Produce.code() { PRODUCE_SERVED_MIN } else { min };
        for version in min..=max {
            assert!(answered.contains(&(key, version)), "key {key} version {version} is not in the test");
        }
    }
}

/// The newest request that there is, under another version.
fn in_version(of: &Benign, version: i16) -> Vec<u8> {
    let mut frame = of.frame.to_vec();
    frame[6..8].copy_from_slice(&version.to_be_bytes());
    frame
}

#[test]
fn every_other_version_closes_the_connection() {
    let (_setup, broker, requests) = stage();
    for (code, min, max) in expected() {
        let key = ApiKey::from_code(code).unwrap();
        if key == ApiKey::ApiVersions {
            continue;
        }
        let newest = requests.iter().rfind(|one| one.key == key).unwrap();
        let served_min = if key == ApiKey::Produce { PRODUCE_SERVED_MIN } else { min };
        let below = (0..served_min).chain([-1, i16::MIN]);
        for version in below.chain([max + 1, max + 2, i16::MAX]) {
            let mut wire = broker.connect();
            wire.send_raw(&in_version(newest, version)).unwrap();
            wire.expect_close(&format!("{key} version {version}"));
        }
    }
}

/// A client that is newer than the broker learns what it may use (KIP-511).
#[test]
fn an_unknown_version_of_api_versions_is_told_all_versions() {
    let (_setup, broker, requests) = stage();
    let newest = requests.iter().rfind(|one| one.key == ApiKey::ApiVersions).unwrap();
    for version in [5, 6, 100, i16::MAX] {
        let mut wire = broker.connect();
        wire.send_raw(&in_version(newest, version)).unwrap();
        let mut reader = Reader::new(wire.frame().unwrap());
        assert_eq!(ResponseHeader::decode(&mut reader, 0).unwrap().correlation_id, CORRELATION_ID);
        let answer = ApiVersionsResponse::decode(&mut reader, 0).unwrap();
        reader.finish("ApiVersions").unwrap();
        assert_eq!(answer.error_code, UNSUPPORTED_VERSION);
        assert_eq!(rows(&answer), expected(), "version {version}");
        assert_eq!(advertised(&mut wire), expected(), "the connection can be used");
    }
}

#[test]
fn every_other_key_closes_the_connection() {
    let (_setup, broker, _) = stage();
    let served: Vec<i16> = expected().iter().map(|row| row.0).collect();
    for code in (-3..130).chain([i16::MIN, 1000, i16::MAX]).filter(|code| !served.contains(code)) {
        // Whatever a header of that key would look like: version 0, an id, no client id, and room for more.
        let mut frame = vec![0, 0, 0, 20];
        frame.extend_from_slice(&code.to_be_bytes());
        frame.extend_from_slice(&[0, 0, 0, 0, 0, 7, 0xff, 0xff]);
        frame.extend_from_slice(&[0; 10]);
        let mut wire = broker.connect();
        wire.send_raw(&frame).unwrap();
        wire.expect_close(&format!("key {code}"));
    }
    assert_eq!(advertised(&mut broker.connect()), expected(), "the broker serves others");
}

/// Garbage in the name of the client's software is an answer, not a closed connection (KIP-511).
#[test]
fn client_software_is_checked() {
    let (_setup, broker, _) = stage();
    let request = |name: &str, version: &str| ApiVersionsRequest {
        client_software_name: name.into(),
        client_software_version: version.into(),
    };
    let mut wire = broker.connect();
    for (name, version, error) in [("ok", "1.0", 0), ("", "1", 42), ("a b", "1", 42), ("a", "-1", 42)] {
        assert_eq!(wire.call(&request(name, version), 4).error_code, error, "{name:?} {version:?}");
    }
}
