//! What the settings of groups must be together: the broker's own, and those of single groups.

use crate::dynamic::ConfigMap;
use crate::error::ConfigError;
use crate::settings::BrokerSettings;

/// Times of which each has a least, a value and a most among the broker's settings.
const BOUNDED: [(&str, [&str; 3]); 3] = [
    (
        "consumer.heartbeat.interval.ms",
        [
            "group.consumer.min.heartbeat.interval.ms",
            "group.consumer.heartbeat.interval.ms",
            "group.consumer.max.heartbeat.interval.ms",
        ],
    ),
    (
        "consumer.session.timeout.ms",
        [
            "group.consumer.min.session.timeout.ms",
            "group.consumer.session.timeout.ms",
            "group.consumer.max.session.timeout.ms",
        ],
    ),
    (
        "consumer.assignment.interval.ms",
        [
            "group.consumer.min.assignment.interval.ms",
            "group.consumer.assignment.interval.ms",
            "group.consumer.max.assignment.interval.ms",
        ],
    ),
];

/// The assignors that there are.
const ASSIGNORS: [&str; 2] = ["uniform", "range"];

/// What is wrong with the settings that hold for all groups.
pub(crate) fn together(settings: &BrokerSettings) -> Result<(), ConfigError> {
    protocols(settings)?;
    assignors(settings)?;
    codec(settings)?;
    for (_, [min, value, max]) in BOUNDED {
        let (least, given, most) = (settings.integer(min), settings.integer(value), settings.integer(max));
        if least > most {
            return conflict(max, most, format!("it is less than {min}, which is {least}"));
        }
        if given < least || given > most {
            return conflict(value, given, format!("it is not between {min} ({least}) and {max} ({most})"));
        }
    }
    let (interval, timeout) = ("group.consumer.heartbeat.interval.ms", "group.consumer.session.timeout.ms");
    if settings.integer(interval) >= settings.integer(timeout) {
        let why = format!("it must be less than {timeout}, which is {}", settings.integer(timeout));
        return conflict(interval, settings.integer(interval), why);
    }
    let (min, max) = ("group.min.session.timeout.ms", "group.max.session.timeout.ms");
    if settings.integer(min) > settings.integer(max) {
        let why = format!("it is more than {max}, which is {}", settings.integer(max));
        return conflict(min, settings.integer(min), why);
    }
    Ok(())
}

/// What is wrong with the settings that a group would have of its own. They stay within what the broker allows (KIP-1018).
pub fn validate_group(own: &ConfigMap, settings: &BrokerSettings) -> Result<(), ConfigError> {
    for (name, [min, _, max]) in BOUNDED {
        let Some(given) = number(own, name) else { continue };
        let (least, most) = (settings.integer(min), settings.integer(max));
        if given < least || given > most {
            return conflict(name, given, format!("it is not between {min} ({least}) and {max} ({most})"));
        }
    }
    let held = |name: &str, of_broker: &'static str| {
        number(own, name).unwrap_or_else(|| settings.integer(of_broker))
    };
    let interval = held("consumer.heartbeat.interval.ms", "group.consumer.heartbeat.interval.ms");
    let timeout = held("consumer.session.timeout.ms", "group.consumer.session.timeout.ms");
    if interval >= timeout {
        let why = format!("it must be less than consumer.session.timeout.ms, which is {timeout}");
        return conflict("consumer.heartbeat.interval.ms", interval, why);
    }
    Ok(())
}

/// The broker setting that holds for groups which have not set `name`.
pub fn broker_default(name: &str) -> Option<&'static str> {
    BOUNDED.iter().find(|(own, _)| *own == name).map(|(_, [_, value, _])| *value)
}

fn protocols(settings: &BrokerSettings) -> Result<(), ConfigError> {
    const NAME: &str = "group.coordinator.rebalance.protocols";
    let protocols = settings.list(NAME);
    let has = |protocol: &str| protocols.iter().any(|one| one.eq_ignore_ascii_case(protocol));
    if !has("classic") {
        return conflict(NAME, protocols.join(","), "classic cannot be left out".to_owned());
    }
    if has("share") {
        let reason = "share groups are not served yet";
        return Err(ConfigError::NotServed { name: NAME, value: protocols.join(","), reason });
    }
    Ok(())
}

fn assignors(settings: &BrokerSettings) -> Result<(), ConfigError> {
    const NAME: &str = "group.consumer.assignors";
    let assignors = settings.list(NAME);
    if assignors.is_empty() {
        return conflict(NAME, String::new(), "name at least one".to_owned());
    }
    match assignors.iter().find(|one| !ASSIGNORS.contains(&one.as_str())) {
        None => Ok(()),
        Some(_) => {
            let reason = "there are uniform and range; Java classes cannot be loaded";
            Err(ConfigError::NotServed { name: NAME, value: assignors.join(","), reason })
        }
    }
}

fn codec(settings: &BrokerSettings) -> Result<(), ConfigError> {
    const NAME: &str = "offsets.topic.compression.codec";
    match settings.integer(NAME) {
        0..=4 => Ok(()),
        id => {
            let why = "codecs are 0 (none), 1 (gzip), 2 (snappy), 3 (lz4) and 4 (zstd)".to_owned();
            conflict(NAME, id, why)
        }
    }
}

fn number(own: &ConfigMap, name: &str) -> Option<i64> {
    own.get(name)?.trim().parse().ok()
}

fn conflict(name: &'static str, value: impl ToString, why: String) -> Result<(), ConfigError> {
    Err(ConfigError::Conflict { name, value: value.to_string(), why })
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
