//! DeleteTopics (key 20), by name or by id (KIP-516).

use ottla_settings::key;
use ottla_wire::TopicId;
use ottla_wire::messages::delete_topics_response::DeletableTopicResult;
use ottla_wire::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::call::Call;
use crate::controllers::AskError;

pub async fn handle(call: &mut Call<'_>, mut request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let asked = asked(&request);
    if !call.ctx.settings().read(key::DELETE_TOPIC_ENABLE) {
        return refuse(asked, ErrorCode::TopicDeletionDisabled, "delete.topic.enable is false".into());
    }
    let answer = call.ctx.controller.ask_within(request.timeout_ms, std::mem::take(&mut request)).await;
    answer.unwrap_or_else(|error: AskError| {
        let message = error.to_string().into();
        refuse(asked, error.into(), message)
    })
}

/// Name and id of every topic to delete. Before version 6 there were names only.
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
