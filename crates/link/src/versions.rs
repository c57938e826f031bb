//! What versions a broker serves.

use std::collections::BTreeMap;

use ottla_wire::messages::ApiVersionsResponse;
use ottla_wire::protocol::ApiKey;

/// The versions of each API that a broker serves, and the features that its cluster has finalized.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    apis: BTreeMap<i16, (i16, i16)>,
    features: BTreeMap<String, i16>,
}

impl Versions {
    pub(crate) fn of(response: &ApiVersionsResponse) -> Versions {
        let apis = response.api_keys.iter();
        let features = response.finalized_features.iter();
        Versions {
            apis: apis.map(|api| (api.api_key, (api.min_version, api.max_version))).collect(),
            features: features.map(|of| (of.name.to_string(), of.max_version_level)).collect(),
        }
    }

    /// What the broker serves of `key`: lowest and highest version.
    pub fn of_broker(&self, key: ApiKey) -> Option<(i16, i16)> {
        self.apis.get(&key.code()).copied()
    }

    /// Every API that the broker named, also those this client does not know: key, lowest and highest
    /// version.
    pub fn iter(&self) -> impl Iterator<Item = (i16, i16, i16)> {
        self.apis.iter().map(|(&key, &(min, max))| (key, min, max))
    }

    /// The level of a feature that the cluster has finalized; 0 if it has not.
    pub fn feature(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }

    /// The newest version up to `version_max` that both sides speak.
    pub fn best(&self, key: ApiKey, version_max: i16) -> Option<i16> {
        let (min, max) = self.of_broker(key)?;
        let ours = key.versions();
        let best = max.min(*ours.end()).min(version_max);
        (best >= min.max(*ours.start())).then_some(best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_common_version() {
        let versions = Versions {
            apis: BTreeMap::from([(0, (0, 9)), (1, (90, 99)), (3, (0, 99))]),
            features: BTreeMap::new(),
        };
        assert_eq!(versions.best(ApiKey::Produce, i16::MAX), Some(9));
        assert_eq!(versions.best(ApiKey::Produce, 7), Some(7));
        assert_eq!(versions.best(ApiKey::Produce, 2), None, "below what this client speaks");
        assert_eq!(versions.best(ApiKey::Fetch, i16::MAX), None, "the broker is too new");
        assert_eq!(versions.best(ApiKey::Metadata, i16::MAX), Some(*ApiKey::Metadata.versions().end()));
        assert_eq!(versions.best(ApiKey::ListOffsets, i16::MAX), None, "not served");
    }
}
