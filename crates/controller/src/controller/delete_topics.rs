//! DeleteTopics (key 20): by name, or by id from version 6 (KIP-516).

use std::collections::BTreeSet;

use ottla_settings::key;
use ottla_wire::messages::delete_topics_request::DeleteTopicState;
use ottla_wire::messages::delete_topics_response::DeletableTopicResult;
use ottla_wire::messages::{DeleteTopicsRequest, DeleteTopicsResponse, MetadataRecord, RemoveTopicRecord};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{TopicId, Uuid};

use super::{Call, Controller, Failure, Outcome};
use crate::image::Image;

impl Controller {
    /// Deletes each topic once, however often it is named: further mentions are refused.
    pub fn delete_topics(
        &mut self,
        call: &mut Call<'_>,
        request: &DeleteTopicsRequest,
    ) -> Outcome<DeleteTopicsResponse> {
        let by_name = request.topic_names.iter().map(|name| (Some(name.clone()), Uuid::ZERO));
        let asked = by_name.chain(
            request.topics.iter().map(|DeleteTopicState { name, topic_id }| (name.clone(), *topic_id)),
        );
        let mut deleted = BTreeSet::new();
        let mut response = DeleteTopicsResponse::default();
        for (name, id) in asked {
            let found = if call.settings.read(key::DELETE_TOPIC_ENABLE) {
                find(call.image, name.as_ref(), id, &deleted)
            } else {
                Err(Failure::new(
                    ErrorCode::TopicDeletionDisabled,
                    "Topic deletion is disabled (delete.topic.enable).",
                ))
            };
            let result = match found {
                Ok((id, name)) => {
                    deleted.insert(id);
                    DeletableTopicResult { name: Some(name), topic_id: id, ..DeletableTopicResult::default() }
                }
                Err(failure) => {
                    let (error_code, error_message) = failure.parts();
                    DeletableTopicResult { name, topic_id: id, error_code, error_message }
                }
            };
            response.responses.push(result);
        }
        let record = |id| MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id: id });
        Outcome::cut(deleted.into_iter().map(record).collect(), response)
    }
}

fn find(
    image: &Image,
    name: Option<&Str>,
    id: TopicId,
    deleted: &BTreeSet<TopicId>,
) -> Result<(TopicId, Str), Failure> {
    let invalid = |why: &str| Failure::new(ErrorCode::InvalidRequest, why);
    let topic = match (name, id.is_zero()) {
        (None, true) => return Err(invalid("Neither topic name nor id were specified.")),
        (Some(_), false) => return Err(invalid("You may not specify both topic name and topic id.")),
        (Some(name), true) => image.topic(name).ok_or_else(|| {
            Failure::new(
                ErrorCode::UnknownTopicOrPartition,
                "This server does not host this topic-partition.",
            )
        })?,
        (None, false) => image.topic_by_id(id).ok_or_else(|| {
            Failure::new(ErrorCode::UnknownTopicId, "This server does not host this topic ID.")
        })?,
    };
    if deleted.contains(&topic.id) {
        return Err(invalid("The topic is named more than once in this request."));
    }
    Ok((topic.id, topic.name.clone()))
}
