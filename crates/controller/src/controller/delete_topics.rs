//! DeleteTopics (key 20): by name, or by id from version 6 (KIP-516).

use std::collections::BTreeMap;

use ottla_settings::key;
use ottla_wire::messages::delete_topics_request::DeleteTopicState;
use ottla_wire::messages::delete_topics_response::DeletableTopicResult;
use ottla_wire::messages::{DeleteTopicsRequest, DeleteTopicsResponse, MetadataRecord, RemoveTopicRecord};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{TopicId, Uuid};

use super::{Call, Controller, Failure, Outcome};
use crate::image::{Image, Topic};

impl Controller {
    /// A topic that is named more than once, by name, by id or by both, stays: whoever asks so may not mean
    /// it. It is answered once.
    pub fn delete_topics(
        &mut self,
        call: &mut Call<'_>,
        request: &DeleteTopicsRequest,
    ) -> Outcome<DeleteTopicsResponse> {
        let by_name = request.topic_names.iter().map(|name| (Some(name.clone()), Uuid::ZERO));
        let by_state =
            request.topics.iter().map(|DeleteTopicState { name, topic_id }| (name.clone(), *topic_id));
        let asked: Vec<Mention> = by_name.chain(by_state).collect();
        let mut mentions: BTreeMap<Subject, Vec<&Mention>> = BTreeMap::new();
        for (at, mention) in asked.iter().enumerate() {
            mentions.entry(subject(call.image, at, mention)).or_default().push(mention);
        }
        let is_enabled = call.settings.read(key::DELETE_TOPIC_ENABLE);
        let mut deleted = Vec::new();
        let mut response = DeleteTopicsResponse::default();
        for (at, mention) in asked.iter().enumerate() {
            // Told once for all mentions, where the first of them is.
            let Some(all) = mentions.remove(&subject(call.image, at, mention)) else { continue };
            let (name, topic_id) = shown(call.image, &all);
            let result = match find(call.image, mention, is_enabled, all.len()) {
                Ok(topic) => {
                    deleted.push(topic.id);
                    let name = Some(topic.name.clone());
                    DeletableTopicResult { name, topic_id: topic.id, ..DeletableTopicResult::default() }
                }
                Err(failure) => {
                    let (error_code, error_message) = failure.parts();
                    DeletableTopicResult { name, topic_id, error_code, error_message }
                }
            };
            response.responses.push(result);
        }
        let record = |id| MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id: id });
        Outcome::cut(deleted.into_iter().map(record).collect(), response)
    }
}

/// A topic as the request names it.
type Mention = (Option<Str>, TopicId);

/// What a mention is about. Mentions of the same are taken together.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Topic(TopicId),
    /// It is not there.
    Unknown(Option<Str>, TopicId),
    /// It is no way to name a topic. It stands alone, by where it is in the request.
    Wrong(usize),
}

fn subject(image: &Image, at: usize, (name, id): &Mention) -> Subject {
    let known = match (name, id.is_zero()) {
        (Some(name), true) => image.topic_id(name),
        (None, false) => image.topic_by_id(*id).map(|topic| topic.id),
        (None, true) | (Some(_), false) => return Subject::Wrong(at),
    };
    known.map_or_else(|| Subject::Unknown(name.clone(), *id), Subject::Topic)
}

/// The name and id that a refusal has: as they were given or, if they were given in several ways, both.
fn shown(image: &Image, mentions: &[&Mention]) -> Mention {
    let first = mentions[0].clone();
    match mentions.iter().all(|other| **other == first) {
        true => first,
        false => {
            let topic = mentions.iter().find_map(|(_, id)| image.topic_by_id(*id));
            topic.map_or(first, |topic| (Some(topic.name.clone()), topic.id))
        }
    }
}

fn find<'a>(
    image: &'a Image,
    (name, id): &Mention,
    is_enabled: bool,
    mentions: usize,
) -> Result<&'a Topic, Failure> {
    if !is_enabled {
        let why = "Topic deletion is disabled (delete.topic.enable).";
        return Err(Failure::new(ErrorCode::TopicDeletionDisabled, why));
    }
    let invalid = |why: &str| Failure::new(ErrorCode::InvalidRequest, why);
    let found = match (name, id.is_zero()) {
        (None, true) => return Err(invalid("Neither topic name nor id were specified.")),
        (Some(_), false) => return Err(invalid("You may not specify both topic name and topic id.")),
        _ if mentions > 1 => return Err(invalid("The topic is named more than once in this request.")),
        (Some(name), true) => image.topic(name).ok_or_else(|| {
            Failure::new(
                ErrorCode::UnknownTopicOrPartition,
                "This server does not host this topic-partition.",
            )
        })?,
        (None, false) => image.topic_by_id(*id).ok_or_else(|| {
            Failure::new(ErrorCode::UnknownTopicId, "This server does not host this topic ID.")
        })?,
    };
    Ok(found)
}
