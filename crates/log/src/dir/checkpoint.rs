//! The checkpoint files of a data directory and of a log: a version, a count, one entry a line.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;

use ottla_wire::{EpochStart, LeaderEpoch, Offset, PartitionIndex};

/// A topic's name and the number of one of its partitions.
pub(crate) type TopicPartition = (String, PartitionIndex);

/// No checkpoint file may be larger: ten million partitions with long names do not reach it.
pub(crate) const CHECKPOINT_BYTES_MAX: u64 = 1 << 30;

/// The text of `recovery-point-offset-checkpoint` and its like.
pub(crate) fn format_offsets(entries: &BTreeMap<TopicPartition, Offset>) -> String {
    let mut text = format!("0\n{}\n", entries.len());
    for ((topic, partition), offset) in entries {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{topic} {partition} {offset}");
    }
    text
}

pub(crate) fn parse_offsets(text: &[u8]) -> io::Result<BTreeMap<TopicPartition, Offset>> {
    let entries = parse(text, |line| {
        let mut fields = line.split(' ');
        let topic = fields.next()?.to_owned();
        let partition = PartitionIndex(fields.next()?.parse().ok()?);
        let offset = Offset(fields.next()?.parse().ok().filter(|offset| *offset >= 0)?);
        fields.next().is_none().then_some(((topic, partition), offset))
    })?;
    Ok(entries.into_iter().collect())
}

/// The text of `leader-epoch-checkpoint`.
pub(crate) fn format_epochs(epochs: &[EpochStart]) -> String {
    let mut text = format!("0\n{}\n", epochs.len());
    for EpochStart { epoch, start } in epochs {
        let _ = writeln!(text, "{epoch} {start}");
    }
    text
}

pub(crate) fn parse_epochs(text: &[u8]) -> io::Result<Vec<EpochStart>> {
    parse(text, |line| {
        let (epoch, start) = line.split_once(' ')?;
        Some(EpochStart { epoch: LeaderEpoch(epoch.parse().ok()?), start: Offset(start.parse().ok()?) })
    })
}

fn parse<T>(text: &[u8], entry: impl Fn(&str) -> Option<T>) -> io::Result<Vec<T>> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let text = std::str::from_utf8(text).map_err(|_| invalid("not text"))?;
    let mut lines = text.lines();
    if lines.next() != Some("0") {
        return Err(invalid("version is not 0"));
    }
    let count: usize = lines.next().and_then(|line| line.parse().ok()).ok_or_else(|| invalid("no count"))?;
    let entries: Option<Vec<T>> = lines.map(entry).collect();
    let entries = entries.ok_or_else(|| invalid("malformed entry"))?;
    if entries.len() != count {
        return Err(invalid("count is not the number of entries"));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read_back() {
        let entries = BTreeMap::from([
            (("a".to_owned(), PartitionIndex(0)), Offset(7)),
            (("a-b".to_owned(), PartitionIndex(12)), Offset(i64::MAX)),
        ]);
        let text = format_offsets(&entries);
        assert_eq!(text, "0\n2\na 0 7\na-b 12 9223372036854775807\n");
        assert_eq!(parse_offsets(text.as_bytes()).unwrap(), entries);
    }

    #[test]
    fn epochs_are_read_back() {
        let epochs = [
            EpochStart { epoch: LeaderEpoch(0), start: Offset(0) },
            EpochStart { epoch: LeaderEpoch(3), start: Offset(20) },
        ];
        assert_eq!(parse_epochs(format_epochs(&epochs).as_bytes()).unwrap(), epochs);
    }

    #[test]
    fn damaged_files_are_refused() {
        for text in [
            "",
            "1\n0\n",
            "0\n",
            "0\n1\n",
            "0\n1\na 0\n",
            "0\n1\na 0 -1\n",
            "0\n1\na 0 1 2\n",
            "0\n2\na 0 1\n",
        ] {
            assert!(parse_offsets(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
