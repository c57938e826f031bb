//! The tables of settings and how to find a name in them.

use super::definition::{Definition, Fallback, Kind, Range, Scope};
use super::error::ConfigError;

include!(concat!(env!("OUT_DIR"), "/definitions.rs"));

/// Broker settings in the order of their names.
pub fn brokers() -> &'static [Definition] {
    &BROKER
}

/// Topic settings in the order of their names.
pub fn topics() -> &'static [Definition] {
    &TOPIC
}

/// Group settings in the order of their names.
pub fn groups() -> &'static [Definition] {
    &GROUP
}

/// Settings of client metrics subscriptions in the order of their names.
pub fn client_metrics() -> &'static [Definition] {
    &CLIENT_METRICS
}

pub fn broker(name: &str) -> Option<&'static Definition> {
    find(&BROKER, name)
}

pub fn topic(name: &str) -> Option<&'static Definition> {
    find(&TOPIC, name)
}

pub fn group(name: &str) -> Option<&'static Definition> {
    find(&GROUP, name)
}

pub fn client_metric(name: &str) -> Option<&'static Definition> {
    find(&CLIENT_METRICS, name)
}

/// The definition, or the error that suggests the nearest name.
pub(crate) fn known(
    table: &'static [Definition],
    of: &'static str,
    name: &str,
) -> Result<&'static Definition, ConfigError> {
    find(table, name).ok_or_else(|| ConfigError::Unknown {
        of,
        name: name.to_owned(),
        nearest: nearest(table, name),
    })
}

/// The known name that is most like `name`, if one is at all.
pub fn nearest(table: &'static [Definition], name: &str) -> Option<&'static str> {
    // Longer than any name plus slips: not a misspelling of one, and the comparison is quadratic.
    if name.len() > 100 {
        return None;
    }
    let (distance, best) =
        table.iter().map(|definition| (distance(definition.name, name), definition.name)).min()?;
    (distance <= 1 + name.len() / 4).then_some(best)
}

fn find(table: &'static [Definition], name: &str) -> Option<&'static Definition> {
    table.binary_search_by(|definition| definition.name.cmp(name)).ok().map(|at| &table[at])
}

/// Edits (insert, remove, change a byte) between two names; `_`, `-` and case count as one slip each.
fn distance(a: &str, b: &str) -> usize {
    let b = b.as_bytes();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_whole() {
        for (table, count) in [(brokers(), 360), (topics(), 33), (groups(), 17), (client_metrics(), 3)] {
            assert!(table.is_sorted_by(|a, b| a.name < b.name));
            assert!(table.len() >= count, "{}", table.len());
        }
    }

    #[test]
    fn every_default_is_a_value_of_its_setting() {
        for table in [brokers(), topics(), groups(), client_metrics()] {
            for definition in table {
                let Some(default) = definition.default_text() else { continue };
                // Kafka's table says of two lists that they are not empty, which holds only for what is set.
                if definition.range == Range::NotEmpty && default.is_empty() {
                    continue;
                }
                assert!(definition.parse(default).is_ok(), "{} = {default:?}", definition.name);
            }
        }
    }

    #[test]
    fn the_nearest_name_is_suggested() {
        let cases = [
            ("retention.md", Some("retention.ms")),
            ("cleanup_policy", Some("cleanup.policy")),
            ("segment.byte", Some("segment.bytes")),
            ("quite.something.else.entirely", None),
        ];
        for (name, suggestion) in cases {
            assert_eq!(nearest(topics(), name), suggestion, "{name}");
        }
        assert_eq!(nearest(topics(), &"x".repeat(100_000)), None);
    }

    #[test]
    fn own_defaults_replace_those_of_kafka() {
        assert_eq!(topic("flush.messages").and_then(Definition::default_text), Some("1"));
        assert_eq!(broker("log.flush.interval.messages").and_then(Definition::default_text), Some("1"));
    }
}
