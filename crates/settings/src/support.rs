//! Which settings do something here. The one table to edit when more of Kafka is served.
//!
//! A default is always accepted: it describes what happens. Any other value of a setting that is not served
//! is refused with the reason, so that nobody relies on something that is not there.

use std::fmt::{self, Display};

use crate::definition::Definition;
use crate::dynamic::ConfigMap;
use crate::error::ConfigError;
use crate::tables::Table;

/// What becomes of a value other than the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    Served,
    /// Accepted with a warning: it has no effect, and none is missed.
    NoEffect(&'static str),
    Refused(&'static str),
}

/// A setting that was accepted and has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub name: &'static str,
    pub why: &'static str,
}

impl Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has no effect: {}", self.name, self.why)
    }
}

use Support::{NoEffect, Refused, Served};

const JVM: &str =
    "it tunes the threads, buffers or metrics of Kafka's own process; there is nothing like it to tune here";
const ONE_NODE: &str = "it takes effect between nodes, and clusters of several nodes are not served yet";
const SHARE: &str = "share groups are not served yet";
const STREAMS: &str = "streams groups are not served yet";
const TLS: &str = "TLS is not served yet";
const SASL: &str = "SASL is not served yet";
const REMOTE: &str = "tiered storage is not served yet";
const QUOTAS: &str = "quotas are not served yet";
const JAVA: &str = "it names a Java class, and none can be loaded here";
const COMPACTION: &str = "compaction is not carried out yet";
const NOT_YET: &str = "it is not served yet";

/// Broker settings: a name, or a prefix that ends in `*`. The first that fits holds; one that fits nothing is
/// refused.
const BROKER: &[(&str, Support)] = &[
    ("add.partitions.to.txn.retry.backoff.*", Served),
    ("advertised.listeners", Served),
    ("alter.config.policy.class.name", Refused(JAVA)),
    ("alter.log.dirs.replication.quota.*", Refused(QUOTAS)),
    ("authorizer.class.name", Refused("authorization is not served yet")),
    ("auto.create.topics.enable", Served),
    ("auto.leader.rebalance.enable", Served),
    ("background.threads", NoEffect(JVM)),
    ("broker.*", Served),
    ("client.quota.callback.class", Refused(JAVA)),
    ("compression.*", Served),
    ("config.providers", Refused(JAVA)),
    ("connection.failed.authentication.delay.ms", Refused(SASL)),
    ("connections.max.idle.ms", Served),
    ("connections.max.reauth.ms", Refused(SASL)),
    ("controlled.shutdown.enable", Served),
    ("controller.listener.names", Served),
    ("controller.performance.*", NoEffect(JVM)),
    // Which nodes there are is checked with the settings together.
    ("controller.quorum.voters", Served),
    ("controller.quorum.bootstrap.servers", Served),
    ("controller.quorum.*", NoEffect(ONE_NODE)),
    ("controller.quota.*", Refused(QUOTAS)),
    ("controller.socket.timeout.ms", NoEffect(ONE_NODE)),
    ("create.topic.policy.class.name", Refused(JAVA)),
    ("default.replication.factor", Served),
    ("delegation.token.*", Refused("delegation tokens are not served yet")),
    ("delete.records.purgatory.*", NoEffect(JVM)),
    ("delete.topic.enable", Served),
    ("fetch.max.bytes", Served),
    ("fetch.purgatory.*", NoEffect(JVM)),
    ("follower.fetch.last.tiered.offset.enable", Refused(REMOTE)),
    ("group.coordinator.threads", NoEffect(JVM)),
    ("group.coordinator.background.threads", NoEffect(JVM)),
    (
        "group.coordinator.append.linger.ms",
        NoEffect("records that come together are written together, and none waits for more to come"),
    ),
    ("group.coordinator.cached.buffer.max.bytes", NoEffect(JVM)),
    ("group.share.*", Refused(SHARE)),
    ("group.streams.*", Refused(STREAMS)),
    ("group.*", Served),
    ("initial.broker.registration.timeout.ms", NoEffect(ONE_NODE)),
    ("inter.broker.listener.name", Served),
    ("kafka.metrics.*", NoEffect(JVM)),
    ("leader.imbalance.check.interval.seconds", Served),
    ("listener.security.protocol.map", Served),
    ("listeners", Served),
    ("log.cleaner.*", NoEffect(COMPACTION)),
    ("log.dir.failure.timeout.ms", NoEffect(ONE_NODE)),
    (
        "log.flush.offset.checkpoint.interval.ms",
        NoEffect("checkpoints are written as often as start-up time asks for"),
    ),
    (
        "log.flush.start.offset.checkpoint.interval.ms",
        NoEffect("checkpoints are written as often as start-up time asks for"),
    ),
    ("log.initial.task.delay.ms", NoEffect(JVM)),
    ("log.local.*", Refused(REMOTE)),
    ("log.*", Served),
    ("max.connection*", Served),
    ("max.incremental.fetch.session.cache.slots", Served),
    ("max.request.partition.size.limit", Served),
    ("max.requests.in.flight.per.connection", Served),
    ("message.max.bytes", Served),
    ("metadata.log.max.record.bytes.between.snapshots", Served),
    ("metadata.log.dir", Refused("the metadata log is kept in the data directory")),
    (
        "metadata.*",
        NoEffect(
            "the metadata log is kept in another form than Kafka's: as one snapshot and what came after",
        ),
    ),
    ("metric.reporters", NoEffect(JVM)),
    ("metrics.listener", Served),
    ("metrics.*", NoEffect(JVM)),
    ("min.insync.replicas", Served),
    ("node.id", Served),
    ("num.partitions", Served),
    ("num.recovery.threads.per.data.dir", Served),
    ("num.replica.*", NoEffect(ONE_NODE)),
    ("num.*", NoEffect(JVM)),
    ("offsets.load.buffer.size", NoEffect(JVM)),
    ("offset*", Served),
    ("partitions.max", Served),
    ("principal.builder.class", Refused(JAVA)),
    ("process.roles", Served),
    ("producer.id.expiration.*", Served),
    ("producer.purgatory.*", NoEffect(JVM)),
    ("queued.max.request.bytes", Served),
    ("queued.max.requests", NoEffect(JVM)),
    ("quota.window.*", Refused(QUOTAS)),
    ("remote.*", Refused(REMOTE)),
    ("replica.lag.time.max.ms", Served),
    (
        "replica.high.watermark.checkpoint.interval.ms",
        NoEffect("checkpoints are written as often as start-up time asks for"),
    ),
    ("replica.selector.class", Refused(JAVA)),
    ("replica.*", NoEffect(ONE_NODE)),
    ("replication.quota.*", Refused(QUOTAS)),
    ("request.timeout.ms", NoEffect(ONE_NODE)),
    ("sasl.*", Refused(SASL)),
    ("security.inter.broker.protocol", Refused(TLS)),
    ("security.providers", Refused(JAVA)),
    ("server.max.startup.time.ms", NoEffect(JVM)),
    ("share.coordinator.threads", NoEffect(JVM)),
    // Kafka's own server.properties sets these.
    ("share.coordinator.state.topic.*", NoEffect(SHARE)),
    ("share.*", Refused(SHARE)),
    ("socket.connection.setup.*", NoEffect(ONE_NODE)),
    ("socket.listen.backlog.size", Served),
    ("socket.receive.buffer.bytes", Served),
    ("socket.request.max.bytes", Served),
    ("socket.send.buffer.bytes", Served),
    ("ssl.*", Refused(TLS)),
    ("telemetry.max.bytes", Refused("client telemetry is not served yet")),
    ("topic.partitions.max", Served),
    ("transaction.state.log.load.buffer.size", NoEffect(JVM)),
    (
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        NoEffect("a transaction is aborted when its time is over: nothing looks for such at intervals"),
    ),
    (
        "transaction.two.phase.commit.enable",
        Refused("it needs version 6 of InitProducerId, which Kafka 4.3 has not released (KIP-939)"),
    ),
    ("transaction*", Served),
    ("unclean.leader.election.*", Served),
];

/// Topic settings that are not served; all others are.
const TOPIC: &[(&str, Support)] = &[
    ("delete.retention.ms", NoEffect(COMPACTION)),
    ("max.compaction.lag.ms", NoEffect(COMPACTION)),
    ("min.cleanable.dirty.ratio", NoEffect(COMPACTION)),
    ("min.compaction.lag.ms", NoEffect(COMPACTION)),
    ("follower.replication.throttled.replicas", Refused("throttled replication is not served yet")),
    ("leader.replication.throttled.replicas", Refused("throttled replication is not served yet")),
    ("internal.*", Refused("it is for Kafka's own tests")),
    ("local.*", Refused(REMOTE)),
    ("remote.*", Refused(REMOTE)),
    ("*", Served),
];

const GROUP: &[(&str, Support)] =
    &[("share.*", Refused(SHARE)), ("streams.*", Refused(STREAMS)), ("*", Served)];

const CLIENT_METRICS: &[(&str, Support)] = &[("*", Refused("client telemetry is not served yet"))];

/// What becomes of a value of `name` that is not its default.
pub fn support(table: Table, name: &str) -> Support {
    let rows = match table {
        Table::Broker => BROKER,
        Table::Topic => TOPIC,
        Table::Group => GROUP,
        Table::ClientMetrics => CLIENT_METRICS,
    };
    let fits = |pattern: &str| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    };
    rows.iter().find(|(pattern, _)| fits(pattern)).map_or(Refused(NOT_YET), |(_, support)| *support)
}

/// Refuses `value` (which MUST be of the right type) if it asks for what is not served; else the warning, if
/// one is due.
pub fn check(
    table: Table,
    definition: &Definition,
    value: &str,
) -> Result<Option<&'static str>, ConfigError> {
    if is_default(definition, value) {
        return Ok(None);
    }
    match support(table, definition.name) {
        Served => Ok(None),
        NoEffect(why) => Ok(Some(why)),
        Refused(reason) => {
            let value = if definition.is_sensitive() { "[hidden]".to_owned() } else { value.to_owned() };
            Err(ConfigError::NotServed { name: definition.name, value, reason })
        }
    }
}

/// Of the settings `own` that a resource has of its own, those that do nothing.
pub fn without_effect(table: Table, own: &ConfigMap) -> Vec<Warning> {
    let warning = |name: &str, value: &str| {
        let definition = table.known(name).ok()?;
        let why = check(table, definition, value).ok()??;
        Some(Warning { name: definition.name, why })
    };
    own.iter().filter_map(|(name, value)| warning(name, value)).collect()
}

fn is_default(definition: &Definition, value: &str) -> bool {
    match definition.default_text() {
        // Compared as values: `TRUE` is `true`, `1.0` is `1`.
        Some(default) => definition.parse(value).ok() == definition.parse(default).ok(),
        None => value.trim().is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables;

    #[test]
    fn every_pattern_fits_a_setting() {
        for (pattern, _) in BROKER {
            let found = tables::brokers().iter().any(|definition| match pattern.strip_suffix('*') {
                Some(prefix) => definition.name.starts_with(prefix),
                None => definition.name == *pattern,
            });
            assert!(found, "{pattern}");
        }
    }

    #[test]
    fn what_does_nothing_is_named_among_what_is_set() {
        let own: ConfigMap = [
            ("min.cleanable.dirty.ratio", "0.1"),
            ("min.compaction.lag.ms", "0"),
            ("retention.ms", "1000"),
            ("some.older.setting", "1"),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .into();
        let warnings = without_effect(Table::Topic, &own);
        assert_eq!(warnings, [Warning { name: "min.cleanable.dirty.ratio", why: COMPACTION }]);
    }

    #[test]
    fn what_is_not_served_is_refused_unless_it_is_the_default() {
        let check = |name: &str, value: &str| check(Table::Broker, tables::broker(name).unwrap(), value);
        assert_eq!(check("ssl.client.auth", "none"), Ok(None));
        assert!(matches!(
            check("ssl.client.auth", "required"),
            Err(ConfigError::NotServed { reason: TLS, .. })
        ));
        assert_eq!(check("num.io.threads", "8"), Ok(None));
        assert_eq!(check("num.io.threads", "16"), Ok(Some(JVM)));
        assert!(check("ssl.key.password", "secret").unwrap_err().to_string().contains("[hidden]"));
        assert!(check("unstable.api.versions.enable", "true").is_err());
    }
}
