//! Dynamic settings: altered, described, listed.

use ottla_controller::controller::{describe_configs, list_config_resources};
use ottla_controller::image::{ConfigResource, ResourceKind};
use ottla_settings::TopicConfig;
use ottla_wire::messages::alter_configs_request::{
    AlterConfigsResource as Replaced, AlterableConfig as ReplacedConfig,
};
use ottla_wire::messages::describe_configs_request::DescribeConfigsResource;
use ottla_wire::messages::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult};
use ottla_wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_wire::messages::{
    AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, ListConfigResourcesRequest,
};
use ottla_wire::protocol::ErrorCode;

use crate::world::{World, expect, ids, topic};

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn resource(kind: i8, name: &str, configs: &[(i8, &str, Option<&str>)]) -> AlterConfigsResource {
    let config = |(operation, name, value): &(i8, &str, Option<&str>)| AlterableConfig {
        name: (*name).into(),
        config_operation: *operation,
        value: value.map(Into::into),
    };
    AlterConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configs: configs.iter().map(config).collect(),
    }
}

fn alter(world: &mut World, resource: AlterConfigsResource) -> (ErrorCode, String) {
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let response: IncrementalAlterConfigsResponse = world.ask(request);
    let answer = &response.responses[0];
    (
        ErrorCode::from_code(answer.error_code).unwrap(),
        answer.error_message.as_deref().unwrap_or_default().to_owned(),
    )
}

#[test]
fn what_may_be_altered() {
    let (topic_kind, broker, logger, metrics, group) = (2, 4, 8, 16, 32);
    type Case<'a> = (i8, &'a str, (i8, &'a str, Option<&'a str>), ErrorCode, &'a str);
    let cases: Vec<Case<'_>> = vec![
        (topic_kind, "t", (SET, "retention.ms", Some("5")), ErrorCode::None, ""),
        (topic_kind, "t", (SET, "retention.ms", Some("x")), ErrorCode::InvalidConfig, "retention.ms"),
        (topic_kind, "t", (SET, "segment.bytes", Some("5")), ErrorCode::InvalidConfig, "segment.bytes"),
        (topic_kind, "t", (SET, "no.such", Some("5")), ErrorCode::InvalidConfig, "no.such"),
        (topic_kind, "t", (DELETE, "no.such", None), ErrorCode::InvalidConfig, "no.such"),
        (topic_kind, "t", (SET, "retention.ms", None), ErrorCode::InvalidRequest, "Null value"),
        (topic_kind, "t", (9, "retention.ms", Some("5")), ErrorCode::InvalidRequest, "Unknown operation"),
        (topic_kind, "t", (APPEND, "retention.ms", Some("5")), ErrorCode::InvalidConfig, "not LIST"),
        (
            topic_kind,
            "t",
            (APPEND, "cleanup.policy", Some("shred")),
            ErrorCode::InvalidConfig,
            "compact, delete",
        ),
        (
            topic_kind,
            "t",
            (SET, "remote.storage.enable", Some("true")),
            ErrorCode::InvalidConfig,
            "not served",
        ),
        (topic_kind, "t", (SET, "remote.storage.enable", Some("false")), ErrorCode::None, ""),
        (topic_kind, "none", (SET, "retention.ms", Some("5")), ErrorCode::UnknownTopicOrPartition, "none"),
        (topic_kind, "a b", (SET, "retention.ms", Some("5")), ErrorCode::InvalidTopicException, "a b"),
        (broker, "", (SET, "log.retention.ms", Some("5")), ErrorCode::None, ""),
        (broker, "1", (SET, "log.retention.ms", Some("5")), ErrorCode::None, ""),
        (broker, "9", (SET, "log.retention.ms", Some("5")), ErrorCode::BrokerIdNotRegistered, "9"),
        (broker, "one", (SET, "log.retention.ms", Some("5")), ErrorCode::InvalidRequest, "integer"),
        (
            broker,
            "",
            (SET, "num.partitions", Some("5")),
            ErrorCode::InvalidRequest,
            "dynamically: num.partitions",
        ),
        (broker, "", (SET, "log.segment.bytes", Some("x")), ErrorCode::InvalidRequest, "log.segment.bytes"),
        (broker, "", (SET, "no.such", Some("x")), ErrorCode::InvalidConfig, "no.such"),
        (broker, "", (SET, "num.io.threads", Some("9")), ErrorCode::None, ""),
        (broker, "", (SET, "num.io.threads", Some("many")), ErrorCode::InvalidRequest, "num.io.threads"),
        (broker, "", (SET, "ssl.keystore.type", Some("PEM")), ErrorCode::InvalidRequest, "broker level"),
        (broker, "1", (SET, "ssl.keystore.type", Some("PEM")), ErrorCode::InvalidConfig, "not served"),
        (broker, "1", (SET, "min.insync.replicas", Some("2")), ErrorCode::InvalidConfig, "ELR"),
        (broker, "", (DELETE, "min.insync.replicas", None), ErrorCode::InvalidConfig, "ELR"),
        (broker, "", (SET, "min.insync.replicas", Some("2")), ErrorCode::None, ""),
        (logger, "1", (SET, "root", Some("INFO")), ErrorCode::InvalidRequest, "yet"),
        (metrics, "", (SET, "metrics", Some("")), ErrorCode::InvalidRequest, "empty"),
        (metrics, "m", (SET, "metrics", Some("*")), ErrorCode::InvalidConfig, "not served"),
        (metrics, "m", (SET, "no.such", Some("*")), ErrorCode::InvalidConfig, "no.such"),
        (group, "", (SET, "consumer.session.timeout.ms", Some("50000")), ErrorCode::InvalidRequest, "group"),
        (
            group,
            "g",
            (SET, "consumer.session.timeout.ms", Some("60001")),
            ErrorCode::InvalidConfig,
            "group.consumer.max.session.timeout.ms (60000)",
        ),
        (group, "g", (SET, "consumer.session.timeout.ms", Some("50000")), ErrorCode::None, ""),
        (
            group,
            "g",
            (SET, "share.session.timeout.ms", Some("50000")),
            ErrorCode::InvalidConfig,
            "not served",
        ),
        (99, "x", (SET, "a", Some("b")), ErrorCode::InvalidRequest, "99"),
    ];
    let mut world = World::new(1);
    world.create(topic("t", 1, 1, &[]));
    for (kind, name, config, code, part) in cases {
        let (answer, message) = alter(&mut world, resource(kind, name, &[config]));
        assert_eq!(answer, code, "{config:?}: {message}");
        assert!(message.contains(part), "{message:?} should say {part:?}");
        assert_eq!(world.records.is_empty(), code != ErrorCode::None, "{config:?}");
    }
}

#[test]
fn lists_grow_and_shrink() {
    let mut world = World::new(1);
    world.create(topic("t", 1, 1, &[]));
    let steps = [
        (APPEND, "compact", Some("delete,compact")),
        (APPEND, "compact", Some("delete,compact")),
        (SUBTRACT, "delete", Some("compact")),
        (DELETE, "", None),
    ];
    for (operation, value, expected) in steps {
        let value = (operation != DELETE).then_some(value);
        let (code, message) = alter(&mut world, resource(2, "t", &[(operation, "cleanup.policy", value)]));
        assert_eq!(code, ErrorCode::None, "{message}");
        let own = world.image.config_value(&ConfigResource::topic("t"), "cleanup.policy");
        assert_eq!(own.map(|value| value.as_str()), expected);
    }
}

/// What does nothing here is taken as Kafka takes it: kept and shown, and no error.
#[test]
fn settings_without_effect_are_kept_and_shown() {
    let mut world = World::new(1);
    world.create(topic("t", 1, 1, &[("min.compaction.lag.ms", "5")]));
    let changes =
        [(4, "1", "", "log.cleaner.threads", "2"), (2, "t", "t", "min.cleanable.dirty.ratio", "0.25")];
    for (kind, name, set_on, setting, value) in changes {
        let resources = vec![resource(kind, set_on, &[(SET, setting, Some(value))])];
        let response: IncrementalAlterConfigsResponse =
            world.ask(IncrementalAlterConfigsRequest { resources, validate_only: false });
        assert_eq!((response.responses[0].error_code, &response.responses[0].error_message), (0, &None));
        let shown = describe(&world, kind, name, Some(&[setting])).configs.remove(0);
        assert_eq!(shown.value.as_deref(), Some(value), "{setting}");
    }
    let shown = describe(&world, 2, "t", Some(&["min.compaction.lag.ms"])).configs.remove(0);
    assert_eq!(shown.value.as_deref(), Some("5"));
}

#[test]
fn one_wrong_change_keeps_the_resource_as_it_is() {
    let mut world = World::new(1);
    world.create(topic("t", 1, 1, &[]));
    let both = [(SET, "retention.ms", Some("5")), (SET, "segment.ms", Some("-5"))];
    assert_eq!(alter(&mut world, resource(2, "t", &both)).0, ErrorCode::InvalidConfig);
    let same = [(SET, "retention.ms", Some("5")), (DELETE, "retention.ms", None)];
    assert_eq!(alter(&mut world, resource(2, "t", &same)).0, ErrorCode::InvalidRequest);
    assert_eq!(world.image.config(&ConfigResource::topic("t")), None);
    let one = resource(2, "t", &[(SET, "retention.ms", Some("5"))]);
    let request =
        IncrementalAlterConfigsRequest { resources: vec![one.clone(), one.clone()], validate_only: false };
    let response: IncrementalAlterConfigsResponse = world.ask(request);
    assert!(response.responses.iter().all(|answer| answer.error_code == ErrorCode::InvalidRequest.code()));
    let request = IncrementalAlterConfigsRequest { resources: vec![one], validate_only: true };
    let response: IncrementalAlterConfigsResponse = world.ask(request);
    assert_eq!(response.responses[0].error_code, 0);
    assert!(world.records.is_empty());
}

#[test]
fn alter_configs_replaces_all() {
    let mut world = World::new(1);
    world.create(topic("t", 1, 1, &[("retention.ms", "5"), ("segment.ms", "7")]));
    let replace = |configs: &[(&str, Option<&str>)]| {
        let config = |(name, value): &(&str, Option<&str>)| ReplacedConfig {
            name: (*name).into(),
            value: value.map(Into::into),
        };
        let configs = configs.iter().map(config).collect();
        let resource = Replaced { resource_type: 2, resource_name: "t".into(), configs };
        AlterConfigsRequest { resources: vec![resource], validate_only: false }
    };
    for (configs, code) in [
        (&[("retention.ms", None)][..], ErrorCode::InvalidRequest),
        (&[("no.such", Some("1"))], ErrorCode::InvalidConfig),
        (&[("retention.ms", Some("6")), ("retention.bytes", Some("9"))], ErrorCode::None),
    ] {
        let response: AlterConfigsResponse = world.ask(replace(configs));
        expect(response.responses[0].error_code, code, configs);
    }
    let own = world.image.config(&ConfigResource::topic("t")).unwrap();
    let own: Vec<(&str, &str)> = own.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(own, [("retention.bytes", "9"), ("retention.ms", "6")]);
}

/// KIP-966: a smaller `min.insync.replicas` may make an ISR large enough.
#[test]
fn min_isr_changes_the_elr() {
    let mut world = World::new(3);
    world.place("t", &[1, 2, 3], &[("min.insync.replicas", "2")]);
    assert_eq!(world.grow_isr("t", &[1]), 0);
    assert_eq!(world.partition("t").elr, ids(&[2, 3]));
    alter(&mut world, resource(2, "t", &[(SET, "min.insync.replicas", Some("1"))]));
    assert_eq!(world.partition("t").elr, ids(&[]));
}

/// What several changes of one request lead to together counts, not what each would alone: a member that
/// stayed eligible would miss what the smaller ISR acknowledges.
#[test]
fn min_isr_that_changes_in_two_layers_changes_the_elr() {
    let mut world = World::new(3);
    alter(&mut world, resource(4, "", &[(SET, "min.insync.replicas", Some("2"))]));
    world.place("t", &[1, 2, 3], &[("min.insync.replicas", "2")]);
    assert_eq!(world.grow_isr("t", &[1]), 0);
    assert_eq!(world.partition("t").elr, ids(&[2, 3]));
    let resources = vec![
        resource(2, "t", &[(DELETE, "min.insync.replicas", None)]),
        resource(4, "", &[(SET, "min.insync.replicas", Some("1"))]),
    ];
    let response: IncrementalAlterConfigsResponse =
        world.ask(IncrementalAlterConfigsRequest { resources, validate_only: false });
    assert!(response.responses.iter().all(|one| one.error_code == 0), "{response:?}");
    assert_eq!(world.partition("t").elr, ids(&[]));
}

#[test]
fn layers_of_topic_settings() {
    let mut world = World::with(1, &[("log.retention.minutes", "2"), ("log.retention.hours", "9")]);
    world.create(topic("t", 1, 1, &[]));
    let retention = |world: &World| TopicConfig::effective(&world.image, &world.settings, "t").retention_ms;
    assert_eq!(retention(&world), 120_000);
    alter(&mut world, resource(4, "", &[(SET, "log.retention.ms", Some("30"))]));
    assert_eq!(retention(&world), 30);
    alter(&mut world, resource(4, "1", &[(SET, "log.retention.ms", Some("20"))]));
    assert_eq!(retention(&world), 20);
    assert_eq!(world.settings.with_dynamic(&world.image).set_value("log.retention.ms"), Some("20"));
    alter(&mut world, resource(2, "t", &[(SET, "retention.ms", Some("10"))]));
    assert_eq!(retention(&world), 10);

    let described = describe(&world, 2, "t", Some(&["retention.ms"]));
    let entry = &described.configs[0];
    let synonyms: Vec<(&str, &str, i8)> = entry
        .synonyms
        .iter()
        .map(|one| (one.name.as_str(), one.value.as_deref().unwrap_or("null"), one.source))
        .collect();
    assert_eq!(
        synonyms,
        [
            ("retention.ms", "10", 1),
            ("log.retention.ms", "20", 2),
            ("log.retention.ms", "30", 3),
            ("log.retention.minutes", "2", 4),
            ("log.retention.hours", "9", 4),
            ("log.retention.hours", "168", 5)
        ]
    );
    assert_eq!((entry.value.as_deref(), entry.config_source, entry.config_type), (Some("10"), 1, 5));
}

fn describe(world: &World, kind: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsResult {
    let resource = DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configuration_keys: keys.map(|keys| keys.iter().map(|key| (*key).into()).collect()),
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        include_documentation: true,
    };
    describe_configs(&world.image, &world.settings, &request).results.remove(0)
}

#[test]
fn what_may_be_described() {
    let cases = [
        (2, "t", ErrorCode::None),
        (2, "none", ErrorCode::UnknownTopicOrPartition),
        (2, "a b", ErrorCode::InvalidTopicException),
        (4, "1", ErrorCode::None),
        (4, "", ErrorCode::None),
        (4, "2", ErrorCode::InvalidRequest),
        (4, "one", ErrorCode::InvalidRequest),
        (8, "1", ErrorCode::InvalidRequest),
        (16, "m", ErrorCode::None),
        (16, "", ErrorCode::InvalidRequest),
        (32, "g", ErrorCode::None),
        (32, "", ErrorCode::InvalidRequest),
        (3, "x", ErrorCode::InvalidRequest),
    ];
    let mut world = World::new(1);
    world.create(topic("t", 1, 1, &[]));
    for (kind, name, code) in cases {
        let result = describe(&world, kind, name, None);
        expect(result.error_code, code, (kind, name));
        assert_eq!(result.resource_type, kind);
        assert_eq!(result.configs.is_empty(), code != ErrorCode::None, "{kind} {name}");
    }
    // An empty list of keys is as good as none (as in Kafka).
    assert_eq!(describe(&world, 2, "t", Some(&[])).configs, describe(&world, 2, "t", None).configs);
}

#[test]
fn broker_settings_are_described_with_their_sources() {
    let mut world = World::with(1, &[("num.partitions", "4")]);
    alter(&mut world, resource(4, "", &[(SET, "log.segment.bytes", Some("2097152"))]));
    let all = describe(&world, 4, "1", None);
    let entry = |name: &str| -> DescribeConfigsResourceResult {
        all.configs.iter().find(|one| one.name.as_str() == name).cloned().unwrap()
    };
    let facts = |name: &str| {
        let entry = entry(name);
        (entry.value.map(String::from), entry.config_source, entry.read_only, entry.is_sensitive)
    };
    assert_eq!(facts("num.partitions"), (Some("4".to_owned()), 4, true, false));
    assert_eq!(facts("log.segment.bytes"), (Some("2097152".to_owned()), 3, false, false));
    assert_eq!(facts("log.retention.ms"), (None, 5, false, false));
    assert_eq!(facts("ssl.key.password"), (None, 5, false, true));
    assert_eq!(entry("num.partitions").synonyms.len(), 2);
    assert!(!all.configs.iter().any(|one| one.name.as_str() == "server.max.startup.time.ms"));
    let defaults = describe(&world, 4, "", None);
    let names: Vec<&str> = defaults.configs.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["log.segment.bytes", "min.insync.replicas"]);
}

#[test]
fn topics_are_described_in_full() {
    let mut world = World::new(1);
    world.create(topic("t", 1, 1, &[]));
    let all = describe(&world, 2, "t", None);
    assert_eq!(all.configs.len(), ottla_settings::tables::topics().len() - 1);
    for entry in &all.configs {
        assert!(entry.documentation.is_some() && entry.value.is_some() && entry.config_type > 0, "{entry:?}");
        assert!(!entry.read_only && !entry.is_sensitive);
    }
}

#[test]
fn resources_are_listed() {
    let mut world = World::new(2);
    world.create(topic("t", 1, 1, &[]));
    alter(&mut world, resource(32, "g", &[(SET, "consumer.session.timeout.ms", Some("45000"))]));
    let list = |types: &[i8], version| {
        let request = ListConfigResourcesRequest { resource_types: types.to_vec() };
        let response = list_config_resources(&world.image, &request, version);
        let names =
            response.config_resources.iter().map(|one| (one.resource_type, one.resource_name.to_string()));
        (response.error_code, names.collect::<Vec<_>>())
    };
    assert_eq!(list(&[], 0), (0, vec![]));
    assert_eq!(list(&[2, 32], 1), (0, vec![(2, "t".to_owned()), (32, "g".to_owned())]));
    assert_eq!(list(&[], 1).1.len(), 1 + 2 + 2 + 1);
    assert_eq!(list(&[77], 1).0, ErrorCode::UnsupportedVersion.code());
    assert_eq!(ResourceKind::ALL.len(), 5);
}
