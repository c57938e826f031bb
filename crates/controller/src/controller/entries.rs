//! Decisions on their way to the metadata log: cut into entries of bounded size.
//!
//! An entry of the log is applied whole or not at all, and while a large one is written nothing else is. A
//! decision that changes every partition of a broker is therefore no entry but a sequence of them. If it
//! breaks off, the next controller finds out from the image what is left to do (see `leadership::repairs`).

use bytes::Bytes;
use ottla_wire::messages::MetadataRecord;
use ottla_wire::primitives::EncodeError;

/// Bytes of an entry, unless a single unit that cannot be cut has more. Each record counts with four bytes
/// more.
pub const ENTRY_BYTES_MAX: usize = 256 << 10;

/// Bytes of records that cannot be cut. What has more is refused.
pub const UNIT_BYTES_MAX: usize = 4 << 20;

/// What an entry takes for a record besides its frame.
const RECORD_OVERHEAD_BYTES: usize = 4;

/// Where the records of a decision may be cut. What lies between two cuts is a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cuts {
    Nowhere,
    /// Each record is a unit.
    Anywhere,
    /// Before each of these positions, which ascend.
    Before(Vec<usize>),
}

/// Why a decision cannot be logged. Nothing of it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    #[error(
        "a change of {bytes} bytes cannot be made at once, {UNIT_BYTES_MAX} are the most: ask for less in one request"
    )]
    TooLarge { bytes: usize },
    #[error("a record cannot be written: {0}")]
    Record(#[from] EncodeError),
}

/// Records that go to the metadata log together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The records as the log holds them.
    pub frames: Vec<Bytes>,
    bytes: usize,
}

/// Entries that decisions are added to, in the order in which they are to be logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entries {
    /// What takes no further records.
    closed: Vec<Entry>,
    open: Entry,
    entry_bytes_max: usize,
}

impl Cuts {
    /// The units of `records`.
    fn units<'a>(&self, records: &'a [MetadataRecord]) -> Vec<&'a [MetadataRecord]> {
        match self {
            Cuts::Nowhere => vec![records],
            Cuts::Anywhere => records.chunks(1).collect(),
            Cuts::Before(positions) => {
                let ends = positions.iter().copied().chain([records.len()]);
                let mut start = 0;
                ends.map(|end| &records[std::mem::replace(&mut start, end)..end]).collect()
            }
        }
    }
}

impl Entry {
    /// Bytes as the metadata log counts them.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len() + RECORD_OVERHEAD_BYTES;
        self.frames.push(frame);
    }
}

impl Default for Entries {
    fn default() -> Entries {
        Entries::of(ENTRY_BYTES_MAX)
    }
}

impl Entries {
    /// Entries that are closed before they exceed `entry_bytes_max`.
    pub fn of(entry_bytes_max: usize) -> Entries {
        Entries { closed: Vec::new(), open: Entry::default(), entry_bytes_max }
    }

    /// Adds the records of a decision, or none of them.
    pub fn add(&mut self, records: &[MetadataRecord], cuts: &Cuts) -> Result<(), EntryError> {
        let units: Vec<Entry> = cuts.units(records).into_iter().map(unit).collect::<Result<_, _>>()?;
        for unit in units {
            if self.open.bytes + unit.bytes > self.entry_bytes_max && !self.open.frames.is_empty() {
                self.closed.push(std::mem::take(&mut self.open));
            }
            self.open.bytes += unit.bytes;
            self.open.frames.extend(unit.frames);
        }
        Ok(())
    }

    /// How many entries there are.
    pub fn count(&self) -> usize {
        self.closed.len() + usize::from(!self.open.frames.is_empty())
    }

    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// Whether another decision may join the one entry there is.
    pub fn has_room(&self) -> bool {
        self.closed.is_empty() && self.open.bytes < self.entry_bytes_max
    }

    /// All entries, in order.
    pub fn into_entries(mut self) -> Vec<Entry> {
        if !self.open.frames.is_empty() {
            self.closed.push(self.open);
        }
        self.closed
    }
}

/// One unit as an entry of its own.
fn unit(records: &[MetadataRecord]) -> Result<Entry, EntryError> {
    let mut unit = Entry::default();
    for record in records {
        unit.push(record.to_frame()?);
    }
    if unit.bytes > UNIT_BYTES_MAX {
        return Err(EntryError::TooLarge { bytes: unit.bytes });
    }
    Ok(unit)
}

#[cfg(test)]
mod tests {
    use ottla_wire::messages::{ConfigRecord, FeatureLevelRecord};

    use super::*;

    fn level(level: i16) -> MetadataRecord {
        MetadataRecord::FeatureLevel(FeatureLevelRecord { name: "f".into(), feature_level: level })
    }

    fn levels(count: i16) -> Vec<MetadataRecord> {
        (0..count).map(level).collect()
    }

    /// How many records each entry has.
    fn lens(entries: Entries) -> Vec<usize> {
        entries.into_entries().iter().map(|entry| entry.frames.len()).collect()
    }

    #[test]
    fn units_stay_together() {
        let one = level(0).to_frame().unwrap().len() + RECORD_OVERHEAD_BYTES;
        let cases = [
            (Cuts::Anywhere, vec![2, 2, 1]),
            (Cuts::Nowhere, vec![5]),
            (Cuts::Before(vec![3]), vec![3, 2]),
            (Cuts::Before(vec![1, 2]), vec![2, 3]),
            (Cuts::Before(vec![0, 1, 5]), vec![1, 4]),
        ];
        for (cuts, expected) in cases {
            let mut entries = Entries::of(2 * one);
            entries.add(&levels(5), &cuts).unwrap();
            assert_eq!(entries.count(), expected.len(), "{cuts:?}");
            assert_eq!(lens(entries), expected, "{cuts:?}");
        }
    }

    #[test]
    fn small_decisions_share_an_entry() {
        let mut entries = Entries::default();
        assert!(entries.is_empty() && entries.has_room());
        entries.add(&[], &Cuts::Nowhere).unwrap();
        assert!(entries.is_empty());
        entries.add(&levels(3), &Cuts::Nowhere).unwrap();
        entries.add(&levels(2), &Cuts::Anywhere).unwrap();
        assert!(entries.has_room());
        assert_eq!(lens(entries), [5]);
    }

    #[test]
    fn what_is_too_large_leaves_nothing_behind() {
        let large = |bytes: usize| {
            MetadataRecord::Config(ConfigRecord {
                value: Some("v".repeat(bytes).into()),
                ..Default::default()
            })
        };
        let mut entries = Entries::default();
        entries.add(&levels(1), &Cuts::Nowhere).unwrap();
        let records = [level(1), large(UNIT_BYTES_MAX)];
        for cuts in [Cuts::Nowhere, Cuts::Anywhere] {
            let refused = entries.add(&records, &cuts);
            assert!(matches!(refused, Err(EntryError::TooLarge { bytes }) if bytes > UNIT_BYTES_MAX));
        }
        assert_eq!(entries.count(), 1);
        // What cannot be cut may be larger than an entry usually is.
        entries.add(&[large(ENTRY_BYTES_MAX)], &Cuts::Nowhere).unwrap();
        assert!(!entries.has_room());
        assert_eq!(lens(entries), [1, 1]);
    }
}
