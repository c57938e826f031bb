//! Settings of groups, as the core wants them.

use std::collections::BTreeMap;

use ottla_controller::Image;
use ottla_controller::image::ResourceKind;
use ottla_group::config::{Limits, Migration};
use ottla_group::{GroupConfig, GroupOverrides};
use ottla_settings::{BrokerSettings, ConfigMap, key};
use ottla_wire::primitives::Str;

/// What holds for groups: the broker's settings (dynamic ones included), the level of `group.version`, and what single
/// groups have set.
pub fn group_config(settings: &BrokerSettings, image: &Image) -> GroupConfig {
    GroupConfig {
        initial_rebalance_delay: settings.read(key::GROUP_INITIAL_REBALANCE_DELAY_MS),
        session_timeout_min: settings.read(key::GROUP_MIN_SESSION_TIMEOUT_MS),
        session_timeout_max: settings.read(key::GROUP_MAX_SESSION_TIMEOUT_MS),
        classic_size_max: settings.read(key::GROUP_MAX_SIZE),
        consumer_size_max: settings.read(key::GROUP_CONSUMER_MAX_SIZE),
        consumer_protocol: settings.consumer_protocol() && image.features.consumer_groups(),
        assignors: settings.read(key::GROUP_CONSUMER_ASSIGNORS).into_iter().map(Str::from).collect(),
        migration: migration(settings),
        consumer_session_timeout: settings.read(key::GROUP_CONSUMER_SESSION_TIMEOUT_MS),
        consumer_heartbeat_interval: settings.read(key::GROUP_CONSUMER_HEARTBEAT_INTERVAL_MS),
        assignment_interval: settings.read(key::GROUP_CONSUMER_ASSIGNMENT_INTERVAL_MS),
        regex_refresh_interval: settings.read(key::GROUP_CONSUMER_REGEX_REFRESH_INTERVAL_MS),
        offset_metadata_bytes_max: settings.read(key::OFFSET_METADATA_MAX_BYTES),
        offsets_retention: settings.read(key::OFFSETS_RETENTION_MINUTES),
        offsets_check_interval: settings.read(key::OFFSETS_RETENTION_CHECK_INTERVAL_MS),
        state_bytes_max: settings.read(key::GROUP_COORDINATOR_STATE_MAX_BYTES),
        overrides: overrides(image),
        limits: Limits::default(),
    }
}

fn migration(settings: &BrokerSettings) -> Migration {
    let policy = settings.read(key::GROUP_CONSUMER_MIGRATION_POLICY);
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
    GroupOverrides {
        session_timeout: key::group::CONSUMER_SESSION_TIMEOUT_MS.own(own),
        heartbeat_interval: key::group::CONSUMER_HEARTBEAT_INTERVAL_MS.own(own),
        assignment_interval: key::group::CONSUMER_ASSIGNMENT_INTERVAL_MS.own(own),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
