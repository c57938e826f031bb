//! Looks topics up for a member: by name, by id, by pattern.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_wire::TopicId;
use ottla_wire::messages::MetadataRequest;
use ottla_wire::messages::metadata_request::MetadataRequestTopic;
use ottla_wire::primitives::Str;

use super::membership::Look;
use super::pattern::Pattern;
use crate::cluster::{Cluster, Metadata};
use crate::error::{ApiError, Error};

/// How often metadata is fetched until every topic is known or known to be missing. One fetch may have been
/// under way before anybody asked.
const FETCHES_MAX: usize = 3;

/// The metadata when these topics are in it, as far as they exist. When it cannot be had, what is known:
/// whoever asked compares, and asks again.
pub(super) async fn look(cluster: &Cluster, what: &Look) -> Arc<Metadata> {
    match what {
        Look::Names(names) => know(cluster, names).await,
        Look::Ids(ids) => {
            let metadata = cluster.metadata();
            let unknown: Vec<TopicId> =
                ids.iter().filter(|id| metadata.topic_name(**id).is_none()).copied().collect();
            if unknown.is_empty() {
                return metadata;
            }
            match names_of(cluster, &unknown).await {
                Ok(names) => know(cluster, &names).await,
                Err(error) => {
                    tracing::debug!(%error, "names of topics cannot be looked up");
                    metadata
                }
            }
        }
    }
}

async fn know(cluster: &Cluster, names: &BTreeSet<Str>) -> Arc<Metadata> {
    for name in names {
        cluster.want(name);
    }
    for _ in 0..FETCHES_MAX {
        let metadata = cluster.metadata();
        let settled = |name: &Str| metadata.topics.contains_key(name) || metadata.failed.contains_key(name);
        if names.iter().all(settled) {
            break;
        }
        if let Err(error) = cluster.refresh().await {
            tracing::debug!(%error, "metadata of topics cannot be fetched");
            break;
        }
    }
    cluster.metadata()
}

async fn names_of(cluster: &Cluster, ids: &[TopicId]) -> Result<BTreeSet<Str>, Error> {
    let topic = |&topic_id: &TopicId| MetadataRequestTopic { topic_id, name: None };
    let request = MetadataRequest {
        topics: Some(ids.iter().map(topic).collect()),
        allow_auto_topic_creation: false,
        ..MetadataRequest::default()
    };
    let response = cluster.any().await?.call(&request).await?;
    ApiError::check(response.error_code, None)?;
    let topics = response.topics.into_iter().filter(|topic| topic.error_code == 0);
    Ok(topics.filter_map(|topic| topic.name.as_ref().map(Str::detached)).collect())
}

/// The topics of the cluster that match.
pub(super) async fn matching(cluster: &Cluster, pattern: &Pattern) -> Result<BTreeSet<Str>, Error> {
    let request =
        MetadataRequest { topics: None, allow_auto_topic_creation: false, ..MetadataRequest::default() };
    let response = cluster.any().await?.call(&request).await?;
    ApiError::check(response.error_code, None)?;
    let topics = response.topics.into_iter().filter_map(|topic| {
        let name = topic.name.as_ref()?;
        pattern.matches(name, topic.is_internal).then(|| name.detached())
    });
    Ok(topics.collect())
}
