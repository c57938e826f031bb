//! Settings of a consumer. Names and defaults are Kafka's; the setting's name stands before each field.

use std::time::Duration;

use crate::offsets::IsolationLevel;

/// `auto.offset.reset`: where to go when there is no position, or the position is outside of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetReset {
    /// To the beginning of the log.
    Earliest,
    /// To its end.
    Latest,
    /// To the first record that is not older than this; to the end if there is none (KIP-1106).
    ByDuration(Duration),
    /// Nowhere: [`crate::Error::OffsetOutOfRange`], or [`crate::Error::NoOffset`] in a group.
    None,
}

/// How a consumer fetches. Time and retry settings of requests are in [`crate::ClientConfig`].
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// `fetch.min.bytes` (1): the broker waits for this much, up to `fetch.max.wait.ms`.
    pub fetch_min_bytes: i32,
    /// `fetch.max.bytes` (50 MiB): most bytes of one answer; a larger first batch comes all the same.
    pub fetch_max_bytes: i32,
    /// `fetch.max.wait.ms` (500 ms).
    pub fetch_max_wait: Duration,
    /// `max.partition.fetch.bytes` (1 MiB): most bytes of one partition in an answer, likewise.
    pub max_partition_fetch_bytes: i32,
    /// `max.poll.records` (500): most records that one `poll` gives.
    pub max_poll_records: usize,
    /// `isolation.level` (read_uncommitted).
    pub isolation_level: IsolationLevel,
    /// `auto.offset.reset` (latest).
    pub auto_offset_reset: OffsetReset,
    /// `check.crcs` (true).
    pub check_crcs: bool,
    /// `client.rack` (empty): where this client is.
    pub client_rack: String,
    /// Most bytes that one compressed batch may unpack to (256 MiB).
    pub decompressed_bytes_max: usize,
}

impl Default for ConsumerConfig {
    fn default() -> ConsumerConfig {
        ConsumerConfig {
            fetch_min_bytes: 1,
            fetch_max_bytes: 52_428_800,
            fetch_max_wait: Duration::from_millis(500),
            max_partition_fetch_bytes: 1_048_576,
            max_poll_records: 500,
            isolation_level: IsolationLevel::ReadUncommitted,
            auto_offset_reset: OffsetReset::Latest,
            check_crcs: true,
            client_rack: String::new(),
            decompressed_bytes_max: 256 << 20,
        }
    }
}
