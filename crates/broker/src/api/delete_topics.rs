//! DeleteTopics (key 20).
//!
//! - 1: the time of throttling.
//! - 4: flexible.
//! - 5: a message with an error; THROTTLING_QUOTA_EXCEEDED (KIP-599).
//! - 6: by id, too (KIP-516).

use ottla_settings::key;
use ottla_wire::TopicId;
use ottla_wire::messages::delete_topics_response::DeletableTopicResult;
use ottla_wire::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::call::Call;
use crate::controllers::AskError;
use crate::door::{Operation, Resource};

pub async fn handle(call: &mut Call<'_>, mut request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let refused = take_refused(call, &mut request);
    let asked = asked(&request);
    if !call.ctx.settings().read(key::DELETE_TOPIC_ENABLE) {
        let why = "delete.topic.enable is false".into();
        let mut response = refuse(asked, ErrorCode::TopicDeletionDisabled, why);
        response.responses.extend(refused);
        return response;
    }
    let answer = call.ctx.controller.ask_within(request.timeout_ms, std::mem::take(&mut request)).await;
    let mut response: DeleteTopicsResponse = answer.unwrap_or_else(|error: AskError| {
        let message = error.to_string().into();
        refuse(asked, error.into(), message)
    });
    response.responses.extend(refused);
    response
}

/// Removes the topics that the client may not delete from the request, and answers for them. The answer does
/// not reveal the name of a topic that the client may not describe. Unknown ids are left to the controller.
fn take_refused(call: &Call<'_>, request: &mut DeleteTopicsRequest) -> Vec<DeletableTopicResult> {
    let authorize = |name: &str| call.authorize(Operation::Delete, Resource::Topic(name));
    let mut refused = Vec::new();
    let mut refuse = |name, topic_id, code: ErrorCode| {
        refused.push(DeletableTopicResult { name, topic_id, error_code: code.code(), error_message: None });
    };
    request.topic_names.retain(|name| match authorize(name) {
        Ok(()) => true,
        Err(code) => {
            refuse(Some(name.clone()), TopicId::ZERO, code);
            false
        }
    });
    let published = call.ctx.published.load();
    request.topics.retain(|topic| {
        let known = published.image.topic_by_id(topic.topic_id).map(|topic| topic.name.clone());
        let Some(name) = topic.name.clone().or(known) else { return true };
        let Err(code) = authorize(&name) else { return true };
        let told = topic.name.is_some() || call.may(Operation::Describe, Resource::Topic(&name));
        refuse(told.then_some(name), topic.topic_id, code);
        false
    });
    refused
}

/// Name and id of every topic to delete. Before version 6 there are only names.
fn asked(request: &DeleteTopicsRequest) -> Vec<(Option<Str>, TopicId)> {
    let by_state = request.topics.iter().map(|topic| (topic.name.clone(), topic.topic_id));
    let by_name = request.topic_names.iter().map(|name| (Some(name.clone()), TopicId::ZERO));
    by_state.chain(by_name).collect()
}

fn refuse(asked: Vec<(Option<Str>, TopicId)>, code: ErrorCode, message: Str) -> DeleteTopicsResponse {
    let responses = asked.into_iter().map(|(name, topic_id)| DeletableTopicResult {
        name,
        topic_id,
        error_code: code.code(),
        error_message: Some(message.clone()),
    });
    DeleteTopicsResponse { responses: responses.collect(), ..Default::default() }
}
