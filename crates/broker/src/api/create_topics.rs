//! CreateTopics (key 19).
//!
//! - 2: the time of throttling.
//! - 4: the broker's defaults for partitions and replicas (KIP-464).
//! - 5: flexible; what was created (KIP-525).
//! - 6: THROTTLING_QUOTA_EXCEEDED (KIP-599).
//! - 7: topic ids (KIP-516).

use ottla_wire::messages::create_topics_response::CreatableTopicResult;
use ottla_wire::messages::{CreateTopicsRequest, CreateTopicsResponse};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::call::Call;
use crate::controllers::AskError;
use crate::door::{Operation, Resource};

pub async fn handle(call: &mut Call<'_>, mut request: CreateTopicsRequest) -> CreateTopicsResponse {
    let mut refused = Vec::new();
    if !call.may(Operation::Create, Resource::Cluster) {
        request.topics.retain(|topic| {
            match call.authorize(Operation::Create, Resource::Topic(&topic.name)) {
                Ok(()) => true,
                Err(code) => {
                    refused.push(result(
                        topic.name.clone(),
                        code,
                        Str::from_static("the client may not create it"),
                    ));
                    false
                }
            }
        });
    }
    let names: Vec<Str> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let answer = call.ctx.controller.ask_within(request.timeout_ms, request).await;
    let mut response: CreateTopicsResponse = answer.unwrap_or_else(|error| refuse(names, error));
    response.topics.iter_mut().for_each(|topic| hide_configs(call, topic));
    response.topics.extend(refused);
    response
}

/// A client that may not see the settings of a topic does not get those of a new one (KIP-525).
fn hide_configs(call: &Call<'_>, topic: &mut CreatableTopicResult) {
    let Err(code) = call.authorize(Operation::DescribeConfigs, Resource::Topic(&topic.name)) else { return };
    if topic.error_code == ErrorCode::None.code() {
        topic.topic_config_error_code = code.code();
        (topic.num_partitions, topic.replication_factor, topic.configs) = (-1, -1, Some(Vec::new()));
    }
}

fn result(name: Str, code: ErrorCode, message: Str) -> CreatableTopicResult {
    CreatableTopicResult {
        name,
        error_code: code.code(),
        error_message: Some(message),
        ..CreatableTopicResult::default()
    }
}

fn refuse(names: Vec<Str>, error: AskError) -> CreateTopicsResponse {
    let message: Str = error.to_string().into();
    let code = ErrorCode::from(error);
    let topics = names.into_iter().map(|name| result(name, code, message.clone()));
    CreateTopicsResponse { topics: topics.collect(), ..Default::default() }
}
