//! Settings of groups, as the core wants them.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_controller::Image;
use ottla_controller::image::ResourceKind;
use ottla_group::config::{Limits, Migration};
use ottla_group::{GroupConfig, GroupOverrides};
use ottla_settings::{BrokerSettings, ConfigMap};
use ottla_wire::primitives::Str;

/// What holds for groups: the broker's settings (dynamic ones included), the level of `group.version`, and what single
/// groups have set.
pub fn group_config(settings: &BrokerSettings, image: &Image) -> GroupConfig {
    let millis = |name| Duration::from_millis(u64::try_from(settings.integer(name)).unwrap_or(0));
    let size = |name| usize::try_from(settings.integer(name)).unwrap_or(0);
    GroupConfig {
        initial_rebalance_delay: millis("group.initial.rebalance.delay.ms"),
        session_timeout_min: millis("group.min.session.timeout.ms"),
        session_timeout_max: millis("group.max.session.timeout.ms"),
        classic_size_max: size("group.max.size"),
        consumer_size_max: size("group.consumer.max.size"),
        consumer_protocol: settings.consumer_protocol() && image.features.consumer_groups(),
        assignors: settings.list("group.consumer.assignors").into_iter().map(Str::from).collect(),
        migration: migration(settings),
        consumer_session_timeout: millis("group.consumer.session.timeout.ms"),
        consumer_heartbeat_interval: millis("group.consumer.heartbeat.interval.ms"),
        assignment_interval: millis("group.consumer.assignment.interval.ms"),
        regex_refresh_interval: millis("group.consumer.regex.refresh.interval.ms"),
        offset_metadata_bytes_max: size("offset.metadata.max.bytes"),
        offsets_retention: millis("offsets.retention.minutes") * 60_000,
        offsets_check_interval: millis("offsets.retention.check.interval.ms"),
        state_bytes_max: size("group.coordinator.state.max.bytes"),
        overrides: overrides(image),
        limits: Limits::default(),
    }
}

fn migration(settings: &BrokerSettings) -> Migration {
    let policy = settings.get("group.consumer.migration.policy").unwrap_or_default();
    match &*policy.to_ascii_lowercase() {
        "disabled" => Migration::Disabled,
        "upgrade" => Migration::Upgrade,
        "downgrade" => Migration::Downgrade,
        // The setting admits nothing else but this.
        _ => Migration::Bidirectional,
    }
}

fn overrides(image: &Image) -> BTreeMap<Str, GroupOverrides> {
    let groups = image.configs.iter().filter(|(resource, _)| resource.kind == ResourceKind::Group);
    groups.map(|(resource, own)| (resource.name.clone(), of_group(own))).collect()
}

fn of_group(own: &ConfigMap) -> GroupOverrides {
    let millis = |name: &str| own.get(name)?.trim().parse().ok().map(Duration::from_millis);
    GroupOverrides {
        session_timeout: millis("consumer.session.timeout.ms"),
        heartbeat_interval: millis("consumer.heartbeat.interval.ms"),
        assignment_interval: millis("consumer.assignment.interval.ms"),
    }
}

#[cfg(test)]
mod tests {
    use ottla_wire::messages::{ConfigRecord, FeatureLevelRecord, MetadataRecord};

    use super::*;

    fn image(records: Vec<MetadataRecord>) -> Image {
        Image::default().apply_all(&records).unwrap().0
    }

    fn feature(level: i16) -> MetadataRecord {
        MetadataRecord::FeatureLevel(FeatureLevelRecord {
            name: "group.version".into(),
            feature_level: level,
        })
    }

    /// Both tables say what Kafka's do.
    #[test]
    fn the_defaults_of_the_settings_are_those_of_the_core() {
        let config = group_config(&BrokerSettings::default(), &image(vec![feature(1)]));
        assert_eq!(config, GroupConfig::default());
    }

    #[test]
    fn the_protocol_of_kip_848_needs_the_setting_and_the_feature() {
        let classic =
            BrokerSettings::from_pairs([("group.coordinator.rebalance.protocols", "classic")]).unwrap();
        for (settings, level, on) in
            [(BrokerSettings::default(), 1, true), (BrokerSettings::default(), 0, false), (classic, 1, false)]
        {
            assert_eq!(group_config(&settings, &image(vec![feature(level)])).consumer_protocol, on);
        }
    }

    #[test]
    fn a_group_has_what_it_has_set() {
        let record = MetadataRecord::Config(ConfigRecord {
            resource_type: ResourceKind::Group.code(),
            resource_name: "g".into(),
            name: "consumer.session.timeout.ms".into(),
            value: Some("50000".into()),
        });
        let config = group_config(&BrokerSettings::default(), &image(vec![record]));
        assert_eq!(config.session_timeout("g"), Duration::from_secs(50));
        assert_eq!(config.session_timeout("h"), Duration::from_secs(45));
        assert_eq!(config.heartbeat_interval("g"), Duration::from_secs(5));
    }
}
