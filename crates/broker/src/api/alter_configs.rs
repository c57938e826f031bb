//! AlterConfigs (key 33): replaces all dynamic settings of a resource. Superseded by IncrementalAlterConfigs. KIP-133.

use ottla_wire::messages::alter_configs_response::AlterConfigsResourceResponse;
use ottla_wire::messages::{AlterConfigsRequest, AlterConfigsResponse};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::call::Call;
use crate::controllers::AskError;

pub async fn handle(call: &mut Call<'_>, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let resources: Vec<(i8, Str)> =
        request.resources.iter().map(|r| (r.resource_type, r.resource_name.clone())).collect();
    call.ctx.controller.ask(request).await.unwrap_or_else(|error| refuse(resources, error))
}

fn refuse(resources: Vec<(i8, Str)>, error: AskError) -> AlterConfigsResponse {
    let message: Str = error.to_string().into();
    let code = ErrorCode::from(error).code();
    let responses =
        resources.into_iter().map(|(resource_type, resource_name)| AlterConfigsResourceResponse {
            error_code: code,
            error_message: Some(message.clone()),
            resource_type,
            resource_name,
        });
    AlterConfigsResponse { responses: responses.collect(), ..Default::default() }
}
