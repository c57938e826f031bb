//! Names that are no broker settings and stand in files for Kafka all the same: settings that it once had,
//! and those of its authorizer. They are skipped with a warning that says what takes their place, or why
//! nobody reads them.

const ZOOKEEPER: &str =
    "Kafka 4.0 removed it with ZooKeeper; the brokers keep the metadata themselves (process.roles)";
const ADDRESS: &str = "Kafka 3.0 removed it; set listeners";
const ADVERTISED: &str = "Kafka 3.0 removed it; set advertised.listeners";
const QUOTA: &str = "Kafka 3.0 removed it; quotas are set with kafka-configs";
const ENCODER: &str = "Kafka 4.0 removed it; it encrypted what was kept in ZooKeeper";
const SHUTDOWN: &str = "Kafka 4.0 removed it; the controller is asked until it lets the broker go";

/// In the order of their names.
const REMOVED: &[(&str, &str)] = &[
    ("advertised.host.name", ADVERTISED),
    ("advertised.port", ADVERTISED),
    ("auto.include.jmx.reporter", "Kafka 4.0 removed it; set metrics.listener to see metrics"),
    ("broker.id.generation.enable", "Kafka 4.0 removed it; set node.id"),
    ("control.plane.listener.name", "Kafka 4.0 removed it; controllers have controller.listener.names"),
    ("controlled.shutdown.max.retries", SHUTDOWN),
    ("controlled.shutdown.retry.backoff.ms", SHUTDOWN),
    ("delegation.token.master.key", "Kafka 4.0 removed it; its new name is delegation.token.secret.key"),
    ("group.coordinator.new.enable", "Kafka 4.0 removed it; there is one group coordinator"),
    ("host.name", ADDRESS),
    (
        "inter.broker.protocol.version",
        "Kafka 4.0 removed it; the level of metadata.version takes its place (kafka-features)",
    ),
    ("leader.imbalance.per.broker.percentage", "Kafka 4.0 removed it; any imbalance is put right"),
    ("log.message.downconversion.enable", "Kafka 4.0 removed it; no record is converted to an older format"),
    ("log.message.format.version", "Kafka 4.0 removed it; records have the format of Kafka 0.11 and later"),
    (
        "log.message.timestamp.difference.max.ms",
        "Kafka 4.0 removed it; set log.message.timestamp.before.max.ms and log.message.timestamp.after.max.ms",
    ),
    ("offsets.commit.required.acks", "Kafka 4.0 removed it; offsets are committed with acks=all"),
    ("password.encoder.cipher.algorithm", ENCODER),
    ("password.encoder.iterations", ENCODER),
    ("password.encoder.key.length", ENCODER),
    ("password.encoder.keyfactory.algorithm", ENCODER),
    ("password.encoder.old.secret", ENCODER),
    ("password.encoder.secret", ENCODER),
    ("port", ADDRESS),
    ("quota.consumer.default", QUOTA),
    ("quota.producer.default", QUOTA),
    ("reserved.broker.max.id", "Kafka 4.0 removed it; any node.id may be set"),
    ("zookeeper.clientCnxnSocket", ZOOKEEPER),
    ("zookeeper.connect", ZOOKEEPER),
    ("zookeeper.connection.timeout.ms", ZOOKEEPER),
    ("zookeeper.max.in.flight.requests", ZOOKEEPER),
    ("zookeeper.metadata.migration.enable", ZOOKEEPER),
    ("zookeeper.session.timeout.ms", ZOOKEEPER),
    ("zookeeper.set.acl", ZOOKEEPER),
    ("zookeeper.ssl.cipher.suites", ZOOKEEPER),
    ("zookeeper.ssl.client.enable", ZOOKEEPER),
    ("zookeeper.ssl.crl.enable", ZOOKEEPER),
    ("zookeeper.ssl.enabled.protocols", ZOOKEEPER),
    ("zookeeper.ssl.endpoint.identification.algorithm", ZOOKEEPER),
    ("zookeeper.ssl.keystore.location", ZOOKEEPER),
    ("zookeeper.ssl.keystore.password", ZOOKEEPER),
    ("zookeeper.ssl.keystore.type", ZOOKEEPER),
    ("zookeeper.ssl.ocsp.enable", ZOOKEEPER),
    ("zookeeper.ssl.protocol", ZOOKEEPER),
    ("zookeeper.ssl.truststore.location", ZOOKEEPER),
    ("zookeeper.ssl.truststore.password", ZOOKEEPER),
    ("zookeeper.ssl.truststore.type", ZOOKEEPER),
    ("zookeeper.sync.time.ms", ZOOKEEPER),
];

const AUTHORIZER: &str = "only an authorizer reads it, and there is none (authorizer.class.name)";

/// What Kafka's own authorizer reads. In Kafka, too, they do nothing without one.
const OF_AUTHORIZER: &[(&str, &str)] =
    &[("allow.everyone.if.no.acl.found", AUTHORIZER), ("super.users", AUTHORIZER)];

/// The name as it is kept here, and since when it is gone and what takes its place; `None` if Kafka never had
/// it.
pub fn removed(name: &str) -> Option<(&'static str, &'static str)> {
    let found = REMOVED.binary_search_by(|(known, _)| (*known).cmp(name)).ok().map(|at| REMOVED[at]);
    found.or_else(|| OF_AUTHORIZER.iter().copied().find(|(known, _)| *known == name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables;

    #[test]
    fn what_was_removed_is_in_order_and_gone() {
        assert!(REMOVED.is_sorted_by(|(a, _), (b, _)| a < b));
        for (name, why) in REMOVED.iter().chain(OF_AUTHORIZER) {
            assert_eq!(removed(name), Some((*name, *why)));
            assert!(tables::broker(name).is_none(), "{name} is a setting still");
            // What takes its place must be there.
            let named =
                why.split([' ', ';', '(', ')', ',']).filter(|word| word.contains('.') && word.len() > 4);
            for setting in named.filter(|word| *word != "metadata.version") {
                assert!(tables::broker(setting).is_some(), "{name}: {setting}");
            }
        }
        assert_eq!(removed("zookeeper.connects"), None);
    }
}
