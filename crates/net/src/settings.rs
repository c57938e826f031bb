//! The limits of the connection layer.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// The treatment of connections. Every limit that a client can reach is here. Defaults are Kafka's where
/// Kafka has one.
#[derive(Clone, Debug)]
pub struct NetSettings {
    /// The largest request, in bytes (`socket.request.max.bytes`).
    pub request_bytes_max: usize,
    /// The bytes of requests that all connections together may hold, being read or being served
    /// (`queued.max.request.bytes`, which is unlimited in Kafka). See [`crate::admission`] for the rule.
    pub queued_bytes_max: usize,
    /// The bytes of requests after which a connection is not read until some are served.
    pub connection_queued_bytes_max: usize,
    /// The requests of one connection that may be under way (`Responses::Later`) before no more of them is
    /// served (`max.requests.in.flight.per.connection`).
    pub requests_in_flight_max: usize,
    /// The response bytes not yet taken by the peer after which nothing more is served on its connection. One
    /// group of responses may pass it.
    pub response_bytes_pending_max: usize,
    /// How long a connection may be without a moved byte and without requests in flight
    /// (`connections.max.idle.ms`). `None` means forever.
    pub idle_max: Option<Duration>,
    /// How long a peer may leave its responses in the socket. A consumer reads only when it is polled, so
    /// this MUST be more than the `max.poll.interval.ms` of consumers (5 minutes by default).
    pub write_stall_max: Duration,
    /// How long a connection's transport may take to come up (a TLS handshake).
    pub handshake_max: Duration,
    /// How long to wait for a peer in the middle of a large request while others wait for memory. The more
    /// memory such requests take, the shorter, down to a second.
    pub contended_read_max: Duration,
    /// Reads of cold file pages that may be under way at once, all connections together.
    pub cold_reads_max: usize,
    /// SO_SNDBUF in bytes (`socket.send.buffer.bytes`). None: the system's own tuning.
    pub send_buffer_bytes: Option<usize>,
    /// SO_RCVBUF in bytes (`socket.receive.buffer.bytes`). None: the system's own tuning.
    pub receive_buffer_bytes: Option<usize>,
    /// Connections at once that the process has file descriptors for. Beyond it a connection is closed at
    /// once: what is left is for files.
    pub descriptors_max: usize,
    /// How many connections, and how fast.
    pub limits: ConnectionLimits,
}

impl Default for NetSettings {
    fn default() -> NetSettings {
        NetSettings {
            request_bytes_max: 104_857_600,
            queued_bytes_max: 64 << 20,
            connection_queued_bytes_max: 16 << 20,
            requests_in_flight_max: 128,
            response_bytes_pending_max: 2 << 20,
            idle_max: Some(Duration::from_secs(600)),
            write_stall_max: Duration::from_secs(600),
            handshake_max: Duration::from_secs(10),
            contended_read_max: Duration::from_secs(30),
            cold_reads_max: 16,
            send_buffer_bytes: None,
            receive_buffer_bytes: None,
            descriptors_max: usize::MAX,
            limits: ConnectionLimits::default(),
        }
    }
}

/// Limits on connections. They can be changed while the server runs; connections that are open stay.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// Connections at once (`max.connections`). Beyond it nothing is accepted until one closes, as in Kafka.
    pub connections_max: usize,
    /// Connections from one address (`max.connections.per.ip`). Beyond it a connection is closed at once.
    pub per_ip_max: usize,
    /// Exceptions to `per_ip_max` (`max.connections.per.ip.overrides`).
    pub per_ip_overrides: BTreeMap<IpAddr, usize>,
    /// Connections accepted a second (`max.connection.creation.rate`). Beyond it accepting waits.
    pub creation_rate_max: Option<u32>,
}

impl Default for ConnectionLimits {
    fn default() -> ConnectionLimits {
        ConnectionLimits {
            connections_max: i32::MAX as usize,
            per_ip_max: i32::MAX as usize,
            per_ip_overrides: BTreeMap::new(),
            creation_rate_max: None,
        }
    }
}
