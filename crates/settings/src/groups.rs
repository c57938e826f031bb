//! What the settings of groups must be together: the broker's own, and those of single groups.

use std::time::Duration;

use crate::dynamic::ConfigMap;
use crate::error::ConfigError;
use crate::key;
use crate::settings::BrokerSettings;
use crate::typed::Key;

/// A time that groups may set for themselves, and the broker's settings for it.
struct Bounded {
    own: Key<Duration>,
    min: Key<Duration>,
    /// What holds for groups that have not set it.
    value: Key<Duration>,
    max: Key<Duration>,
}

const BOUNDED: [Bounded; 3] = [
    Bounded {
        own: key::group::CONSUMER_HEARTBEAT_INTERVAL_MS,
        min: key::GROUP_CONSUMER_MIN_HEARTBEAT_INTERVAL_MS,
        value: key::GROUP_CONSUMER_HEARTBEAT_INTERVAL_MS,
        max: key::GROUP_CONSUMER_MAX_HEARTBEAT_INTERVAL_MS,
    },
    Bounded {
        own: key::group::CONSUMER_SESSION_TIMEOUT_MS,
        min: key::GROUP_CONSUMER_MIN_SESSION_TIMEOUT_MS,
        value: key::GROUP_CONSUMER_SESSION_TIMEOUT_MS,
        max: key::GROUP_CONSUMER_MAX_SESSION_TIMEOUT_MS,
    },
    Bounded {
        own: key::group::CONSUMER_ASSIGNMENT_INTERVAL_MS,
        min: key::GROUP_CONSUMER_MIN_ASSIGNMENT_INTERVAL_MS,
        value: key::GROUP_CONSUMER_ASSIGNMENT_INTERVAL_MS,
        max: key::GROUP_CONSUMER_MAX_ASSIGNMENT_INTERVAL_MS,
    },
];

/// The assignors that there are.
const ASSIGNORS: [&str; 2] = ["uniform", "range"];

/// What is wrong with the settings that hold for all groups.
pub(crate) fn together(settings: &BrokerSettings) -> Result<(), ConfigError> {
    protocols(settings)?;
    assignors(settings)?;
    codec(settings)?;
    for bounded in &BOUNDED {
        let (least, most) = (settings.read(bounded.min), settings.read(bounded.max));
        if least > most {
            let why =
                format!("it is less than {}, which is {}", bounded.min.name(), settings.text(bounded.min));
            return Err(settings.conflict(bounded.max, why));
        }
        bounded
            .check(settings.read(bounded.value), settings)
            .map_err(|why| settings.conflict(bounded.value, why))?;
    }
    let timeout = key::GROUP_CONSUMER_SESSION_TIMEOUT_MS;
    if settings.read(key::GROUP_CONSUMER_HEARTBEAT_INTERVAL_MS) >= settings.read(timeout) {
        let why = format!("it must be less than {}, which is {}", timeout.name(), settings.text(timeout));
        return Err(settings.conflict(key::GROUP_CONSUMER_HEARTBEAT_INTERVAL_MS, why));
    }
    let (min, max) = (key::GROUP_MIN_SESSION_TIMEOUT_MS, key::GROUP_MAX_SESSION_TIMEOUT_MS);
    if settings.read(min) > settings.read(max) {
        let why = format!("it is more than {}, which is {}", max.name(), settings.text(max));
        return Err(settings.conflict(min, why));
    }
    Ok(())
}

/// What is wrong with the settings that a group would have of its own. They stay within what the broker
/// allows (KIP-1018).
pub fn validate_group(own: &ConfigMap, settings: &BrokerSettings) -> Result<(), ConfigError> {
    for bounded in &BOUNDED {
        let Some(given) = bounded.own.own(own) else { continue };
        bounded.check(given, settings).map_err(|why| conflict(bounded.own, given, why))?;
    }
    let held =
        |own_key: Key<Duration>, of_broker| own_key.own(own).unwrap_or_else(|| settings.read(of_broker));
    let (interval_key, timeout_key) =
        (key::group::CONSUMER_HEARTBEAT_INTERVAL_MS, key::group::CONSUMER_SESSION_TIMEOUT_MS);
    let interval = held(interval_key, key::GROUP_CONSUMER_HEARTBEAT_INTERVAL_MS);
    let timeout = held(timeout_key, key::GROUP_CONSUMER_SESSION_TIMEOUT_MS);
    if interval >= timeout {
        let why = format!("it must be less than {}, which is {}", timeout_key.name(), timeout.as_millis());
        return Err(conflict(interval_key, interval, why));
    }
    Ok(())
}

/// The broker setting that holds for groups which have not set `name`.
pub fn broker_default(name: &str) -> Option<&'static str> {
    BOUNDED.iter().find(|bounded| bounded.own.name() == name).map(|bounded| bounded.value.name())
}

impl Bounded {
    /// Why a time is not one that the broker allows.
    fn check(&self, given: Duration, settings: &BrokerSettings) -> Result<(), String> {
        let (least, most) = (settings.read(self.min), settings.read(self.max));
        if (least..=most).contains(&given) {
            return Ok(());
        }
        let (min, least, max, most) = (self.min.name(), least.as_millis(), self.max.name(), most.as_millis());
        Err(format!("it is not between {min} ({least}) and {max} ({most})"))
    }
}

fn protocols(settings: &BrokerSettings) -> Result<(), ConfigError> {
    const KEY: Key<Vec<String>> = key::GROUP_COORDINATOR_REBALANCE_PROTOCOLS;
    let protocols = settings.read(KEY);
    let has = |protocol: &str| protocols.iter().any(|one| one.eq_ignore_ascii_case(protocol));
    if !has("classic") {
        return Err(settings.conflict(KEY, "classic cannot be left out".to_owned()));
    }
    if has("share") {
        let reason = "share groups are not served yet";
        return Err(ConfigError::NotServed { name: KEY.name(), value: protocols.join(","), reason });
    }
    Ok(())
}

fn assignors(settings: &BrokerSettings) -> Result<(), ConfigError> {
    const KEY: Key<Vec<String>> = key::GROUP_CONSUMER_ASSIGNORS;
    let assignors = settings.read(KEY);
    if assignors.is_empty() {
        return Err(settings.conflict(KEY, "name at least one".to_owned()));
    }
    match assignors.iter().find(|one| !ASSIGNORS.contains(&one.as_str())) {
        None => Ok(()),
        Some(_) => {
            let reason = "there are uniform and range; Java classes cannot be loaded";
            Err(ConfigError::NotServed { name: KEY.name(), value: assignors.join(","), reason })
        }
    }
}

fn codec(settings: &BrokerSettings) -> Result<(), ConfigError> {
    const KEY: Key<i32> = key::OFFSETS_TOPIC_COMPRESSION_CODEC;
    match settings.read(KEY) {
        0..=4 => Ok(()),
        _ => {
            let why = "codecs are 0 (none), 1 (gzip), 2 (snappy), 3 (lz4) and 4 (zstd)".to_owned();
            Err(settings.conflict(KEY, why))
        }
    }
}

fn conflict(key: Key<Duration>, value: Duration, why: String) -> ConfigError {
    ConfigError::Conflict { name: key.name(), value: value.as_millis().to_string(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_groups_are_checked_together() {
        let cases: [(&[(&str, &str)], bool); 9] = [
            (&[], true),
            (&[("group.consumer.session.timeout.ms", "60000")], true),
            (&[("group.consumer.session.timeout.ms", "44999")], false),
            (&[("group.consumer.max.heartbeat.interval.ms", "4000")], false),
            (&[("group.min.session.timeout.ms", "10000"), ("group.max.session.timeout.ms", "9000")], false),
            (&[("group.consumer.assignors", "range")], true),
            (&[("group.consumer.assignors", "org.example.Mine")], false),
            (&[("group.coordinator.rebalance.protocols", "consumer")], false),
            (&[("offsets.topic.compression.codec", "5")], false),
        ];
        for (pairs, fine) in cases {
            assert_eq!(BrokerSettings::from_pairs(pairs.iter().copied()).is_ok(), fine, "{pairs:?}");
        }
    }

    #[test]
    fn a_group_stays_within_what_the_broker_allows() {
        let own = |pairs: &[(&str, &str)]| -> ConfigMap {
            pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
        };
        let cases: [(&[(&str, &str)], bool); 5] = [
            (&[("consumer.session.timeout.ms", "50000")], true),
            (&[("consumer.session.timeout.ms", "60001")], false),
            (&[("consumer.heartbeat.interval.ms", "4999")], false),
            (&[("consumer.assignment.interval.ms", "15000")], true),
            (&[("consumer.assignment.interval.ms", "15001")], false),
        ];
        for (pairs, fine) in cases {
            assert_eq!(validate_group(&own(pairs), &BrokerSettings::default()).is_ok(), fine, "{pairs:?}");
        }
    }
}
