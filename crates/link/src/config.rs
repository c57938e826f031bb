//! Settings of connections. Names and defaults are Kafka's; the setting's name stands before each field.

use std::time::Duration;

/// How to connect, and how patient to be.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// `client.id` (empty): a name for logs and quotas of the broker.
    pub client_id: String,
    /// `request.timeout.ms` (30 s): how long a request may go unanswered. A connection on which one is late
    /// is closed.
    pub request_timeout: Duration,
    /// `socket.connection.setup.timeout.ms` (10 s): how long one attempt to connect may take, all addresses
    /// of a name together.
    pub connection_setup_timeout: Duration,
    /// `connections.max.idle.ms` (9 min): an unused connection is closed after this time.
    pub connections_max_idle: Duration,
    /// `reconnect.backoff.ms` (50 ms): delay before connecting again after a failed attempt; doubles with
    /// each further one.
    pub reconnect_backoff: Duration,
    /// `reconnect.backoff.max.ms` (1 s): ceiling of that delay.
    pub reconnect_backoff_max: Duration,
    /// `receive.buffer.bytes` (none: the system sizes it): for connections over long distances, or with large
    /// answers.
    pub receive_buffer_bytes: Option<u32>,
    /// Requests that one connection may have unanswered (100). More wait for their turn. MUST be at least 1.
    pub requests_in_flight_max: usize,
    /// The largest answer that is accepted, in bytes (1 GiB). A longer one ends the connection: the peer is
    /// not a broker.
    pub response_bytes_max: usize,
}

impl Default for LinkConfig {
    fn default() -> LinkConfig {
        LinkConfig {
            client_id: String::new(),
            request_timeout: Duration::from_secs(30),
            connection_setup_timeout: Duration::from_secs(10),
            connections_max_idle: Duration::from_secs(540),
            reconnect_backoff: Duration::from_millis(50),
            reconnect_backoff_max: Duration::from_secs(1),
            receive_buffer_bytes: None,
            requests_in_flight_max: 100,
            response_bytes_max: 1 << 30,
        }
    }
}
