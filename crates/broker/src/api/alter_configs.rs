//! AlterConfigs (key 33): replaces all dynamic settings of a resource. Superseded by IncrementalAlterConfigs.
//! KIP-133.
//!
//! - 2: flexible.

use ottla_wire::messages::alter_configs_response::AlterConfigsResourceResponse;
use ottla_wire::messages::{AlterConfigsRequest, AlterConfigsResponse};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::call::Call;
use super::shared::config_resources::governed_by;
use crate::controllers::AskError;
use crate::door::Operation;

pub async fn handle(call: &mut Call<'_>, mut request: AlterConfigsRequest) -> AlterConfigsResponse {
    let mut refused = Vec::new();
    request.resources.retain(|resource| {
        let named = (resource.resource_type, resource.resource_name.clone());
        let governed = governed_by(resource.resource_type, &resource.resource_name);
        let Err(code) = call.authorize(Operation::AlterConfigs, governed) else { return true };
        refused.push(result(named, code, Str::from_static("the client may not change its settings")));
        false
    });
    let resources: Vec<(i8, Str)> =
        request.resources.iter().map(|r| (r.resource_type, r.resource_name.clone())).collect();
    let mut response: AlterConfigsResponse =
        call.ctx.controller.ask(request).await.unwrap_or_else(|error| refuse(resources, error));
    response.responses.extend(refused);
    response
}

fn refuse(resources: Vec<(i8, Str)>, error: AskError) -> AlterConfigsResponse {
    let message: Str = error.to_string().into();
    let code = ErrorCode::from(error);
    let responses = resources.into_iter().map(|named| result(named, code, message.clone()));
    AlterConfigsResponse { responses: responses.collect(), ..Default::default() }
}

fn result(
    (resource_type, resource_name): (i8, Str),
    code: ErrorCode,
    message: Str,
) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse {
        error_code: code.code(),
        error_message: Some(message),
        resource_type,
        resource_name,
    }
}
