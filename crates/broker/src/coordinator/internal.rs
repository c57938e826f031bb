//! The internal topics that coordinators keep their state in. They are made when they are needed first.

use ottla_settings::{BrokerSettings, key};
use ottla_wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use ottla_wire::messages::{CreateTopicsRequest, CreateTopicsResponse};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{Instant, InternalTopic};
use tokio::sync::Mutex;

use crate::context::Context;

/// Where groups and their offsets are kept.
pub const OFFSETS_TOPIC: &str = InternalTopic::Offsets.topic();

/// Where transactional ids and their transactions are kept.
pub const TRANSACTIONS_TOPIC: &str = InternalTopic::TransactionState.topic();

/// How long the creation of an internal topic may take.
const CREATE_TIMEOUT_MS: i32 = 10_000;

/// How long nobody tries again after a creation has failed: what stands in its way does not pass at once.
const CREATE_RETRY_MS: u64 = 1_000;

/// Makes internal topics, one at a time.
#[derive(Default)]
pub struct InternalTopics {
    /// When a creation failed last.
    creating: Mutex<Option<Instant>>,
}

/// The topic is not there and cannot be made now. What stands in the way is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the internal topic is not there and cannot be created now; try again")]
pub struct NotAvailable;

impl From<NotAvailable> for ErrorCode {
    fn from(_: NotAvailable) -> ErrorCode {
        ErrorCode::CoordinatorNotAvailable
    }
}

/// How many partitions an internal topic has. One that is not there is created, and can be used when this returns.
pub async fn partitions_of(ctx: &Context, topic: InternalTopic) -> Result<i32, NotAvailable> {
    let known = || ctx.published.load().image.topic(topic.topic()).map(|topic| topic.partition_count());
    if let Some(count) = known() {
        return Ok(count);
    }
    let mut failed = ctx.internal_topics.creating.lock().await;
    // Whoever had the lock before may have made it.
    if let Some(count) = known() {
        return Ok(count);
    }
    let now = ctx.clock.now();
    if failed.is_some_and(|at| now.since(at).as_millis() < u128::from(CREATE_RETRY_MS)) {
        return Err(NotAvailable);
    }
    match create(ctx, topic).await {
        Ok(()) => known().ok_or(NotAvailable),
        Err(why) => {
            tracing::warn!(topic = topic.topic(), why, "an internal topic cannot be created");
            *failed = Some(now);
            Err(NotAvailable)
        }
    }
}

async fn create(ctx: &Context, topic: InternalTopic) -> Result<(), String> {
    let brokers = ctx.published.load().image.alive_brokers().count();
    let request = request(&ctx.settings(), topic, brokers);
    let answer: Result<CreateTopicsResponse, _> = ctx.controller.ask_within(CREATE_TIMEOUT_MS, request).await;
    let answer = answer.map_err(|error| error.to_string())?;
    let Some(result) = answer.topics.into_iter().next() else { return Err("no answer".to_owned()) };
    match ErrorCode::from_code(result.error_code) {
        Some(ErrorCode::None | ErrorCode::TopicAlreadyExists) => Ok(()),
        code => {
            let message = result.error_message.unwrap_or_default();
            Err(format!("{}: {message}", code.map_or("an unknown error", ErrorCode::name)))
        }
    }
}

fn request(settings: &BrokerSettings, topic: InternalTopic, brokers: usize) -> CreateTopicsRequest {
    let (partitions, segment_bytes) = match topic {
        InternalTopic::Offsets => (key::OFFSETS_TOPIC_NUM_PARTITIONS, key::OFFSETS_TOPIC_SEGMENT_BYTES),
        InternalTopic::TransactionState => {
            (key::TRANSACTION_STATE_LOG_NUM_PARTITIONS, key::TRANSACTION_STATE_LOG_SEGMENT_BYTES)
        }
    };
    let config = |name: &'static str, value: Str| CreatableTopicConfig {
        name: Str::from_static(name),
        value: Some(value),
    };
    let mut configs = vec![
        config("cleanup.policy", Str::from_static("compact")),
        config("segment.bytes", settings.read(segment_bytes).to_string().into()),
    ];
    match topic {
        InternalTopic::Offsets => configs.push(config("compression.type", Str::from_static("producer"))),
        InternalTopic::TransactionState => configs.extend([
            config("compression.type", Str::from_static("uncompressed")),
            config("min.insync.replicas", settings.internal_min_isr(topic, brokers).to_string().into()),
            config("unclean.leader.election.enable", Str::from_static("false")),
        ]),
    }
    let topic = CreatableTopic {
        name: Str::from_static(topic.topic()),
        num_partitions: settings.read(partitions),
        replication_factor: settings.internal_replication_factor(topic, brokers),
        configs,
        ..Default::default()
    };
    CreateTopicsRequest { topics: vec![topic], timeout_ms: CREATE_TIMEOUT_MS, ..Default::default() }
}
