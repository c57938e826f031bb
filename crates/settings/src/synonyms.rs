//! Where the default of a topic setting comes from: the broker settings of the same meaning.

/// How a broker's value becomes the topic's: some are in hours or minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Same,
    Minutes,
    Hours,
}

/// Broker settings that stand in for a topic setting, the strongest first.
pub fn broker_names(topic_setting: &str) -> &'static [(&'static str, Unit)] {
    use Unit::{Hours, Minutes, Same};
    match topic_setting {
        "cleanup.policy" => &[("log.cleanup.policy", Same)],
        "compression.gzip.level" => &[("compression.gzip.level", Same)],
        "compression.lz4.level" => &[("compression.lz4.level", Same)],
        "compression.type" => &[("compression.type", Same)],
        "compression.zstd.level" => &[("compression.zstd.level", Same)],
        "delete.retention.ms" => &[("log.cleaner.delete.retention.ms", Same)],
        "file.delete.delay.ms" => &[("log.segment.delete.delay.ms", Same)],
        "flush.messages" => &[("log.flush.interval.messages", Same)],
        "flush.ms" => &[("log.flush.interval.ms", Same), ("log.flush.scheduler.interval.ms", Same)],
        "index.interval.bytes" => &[("log.index.interval.bytes", Same)],
        "local.retention.bytes" => &[("log.local.retention.bytes", Same)],
        "local.retention.ms" => &[("log.local.retention.ms", Same)],
        "max.compaction.lag.ms" => &[("log.cleaner.max.compaction.lag.ms", Same)],
        "max.message.bytes" => &[("message.max.bytes", Same)],
        "message.timestamp.after.max.ms" => &[("log.message.timestamp.after.max.ms", Same)],
        "message.timestamp.before.max.ms" => &[("log.message.timestamp.before.max.ms", Same)],
        "message.timestamp.type" => &[("log.message.timestamp.type", Same)],
        "min.cleanable.dirty.ratio" => &[("log.cleaner.min.cleanable.ratio", Same)],
        "min.compaction.lag.ms" => &[("log.cleaner.min.compaction.lag.ms", Same)],
        "min.insync.replicas" => &[("min.insync.replicas", Same)],
        "preallocate" => &[("log.preallocate", Same)],
        "retention.bytes" => &[("log.retention.bytes", Same)],
        "retention.ms" => {
            &[("log.retention.ms", Same), ("log.retention.minutes", Minutes), ("log.retention.hours", Hours)]
        }
        "segment.bytes" => &[("log.segment.bytes", Same)],
        "segment.index.bytes" => &[("log.index.size.max.bytes", Same)],
        "segment.jitter.ms" => &[("log.roll.jitter.ms", Same), ("log.roll.jitter.hours", Hours)],
        "segment.ms" => &[("log.roll.ms", Same), ("log.roll.hours", Hours)],
        "unclean.leader.election.enable" => &[("unclean.leader.election.enable", Same)],
        _ => &[],
    }
}

/// Settings that give a broker setting its value when it has none itself, the strongest first (that one
/// included).
pub fn chain(broker_setting: &'static str) -> Vec<&'static str> {
    let of_topic =
        ["retention.ms", "segment.ms", "segment.jitter.ms", "flush.ms"].into_iter().map(broker_names);
    let found = of_topic.filter_map(|names| {
        let at = names.iter().position(|(name, _)| *name == broker_setting)?;
        Some(names[at..].iter().map(|(name, _)| *name).collect())
    });
    match broker_setting {
        "log.dirs" => vec!["log.dirs", "log.dir"],
        "node.id" => vec!["node.id", "broker.id"],
        _ => found.into_iter().next().unwrap_or_else(|| vec![broker_setting]),
    }
}

impl Unit {
    /// `value` (a whole number, unless the unit is the same) in milliseconds. Negative stays "no limit".
    pub fn convert(self, value: &str) -> String {
        let factor = match self {
            Unit::Same => return value.to_owned(),
            Unit::Minutes => 60_000,
            Unit::Hours => 3_600_000,
        };
        match value.trim().parse::<i64>() {
            Ok(number) if number < 0 => "-1".to_owned(),
            Ok(number) => number.saturating_mul(factor).to_string(),
            Err(_) => value.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables;

    #[test]
    fn defaults_of_topic_and_broker_agree() {
        for topic in tables::topics() {
            let names = broker_names(topic.name);
            let found = names.iter().find_map(|(name, unit)| {
                let broker = tables::broker(name).unwrap_or_else(|| panic!("{name}"));
                broker.default_text().map(|text| unit.convert(text))
            });
            if let Some(default) = found {
                assert_eq!(Some(default.as_str()), topic.default_text(), "{}", topic.name);
            }
        }
    }

    #[test]
    fn broker_chains() {
        assert_eq!(
            chain("log.retention.ms"),
            ["log.retention.ms", "log.retention.minutes", "log.retention.hours"]
        );
        assert_eq!(chain("log.retention.hours"), ["log.retention.hours"]);
        assert_eq!(chain("log.dirs"), ["log.dirs", "log.dir"]);
        assert_eq!(chain("num.partitions"), ["num.partitions"]);
    }
}
