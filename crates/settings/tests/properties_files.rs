//! `server.properties` as people write it.

use ottla_settings::{BrokerSettings, key};
use ottla_wire::BrokerId;

/// What Kafka's own `config/server.properties` sets, comments aside.
const QUICK_START: &str = "
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=/tmp/kraft-combined-logs
num.partitions=1
num.recovery.threads.per.data.dir=1
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
";

#[test]
fn the_settings_of_kafkas_quick_start_are_accepted() {
    let settings = BrokerSettings::parse(QUICK_START, &[]).unwrap();
    assert_eq!(settings.node_id(), Some(BrokerId(1)));
    let names: Vec<String> = settings.listeners().into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["PLAINTEXT"]);
    let advertised = settings.advertised_listeners();
    assert_eq!((&*advertised[0].host, advertised[0].port, advertised.len()), ("localhost", 9092, 1));
    assert_eq!(settings.inter_broker_listener(), "PLAINTEXT");
    assert_eq!(settings.log_dirs(), ["/tmp/kraft-combined-logs"]);
    let warned: Vec<&str> = settings.warnings().iter().map(|warning| warning.name).collect();
    let of_share_groups =
        ["share.coordinator.state.topic.min.isr", "share.coordinator.state.topic.replication.factor"];
    assert_eq!(warned, of_share_groups, "the others have an effect, and a default is no reason to warn");
}

#[test]
fn overrides_win_and_nothing_need_be_set() {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let overrides = [pair("node.id", "7"), pair("num.partitions", "3")];
    let settings = BrokerSettings::parse("num.partitions=2", &overrides).unwrap();
    assert_eq!((settings.node_id(), settings.read(key::NUM_PARTITIONS)), (Some(BrokerId(7)), 3));
    assert_eq!(settings.with("num.partitions", "5").unwrap().read(key::NUM_PARTITIONS), 5);
    let empty = BrokerSettings::parse("", &[]).unwrap();
    assert_eq!((empty.node_id(), empty.read(key::NUM_PARTITIONS)), (None, 1));
    assert_eq!(empty.listeners()[0].port, 9092);
}

/// What Kafka once had does not keep a broker from starting, and neither does what has no effect here.
#[test]
fn settings_that_kafka_removed_are_skipped_with_a_warning() {
    let text = "zookeeper.connect=a:2181\ninter.broker.protocol.version=3.9\nsuper.users=User:a\nlog.cleaner.threads=2\n\
                num.partitions=3";
    let settings = BrokerSettings::parse(text, &[]).unwrap();
    let warnings: Vec<String> = settings.warnings().iter().map(ToString::to_string).collect();
    let parts = [
        "zookeeper.connect has no effect: Kafka 4.0 removed it",
        "inter.broker.protocol.version has no effect: Kafka 4.0 removed it; the level of metadata.version",
        "super.users has no effect: only an authorizer reads it, and there is none",
        "log.cleaner.threads has no effect: compaction is not carried out yet",
    ];
    assert_eq!(warnings.len(), parts.len(), "{warnings:?}");
    for (warning, part) in warnings.iter().zip(parts) {
        assert!(warning.starts_with(part), "{warning}");
    }
    assert_eq!(settings.read(key::NUM_PARTITIONS), 3);
    assert!(settings.pairs().all(|(name, _)| !name.starts_with("zookeeper")));
}

#[test]
fn settings_that_are_refused_say_why() {
    let cases = [
        ("num.partitons=1", "did you mean num.partitions?"),
        ("zookeeper.conect=localhost", "zookeeper.conect"),
        ("num.partitions=many", "num.partitions"),
        ("num.partitions=0", "at least 1"),
        ("process.roles=broker", "not served yet"),
        ("node.id=1\nbroker.id=2", "node.id is 1"),
        ("controller.quorum.voters=1@a:1,2@b:1", "several nodes"),
        ("node.id=1\ncontroller.quorum.voters=2@a:1", "must be the node itself"),
        ("listeners=PLAINTEXT://:9092,PLAINTEXT://:9093", "comes twice"),
        ("listeners=localhost:9092", "NAME://host:port"),
        ("listeners=SSL://:9092", "only PLAINTEXT"),
        ("listeners=OTHER://:9092", "does not say what listener OTHER speaks"),
        ("listeners=C://:1\ncontroller.listener.names=C", "no listener for clients"),
        ("advertised.listeners=PLAINTEXT://0.0.0.0:9092", "0.0.0.0"),
        ("advertised.listeners=OTHER://a:9092", "not one of listeners"),
        ("inter.broker.listener.name=OTHER", "not one of listeners"),
        ("ssl.client.auth=required", "TLS is not served yet"),
        ("sasl.enabled.mechanisms=PLAIN", "SASL is not served yet"),
        ("authorizer.class.name=x", "not served yet"),
        ("remote.log.storage.system.enable=true", "tiered storage"),
        ("group.share.max.size=5", "not served yet"),
        ("group.consumer.assignors=org.example.Mine", "uniform and range"),
        ("log.retention.ms=0", "-1 (no limit) or at least 1"),
        ("metrics.listener=9404", "host:port"),
        ("max.connections.per.ip.overrides=a", "address:number"),
        ("queued.max.request.bytes=-1", "at least 1048576"),
        ("a=\\u12", "line 1"),
    ];
    for (text, part) in cases {
        let error = BrokerSettings::parse(text, &[]).expect_err(text).to_string();
        assert!(error.contains(part), "{text}: {error:?} should say {part:?}");
    }
    let all = BrokerSettings::parse("a=1\nb=2\nnum.partitions=x", &[]).unwrap_err();
    assert_eq!(all.0.len(), 3, "all that is wrong is told at once: {all}");
}
