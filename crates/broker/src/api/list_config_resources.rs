//! ListConfigResources (key 74): the resources with dynamic settings. KIP-714.
//!
//! - 0: client metrics alone.
//! - 1: resources of every kind, and the API's current name (KIP-1142).

use ottla_controller::controller::list_config_resources;
use ottla_wire::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};

use super::call::Call;
use crate::door::{Operation, Resource};

pub async fn handle(call: &mut Call<'_>, request: ListConfigResourcesRequest) -> ListConfigResourcesResponse {
    if let Err(code) = call.authorize(Operation::DescribeConfigs, Resource::Cluster) {
        return ListConfigResourcesResponse { error_code: code.code(), ..Default::default() };
    }
    list_config_resources(&call.ctx.published.load().image, &request, call.version)
}
