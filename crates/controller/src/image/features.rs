//! Finalized features: what level of each the whole cluster runs at (KIP-584, KIP-1022).

use imbl::OrdMap;
use ottla_wire::primitives::Str;

/// The feature that gates everything else.
pub const METADATA_VERSION: &str = "metadata.version";

/// The level of each feature; one that is missing is at level 0.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Features {
    pub levels: OrdMap<Str, i16>,
}

/// A feature that this release knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    pub name: &'static str,
    pub min: i16,
    /// The highest level that is served in full. A new cluster starts with it.
    pub max: i16,
    /// One sentence for those who list features.
    pub what: &'static str,
}

/// Every feature of Kafka 4.3, with the levels that are served here. To serve more, raise `max`.
const FEATURES: &[Feature] = &[
    Feature {
        name: METADATA_VERSION,
        min: 7,
        max: 30,
        what: "format of the metadata log and of requests between brokers",
    },
    Feature { name: ELIGIBLE_LEADER_REPLICAS, min: 0, max: 1, what: "eligible leader replicas (KIP-966)" },
    Feature { name: TRANSACTION_VERSION, min: 0, max: 2, what: "how transactions are guarded (KIP-890)" },
    Feature { name: GROUP_VERSION, min: 0, max: 1, what: "the consumer group protocol of KIP-848" },
    Feature { name: "share.version", min: 0, max: 0, what: "share groups (KIP-932); not served yet" },
    Feature { name: "streams.version", min: 0, max: 0, what: "streams groups (KIP-1071); not served yet" },
];

/// KIP-966.
pub const ELIGIBLE_LEADER_REPLICAS: &str = "eligible.leader.replicas.version";

/// KIP-890.
const TRANSACTION_VERSION: &str = "transaction.version";

/// KIP-848.
const GROUP_VERSION: &str = "group.version";

impl Feature {
    pub const ALL: &'static [Feature] = FEATURES;

    pub fn of(name: &str) -> Option<&'static Feature> {
        FEATURES.iter().find(|feature| feature.name == name)
    }
}

impl Features {
    pub fn level(&self, name: &str) -> i16 {
        self.levels.get(name).copied().unwrap_or(0)
    }

    pub fn metadata_version(&self) -> MetadataVersion {
        MetadataVersion(self.level(METADATA_VERSION))
    }

    /// Level 0 takes the feature out.
    pub(super) fn set(&mut self, name: &Str, level: i16) {
        if level == 0 {
            self.levels.remove(name);
        } else {
            self.levels.insert(name.detached(), level);
        }
    }

    /// KIP-966: the ISR may become empty, and those that left it last may still lead.
    pub fn eligible_leader_replicas(&self) -> bool {
        self.level(ELIGIBLE_LEADER_REPLICAS) >= 1
    }

    /// KIP-890: at 1, coordinators write their records in the newer format; at 2, each end of a transaction
    /// bumps the producer's epoch.
    pub fn transaction_version(&self) -> i16 {
        self.level(TRANSACTION_VERSION)
    }

    /// KIP-848: groups whose assignment the broker makes.
    pub fn consumer_groups(&self) -> bool {
        self.level(GROUP_VERSION) >= 1
    }
}

/// A level of `metadata.version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetadataVersion(pub i16);

/// Release and minor level of each metadata version from level 7 on.
const RELEASES: &[&str] = &[
    "3.3-IV3", "3.4-IV0", "3.5-IV0", "3.5-IV1", "3.5-IV2", "3.6-IV0", "3.6-IV1", "3.6-IV2", "3.7-IV0",
    "3.7-IV1", "3.7-IV2", "3.7-IV3", "3.7-IV4", "3.8-IV0", "3.9-IV0", "4.0-IV0", "4.0-IV1", "4.0-IV2",
    "4.0-IV3", "4.1-IV0", "4.1-IV1", "4.2-IV0", "4.2-IV1", "4.3-IV0",
];

const FIRST_LEVEL: i16 = 7;

impl MetadataVersion {
    /// The level that new clusters start with.
    pub const LATEST: MetadataVersion = MetadataVersion(30);

    /// Kafka's name of the level, such as `4.3-IV0`.
    pub fn release(self) -> Option<&'static str> {
        let at = usize::try_from(self.0.checked_sub(FIRST_LEVEL)?).ok()?;
        RELEASES.get(at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_the_names_of_releases() {
        assert_eq!(MetadataVersion::LATEST.release(), Some("4.3-IV0"));
        assert_eq!(MetadataVersion(7).release(), Some("3.3-IV3"));
        assert_eq!(MetadataVersion(22).release(), Some("4.0-IV0"));
        assert_eq!(MetadataVersion(6).release(), None);
        assert_eq!(MetadataVersion(31).release(), None);
        assert_eq!(Feature::of(METADATA_VERSION).map(|feature| feature.max), Some(MetadataVersion::LATEST.0));
    }
}
