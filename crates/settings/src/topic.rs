//! The settings that hold for one topic.

use std::collections::BTreeMap;

use crate::definition::Definition;
use crate::dynamic::{ConfigMap, Dynamic};
use crate::error::ConfigError;
use crate::key;
use crate::layers::{Layers, Source, Synonym};
use crate::settings::BrokerSettings;
use crate::support;
use crate::synonyms;
use crate::tables::Table;
use crate::typed::{Key, Read};

/// Every setting of a topic as it holds on one broker. Times are in milliseconds, sizes in bytes; where Kafka
/// says `-1` for "no limit", so does this.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    pub cleanup_compact: bool,
    pub cleanup_delete: bool,
    pub compression: Compression,
    pub file_delete_delay_ms: i64,
    pub flush_messages: i64,
    pub flush_ms: i64,
    pub index_interval_bytes: i32,
    pub max_message_bytes: i32,
    /// `message.timestamp.type` is `LogAppendTime`, not `CreateTime`.
    pub log_append_time: bool,
    pub timestamp_after_max_ms: i64,
    pub timestamp_before_max_ms: i64,
    pub min_insync_replicas: i32,
    pub preallocate: bool,
    pub retention_bytes: i64,
    pub retention_ms: i64,
    pub segment_bytes: i32,
    pub segment_index_bytes: i32,
    pub segment_jitter_ms: i64,
    pub segment_ms: i64,
    pub unclean_leader_election: bool,
}

/// How batches are stored: `compression.type` with the level of its codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As the producer sent them.
    Producer,
    Uncompressed,
    /// `-1` is the codec's own default.
    Gzip {
        level: i32,
    },
    Snappy,
    Lz4 {
        level: i32,
    },
    Zstd {
        level: i32,
    },
}

impl TopicConfig {
    /// What holds for `topic` on the broker of `settings`. A topic that is not there has what a new one
    /// would.
    pub fn effective(dynamic: &impl Dynamic, settings: &BrokerSettings, topic: &str) -> TopicConfig {
        TopicConfig::of(dynamic.of_topic(topic), &Layers::new(dynamic, settings))
    }

    /// What holds with a topic's own settings `own` above `layers`.
    pub fn of(own: Option<&ConfigMap>, layers: &Layers<'_>) -> TopicConfig {
        let values = Values { own, layers };
        let policies = values.read(key::topic::CLEANUP_POLICY);
        let has = |policy: &str| policies.iter().any(|one| one == policy);
        TopicConfig {
            cleanup_compact: has("compact"),
            cleanup_delete: has("delete"),
            compression: values.compression(),
            file_delete_delay_ms: values.read(key::topic::FILE_DELETE_DELAY_MS),
            flush_messages: values.read(key::topic::FLUSH_MESSAGES),
            flush_ms: values.read(key::topic::FLUSH_MS),
            index_interval_bytes: values.read(key::topic::INDEX_INTERVAL_BYTES),
            max_message_bytes: values.read(key::topic::MAX_MESSAGE_BYTES),
            log_append_time: values.read(key::topic::MESSAGE_TIMESTAMP_TYPE) == "LogAppendTime",
            timestamp_after_max_ms: values.read(key::topic::MESSAGE_TIMESTAMP_AFTER_MAX_MS),
            timestamp_before_max_ms: values.read(key::topic::MESSAGE_TIMESTAMP_BEFORE_MAX_MS),
            min_insync_replicas: values.read(key::topic::MIN_INSYNC_REPLICAS),
            preallocate: values.read(key::topic::PREALLOCATE),
            retention_bytes: values.read(key::topic::RETENTION_BYTES),
            retention_ms: values.read(key::topic::RETENTION_MS),
            segment_bytes: values.read(key::topic::SEGMENT_BYTES),
            segment_index_bytes: values.read(key::topic::SEGMENT_INDEX_BYTES),
            segment_jitter_ms: values.read(key::topic::SEGMENT_JITTER_MS),
            segment_ms: values.read(key::topic::SEGMENT_MS),
            unclean_leader_election: values.read(key::topic::UNCLEAN_LEADER_ELECTION_ENABLE),
        }
    }
}

/// Every value that a topic setting has in some layer, the strongest first. Empty if only its own default is
/// left.
pub fn topic_synonyms(definition: &Definition, own: Option<&ConfigMap>, layers: &Layers<'_>) -> Vec<Synonym> {
    let mut found = Vec::new();
    if let Some(value) = own.and_then(|own| own.get(definition.name)) {
        let value = value.to_string();
        let converted = value.clone();
        found.push(Synonym { name: definition.name, value, source: Source::DynamicTopic, converted });
    }
    found.extend(layers.synonyms(synonyms::broker_names(definition.name)));
    found
}

/// Checks the settings that a topic would have of its own: known, of their type, in range, served, and fit
/// for each other.
pub fn validate_topic(own: &BTreeMap<&str, &str>) -> Result<(), ConfigError> {
    for (name, value) in own {
        let definition = Table::Topic.known(name)?;
        definition.parse(value)?;
        support::check(Table::Topic, definition, value)?;
    }
    let number = |name: &str| own.get(name).and_then(|text| text.trim().parse::<i64>().ok());
    match (number("min.compaction.lag.ms"), number("max.compaction.lag.ms")) {
        (Some(min), Some(max)) if min > max => Err(ConfigError::Conflict {
            name: "min.compaction.lag.ms",
            value: min.to_string(),
            why: format!("it is more than max.compaction.lag.ms, which is {max}"),
        }),
        _ => Ok(()),
    }
}

/// Reads settings of one topic with their types.
struct Values<'a> {
    own: Option<&'a ConfigMap>,
    layers: &'a Layers<'a>,
}

impl Values<'_> {
    /// The strongest value that is of its type. Values are checked when they are set, so a weaker one is only
    /// taken if another version of this program wrote the strongest.
    fn read<T: Read>(&self, key: Key<T>) -> T {
        let definition = key.definition();
        let found = topic_synonyms(definition, self.own, self.layers);
        let value = found.iter().find_map(|synonym| definition.parse(&synonym.converted).ok());
        let default = || definition.default_text().and_then(|text| definition.parse(text).ok());
        key.typed(value.or_else(default))
    }

    fn compression(&self) -> Compression {
        match &*self.read(key::topic::COMPRESSION_TYPE) {
            "uncompressed" => Compression::Uncompressed,
            "gzip" => Compression::Gzip { level: self.read(key::topic::COMPRESSION_GZIP_LEVEL) },
            "snappy" => Compression::Snappy,
            "lz4" => Compression::Lz4 { level: self.read(key::topic::COMPRESSION_LZ4_LEVEL) },
            "zstd" => Compression::Zstd { level: self.read(key::topic::COMPRESSION_ZSTD_LEVEL) },
            _ => Compression::Producer,
        }
    }
}
