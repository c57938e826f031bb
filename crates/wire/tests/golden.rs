//! 2,912 messages as Kafka 4.3.1 encodes them: each is read, measured and written again to the same bytes.

mod common;

use common::{KINDS, Row, golden_rows};

/// The one message that the golden rows lack: it belongs to a client library of Kafka.
const NOT_IN_GOLDEN: &str = "SubscriptionInfoData";

#[test]
fn every_message_is_written_as_it_was_read() {
    let rows = golden_rows();
    for row in &rows {
        assert!((row.kind.reads)(row.bytes.clone(), row.version), "{} v{}", row.kind.name, row.version);
        let written = (row.kind.round_trip)(row.bytes.clone(), row.version);
        assert_eq!(written.as_ref(), Some(&row.bytes), "{} v{}: {}", row.kind.name, row.version, row.json);
    }
    assert_eq!(rows.len(), 2912);
}

/// A version that no row covers would be a version that nothing proves.
#[test]
fn every_version_of_every_message_has_a_row() {
    let rows = golden_rows();
    for kind in KINDS.iter().filter(|k| k.name != NOT_IN_GOLDEN) {
        for version in kind.min_version..=kind.max_version {
            assert!(
                rows.iter().any(|r| r.kind.name == kind.name && r.version == version),
                "{} v{version}",
                kind.name
            );
        }
    }
}

/// Two fields that are swapped would still be written as they were read. So every number and truth value that
/// Kafka sees in a message has to be seen by us under the same name and in the same order.
#[test]
fn every_message_means_what_kafka_reads_in_it() {
    let mut compared = 0;
    for row in golden_rows() {
        let debug = (row.kind.debug)(row.bytes.clone(), row.version).unwrap();
        let debug = debug.replace("r#", "");
        let ours = facts(&debug, ": ");
        let mut seen = ours.iter();
        for (name, value) in kafkas_facts(&row) {
            let found = seen.any(|(n, v)| n.replace('_', "") == name && **v == *value);
            assert!(found, "{} v{}: {name} = {value}\n{}\n{debug}", row.kind.name, row.version, row.json);
            compared += 1;
        }
    }
    assert!(compared > 10_000, "{compared}");
}

fn kafkas_facts(row: &Row) -> Vec<(String, &str)> {
    let facts = facts(&row.json, "\":");
    facts.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect()
}

/// Every `name<separator>value` whose value is a whole number, true or false.
fn facts<'a>(text: &'a str, separator: &str) -> Vec<(&'a str, &'a str)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let places = text.match_indices(separator).map(|(at, _)| (&text[..at], &text[at + separator.len()..]));
    let pairs = places.map(|(before, after)| {
        let name = before.rfind(|c| !is_name(c)).map_or(before, |at| &before[at + 1..]);
        (name, after.split([',', '}', ']', ' ']).next().unwrap_or_default())
    });
    pairs
        .filter(|(_, value)| value.parse::<i128>().is_ok() || *value == "true" || *value == "false")
        .collect()
}
