//! The broker's settings and the metadata image as the cores of coordinators see them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_controller::Image;
use ottla_controller::image::{ResourceKind, Topic};
use ottla_group::config::Migration;
use ottla_group::{GroupConfig, GroupOverrides, TopicFacts, Topics};
use ottla_settings::{BrokerSettings, ConfigMap, key};
use ottla_txn::{TransactionVersion, TxnConfig};
use ottla_wire::compress::Codec;
use ottla_wire::primitives::Str;
use ottla_wire::{PartitionIndex, TopicId};

/// A view of the broker and its cluster for coordinators. Immutable: every change makes a new one.
pub struct World {
    pub groups: Arc<GroupConfig>,
    pub transactions: Arc<TxnConfig>,
    pub verification: Verification,
    pub topics: Arc<dyn Topics>,
    /// `offsets.topic.compression.codec`
    pub codec: Codec,
    /// `offsets.commit.timeout.ms`: how long a request waits for the commit of its records.
    pub commit_timeout: Duration,
}

impl World {
    /// The world according to the settings (with the dynamic ones) and the image.
    pub fn new(settings: &BrokerSettings, image: &Image) -> World {
        World {
            groups: Arc::new(group_config(settings, image)),
            transactions: Arc::new(txn_config(settings, image)),
            verification: Verification::new(settings),
            topics: Arc::new(ImageTopics::new(image.clone())),
            codec: settings.offsets_topic_codec(),
            commit_timeout: settings.read(key::OFFSETS_COMMIT_TIMEOUT_MS),
        }
    }

    /// The same settings with other topics.
    pub fn with_topics(&self, image: &Image) -> World {
        World {
            groups: self.groups.clone(),
            transactions: self.transactions.clone(),
            verification: self.verification,
            topics: Arc::new(ImageTopics::new(image.clone())),
            codec: self.codec,
            commit_timeout: self.commit_timeout,
        }
    }
}

/// How transactional writes are verified (KIP-890).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verification {
    /// `transaction.partition.verification.enable`
    pub enabled: bool,
    /// `add.partitions.to.txn.retry.backoff.ms`
    pub retry_backoff: Duration,
    /// `add.partitions.to.txn.retry.backoff.max.ms`: how long to retry while the previous transaction is
    /// ending.
    pub retry_max: Duration,
}

impl Verification {
    fn new(settings: &BrokerSettings) -> Verification {
        Verification {
            enabled: settings.read(key::TRANSACTION_PARTITION_VERIFICATION_ENABLE),
            retry_backoff: settings.read(key::ADD_PARTITIONS_TO_TXN_RETRY_BACKOFF_MS),
            retry_max: settings.read(key::ADD_PARTITIONS_TO_TXN_RETRY_BACKOFF_MAX_MS),
        }
    }
}

/// The configuration of groups: the broker's settings (with the dynamic ones), the level of `group.version`,
/// and the settings of single groups.
fn group_config(settings: &BrokerSettings, image: &Image) -> GroupConfig {
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
        limits: ottla_group::config::Limits::default(),
    }
}

fn migration(settings: &BrokerSettings) -> Migration {
    let policy = settings.read(key::GROUP_CONSUMER_MIGRATION_POLICY);
    match &*policy.to_ascii_lowercase() {
        "disabled" => Migration::Disabled,
        "upgrade" => Migration::Upgrade,
        "downgrade" => Migration::Downgrade,
        // The setting admits nothing else.
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

/// The configuration of transactional ids: the broker's settings (with the dynamic ones) and the level of
/// `transaction.version`.
fn txn_config(settings: &BrokerSettings, image: &Image) -> TxnConfig {
    TxnConfig {
        // Updates of the feature to a higher level are refused.
        transaction_version: TransactionVersion::from_level(image.features.transaction_version())
            .unwrap_or_default(),
        timeout_max: settings.read(key::TRANSACTION_MAX_TIMEOUT_MS),
        id_expiration: settings.read(key::TRANSACTIONAL_ID_EXPIRATION_MS),
        expiry_interval: settings.read(key::TRANSACTION_REMOVE_EXPIRED_TRANSACTION_CLEANUP_INTERVAL_MS),
        // Its setting is refused, because no served version of InitProducerId can ask for it.
        two_phase_commit: false,
        limits: ottla_txn::Limits::default(),
    }
}

/// One state of the cluster's topics.
struct ImageTopics {
    image: Image,
}

impl ImageTopics {
    fn new(image: Image) -> ImageTopics {
        ImageTopics { image }
    }
}

impl Topics for ImageTopics {
    fn by_name(&self, name: &str) -> Option<TopicFacts> {
        self.image.topic(name).map(|topic| facts(topic))
    }

    fn by_id(&self, id: TopicId) -> Option<TopicFacts> {
        self.image.topic_by_id(id).map(|topic| facts(topic))
    }

    fn each_name(&self, visit: &mut dyn FnMut(&Str)) {
        self.image.topic_names_from("").for_each(visit);
    }

    fn racks(&self, id: TopicId, partition: i32) -> Vec<Str> {
        let partition = self.image.partition(id, PartitionIndex(partition));
        let replicas = partition.into_iter().flat_map(|partition| &partition.replicas);
        let mut racks: Vec<Str> = replicas.filter_map(|id| self.image.broker(*id)?.rack.clone()).collect();
        racks.sort();
        racks.dedup();
        racks
    }
}

fn facts(topic: &Topic) -> TopicFacts {
    TopicFacts { id: topic.id, name: topic.name.clone(), partitions: topic.partition_count() }
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

    /// The settings and the cores have Kafka's defaults.
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
