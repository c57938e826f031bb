//! The settings that hold for one topic.

use std::collections::BTreeMap;

use crate::definition::Definition;
use crate::dynamic::{ConfigMap, Dynamic};
use crate::error::ConfigError;
use crate::layers::{Layers, Source, Synonym};
use crate::settings::BrokerSettings;
use crate::support::{self, Table};
use crate::synonyms;
use crate::tables;
use crate::value::Value;

/// Every setting of a topic as it holds on one broker. Times are in milliseconds, sizes in bytes; where Kafka
/// says `-1` for "no limit", so does this.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    pub cleanup_compact: bool,
    pub cleanup_delete: bool,
    pub compression: Compression,
    pub delete_retention_ms: i64,
    pub file_delete_delay_ms: i64,
    pub flush_messages: i64,
    pub flush_ms: i64,
    pub index_interval_bytes: i32,
    pub max_compaction_lag_ms: i64,
    pub max_message_bytes: i32,
    /// `message.timestamp.type` is `LogAppendTime`, not `CreateTime`.
    pub log_append_time: bool,
    pub timestamp_after_max_ms: i64,
    pub timestamp_before_max_ms: i64,
    pub min_cleanable_dirty_ratio: f64,
    pub min_compaction_lag_ms: i64,
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
        let policies = values.list("cleanup.policy");
        let has = |policy: &str| policies.iter().any(|one| one == policy);
        TopicConfig {
            cleanup_compact: has("compact"),
            cleanup_delete: has("delete"),
            compression: values.compression(),
            delete_retention_ms: values.long("delete.retention.ms"),
            file_delete_delay_ms: values.long("file.delete.delay.ms"),
            flush_messages: values.long("flush.messages"),
            flush_ms: values.long("flush.ms"),
            index_interval_bytes: values.int("index.interval.bytes"),
            max_compaction_lag_ms: values.long("max.compaction.lag.ms"),
            max_message_bytes: values.int("max.message.bytes"),
            log_append_time: values.text("message.timestamp.type") == "LogAppendTime",
            timestamp_after_max_ms: values.long("message.timestamp.after.max.ms"),
            timestamp_before_max_ms: values.long("message.timestamp.before.max.ms"),
            min_cleanable_dirty_ratio: values.double("min.cleanable.dirty.ratio"),
            min_compaction_lag_ms: values.long("min.compaction.lag.ms"),
            min_insync_replicas: values.int("min.insync.replicas"),
            preallocate: values.boolean("preallocate"),
            retention_bytes: values.long("retention.bytes"),
            retention_ms: values.long("retention.ms"),
            segment_bytes: values.int("segment.bytes"),
            segment_index_bytes: values.int("segment.index.bytes"),
            segment_jitter_ms: values.long("segment.jitter.ms"),
            segment_ms: values.long("segment.ms"),
            unclean_leader_election: values.boolean("unclean.leader.election.enable"),
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
        let definition = tables::known(tables::topics(), "topic", name)?;
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
    fn value(&self, name: &'static str) -> Value {
        let Some(definition) = tables::topic(name) else {
            unreachable!("{name} is in the table of topic settings")
        };
        let found = topic_synonyms(definition, self.own, self.layers);
        let value = found.iter().find_map(|synonym| definition.parse(&synonym.converted).ok());
        let default = || definition.default_text().and_then(|text| definition.parse(text).ok());
        match value.or_else(default) {
            Some(value) => value,
            None => unreachable!("{name} has a default of its type"),
        }
    }

    fn long(&self, name: &'static str) -> i64 {
        match self.value(name) {
            Value::Integer(number) => number,
            other => unreachable!("{name} is a number, not {other:?}"),
        }
    }

    fn int(&self, name: &'static str) -> i32 {
        i32::try_from(self.long(name)).unwrap_or(i32::MAX)
    }

    fn double(&self, name: &'static str) -> f64 {
        match self.value(name) {
            Value::Double(number) => number,
            other => unreachable!("{name} is a number, not {other:?}"),
        }
    }

    fn boolean(&self, name: &'static str) -> bool {
        self.value(name) == Value::Boolean(true)
    }

    fn text(&self, name: &'static str) -> String {
        self.value(name).to_string()
    }

    fn list(&self, name: &'static str) -> Vec<String> {
        match self.value(name) {
            Value::List(entries) => entries,
            other => unreachable!("{name} is a list, not {other:?}"),
        }
    }

    fn compression(&self) -> Compression {
        match &*self.text("compression.type") {
            "uncompressed" => Compression::Uncompressed,
            "gzip" => Compression::Gzip { level: self.int("compression.gzip.level") },
            "snappy" => Compression::Snappy,
            "lz4" => Compression::Lz4 { level: self.int("compression.lz4.level") },
            "zstd" => Compression::Zstd { level: self.int("compression.zstd.level") },
            _ => Compression::Producer,
        }
    }
}
