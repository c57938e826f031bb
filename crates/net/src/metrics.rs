//! Counters of the connection layer.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::close::{CloseReason, KINDS};

/// Plain counters, one set for each server. They only grow, but for the gauges that say so.
#[derive(Debug, Default)]
pub struct NetMetrics {
    /// Connections open now (gauge).
    pub connections_open: AtomicU64,
    /// Connections accepted and served.
    pub connections_accepted: AtomicU64,
    /// Connections closed at once because of `max.connections.per.ip`.
    pub connections_refused_per_ip: AtomicU64,
    /// Connections closed at once because the descriptors that are left are for files.
    pub connections_refused_descriptors: AtomicU64,
    /// Times that accepting waited for `max.connections`.
    pub accept_waits_connections: AtomicU64,
    /// Times that accepting waited for `max.connection.creation.rate`.
    pub accept_waits_rate: AtomicU64,
    /// Accept calls that failed (out of file descriptors, aborted connections).
    pub accept_errors: AtomicU64,
    /// Connections ended, by reason: see [`NetMetrics::closed`].
    pub connections_closed: [AtomicU64; KINDS.len()],
    /// Requests handed to the service.
    pub requests: AtomicU64,
    /// Responses queued for sending.
    pub responses: AtomicU64,
    /// Bytes received, with length prefixes.
    pub bytes_in: AtomicU64,
    /// Bytes sent, with length prefixes.
    pub bytes_out: AtomicU64,
    /// The part of `bytes_out` that the kernel sent from files.
    pub file_bytes_out: AtomicU64,
    /// Receive calls that brought bytes.
    pub reads: AtomicU64,
    /// Send calls that took bytes.
    pub writes: AtomicU64,
    /// Times that file pages had to be read from the disk before they could be sent.
    pub cold_reads: AtomicU64,
    /// Times that a connection waited for the admission pool.
    pub admission_waits: AtomicU64,
    /// Responses that muted their connection (throttling).
    pub mutes: AtomicU64,
}

impl NetMetrics {
    /// The connections ended by kind of reason; the names are those of [`CloseReason::kind`].
    pub fn closed(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        KINDS.iter().zip(&self.connections_closed).map(|(kind, count)| (*kind, count.load(Relaxed)))
    }

    pub(crate) fn count_closed(&self, reason: &CloseReason) {
        if let Some(count) = self.connections_closed.get(reason.index()) {
            count.fetch_add(1, Relaxed);
        }
    }
}
