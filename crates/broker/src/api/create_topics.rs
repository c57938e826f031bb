//! CreateTopics (key 19). KIP-525 (what was created), KIP-464 (defaults), KIP-516 (topic ids).

use ottla_wire::messages::create_topics_response::CreatableTopicResult;
use ottla_wire::messages::{CreateTopicsRequest, CreateTopicsResponse};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::call::Call;
use crate::controllers::AskError;

pub async fn handle(call: &mut Call<'_>, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let names: Vec<Str> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let answer = call.ctx.controller.ask_within(request.timeout_ms, request).await;
    answer.unwrap_or_else(|error| refuse(names, error))
}

fn refuse(names: Vec<Str>, error: AskError) -> CreateTopicsResponse {
    let message: Str = error.to_string().into();
    let code = ErrorCode::from(error).code();
    let topics = names.into_iter().map(|name| CreatableTopicResult {
        name,
        error_code: code,
        error_message: Some(message.clone()),
        ..Default::default()
    });
    CreateTopicsResponse { topics: topics.collect(), ..Default::default() }
}
