//! The broker's counters. Counting is an atomic addition. The text for Prometheus is made on request.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ottla_wire::protocol::ApiKey;

/// Upper bounds of the latency buckets in seconds, from a request served from memory to a long wait.
pub const LATENCY_BOUNDS_S: [f64; 12] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0];

/// Counts since the start of the broker.
pub struct Metrics {
    apis: Vec<ApiMetrics>,
    /// Bytes of batches appended for producers.
    pub bytes_in: AtomicU64,
    /// Bytes of records sent to consumers.
    pub bytes_out: AtomicU64,
    /// Batches that were refused for any reason.
    pub batches_refused: AtomicU64,
    /// Offsets committed by groups, one for each partition.
    pub offsets_committed: AtomicU64,
}

/// The requests of one API, and their times from arrival to answer.
pub struct ApiMetrics {
    pub key: ApiKey,
    micros: AtomicU64,
    /// One more than there are bounds, because the last bucket has none.
    buckets: [AtomicU64; LATENCY_BOUNDS_S.len() + 1],
}

impl Metrics {
    /// Counts requests of `apis`, the served ones.
    pub fn new(apis: &[ApiKey]) -> Metrics {
        Metrics {
            apis: apis.iter().map(|key| ApiMetrics::new(*key)).collect(),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            batches_refused: AtomicU64::new(0),
            offsets_committed: AtomicU64::new(0),
        }
    }

    /// Counts one request.
    pub fn request_served(&self, key: ApiKey, latency: Duration) {
        self.requests_served(key, 1, latency);
    }

    /// Counts `n` requests that were served together.
    pub fn requests_served(&self, key: ApiKey, n: usize, latency: Duration) {
        if let Some(api) = self.apis.iter().find(|api| api.key == key) {
            api.count(n as u64, latency);
        }
    }

    pub fn apis(&self) -> &[ApiMetrics] {
        &self.apis
    }
}

impl ApiMetrics {
    fn new(key: ApiKey) -> ApiMetrics {
        ApiMetrics { key, micros: AtomicU64::new(0), buckets: Default::default() }
    }

    fn count(&self, n: u64, latency: Duration) {
        let seconds = latency.as_secs_f64();
        let bucket = LATENCY_BOUNDS_S.partition_point(|bound| *bound < seconds);
        self.buckets[bucket].fetch_add(n, Ordering::Relaxed);
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros.saturating_mul(n), Ordering::Relaxed);
    }

    /// The sum of all latencies, in seconds.
    pub fn seconds(&self) -> f64 {
        self.micros.load(Ordering::Relaxed) as f64 / 1e6
    }

    /// The requests in each bucket (not cumulative). The bucket without a bound is last.
    pub fn buckets(&self) -> impl Iterator<Item = u64> {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed))
    }
}

/// Adds to a counter.
pub fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Ordering::Relaxed);
}
