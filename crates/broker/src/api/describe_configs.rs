//! DescribeConfigs (key 32): settings with their sources, synonyms, types and documentation. KIP-133, KIP-226, KIP-569.

use ottla_controller::controller::describe_configs;
use ottla_wire::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use super::call::Call;

pub async fn handle(call: &mut Call<'_>, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    describe_configs(&call.ctx.published.load().image, &call.ctx.started_with, &request)
}
