//! The internal topics that hold the state of coordinators, and the mapping from an id to its partition. The
//! topics are created on first need.

use std::time::Duration;

use ottla_settings::{BrokerSettings, key};
use ottla_wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use ottla_wire::messages::{CreateTopicsRequest, CreateTopicsResponse};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{InternalTopic, PartitionIndex};

use super::desk::Coordinators;

/// The topic of groups and their offsets.
pub const OFFSETS_TOPIC: &str = InternalTopic::Offsets.topic();

/// The topic of transactional ids and their transactions.
pub const TRANSACTIONS_TOPIC: &str = InternalTopic::TransactionState.topic();

/// How long the creation of an internal topic may take.
const CREATE_TIMEOUT_MS: i32 = 10_000;

/// The pause after a failed creation. Its cause will not pass at once.
const CREATE_RETRY: Duration = Duration::from_secs(1);

/// The topic does not exist and cannot be created now. The log has the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the internal topic is not there and cannot be created now; try again")]
pub struct NotAvailable;

impl From<NotAvailable> for ErrorCode {
    fn from(_: NotAvailable) -> ErrorCode {
        ErrorCode::CoordinatorNotAvailable
    }
}

impl Coordinators {
    /// The partition of an internal topic that keeps an id. Creates the topic if it does not exist. It is
    /// usable when this returns.
    pub async fn partition_for(
        &self,
        topic: InternalTopic,
        id: &str,
    ) -> Result<PartitionIndex, NotAvailable> {
        if let Some(index) = self.known_partition_for(topic, id) {
            return Ok(index);
        }
        self.create(topic).await?;
        self.known_partition_for(topic, id).ok_or(NotAvailable)
    }

    /// Like [`Coordinators::partition_for`], but only if the topic exists.
    pub fn known_partition_for(&self, topic: InternalTopic, id: &str) -> Option<PartitionIndex> {
        let published = self.published.load();
        let partitions = published.image.topic(topic.topic())?.partition_count();
        Some(partition_of(id, partitions))
    }

    /// The partitions of an internal topic that this broker leads. None if the topic does not exist.
    pub fn led_here(&self, topic: InternalTopic) -> Vec<PartitionIndex> {
        let published = self.published.load();
        let partitions = published.topic(topic.topic()).into_iter().flat_map(|topic| topic.partitions());
        let led = partitions.filter(|partition| partition.leader_view(None).is_ok());
        led.map(|partition| partition.index).collect()
    }

    /// Creates an internal topic, one at a time, unless another task has created it meanwhile.
    async fn create(&self, topic: InternalTopic) -> Result<(), NotAvailable> {
        let mut failed = self.creation.lock().await;
        if self.published.load().image.topic(topic.topic()).is_some() {
            return Ok(());
        }
        let now = self.clock.now();
        if failed.is_some_and(|at| now.since(at) < CREATE_RETRY) {
            return Err(NotAvailable);
        }
        self.ask_to_create(topic).await.map_err(|why| {
            tracing::warn!(topic = topic.topic(), why, "an internal topic cannot be created");
            *failed = Some(now);
            NotAvailable
        })
    }

    async fn ask_to_create(&self, topic: InternalTopic) -> Result<(), String> {
        let brokers = self.published.load().image.alive_brokers().count();
        let request = request(&self.settings(), topic, brokers);
        let answer: Result<CreateTopicsResponse, _> =
            self.controller.ask_within(CREATE_TIMEOUT_MS, request).await;
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
}

/// The partition of `partitions` (at least one) that keeps a group or transactional id. Every Kafka broker
/// and tool computes it in this way: Java's hash of the id's UTF-16 units, its absolute value, modulo.
fn partition_of(id: &str, partitions: i32) -> PartitionIndex {
    let hash =
        id.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    // The absolute value of the smallest integer is 0 here.
    let absolute = hash.checked_abs().unwrap_or(0);
    PartitionIndex(absolute % partitions.max(1))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of Java's `String.hashCode`.
    #[test]
    fn ids_are_hashed_as_java_does() {
        let cases = [
            ("", 0),
            ("a", 97),
            ("group", 98_629_247),
            // Its hash is the smallest int.
            ("polygenelubricants", 0),
            // One character, two UTF-16 units: 0xd83d * 31 + 0xde00.
            ("😀", 1_772_899),
            ("é", 233),
        ];
        for (id, hash) in cases {
            assert_eq!(partition_of(id, i32::MAX).0, hash, "{id}");
        }
        assert_eq!(partition_of("group", 50).0, 47);
        assert_eq!(partition_of("anything", 1).0, 0);
    }
}
