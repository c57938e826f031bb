//! The broker settings that the rooms above use, each with its type.

use std::time::Duration;

use ottla_wire::InternalTopic;
use ottla_wire::compress::Codec;

use crate::listeners::{self, Listener};
use crate::settings::BrokerSettings;

/// Declares getters: one line each, `name: kind "setting" /// doc`.
macro_rules! getters {
    ($($(#[$doc:meta])* $getter:ident: $kind:ident = $setting:literal;)*) => {
        impl BrokerSettings {
            $($(#[$doc])* pub fn $getter(&self) -> kind!($kind) { read!(self, $kind, $setting) })*
        }
        #[cfg(test)]
        fn read_all(settings: &BrokerSettings) {
            $(let _ = settings.$getter();)*
        }
    };
}

macro_rules! kind {
    (boolean) => {
        bool
    };
    (int) => {
        i32
    };
    (count) => {
        usize
    };
    (long) => {
        i64
    };
    (millis) => {
        Duration
    };
    (seconds) => {
        Duration
    };
}

macro_rules! read {
    ($self:ident, boolean, $setting:literal) => {
        $self.boolean($setting)
    };
    // An int setting fits: its definition says so.
    ($self:ident, int, $setting:literal) => {
        i32::try_from($self.integer($setting)).unwrap_or(i32::MAX)
    };
    ($self:ident, count, $setting:literal) => {
        usize::try_from($self.integer($setting)).unwrap_or(0)
    };
    ($self:ident, long, $setting:literal) => {
        $self.integer($setting)
    };
    ($self:ident, millis, $setting:literal) => {
        Duration::from_millis(u64::try_from($self.integer($setting)).unwrap_or(0))
    };
    ($self:ident, seconds, $setting:literal) => {
        Duration::from_secs(u64::try_from($self.integer($setting)).unwrap_or(0))
    };
}

getters! {
    auto_create_topics: boolean = "auto.create.topics.enable";
    auto_leader_rebalance: boolean = "auto.leader.rebalance.enable";
    broker_heartbeat_interval: millis = "broker.heartbeat.interval.ms";
    broker_session_timeout: millis = "broker.session.timeout.ms";
    connections_max_idle: millis = "connections.max.idle.ms";
    controlled_shutdown: boolean = "controlled.shutdown.enable";
    default_replication_factor: int = "default.replication.factor";
    delete_topic_enable: boolean = "delete.topic.enable";
    fetch_max_bytes: int = "fetch.max.bytes";
    fetch_session_slots: count = "max.incremental.fetch.session.cache.slots";
    leader_imbalance_check_interval: seconds = "leader.imbalance.check.interval.seconds";
    log_retention_check_interval: millis = "log.retention.check.interval.ms";
    max_connection_creation_rate: int = "max.connection.creation.rate";
    max_connections: count = "max.connections";
    max_connections_per_ip: count = "max.connections.per.ip";
    max_request_partition_size: int = "max.request.partition.size.limit";
    max_requests_in_flight_per_connection: count = "max.requests.in.flight.per.connection";
    message_max_bytes: int = "message.max.bytes";
    metadata_snapshot_max_bytes: long = "metadata.log.max.record.bytes.between.snapshots";
    num_partitions: int = "num.partitions";
    offset_metadata_max_bytes: int = "offset.metadata.max.bytes";
    /// How long a request to a group coordinator waits for its records to be committed.
    offsets_commit_timeout: millis = "offsets.commit.timeout.ms";
    offsets_topic_partitions: int = "offsets.topic.num.partitions";
    offsets_topic_segment_bytes: int = "offsets.topic.segment.bytes";
    partitions_max: count = "partitions.max";
    producer_id_expiration: millis = "producer.id.expiration.ms";
    producer_id_expiration_check_interval: millis = "producer.id.expiration.check.interval.ms";
    /// Bytes of the pool that requests are admitted to.
    queued_max_request_bytes: long = "queued.max.request.bytes";
    replica_lag_time_max: millis = "replica.lag.time.max.ms";
    socket_listen_backlog_size: int = "socket.listen.backlog.size";
    socket_request_max_bytes: count = "socket.request.max.bytes";
    topic_partitions_max: count = "topic.partitions.max";
    transaction_topic_partitions: int = "transaction.state.log.num.partitions";
    transaction_topic_segment_bytes: int = "transaction.state.log.segment.bytes";
    unclean_leader_election_interval: millis = "unclean.leader.election.interval.ms";
}

impl BrokerSettings {
    pub fn rack(&self) -> Option<&str> {
        self.get("broker.rack")
    }

    /// Data directories: `log.dirs`, or else `log.dir`.
    pub fn log_dirs(&self) -> Vec<String> {
        let dirs = self.list("log.dirs");
        if dirs.is_empty() { self.list("log.dir") } else { dirs }
    }

    /// What to bind for clients. Listeners for controllers are not among them.
    pub fn listeners(&self) -> Vec<Listener> {
        self.client_listeners("listeners")
    }

    /// What clients are told: `advertised.listeners`, or else what is bound. An empty host stands for the
    /// host's name.
    pub fn advertised_listeners(&self) -> Vec<Listener> {
        let advertised = self.client_listeners("advertised.listeners");
        let bound = self.listeners();
        // A listener that is not advertised is known by its own address.
        let named = |one: &Listener| advertised.iter().find(|other| other.name == one.name).cloned();
        let routable = |mut one: Listener| {
            if matches!(&*one.host, "0.0.0.0" | "::") {
                one.host.clear();
            }
            one
        };
        bound.into_iter().map(|one| named(&one).unwrap_or_else(|| routable(one))).collect()
    }

    /// The listener that brokers use among themselves.
    pub fn inter_broker_listener(&self) -> String {
        let first = || self.listeners().into_iter().next().map(|one| one.name).unwrap_or_default();
        self.get("inter.broker.listener.name").map_or_else(first, str::to_uppercase)
    }

    /// Where metrics and health are served: host and port.
    pub fn metrics_listener(&self) -> Option<(String, u16)> {
        listeners::host_and_port(self.get("metrics.listener")?.trim())
    }

    /// Limits for single addresses that replace `max.connections.per.ip`.
    pub fn max_connections_per_ip_overrides(&self) -> Vec<(String, u32)> {
        let text = self.get("max.connections.per.ip.overrides").unwrap_or_default();
        listeners::connection_overrides(text).unwrap_or_default()
    }

    /// Replicas of an internal topic. What is set holds; the default (Kafka's 3) adapts to a cluster that has
    /// fewer brokers, so that a single node works without being told so.
    pub fn internal_replication_factor(&self, topic: InternalTopic, brokers: usize) -> i16 {
        self.adapted(replication(topic).0, brokers)
    }

    /// `min.insync.replicas` of an internal topic; the default adapts likewise.
    pub fn internal_min_isr(&self, topic: InternalTopic, brokers: usize) -> i16 {
        match replication(topic).1 {
            Some(name) => self.adapted(name, brokers),
            None => i16::try_from(self.integer("min.insync.replicas")).unwrap_or(i16::MAX),
        }
    }

    /// How the group coordinator packs its batches (`offsets.topic.compression.codec`, a number).
    pub fn offsets_topic_codec(&self) -> Codec {
        let id = u8::try_from(self.integer("offsets.topic.compression.codec")).ok();
        // Others are refused with the settings.
        id.and_then(Codec::from_id).unwrap_or(Codec::None)
    }

    /// Whether groups may use the protocol of KIP-848, as far as the settings say.
    pub fn consumer_protocol(&self) -> bool {
        let protocols = self.list("group.coordinator.rebalance.protocols");
        protocols.iter().any(|one| one.eq_ignore_ascii_case("consumer"))
    }

    fn adapted(&self, name: &'static str, brokers: usize) -> i16 {
        let value = i16::try_from(self.integer(name)).unwrap_or(i16::MAX);
        let brokers = i16::try_from(brokers).unwrap_or(i16::MAX).max(1);
        if self.set_value(name).is_some() { value } else { value.min(brokers) }
    }

    fn client_listeners(&self, setting: &'static str) -> Vec<Listener> {
        let controllers = self.list("controller.listener.names");
        let mut all = listeners::parse(setting, self.get(setting).unwrap_or_default()).unwrap_or_default();
        all.retain(|one| !controllers.iter().any(|name| name.eq_ignore_ascii_case(&one.name)));
        all
    }
}

/// The settings of an internal topic's replication factor and its minimal ISR.
fn replication(topic: InternalTopic) -> (&'static str, Option<&'static str>) {
    match topic {
        InternalTopic::Offsets => ("offsets.topic.replication.factor", None),
        InternalTopic::TransactionState => {
            ("transaction.state.log.replication.factor", Some("transaction.state.log.min.isr"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_getter_has_a_value_by_default() {
        read_all(&BrokerSettings::default());
    }

    #[test]
    fn internal_topics_adapt_unless_told() {
        let default = BrokerSettings::default();
        assert_eq!(default.internal_replication_factor(InternalTopic::Offsets, 1), 1);
        assert_eq!(default.internal_replication_factor(InternalTopic::Offsets, 5), 3);
        assert_eq!(default.internal_min_isr(InternalTopic::TransactionState, 1), 1);
        assert_eq!(default.internal_min_isr(InternalTopic::TransactionState, 3), 2);
        let told = BrokerSettings::from_pairs([("offsets.topic.replication.factor", "2")]).unwrap();
        assert_eq!(told.internal_replication_factor(InternalTopic::Offsets, 1), 2);
    }
}
