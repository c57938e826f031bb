//! ListConfigResources (key 74): what has dynamic settings. KIP-714, KIP-1142.

use ottla_controller::controller::list_config_resources;
use ottla_wire::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};

use super::call::Call;

pub async fn handle(call: &mut Call<'_>, request: ListConfigResourcesRequest) -> ListConfigResourcesResponse {
    list_config_resources(&call.ctx.published.load().image, &request, call.version)
}
