//! Names of files and folders, as Kafka writes them.

use std::hash::{BuildHasher, Hasher, RandomState};

use ottla_wire::{Offset, PartitionIndex, Uuid};

/// Which leader epochs a log has, in its folder.
pub(crate) const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";

/// Ends the name of a file that waits to be removed.
pub(crate) const DELETED: &str = ".deleted";

/// What a file of a segment holds, or what belongs to an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FileKind {
    Log,
    Index,
    TimeIndex,
    TxnIndex,
    Snapshot,
}

impl FileKind {
    pub const OF_SEGMENT: [FileKind; 4] =
        [FileKind::Log, FileKind::Index, FileKind::TimeIndex, FileKind::TxnIndex];

    fn suffix(self) -> &'static str {
        match self {
            FileKind::Log => ".log",
            FileKind::Index => ".index",
            FileKind::TimeIndex => ".timeindex",
            FileKind::TxnIndex => ".txnindex",
            FileKind::Snapshot => ".snapshot",
        }
    }
}

/// `00000000000000000042.log`
pub(crate) fn file_name(base: Offset, kind: FileKind) -> String {
    format!("{:020}{}", base.0, kind.suffix())
}

/// The reverse of [`file_name`]; `None` for any other file.
pub(crate) fn parse_file_name(name: &str) -> Option<(Offset, FileKind)> {
    let (digits, _) = name.split_once('.')?;
    let suffix = &name[digits.len()..];
    let kind = [FileKind::Log, FileKind::Index, FileKind::TimeIndex, FileKind::TxnIndex, FileKind::Snapshot];
    let kind = kind.into_iter().find(|kind| kind.suffix() == suffix)?;
    if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((Offset(digits.parse().ok()?), kind))
}

/// What a folder in a data directory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Folder {
    Partition(String, PartitionIndex),
    /// `-delete`: waits to be removed.
    Deleted,
    /// `-stray` or `-future`: set aside by Kafka.
    Aside,
    /// Not a partition's.
    Other,
}

/// The topic of the metadata log, whose folder another room owns.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// `topic-0`
pub(crate) fn folder_name(topic: &str, partition: PartitionIndex) -> String {
    format!("{topic}-{partition}")
}

pub(crate) fn parse_folder_name(name: &str) -> Folder {
    if let Some((rest, suffix)) = name.rsplit_once('-')
        && let Some((_, unique)) = rest.rsplit_once('.')
        && !unique.is_empty()
        && unique.bytes().all(|b| b.is_ascii_hexdigit())
    {
        match suffix {
            "delete" => return Folder::Deleted,
            "stray" | "future" => return Folder::Aside,
            _ => {}
        }
    }
    let Some((topic, partition)) = name.rsplit_once('-') else { return Folder::Other };
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if topic.is_empty() || topic == METADATA_TOPIC || !topic.bytes().all(legal) {
        return Folder::Other;
    }
    match partition.parse() {
        Ok(index) if partition.bytes().all(|b| b.is_ascii_digit()) => {
            Folder::Partition(topic.to_owned(), PartitionIndex(index))
        }
        _ => Folder::Other,
    }
}

/// The longest name that file systems take.
const NAME_BYTES_MAX: usize = 255;

/// `topic-0.0123456789abcdef0123456789abcdef-delete`, cut so that it fits.
pub(crate) fn aside_name(topic: &str, partition: PartitionIndex, suffix: &str) -> String {
    let tail: String = random_uuid().0.iter().map(|byte| format!("{byte:02x}")).collect();
    let tail = format!(".{tail}-{suffix}");
    let mut name = folder_name(topic, partition);
    name.truncate(NAME_BYTES_MAX - tail.len());
    name + &tail
}

/// A random number, from the seeds that the standard library draws for its maps.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A random id.
pub(crate) fn random_uuid() -> Uuid {
    let mut bytes = [0; 16];
    for half in bytes.chunks_mut(8) {
        half.copy_from_slice(&random().to_be_bytes());
    }
    bytes[6] = bytes[6] & 0x0f | 0x40; // version 4
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Uuid(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_read_back() {
        for kind in FileKind::OF_SEGMENT {
            assert_eq!(parse_file_name(&file_name(Offset(42), kind)), Some((Offset(42), kind)));
        }
        assert_eq!(file_name(Offset(7), FileKind::Snapshot), "00000000000000000007.snapshot");
        for other in ["leader-epoch-checkpoint", "7.log", "00000000000000000007.log.deleted", "x", ".log"] {
            assert_eq!(parse_file_name(other), None, "{other}");
        }
    }

    #[test]
    fn folder_names_are_told_apart() {
        let partition = |topic: &str, index| Folder::Partition(topic.into(), PartitionIndex(index));
        assert_eq!(parse_folder_name("a-b-3"), partition("a-b", 3));
        assert_eq!(parse_folder_name("a.b-0"), partition("a.b", 0));
        for other in ["lost+found", "a", "-3", "a-", "a--3x", "a-99999999999", "__cluster_metadata-0"] {
            assert_eq!(parse_folder_name(other), Folder::Other, "{other}");
        }
        // Topics that are called as folders end that are set aside.
        for suffix in ["-delete", "-stray", "-future", ".cleaned", ".swap", ".deleted", "-0", ".", "-", ""] {
            for topic in [format!("t{suffix}"), format!("t-0.0123456789abcdef0123456789abcdef{suffix}")] {
                let folder = folder_name(&topic, PartitionIndex(12));
                assert_eq!(parse_folder_name(&folder), partition(&topic, 12), "{folder}");
            }
        }
        for topic in ["-", "...", "meta.properties", "__cluster_metadata2", "__CLUSTER_METADATA"] {
            assert_eq!(parse_folder_name(&folder_name(topic, PartitionIndex(0))), partition(topic, 0));
        }
        assert_eq!(parse_folder_name("a-0.0123abcd-delete"), Folder::Deleted);
        assert_eq!(parse_folder_name("a-0.0123abcd-stray"), Folder::Aside);
        let long = "t".repeat(249);
        let aside = aside_name(&long, PartitionIndex(1000), "delete");
        assert_eq!(aside.len(), NAME_BYTES_MAX);
        assert_eq!(parse_folder_name(&aside), Folder::Deleted);
    }
}
