//! The settings of one log: a topic's settings that concern its files.

/// Settings of one log. Names, units and defaults are Kafka's topic settings, but for `flush_messages`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment file does not grow beyond this, but for a single larger batch.
    pub segment_bytes: u64,
    /// `segment.ms`: a segment is closed when its first record is this much older than the one to append.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: up to this much is taken off `segment_ms`, differently for each segment.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`: a segment is closed when an index file would grow beyond this.
    pub segment_index_bytes: u64,
    /// `index.interval.bytes`: one index entry for so many bytes of log.
    pub index_interval_bytes: u64,
    /// `retention.ms`; `-1` keeps records for ever.
    pub retention_ms: i64,
    /// `retention.bytes`; `-1` sets no limit.
    pub retention_bytes: i64,
    /// `flush.messages`: records that may wait for a flush. 1 here and 2^63-1 in Kafka: an ack is a promise.
    pub flush_messages: i64,
    /// `flush.ms`: how long a record may wait for a flush.
    pub flush_ms: i64,
    /// `file.delete.delay.ms`: how long a file that is no longer part of the log stays on the disk.
    pub file_delete_delay_ms: u64,
    /// `preallocate`: ask the file system for a segment's whole space when it is created.
    pub preallocate: bool,
    /// `cleanup.policy` contains `delete`: retention by time and size applies.
    pub delete: bool,
    /// `cleanup.policy` contains `compact`.
    pub compact: bool,
    /// What a batch may unpack to when a timestamp is looked for inside it.
    pub max_decompressed_bytes: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3600 * 1000,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            retention_ms: 7 * 24 * 3600 * 1000,
            retention_bytes: -1,
            flush_messages: 1,
            flush_ms: i64::MAX,
            file_delete_delay_ms: 60_000,
            preallocate: false,
            delete: true,
            compact: false,
            max_decompressed_bytes: 128 << 20,
        }
    }
}
