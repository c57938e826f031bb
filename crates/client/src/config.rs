//! Settings that every client has. Names and defaults are Kafka's; the setting's name stands before each
//! field.

use std::time::Duration;

use ottla_link::LinkConfig;

use crate::error::Error;

/// How to reach a cluster and how patient to be with it.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// `bootstrap.servers` (required): `host:port` of some brokers, tried in random order until one answers.
    pub bootstrap_servers: Vec<String>,
    /// `client.id` (default: empty): a name for logs and quotas of the broker.
    pub client_id: String,
    /// `request.timeout.ms` (30 s): how long one answer may take. A connection on which one is late is
    /// closed.
    pub request_timeout: Duration,
    /// `default.api.timeout.ms` (60 s): how long a call of the admin client or of the consumer may take with
    /// its retries.
    pub default_api_timeout: Duration,
    /// `metadata.max.age.ms` (5 min): metadata is fetched again after this time even if nothing went wrong.
    pub metadata_max_age: Duration,
    /// `metadata.max.idle.ms` (5 min): a topic that nobody asked for in this time is forgotten.
    pub metadata_max_idle: Duration,
    /// `allow.auto.create.topics` (true): whether asking for a topic that does not exist may create it, if
    /// the broker is set to do so.
    pub allow_auto_create_topics: bool,
    /// `retry.backoff.ms` (100 ms): delay before the first retry; doubles with each further one.
    pub retry_backoff: Duration,
    /// `retry.backoff.max.ms` (1 s): ceiling of that delay.
    pub retry_backoff_max: Duration,
    /// `reconnect.backoff.ms` (50 ms): delay before connecting again after a failed attempt; doubles with
    /// each further one.
    pub reconnect_backoff: Duration,
    /// `reconnect.backoff.max.ms` (1 s): ceiling of that delay.
    pub reconnect_backoff_max: Duration,
    /// `socket.connection.setup.timeout.ms` (10 s): how long one attempt to connect may take.
    pub connection_setup_timeout: Duration,
    /// `connections.max.idle.ms` (9 min): an unused connection is closed after this time.
    pub connections_max_idle: Duration,
    /// Requests that one connection may have unanswered (100). More wait for their turn.
    pub requests_in_flight_max: usize,
    /// The largest answer that is accepted, in bytes (1 GiB). A longer one ends the connection: the peer is
    /// not a broker.
    pub response_bytes_max: usize,
    /// Seed of every random choice (none: from the operating system). The same seed makes the same choices,
    /// also that of a member's id in a group of the consumer protocol: members of one group MUST have
    /// different ones.
    pub seed: Option<u64>,
}

impl Default for ClientConfig {
    fn default() -> ClientConfig {
        let link = LinkConfig::default();
        ClientConfig {
            bootstrap_servers: Vec::new(),
            client_id: link.client_id,
            request_timeout: link.request_timeout,
            default_api_timeout: Duration::from_secs(60),
            metadata_max_age: Duration::from_secs(300),
            metadata_max_idle: Duration::from_secs(300),
            allow_auto_create_topics: true,
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            reconnect_backoff: link.reconnect_backoff,
            reconnect_backoff_max: link.reconnect_backoff_max,
            connection_setup_timeout: link.connection_setup_timeout,
            connections_max_idle: link.connections_max_idle,
            requests_in_flight_max: link.requests_in_flight_max,
            response_bytes_max: link.response_bytes_max,
            seed: None,
        }
    }
}

impl ClientConfig {
    /// The defaults with these servers: `"host:port,host:port"`.
    pub fn new(bootstrap_servers: &str) -> ClientConfig {
        let servers = bootstrap_servers.split(',').map(str::trim).filter(|server| !server.is_empty());
        ClientConfig { bootstrap_servers: servers.map(str::to_owned).collect(), ..ClientConfig::default() }
    }

    /// What of it is about connections.
    pub fn link(&self) -> LinkConfig {
        LinkConfig {
            client_id: self.client_id.clone(),
            request_timeout: self.request_timeout,
            connection_setup_timeout: self.connection_setup_timeout,
            connections_max_idle: self.connections_max_idle,
            reconnect_backoff: self.reconnect_backoff,
            reconnect_backoff_max: self.reconnect_backoff_max,
            requests_in_flight_max: self.requests_in_flight_max,
            response_bytes_max: self.response_bytes_max,
            ..LinkConfig::default()
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let refuse = |name, value: String, reason| Err(Error::Config { name, value, reason });
        if self.bootstrap_servers.is_empty() {
            return refuse("bootstrap.servers", "empty".into(), "name at least one broker as host:port");
        }
        if let Some(server) = self.bootstrap_servers.iter().find(|server| !has_port(server)) {
            return refuse("bootstrap.servers", server.clone(), "each must be host:port");
        }
        if self.requests_in_flight_max == 0 {
            return refuse("requests in flight", "0".into(), "nothing could be sent");
        }
        Ok(())
    }
}

fn has_port(server: &str) -> bool {
    server.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_need_a_port() {
        assert_eq!(ClientConfig::new("a:1, b:2,").bootstrap_servers, ["a:1", "b:2"]);
        assert!(ClientConfig::new("a:1,[::1]:9092").check().is_ok());
        for wrong in ["", "a", "a:", ":9092", "a:99999"] {
            assert!(ClientConfig::new(wrong).check().is_err(), "{wrong:?}");
        }
    }
}
