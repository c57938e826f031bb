//! The tables of settings and how to find a name in them.

use crate::definition::{Definition, Fallback, Range, Scope};
use crate::error::ConfigError;
use crate::value::Kind;

include!(concat!(env!("OUT_DIR"), "/definitions.rs"));

/// The tables by what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    Broker,
    Topic,
    Group,
    ClientMetrics,
}

impl Table {
    /// The settings, in the order of their names.
    pub fn definitions(self) -> &'static [Definition] {
        match self {
            Table::Broker => brokers(),
            Table::Topic => topics(),
            Table::Group => groups(),
            Table::ClientMetrics => client_metrics(),
        }
    }

    /// The definition, or the error that suggests the nearest name.
    pub fn known(self, name: &str) -> Result<&'static Definition, ConfigError> {
        find(self.definitions(), name).ok_or_else(|| ConfigError::Unknown {
            of: self.name(),
            name: name.to_owned(),
            nearest: nearest(self.definitions(), name),
        })
    }

    /// As messages to the user say it.
    fn name(self) -> &'static str {
        match self {
            Table::Broker => "broker",
            Table::Topic => "topic",
            Table::Group => "group",
            Table::ClientMetrics => "client metrics",
        }
    }
}

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

/// The known name that is most like `name`, if one is at all.
pub fn nearest(table: &'static [Definition], name: &str) -> Option<&'static str> {
    // Longer than any name plus slips: not a misspelling of one, and the comparison is quadratic.
    if name.len() > 100 {
        return None;
    }
    let (mut within, mut best) = (1 + name.len() / 4, None);
    let mut row = Vec::with_capacity(name.len() + 1);
    for definition in table {
        let Some(distance) = distance(definition.name, name, within, &mut row) else { continue };
        best = Some(definition.name);
        // From here on only what is nearer counts, so most names are given up after a few letters.
        let Some(nearer) = distance.checked_sub(1) else { break };
        within = nearer;
    }
    best
}

fn find(table: &'static [Definition], name: &str) -> Option<&'static Definition> {
    table.binary_search_by(|definition| definition.name.cmp(name)).ok().map(|at| &table[at])
}

/// Edits (insert, remove, change a byte) between two names, if they are `within` so many; `_`, `-` and case
/// count as one slip each. `row` is room to work in.
fn distance(a: &str, b: &str, within: usize, row: &mut Vec<usize>) -> Option<usize> {
    let b = b.as_bytes();
    if a.len().abs_diff(b.len()) > within {
        return None;
    }
    row.clear();
    row.extend(0..=b.len());
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        let mut least = row[0];
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
            least = least.min(row[j + 1]);
        }
        // No later row has less.
        if least > within {
            return None;
        }
    }
    Some(row[b.len()]).filter(|distance| *distance <= within)
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

    /// Giving up early changes nothing: compared to the end with every name, no other is nearer.
    #[test]
    fn the_suggestion_is_the_nearest_of_all() {
        let mut row = Vec::new();
        let mut to_the_end = |a: &str, b: &str| distance(a, b, usize::MAX, &mut row).unwrap();
        let mut suggested = 0;
        for (i, definition) in brokers().iter().enumerate().step_by(7) {
            let mut name = definition.name.replace('.', if i % 2 == 0 { "_" } else { "." });
            name.truncate(name.len() - i % 5);
            name.insert_str(i % name.len(), &"xyzzy"[..i % 4]);
            let all = brokers().iter().map(|known| (to_the_end(known.name, &name), known.name));
            let nearest_of_all = all.min().filter(|(distance, _)| *distance <= 1 + name.len() / 4);
            assert_eq!(nearest(brokers(), &name), nearest_of_all.map(|(_, name)| name), "{name}");
            suggested += usize::from(nearest_of_all.is_some());
        }
        assert!((20..50).contains(&suggested), "{suggested} of both kinds");
    }

    #[test]
    fn own_defaults_replace_those_of_kafka() {
        assert_eq!(topic("flush.messages").and_then(Definition::default_text), Some("1"));
        assert_eq!(broker("log.flush.interval.messages").and_then(Definition::default_text), Some("1"));
    }
}
