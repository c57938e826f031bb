//! The task that fetches metadata: when asked to, and when what is known has become old.

use std::sync::{Arc, PoisonError};

use ottla_wire::messages::metadata_request::MetadataRequestTopic;
use ottla_wire::messages::{MetadataRequest, MetadataResponse};

use super::lane::Node;
use super::{Inner, Metadata};
use crate::error::{ApiError, Error};
use crate::seam;

/// Runs until it is aborted.
pub(super) async fn run(inner: Arc<Inner>) {
    let mut failures = 0;
    loop {
        // After the first failure, and until one succeeds, it goes on by itself.
        if failures == 0 {
            let old = tokio::time::sleep(inner.config.metadata_max_age);
            tokio::select! {
                () = inner.fetch_asked.notified() => {}
                () = old => {}
            }
        }
        let fetched = fetch(&inner).await;
        failures = if fetched.is_ok() { 0 } else { failures + 1 };
        if let Err(error) = &fetched {
            tracing::debug!(%error, failures, "metadata could not be fetched");
        }
        *inner.last_error.lock().unwrap_or_else(PoisonError::into_inner) = fetched.err();
        inner.fetches.send_modify(|count| *count += 1);
        // Also after a success: many who ask at once get one answer, and a cluster that has none is not
        // stormed.
        let pause = if failures > 0 { inner.retry.after(failures) } else { inner.config.retry_backoff / 10 };
        tokio::time::sleep(pause).await;
    }
}

async fn fetch(inner: &Inner) -> Result<(), Error> {
    let connection = inner.any().await?;
    let request = MetadataRequest {
        topics: Some(wanted(inner)),
        allow_auto_topic_creation: inner.config.allow_auto_create_topics,
        ..MetadataRequest::default()
    };
    let response = connection.call(&request).await?;
    ApiError::check(response.error_code, None)?;
    publish(inner, response);
    Ok(())
}

/// The topics of interest, without those that nobody asked for in a long time.
fn wanted(inner: &Inner) -> Vec<MetadataRequestTopic> {
    let now = seam::now();
    let mut wanted = inner.wanted.lock().unwrap_or_else(PoisonError::into_inner);
    wanted.retain(|_, asked| now.saturating_duration_since(*asked) < inner.config.metadata_max_idle);
    let ask = |name: &ottla_wire::primitives::Str| MetadataRequestTopic {
        name: Some(name.clone()),
        ..MetadataRequestTopic::default()
    };
    wanted.keys().map(ask).collect()
}

fn publish(inner: &Inner, response: MetadataResponse) {
    inner.metadata.send_modify(|metadata| *metadata = Arc::new(Metadata::after(metadata, response)));
    let metadata = inner.metadata.borrow().clone();
    // Once the brokers are known, those are used; a connection to a bootstrap server would be a second one.
    inner.nodes.retain(|(node, _)| match node {
        Node::Broker(id) => metadata.brokers.contains_key(&id),
        Node::Bootstrap(_) => metadata.brokers.is_empty(),
    });
}
