//! ApiVersions (key 18): what is served, in which versions, and the features of the cluster. KIP-35. Nobody
//! needs a permission for it.
//!
//! - 1: the time of throttling.
//! - 3: flexible; the client's software (KIP-511), and features (KIP-584).
//! - 4: features whose lowest level is 0 (KIP-1022).

use ottla_controller::image::Feature;
use ottla_net::{CloseReason, Response};
use ottla_wire::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use ottla_wire::messages::{ApiVersionsRequest, ApiVersionsResponse};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::{ApiKey, ErrorCode};

use super::call::Call;
use super::frame::encode;
use crate::context::Context;

pub async fn handle(call: &mut Call<'_>, request: ApiVersionsRequest) -> ApiVersionsResponse {
    if call.version >= 3
        && !(is_software(&request.client_software_name) && is_software(&request.client_software_version))
    {
        return ApiVersionsResponse { error_code: ErrorCode::InvalidRequest.code(), ..Default::default() };
    }
    everything(call.ctx, call.version)
}

/// The answer to an unknown version: version 0, with error 35 and the whole list, so that the client can
/// choose a known one (KIP-511).
pub fn unsupported(ctx: &Context, correlation_id: i32) -> Result<Response, CloseReason> {
    let response =
        ApiVersionsResponse { error_code: ErrorCode::UnsupportedVersion.code(), ..everything(ctx, 0) };
    encode(ApiKey::ApiVersions, 0, correlation_id, &response)
}

fn everything(ctx: &Context, version: i16) -> ApiVersionsResponse {
    let mut api_keys: Vec<ApiVersion> = ctx.served.iter().map(|key| api_version(*key)).collect();
    api_keys.sort_by_key(|api| api.api_key);
    let mut response = ApiVersionsResponse { api_keys, ..Default::default() };
    if version >= 3 {
        add_features(ctx, version, &mut response);
    }
    response
}

fn api_version(key: ApiKey) -> ApiVersion {
    let versions = key.advertised_versions();
    ApiVersion { api_key: key.code(), min_version: *versions.start(), max_version: *versions.end() }
}

fn add_features(ctx: &Context, version: i16, response: &mut ApiVersionsResponse) {
    let published = ctx.published.load();
    for (name, level) in &published.image.features.levels {
        response.finalized_features.push(FinalizedFeatureKey {
            name: name.clone(),
            max_version_level: *level,
            min_version_level: *level,
        });
    }
    response.finalized_features_epoch = i64::try_from(published.index).unwrap_or(i64::MAX);
    for feature in Feature::ALL.iter().filter(|feature| feature.max > 0) {
        // Before version 4 a feature whose lowest level is 0 cannot be named (KIP-1022).
        if feature.min > 0 || version >= 4 {
            response.supported_features.push(SupportedFeatureKey {
                name: Str::from_static(feature.name),
                min_version: feature.min,
                max_version: feature.max,
            });
        }
    }
}

/// `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?` (KIP-511).
fn is_software(text: &str) -> bool {
    let alphanumeric = |b: &u8| b.is_ascii_alphanumeric();
    let inner = |b: &u8| b.is_ascii_alphanumeric() || *b == b'-' || *b == b'.';
    let bytes = text.as_bytes();
    bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(inner)
}

#[cfg(test)]
mod tests {
    use super::is_software;

    #[test]
    fn names_of_client_software() {
        for good in ["a", "apache-kafka-java", "4.3.1", "librdkafka", "x-1"] {
            assert!(is_software(good), "{good}");
        }
        for bad in ["", "-a", "a-", "a b", ".", "ä", "a\n"] {
            assert!(!is_software(bad), "{bad}");
        }
    }
}
