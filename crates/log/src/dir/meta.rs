//! `meta.properties` of a data directory and `partition.metadata` of a log.

use std::io;

use ottla_wire::{TopicId, Uuid};

/// Whose a data directory is: what `meta.properties` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    pub node_id: i32,
    pub cluster_id: String,
    /// Identifies the directory within its node (KIP-858).
    pub directory_id: Uuid,
}

/// Small text files are not larger.
pub(crate) const TEXT_BYTES_MAX: u64 = 64 << 10;

impl MetaProperties {
    pub(crate) fn to_text(&self) -> String {
        let MetaProperties { node_id, cluster_id, directory_id } = self;
        format!("#\nnode.id={node_id}\ndirectory.id={directory_id}\nversion=1\ncluster.id={cluster_id}\n")
    }

    pub(crate) fn parse(text: &[u8]) -> io::Result<MetaProperties> {
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let text = std::str::from_utf8(text).map_err(|_| invalid("not text".to_owned()))?;
        let value = |name: &str| {
            let line = |line: &'_ str| line.split_once('=').is_some_and(|(key, _)| key.trim() == name);
            let found = text.lines().rfind(|text| !text.starts_with('#') && line(text))?;
            found.split_once('=').map(|(_, value)| value.trim().to_owned())
        };
        let missing = |name: &str| invalid(format!("{name} is missing or malformed"));
        if value("version").as_deref() != Some("1") {
            return Err(invalid("version is not 1".to_owned()));
        }
        let node_id = value("node.id").and_then(|id| id.parse().ok()).filter(|id| *id >= 0);
        // Kafka before 3.7 wrote no directory id.
        let directory_id = match value("directory.id") {
            None => Uuid::ZERO,
            Some(id) => Uuid::parse(&id).ok_or_else(|| missing("directory.id"))?,
        };
        Ok(MetaProperties {
            node_id: node_id.ok_or_else(|| missing("node.id"))?,
            cluster_id: value("cluster.id")
                .filter(|id| !id.is_empty())
                .ok_or_else(|| missing("cluster.id"))?,
            directory_id,
        })
    }
}

/// The text of `partition.metadata`.
pub(crate) fn format_partition(topic_id: TopicId) -> String {
    format!("version: 0\ntopic_id: {topic_id}")
}

/// The topic id that `partition.metadata` says; `None` if the file is damaged.
pub(crate) fn parse_partition(text: &[u8]) -> Option<TopicId> {
    let mut lines = std::str::from_utf8(text).ok()?.lines();
    if lines.next()? != "version: 0" {
        return None;
    }
    Uuid::parse(lines.next()?.strip_prefix("topic_id: ")?.trim()).filter(|id| !id.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meta_properties_are_read_back() {
        let meta = MetaProperties {
            node_id: 3,
            cluster_id: "HO3bHZ7yTpWcB1XlmTEHiA".to_owned(),
            directory_id: Uuid::parse("TyFPcEyhneaE9DutxJrZOw").unwrap(),
        };
        assert_eq!(MetaProperties::parse(meta.to_text().as_bytes()).unwrap(), meta);
    }

    #[test]
    fn what_is_missing_is_named() {
        let text = b"version=1\nnode.id=1\n";
        assert!(MetaProperties::parse(text).unwrap_err().to_string().contains("cluster.id"));
        assert!(MetaProperties::parse(b"version=0\nnode.id=1\ncluster.id=x\n").is_err());
    }

    #[test]
    fn partition_metadata_is_read_back() {
        let id = Uuid::parse("TyFPcEyhneaE9DutxJrZOw").unwrap();
        assert_eq!(format_partition(id).len(), 43);
        assert_eq!(parse_partition(format_partition(id).as_bytes()), Some(id));
        for damaged in ["", "version: 0\n", "version: 1\ntopic_id: TyFPcEyhneaE9DutxJrZOw", "\0\0\0"] {
            assert_eq!(parse_partition(damaged.as_bytes()), None);
        }
    }
}
