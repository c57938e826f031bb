//! UpdateFeatures (key 57): raise or lower the level of a feature for the whole cluster (KIP-584).

use std::collections::BTreeSet;

use ottla_wire::messages::update_features_request::FeatureUpdateKey;
use ottla_wire::messages::update_features_response::UpdatableFeatureResult;
use ottla_wire::messages::{
    ClearElrRecord, FeatureLevelRecord, MetadataRecord, UpdateFeaturesRequest, UpdateFeaturesResponse,
};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::{Call, Controller, Failure, Outcome, parts};
use crate::image::{ELIGIBLE_LEADER_REPLICAS, Feature, METADATA_VERSION};

/// `UpgradeType` of the request: only raise. 2 lowers where nothing is lost, 3 lowers in any case.
const UPGRADE: i8 = 1;

impl Controller {
    /// All of the updates or none.
    pub fn update_features(
        &mut self,
        call: &mut Call<'_>,
        request: &UpdateFeaturesRequest,
    ) -> Outcome<UpdateFeaturesResponse> {
        let mut seen = BTreeSet::new();
        let mut records = Vec::new();
        let mut failed = None;
        for update in &request.feature_updates {
            let result = if seen.insert(update.feature.as_str()) {
                updated(call, update)
            } else {
                Err(Failure::new(ErrorCode::InvalidRequest, "The feature is named more than once."))
            };
            match result {
                Ok(new) => records.extend(new),
                Err(failure) => {
                    failed = Some((update.feature.clone(), failure));
                    break;
                }
            }
        }
        let response = answer(request, failed.as_ref());
        if failed.is_some() || request.validate_only {
            records.clear();
        }
        Outcome::new(records, response)
    }
}

fn answer(request: &UpdateFeaturesRequest, failed: Option<&(Str, Failure)>) -> UpdateFeaturesResponse {
    let whole = match failed {
        None => Ok(()),
        Some((feature, failure)) => Err(Failure::new(
            failure.code,
            format!(
                "The update failed for all features since the following feature had an error: {feature}: {}",
                failure.message
            ),
        )),
    };
    let (error_code, error_message) = parts(whole);
    let result = |update: &FeatureUpdateKey| UpdatableFeatureResult {
        feature: update.feature.clone(),
        error_code,
        error_message: error_message.clone(),
    };
    let results = request.feature_updates.iter().map(result).collect();
    UpdateFeaturesResponse { error_code, error_message: error_message.clone(), results, ..Default::default() }
}

fn updated(call: &Call<'_>, update: &FeatureUpdateKey) -> Result<Vec<MetadataRecord>, Failure> {
    let (name, level) = (update.feature.as_str(), update.max_version_level);
    let refuse = |why: String| {
        let why = format!("Invalid update version {level} for feature {name}. {why}");
        Err(Failure::new(ErrorCode::InvalidUpdateVersion, why))
    };
    let Some(feature) = Feature::of(name) else {
        return refuse("The feature is not known here.".to_owned());
    };
    // Level 0 is always there, except of metadata.version: it means "not used".
    if (level != 0 || name == METADATA_VERSION) && !(feature.min..=feature.max).contains(&level) {
        return refuse(format!("Levels from {} to {} are supported.", feature.min, feature.max));
    }
    for broker in call.image.brokers.values() {
        let supported = broker.features.iter().find(|one| one.name.as_str() == name);
        let (min, max) = supported.map_or((0, 0), |one| (one.min, one.max));
        if level < min || level > max {
            return refuse(format!("Broker {} does not support this version.", broker.id));
        }
    }
    let now = call.image.features.level(name);
    if level == now {
        return Ok(Vec::new());
    }
    // Versions before 1 say with a flag that they mean to lower it.
    let lowers = update.upgrade_type != UPGRADE || update.allow_downgrade;
    if level > now && lowers {
        return refuse(format!("Can't downgrade to a newer version (it is {now})."));
    }
    if level < now {
        if !lowers {
            return refuse(format!(
                "Can't downgrade the version of this feature (it is {now}) without setting the upgrade type to downgrade."
            ));
        }
        if name == METADATA_VERSION {
            return refuse("Downgrading metadata.version is not supported.".to_owned());
        }
    }
    let mut records = vec![MetadataRecord::FeatureLevel(FeatureLevelRecord {
        name: update.feature.clone(),
        feature_level: level,
    })];
    if name == ELIGIBLE_LEADER_REPLICAS && level == 0 {
        records.push(MetadataRecord::ClearElr(ClearElrRecord::default()));
    }
    Ok(records)
}
