//! Topics: create, list, describe, delete; more partitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_wire::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use ottla_wire::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use ottla_wire::messages::delete_topics_request::DeleteTopicState;
use ottla_wire::messages::metadata_request::MetadataRequestTopic;
use ottla_wire::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest,
};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerId, TopicId};

use super::{Admin, Repeat};
use crate::cluster::{Topic, read_topic};
use crate::error::{ApiError, Error};

/// The first version of DeleteTopics that takes `topics` rather than `topic_names`.
const DELETE_BY_STATE_MIN: i16 = 6;

/// A topic to be created.
#[derive(Clone, Debug)]
pub struct NewTopic {
    pub name: String,
    /// -1: the broker's default.
    pub partitions: i32,
    /// -1: the broker's default.
    pub replication_factor: i16,
    /// The replicas of each partition, the preferred leader first; empty: the cluster chooses. If given,
    /// `partitions` and `replication_factor` are not used.
    pub assignments: Vec<Vec<BrokerId>>,
    pub configs: Vec<(String, Option<String>)>,
}

impl NewTopic {
    /// A topic with so many partitions and the broker's default for everything else.
    pub fn new(name: impl Into<String>, partitions: i32) -> NewTopic {
        let (assignments, configs) = (Vec::new(), Vec::new());
        NewTopic { name: name.into(), partitions, replication_factor: -1, assignments, configs }
    }

    pub fn replication_factor(self, replication_factor: i16) -> NewTopic {
        NewTopic { replication_factor, ..self }
    }

    pub fn config(mut self, name: impl Into<String>, value: impl Into<String>) -> NewTopic {
        self.configs.push((name.into(), Some(value.into())));
        self
    }
}

/// A topic that was created. Partitions, replication factor and configs are empty when the broker may not
/// tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    pub id: TopicId,
    pub partitions: Option<i32>,
    pub replication_factor: Option<i16>,
    pub configs: Vec<(String, Option<String>)>,
}

/// More partitions for a topic.
#[derive(Clone, Debug)]
pub struct NewPartitions {
    pub topic: String,
    /// How many there are to be in the end.
    pub total: i32,
    /// The replicas of each new partition; none: the cluster chooses.
    pub assignments: Option<Vec<Vec<BrokerId>>>,
}

/// A topic's name and what goes with it in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicListing {
    pub name: String,
    pub id: TopicId,
    pub internal: bool,
}

impl Admin {
    /// Creates topics, or with `validate_only` says whether they could be. The outcome is for each by its
    /// name.
    pub async fn create_topics(
        &self,
        topics: &[NewTopic],
        validate_only: bool,
    ) -> Result<BTreeMap<String, Result<CreatedTopic, ApiError>>, Error> {
        let request = CreateTopicsRequest {
            topics: topics.iter().map(creatable).collect(),
            timeout_ms: self.timeout_ms(),
            validate_only,
        };
        let repeat = if validate_only { Repeat::Harmless } else { Repeat::OnlyIfNotDone };
        let request = &request;
        self.ask_controller(repeat, |controller| async move {
            let response = controller.call(request).await?;
            check_controller(response.topics.iter().map(|topic| topic.error_code))?;
            let outcomes = response.topics.into_iter().map(|topic| {
                let outcome = ApiError::check(topic.error_code, topic.error_message.as_deref());
                let configs = topic.configs.unwrap_or_default().into_iter();
                let created = outcome.map(|()| CreatedTopic {
                    id: topic.topic_id,
                    partitions: (topic.num_partitions >= 0).then_some(topic.num_partitions),
                    replication_factor: (topic.replication_factor >= 0).then_some(topic.replication_factor),
                    configs: configs.map(|c| (c.name.into(), c.value.map(String::from))).collect(),
                });
                (topic.name.into(), created)
            });
            Ok(outcomes.collect())
        })
        .await
    }

    /// Deletes topics by name.
    pub async fn delete_topics(
        &self,
        names: &[impl AsRef<str>],
    ) -> Result<BTreeMap<String, Result<(), ApiError>>, Error> {
        let names: Vec<Str> = names.iter().map(|name| Str::from(name.as_ref())).collect();
        let names = &names;
        self.ask_controller(Repeat::OnlyIfNotDone, |controller| async move {
            let by_state = controller.version_of::<DeleteTopicsRequest>()? >= DELETE_BY_STATE_MIN;
            let state = |name: &Str| DeleteTopicState { name: Some(name.clone()), ..Default::default() };
            let request = DeleteTopicsRequest {
                topics: if by_state { names.iter().map(state).collect() } else { Vec::new() },
                topic_names: if by_state { Vec::new() } else { names.clone() },
                timeout_ms: self.timeout_ms(),
            };
            let response = controller.call(&request).await?;
            check_controller(response.responses.iter().map(|topic| topic.error_code))?;
            let outcomes = response.responses.into_iter().filter_map(|topic| {
                let outcome = ApiError::check(topic.error_code, topic.error_message.as_deref());
                Some((topic.name?.into(), outcome))
            });
            Ok(outcomes.collect())
        })
        .await
    }

    /// Adds partitions to topics.
    pub async fn create_partitions(
        &self,
        topics: &[NewPartitions],
        validate_only: bool,
    ) -> Result<BTreeMap<String, Result<(), ApiError>>, Error> {
        let request = CreatePartitionsRequest {
            topics: topics.iter().map(more_partitions).collect(),
            timeout_ms: self.timeout_ms(),
            validate_only,
        };
        let repeat = if validate_only { Repeat::Harmless } else { Repeat::OnlyIfNotDone };
        let request = &request;
        self.ask_controller(repeat, |controller| async move {
            let response = controller.call(request).await?;
            check_controller(response.results.iter().map(|topic| topic.error_code))?;
            let outcomes = response.results.into_iter().map(|topic| {
                let outcome = ApiError::check(topic.error_code, topic.error_message.as_deref());
                (topic.name.into(), outcome)
            });
            Ok(outcomes.collect())
        })
        .await
    }

    /// Every topic there is, in the order of their names.
    pub async fn list_topics(&self) -> Result<Vec<TopicListing>, Error> {
        let request =
            MetadataRequest { topics: None, allow_auto_topic_creation: false, ..MetadataRequest::default() };
        self.repeat(Repeat::Harmless, || async {
            let response = self.call(&request).await?;
            ApiError::check(response.error_code, None)?;
            let listing = |topic: ottla_wire::messages::metadata_response::MetadataResponseTopic| {
                Some(TopicListing {
                    name: topic.name?.into(),
                    id: topic.topic_id,
                    internal: topic.is_internal,
                })
            };
            let mut listings: Vec<TopicListing> = response.topics.into_iter().filter_map(listing).collect();
            listings.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            Ok(listings)
        })
        .await
    }

    /// Partitions, leaders and replicas of topics, by name.
    pub async fn describe_topics(
        &self,
        names: &[impl AsRef<str>],
    ) -> Result<BTreeMap<String, Result<Arc<Topic>, ApiError>>, Error> {
        let asked = names.iter().map(|name| MetadataRequestTopic {
            name: Some(Str::from(name.as_ref())),
            ..MetadataRequestTopic::default()
        });
        let request = MetadataRequest {
            topics: Some(asked.collect()),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        self.repeat(Repeat::Harmless, || async {
            let response = self.call(&request).await?;
            ApiError::check(response.error_code, None)?;
            let mut described = BTreeMap::new();
            for topic in response.topics {
                let Some(name) = topic.name.as_ref().map(Str::detached) else { continue };
                let outcome = match ApiError::check(topic.error_code, None) {
                    // Its partitions tell which of them has no leader.
                    Err(error) if error.code != ErrorCode::LeaderNotAvailable => Err(error),
                    _ => Ok(read_topic(name.clone(), topic, None)),
                };
                described.insert(name.into(), outcome);
            }
            Ok(described)
        })
        .await
    }
}

fn creatable(topic: &NewTopic) -> CreatableTopic {
    let assigned = !topic.assignments.is_empty();
    let assignments = topic.assignments.iter().zip(0..).map(|(replicas, partition_index)| {
        CreatableReplicaAssignment { partition_index, broker_ids: replicas.iter().map(|id| id.0).collect() }
    });
    let configs = topic.configs.iter().map(|(name, value)| CreatableTopicConfig {
        name: Str::from(name),
        value: value.as_ref().map(Str::from),
    });
    CreatableTopic {
        name: Str::from(&topic.name),
        num_partitions: if assigned { -1 } else { topic.partitions },
        replication_factor: if assigned { -1 } else { topic.replication_factor },
        assignments: assignments.collect(),
        configs: configs.collect(),
    }
}

fn more_partitions(topic: &NewPartitions) -> CreatePartitionsTopic {
    let assignment = |replicas: &Vec<BrokerId>| CreatePartitionsAssignment {
        broker_ids: replicas.iter().map(|id| id.0).collect(),
    };
    CreatePartitionsTopic {
        name: Str::from(&topic.topic),
        count: topic.total,
        assignments: topic.assignments.as_ref().map(|all| all.iter().map(assignment).collect()),
    }
}

/// NOT_CONTROLLER is about the request as a whole: nothing was done, another broker is to be asked.
fn check_controller(codes: impl Iterator<Item = i16>) -> Result<(), Error> {
    let mut codes = codes;
    if codes.any(|code| code == ErrorCode::NotController.code()) {
        return Err(Error::Api(ApiError { code: ErrorCode::NotController, message: None }));
    }
    Ok(())
}
