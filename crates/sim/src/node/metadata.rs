//! What a broker makes of the metadata log: the settings of its partition.

use std::time::Duration;

use ottla_controller::Image;
use ottla_log::LogConfig;
use ottla_replica::{Durability, ReplicaConfig};
use ottla_settings::{BrokerSettings, TopicConfig};
use ottla_wire::BrokerId;
use ottla_wire::batch::TimestampType;

use super::TOPIC;

/// `replica.lag.time.max.ms`: short, so that a run sees the ISR change often.
pub const LAG_MAX: Duration = Duration::from_millis(1_500);
/// `flush.ms` where records do not wait for flushes.
const FLUSH_MS: i64 = 700;

/// The settings of the partition's replica and of its log.
pub fn configs(image: &Image, settings: &BrokerSettings, me: BrokerId) -> (ReplicaConfig, LogConfig) {
    let topic = TopicConfig::effective(image, settings, TOPIC);
    let durability = if topic.flush_messages == 1 { Durability::Flushed } else { Durability::PageCache };
    let replica = ReplicaConfig {
        min_isr: topic.min_insync_replicas.unsigned_abs(),
        durability,
        timestamp_type: match topic.log_append_time {
            true => TimestampType::LogAppendTime,
            false => TimestampType::CreateTime,
        },
        lag_max: LAG_MAX,
        verify_transactions: false,
        ..ReplicaConfig::new(me)
    };
    let log = LogConfig {
        segment_bytes: topic.segment_bytes.unsigned_abs().into(),
        retention_bytes: topic.retention_bytes,
        retention_ms: -1,
        flush_messages: topic.flush_messages,
        flush_ms: FLUSH_MS,
        index_interval_bytes: 500,
        ..LogConfig::default()
    };
    (replica, log)
}
