//! What became of the records, and how it is told.

use std::collections::BTreeMap;
use std::fmt::Display;

use ottla_client::{Acks, ProduceError, RecordMetadata};
use serde_json::json;

use crate::output::{complain, json_line};

/// Records whose failure is told one by one; the rest is counted.
const COMPLAINTS_MAX: u64 = 10;

/// Partitions that the report names one by one.
const PARTITIONS_SHOWN_MAX: usize = 8;

#[derive(Debug, Default)]
pub struct Tally {
    stored: u64,
    failed: u64,
    /// Perhaps stored.
    unknown: u64,
    partitions: BTreeMap<i32, Stored>,
}

/// What was stored in one partition. Offsets are missing if the broker did not tell them.
#[derive(Debug, Default)]
struct Stored {
    records: u64,
    offsets: Option<(i64, i64)>,
}

impl Tally {
    pub fn settled(&mut self, line: u64, outcome: Result<RecordMetadata, ProduceError>) {
        match outcome {
            Ok(stored) => self.stored(&stored),
            Err(error) if error.outcome_unknown() => {
                self.unknown += 1;
                self.complain(line, "may or may not have been stored", &error);
            }
            Err(error) => self.failed(line, &error),
        }
    }

    pub fn failed(&mut self, line: u64, why: impl Display) {
        self.failed += 1;
        self.complain(line, "was not stored", why);
    }

    pub fn all_stored(&self) -> bool {
        self.failed == 0 && self.unknown == 0
    }

    /// Tells how many failures were not told one by one.
    pub fn complain_of_the_rest(&self) {
        let rest = (self.failed + self.unknown).saturating_sub(COMPLAINTS_MAX);
        if rest > 0 {
            complain(&format!("error: and {rest} more\n"));
        }
    }

    fn stored(&mut self, record: &RecordMetadata) {
        self.stored += 1;
        let partition = self.partitions.entry(record.partition).or_default();
        partition.records += 1;
        if let Some(offset) = record.offset {
            let (first, last) = partition.offsets.unwrap_or((offset.0, offset.0));
            partition.offsets = Some((first.min(offset.0), last.max(offset.0)));
        }
    }

    fn complain(&self, line: u64, what: &str, why: impl Display) {
        if self.failed + self.unknown <= COMPLAINTS_MAX {
            complain(&format!("error: line {line} {what}: {why}\n"));
        }
    }

    /// For people: one or two lines.
    pub fn to_text(&self, topic: &str, acks: Acks) -> String {
        let mut text = match acks {
            Acks::None => format!(
                "{} sent to {topic}; acks=0 does not tell whether they were stored\n",
                records(self.stored)
            ),
            Acks::Leader | Acks::All => {
                format!("{} stored in {topic}{}\n", records(self.stored), self.places())
            }
        };
        if !self.all_stored() {
            let all = self.stored + self.failed + self.unknown;
            text.push_str(&format!("{} of {all} not stored", self.failed));
            if self.unknown > 0 {
                text.push_str(&format!(
                    ", {} unknown (they may have been stored: sending them again may store them twice)",
                    self.unknown
                ));
            }
            text.push('\n');
        }
        text
    }

    fn places(&self) -> String {
        let place = |(index, stored): (&i32, &Stored)| match stored.offsets {
            Some((first, last)) if first == last => format!("partition {index} at offset {first}"),
            Some((first, last)) => format!("partition {index} at offsets {first} to {last}"),
            None => format!("partition {index}"),
        };
        let mut places: Vec<String> = self.partitions.iter().take(PARTITIONS_SHOWN_MAX).map(place).collect();
        let rest = self.partitions.len().saturating_sub(PARTITIONS_SHOWN_MAX);
        if rest > 0 {
            places.push(format!("{rest} more partitions"));
        }
        if places.is_empty() { String::new() } else { format!(" ({})", places.join(", ")) }
    }

    pub fn to_json(&self, topic: &str) -> String {
        let partition = |(index, stored): (&i32, &Stored)| {
            json!({
                "partition": index,
                "records": stored.records,
                "first_offset": stored.offsets.map(|(first, _)| first),
                "last_offset": stored.offsets.map(|(_, last)| last),
            })
        };
        json_line(&json!({
            "topic": topic,
            "acknowledged": self.stored,
            "failed": self.failed,
            "unknown": self.unknown,
            "partitions": self.partitions.iter().map(partition).collect::<Vec<_>>(),
        }))
    }
}

fn records(n: u64) -> String {
    format!("{n} record{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use ottla_wire::{Offset, Timestamp};

    use super::*;

    fn stored(partition: i32, offset: Option<i64>) -> Result<RecordMetadata, ProduceError> {
        let offset = offset.map(Offset);
        Ok(RecordMetadata { topic: "t".into(), partition, offset, timestamp: Timestamp(0) })
    }

    fn tally(outcomes: impl IntoIterator<Item = Result<RecordMetadata, ProduceError>>) -> Tally {
        let mut tally = Tally::default();
        for (outcome, line) in outcomes.into_iter().zip(1..) {
            tally.settled(line, outcome);
        }
        tally
    }

    #[test]
    fn the_report_tells_where_records_are_and_how_many_are_not() {
        let expired = || Err(ProduceError::Closed);
        let unknown = || Err(ProduceError::OutcomeUnknown { last: None });
        let cases = [
            (tally([]), Acks::All, "0 records stored in t\n"),
            (tally([stored(0, Some(7))]), Acks::All, "1 record stored in t (partition 0 at offset 7)\n"),
            (
                tally([stored(0, Some(7)), stored(1, Some(3)), stored(0, Some(9))]),
                Acks::Leader,
                "3 records stored in t (partition 0 at offsets 7 to 9, partition 1 at offset 3)\n",
            ),
            (
                tally([stored(0, None)]),
                Acks::None,
                "1 record sent to t; acks=0 does not tell whether they were stored\n",
            ),
            (
                tally([stored(0, Some(0)), expired(), unknown()]),
                Acks::All,
                "1 record stored in t (partition 0 at offset 0)\n1 of 3 not stored, 1 unknown (they may have been stored: sending them again may store them twice)\n",
            ),
        ];
        for (tally, acks, text) in cases {
            assert_eq!(tally.to_text("t", acks), text);
        }
        let many = tally((0..10).map(|partition| stored(partition, Some(0))));
        assert!(many.to_text("t", Acks::All).ends_with("partition 7 at offset 0, 2 more partitions)\n"));
    }

    #[test]
    fn the_report_for_machines_is_one_document() {
        let tally = tally([stored(0, Some(7)), Err(ProduceError::Closed)]);
        assert!(!tally.all_stored());
        let expected = "{\"acknowledged\":1,\"failed\":1,\"partitions\":[{\"first_offset\":7,\"last_offset\":7,\"partition\":0,\"records\":1}],\"topic\":\"t\",\"unknown\":0}\n";
        assert_eq!(tally.to_json("t"), expected);
    }
}
