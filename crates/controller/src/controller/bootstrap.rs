//! The first records of a new cluster.

use ottla_wire::messages::{ConfigRecord, FeatureLevelRecord, MetadataRecord};

use crate::image::{ConfigResource, Feature};
use ottla_settings::{BrokerSettings, key};

/// What the metadata log of a new cluster begins with: every feature at the highest level that is served, and
/// the cluster's own `min.insync.replicas` (eligible leader replicas need one that all brokers share,
/// KIP-966).
pub fn bootstrap_records(settings: &BrokerSettings) -> Vec<MetadataRecord> {
    let served = Feature::ALL.iter().filter(|feature| feature.max > 0);
    let mut records: Vec<MetadataRecord> = served
        .map(|feature| {
            MetadataRecord::FeatureLevel(FeatureLevelRecord {
                name: feature.name.into(),
                feature_level: feature.max,
            })
        })
        .collect();
    let all = ConfigResource::all_brokers();
    records.push(MetadataRecord::Config(ConfigRecord {
        resource_type: all.kind.code(),
        resource_name: all.name,
        name: key::MIN_INSYNC_REPLICAS.name().into(),
        value: Some(settings.read(key::MIN_INSYNC_REPLICAS).to_string().into()),
    }));
    records
}
