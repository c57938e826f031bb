//! ListConfigResources (key 74): what can have settings (KIP-1142).

use ottla_wire::messages::list_config_resources_response::ConfigResource as Listed;
use ottla_wire::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use crate::image::{Image, ResourceKind};

/// Resources of the types asked for, all types if none is named. Version 0 knows client metrics only.
///
/// Groups are those that have settings of their own; ListGroups tells which groups there are.
pub fn list_config_resources(
    image: &Image,
    request: &ListConfigResourcesRequest,
    version: i16,
) -> ListConfigResourcesResponse {
    let kinds: Option<Vec<ResourceKind>> = match (version, &request.resource_types[..]) {
        (0, _) => Some(vec![ResourceKind::ClientMetrics]),
        (_, []) => Some(ResourceKind::ALL.to_vec()),
        (_, codes) => codes.iter().map(|code| ResourceKind::from_code(*code)).collect(),
    };
    let Some(mut kinds) = kinds else {
        let error_code = ErrorCode::UnsupportedVersion.code();
        return ListConfigResourcesResponse { error_code, ..ListConfigResourcesResponse::default() };
    };
    // A type that is asked for twice is listed once.
    let mut seen = Vec::new();
    kinds.retain(|kind| {
        !seen.contains(kind) && {
            seen.push(*kind);
            true
        }
    });
    let listed = |kind: ResourceKind| {
        let listed = move |resource_name: Str| Listed { resource_name, resource_type: kind.code() };
        names(image, kind).into_iter().map(listed)
    };
    let config_resources = kinds.into_iter().flat_map(listed).collect();
    ListConfigResourcesResponse { config_resources, ..ListConfigResourcesResponse::default() }
}

fn names(image: &Image, kind: ResourceKind) -> Vec<Str> {
    match kind {
        ResourceKind::Topic => image.topics().map(|topic| topic.name.clone()).collect(),
        ResourceKind::Broker | ResourceKind::BrokerLogger => {
            image.brokers.keys().map(|id| Str::from(id.to_string())).collect()
        }
        ResourceKind::ClientMetrics | ResourceKind::Group => image
            .configs
            .keys()
            .filter(|resource| resource.kind == kind)
            .map(|resource| resource.name.clone())
            .collect(),
    }
}
