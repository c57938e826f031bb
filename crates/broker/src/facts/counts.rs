//! Counters of the broker and its connection layer.

use std::sync::atomic::{AtomicU64, Ordering};

use ottla_http::metrics::{ApiFacts, NetFacts, RequestFacts};
use ottla_net::NetMetrics;

use crate::metrics::{ApiMetrics, LATENCY_BOUNDS_S, Metrics};

/// Requests and their contents.
pub fn requests(metrics: &Metrics) -> RequestFacts {
    RequestFacts {
        bounds_s: &LATENCY_BOUNDS_S,
        apis: metrics.apis().iter().map(api).collect(),
        produced_bytes: read(&metrics.bytes_in),
        fetched_bytes: read(&metrics.bytes_out),
        batches_refused: read(&metrics.batches_refused),
        offsets_committed: read(&metrics.offsets_committed),
    }
}

fn api(of: &ApiMetrics) -> ApiFacts {
    ApiFacts { name: of.key.name(), buckets: of.buckets().collect(), seconds: of.seconds() }
}

/// Connections.
pub fn net(metrics: &NetMetrics) -> NetFacts {
    NetFacts {
        connections_open: read(&metrics.connections_open),
        connections_accepted: read(&metrics.connections_accepted),
        connections_closed: metrics.closed().collect(),
        connections_refused_per_ip: read(&metrics.connections_refused_per_ip),
        connections_refused_descriptors: read(&metrics.connections_refused_descriptors),
        accept_waits_connections: read(&metrics.accept_waits_connections),
        accept_waits_rate: read(&metrics.accept_waits_rate),
        accept_errors: read(&metrics.accept_errors),
        requests: read(&metrics.requests),
        responses: read(&metrics.responses),
        bytes_in: read(&metrics.bytes_in),
        bytes_out: read(&metrics.bytes_out),
        file_bytes_out: read(&metrics.file_bytes_out),
        reads: read(&metrics.reads),
        writes: read(&metrics.writes),
        cold_reads: read(&metrics.cold_reads),
        admission_waits: read(&metrics.admission_waits),
        mutes: read(&metrics.mutes),
    }
}

fn read(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ottla_wire::protocol::ApiKey;

    use super::*;

    #[test]
    fn requests_are_told_by_bucket() {
        let metrics = Metrics::new(&[ApiKey::ApiVersions]);
        metrics.request_served(ApiKey::ApiVersions, Duration::from_micros(200));
        metrics.request_served(ApiKey::ApiVersions, Duration::from_millis(2));
        metrics.request_served(ApiKey::ApiVersions, Duration::from_secs(7));
        let facts = requests(&metrics);
        let api = &facts.apis[0];
        assert_eq!((api.name, api.seconds, facts.bounds_s.len()), ("ApiVersions", 7.0022, 12));
        assert_eq!(api.buckets, [0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
    }
}
