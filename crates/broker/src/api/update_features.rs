//! UpdateFeatures (key 57): raises or lowers the finalized level of features. KIP-584.
//!
//! - 1: kinds of upgrades in place of a flag, and a dry run.
//! - 2: one failure fails the whole request (KIP-1022).

use ottla_wire::messages::update_features_response::UpdatableFeatureResult;
use ottla_wire::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::call::Call;
use crate::controllers::AskError;
use crate::door::{Operation, Resource};

pub async fn handle(call: &mut Call<'_>, mut request: UpdateFeaturesRequest) -> UpdateFeaturesResponse {
    if let Err(code) = call.authorize(Operation::Alter, Resource::Cluster) {
        return UpdateFeaturesResponse { error_code: code.code(), ..Default::default() };
    }
    let features: Vec<Str> = request.feature_updates.iter().map(|update| update.feature.clone()).collect();
    // Version 0 has a flag instead of the enumeration. A downgrade that it allows is the safe kind.
    if call.version == 0 {
        for update in &mut request.feature_updates {
            update.upgrade_type = if update.allow_downgrade { SAFE_DOWNGRADE } else { UPGRADE };
            update.allow_downgrade = false;
        }
    }
    let answer = call.ctx.controller.ask_within(request.timeout_ms, request).await;
    let mut response = answer.unwrap_or_else(|error| refuse(features, error));
    // From version 2 on, one failure fails the whole request, and the results are left out.
    if call.version >= 2 {
        response.results.clear();
    }
    response
}

const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;

fn refuse(features: Vec<Str>, error: AskError) -> UpdateFeaturesResponse {
    let message: Str = error.to_string().into();
    let code = ErrorCode::from(error).code();
    let results = features.into_iter().map(|feature| UpdatableFeatureResult {
        feature,
        error_code: code,
        error_message: Some(message.clone()),
    });
    UpdateFeaturesResponse {
        error_code: code,
        error_message: Some(message.clone()),
        results: results.collect(),
        ..Default::default()
    }
}
