//! Settings of topics that are read. [`crate::TopicConfig`] reads them; who uses it finds them in its fields.

use crate::tables::TOPIC;
use crate::typed::{Declared, Key, keys};

keys! { &TOPIC;
    CLEANUP_POLICY: Vec<String> = "cleanup.policy";
    COMPRESSION_GZIP_LEVEL: i32 = "compression.gzip.level";
    COMPRESSION_LZ4_LEVEL: i32 = "compression.lz4.level";
    COMPRESSION_TYPE: String = "compression.type";
    COMPRESSION_ZSTD_LEVEL: i32 = "compression.zstd.level";
    FILE_DELETE_DELAY_MS: i64 = "file.delete.delay.ms";
    FLUSH_MESSAGES: i64 = "flush.messages";
    FLUSH_MS: i64 = "flush.ms";
    INDEX_INTERVAL_BYTES: i32 = "index.interval.bytes";
    MAX_MESSAGE_BYTES: i32 = "max.message.bytes";
    MESSAGE_TIMESTAMP_AFTER_MAX_MS: i64 = "message.timestamp.after.max.ms";
    MESSAGE_TIMESTAMP_BEFORE_MAX_MS: i64 = "message.timestamp.before.max.ms";
    MESSAGE_TIMESTAMP_TYPE: String = "message.timestamp.type";
    MIN_INSYNC_REPLICAS: i32 = "min.insync.replicas";
    PREALLOCATE: bool = "preallocate";
    RETENTION_BYTES: i64 = "retention.bytes";
    RETENTION_MS: i64 = "retention.ms";
    SEGMENT_BYTES: i32 = "segment.bytes";
    SEGMENT_INDEX_BYTES: i32 = "segment.index.bytes";
    SEGMENT_JITTER_MS: i64 = "segment.jitter.ms";
    SEGMENT_MS: i64 = "segment.ms";
    UNCLEAN_LEADER_ELECTION_ENABLE: bool = "unclean.leader.election.enable";
}
