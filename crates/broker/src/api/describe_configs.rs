//! DescribeConfigs (key 32): settings with their sources, synonyms, types and documentation. KIP-133.
//!
//! - 1: sources and synonyms (KIP-226).
//! - 3: types and documentation (KIP-569).
//! - 4: flexible.

use ottla_controller::controller::describe_configs;
use ottla_wire::messages::describe_configs_response::DescribeConfigsResult;
use ottla_wire::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use super::call::Call;
use super::shared::config_resources::governed_by;
use crate::door::Operation;

pub async fn handle(call: &mut Call<'_>, mut request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let mut refused = Vec::new();
    request.resources.retain(|resource| {
        let governed = governed_by(resource.resource_type, &resource.resource_name);
        let Err(code) = call.authorize(Operation::DescribeConfigs, governed) else { return true };
        refused.push(DescribeConfigsResult {
            error_code: code.code(),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..Default::default()
        });
        false
    });
    let mut response = describe_configs(&call.ctx.published.load().image, &call.ctx.started_with, &request);
    response.results.extend(refused);
    response
}
