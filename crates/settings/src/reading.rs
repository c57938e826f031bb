//! What the rooms above ask of the settings of a broker that is more than the value of one.

use ottla_wire::InternalTopic;
use ottla_wire::compress::Codec;

use crate::key;
use crate::listeners::{self, Listener};
use crate::settings::BrokerSettings;
use crate::typed::Key;

impl BrokerSettings {
    /// Data directories: `log.dirs`, or else `log.dir`.
    pub fn log_dirs(&self) -> Vec<String> {
        let dirs = self.read(key::LOG_DIRS);
        if dirs.is_empty() { self.read(key::LOG_DIR) } else { dirs }
    }

    /// What to bind for clients. Listeners for controllers are not among them.
    pub fn listeners(&self) -> Vec<Listener> {
        self.client_listeners(key::LISTENERS)
    }

    /// What clients are told: `advertised.listeners`, or else what is bound. An empty host stands for the
    /// host's name.
    pub fn advertised_listeners(&self) -> Vec<Listener> {
        let advertised = self.client_listeners(key::ADVERTISED_LISTENERS);
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
        self.read(key::INTER_BROKER_LISTENER_NAME).map_or_else(first, |name| name.to_uppercase())
    }

    /// Where metrics and health are served: host and port.
    pub fn metrics_listener(&self) -> Option<(String, u16)> {
        listeners::host_and_port(&self.read(key::METRICS_LISTENER)?)
    }

    /// Limits for single addresses that replace `max.connections.per.ip`.
    pub fn max_connections_per_ip_overrides(&self) -> Vec<(String, u32)> {
        listeners::connection_overrides(&self.read(key::MAX_CONNECTIONS_PER_IP_OVERRIDES)).unwrap_or_default()
    }

    /// Replicas of an internal topic. What is set holds; the default (Kafka's 3) adapts to a cluster that has
    /// fewer brokers, so that a single node works without being told so.
    pub fn internal_replication_factor(&self, topic: InternalTopic, brokers: usize) -> i16 {
        let key = match topic {
            InternalTopic::Offsets => key::OFFSETS_TOPIC_REPLICATION_FACTOR,
            InternalTopic::TransactionState => key::TRANSACTION_STATE_LOG_REPLICATION_FACTOR,
        };
        let (factor, brokers) = (self.read(key), i16::try_from(brokers).unwrap_or(i16::MAX).max(1));
        if self.is_set(key) { factor } else { factor.min(brokers) }
    }

    /// `min.insync.replicas` of an internal topic; the default of that for transactions adapts likewise.
    pub fn internal_min_isr(&self, topic: InternalTopic, brokers: usize) -> i32 {
        let brokers = i32::try_from(brokers).unwrap_or(i32::MAX).max(1);
        match topic {
            InternalTopic::Offsets => self.read(key::MIN_INSYNC_REPLICAS),
            InternalTopic::TransactionState => {
                let key = key::TRANSACTION_STATE_LOG_MIN_ISR;
                if self.is_set(key) { self.read(key) } else { self.read(key).min(brokers) }
            }
        }
    }

    /// How the group coordinator packs its batches (`offsets.topic.compression.codec`, a number).
    pub fn offsets_topic_codec(&self) -> Codec {
        let id = u8::try_from(self.read(key::OFFSETS_TOPIC_COMPRESSION_CODEC)).ok();
        // Others are refused with the settings.
        id.and_then(Codec::from_id).unwrap_or(Codec::None)
    }

    /// Whether groups may use the protocol of KIP-848, as far as the settings say.
    pub fn consumer_protocol(&self) -> bool {
        let protocols = self.read(key::GROUP_COORDINATOR_REBALANCE_PROTOCOLS);
        protocols.iter().any(|one| one.eq_ignore_ascii_case("consumer"))
    }

    fn client_listeners(&self, key: Key<Vec<String>>) -> Vec<Listener> {
        let controllers = self.read(key::CONTROLLER_LISTENER_NAMES);
        let mut all = listeners::parse(key.name(), &self.read(key)).unwrap_or_default();
        all.retain(|one| !controllers.iter().any(|name| name.eq_ignore_ascii_case(&one.name)));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
