//! CreatePartitions (key 37): more partitions for topics; the count is the new total. KIP-195.
//!
//! - 2: flexible.
//! - 3: THROTTLING_QUOTA_EXCEEDED (KIP-599).

use ottla_wire::messages::create_partitions_response::CreatePartitionsTopicResult;
use ottla_wire::messages::{CreatePartitionsRequest, CreatePartitionsResponse};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::call::Call;
use crate::controllers::AskError;
use crate::door::{Operation, Resource};

pub async fn handle(call: &mut Call<'_>, mut request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let mut refused = Vec::new();
    request.topics.retain(|topic| match call.authorize(Operation::Alter, Resource::Topic(&topic.name)) {
        Ok(()) => true,
        Err(code) => {
            refused.push(CreatePartitionsTopicResult {
                name: topic.name.clone(),
                error_code: code.code(),
                error_message: None,
            });
            false
        }
    });
    let names: Vec<Str> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let answer = call.ctx.controller.ask_within(request.timeout_ms, request).await;
    let mut response: CreatePartitionsResponse = answer.unwrap_or_else(|error| refuse(names, error));
    response.results.extend(refused);
    response
}

fn refuse(names: Vec<Str>, error: AskError) -> CreatePartitionsResponse {
    let message: Str = error.to_string().into();
    let code = ErrorCode::from(error).code();
    let results = names.into_iter().map(|name| CreatePartitionsTopicResult {
        name,
        error_code: code,
        error_message: Some(message.clone()),
    });
    CreatePartitionsResponse { results: results.collect(), ..Default::default() }
}
