//! The same thing twice in one request.

use ottla_wire::messages::create_partitions_request::CreatePartitionsTopic;
use ottla_wire::messages::create_topics_request::CreatableTopicConfig;
use ottla_wire::messages::delete_topics_request::DeleteTopicState;
use ottla_wire::messages::describe_configs_request::DescribeConfigsResource;
use ottla_wire::messages::describe_log_dirs_request::DescribableLogDirTopic;
use ottla_wire::messages::describe_topic_partitions_request::TopicRequest as DescribedTopic;
use ottla_wire::messages::metadata_request::MetadataRequestTopic;
use ottla_wire::messages::update_features_request::FeatureUpdateKey;
use ottla_wire::messages::*;

use crate::play::{Play, play};
use crate::requests::{TOPIC, changes, creatable, described, settings_of};

/// Two of the same.
fn twice<T: Clone>(one: &T) -> Vec<T> {
    vec![one.clone(), one.clone()]
}

#[test]
fn repeated_topics() {
    play("repeated_topics", |play| {
        let id = play.topic("t", 2);
        let topic = play.name("t");
        create(play);
        delete(play);
        grow(play, &topic);
        let asked = MetadataRequestTopic { name: Some(topic.as_str().into()), ..Default::default() };
        let by_id = MetadataRequestTopic { topic_id: id, ..Default::default() };
        let all = |topics| MetadataRequest { topics: Some(topics), ..Default::default() };
        play.each("metadata of a topic twice", 0, |_| all(twice(&asked)));
        play.call("metadata by id twice", &all(twice(&by_id)));
        play.call("metadata by name and by id", &all(vec![asked, by_id]));
        let one = DescribedTopic { name: topic.as_str().into() };
        let asked = DescribeTopicPartitionsRequest {
            topics: twice(&one),
            response_partition_limit: 10,
            ..Default::default()
        };
        play.call("describe a topic twice", &asked);
        let dirs = |topics| DescribeLogDirsRequest { topics: Some(topics) };
        let of = |partitions: &[i32]| DescribableLogDirTopic {
            topic: topic.as_str().into(),
            partitions: partitions.to_vec(),
        };
        play.call("log dirs of a topic twice", &dirs(twice(&of(&[0]))));
        play.call("log dirs of a partition twice", &dirs(vec![of(&[0, 0])]));
    });
}

fn create(play: &mut Play) {
    let (new, other) = (play.name("new"), play.name("other"));
    let all = |topics| CreateTopicsRequest { topics, timeout_ms: 10_000, validate_only: false };
    let topics = vec![creatable(&new, 1), creatable(&other, 1), creatable(&new, 2)];
    play.call("create a topic twice", &CreateTopicsRequest { validate_only: true, ..all(topics) });
    play.call("create a topic three times", &all(vec![creatable(&new, 1); 3]));
    let config = CreatableTopicConfig { name: "retention.ms".into(), value: Some("5".into()) };
    let other_value = CreatableTopicConfig { value: Some("6".into()), ..config.clone() };
    let mut topic = creatable(&new, 1);
    topic.configs = vec![config, other_value];
    play.call("create with a setting twice", &all(vec![topic]));
}

fn delete(play: &mut Play) {
    let (name, kept) = (play.name("deleted"), play.name("kept"));
    let id = play.topic("deleted", 1);
    let kept_id = play.topic("kept", 1);
    let by_name = DeleteTopicState { name: Some(name.as_str().into()), ..Default::default() };
    let by_id = DeleteTopicState { topic_id: id, ..Default::default() };
    let kept = DeleteTopicState { name: Some(kept.as_str().into()), ..Default::default() };
    let kept_by_id = DeleteTopicState { topic_id: kept_id, ..Default::default() };
    let absent = DeleteTopicState { name: Some(play.name("absent").as_str().into()), ..Default::default() };
    let absent_id = DeleteTopicState { topic_id: ottla_wire::Uuid([9; 16]), ..Default::default() };
    let all = |topics| DeleteTopicsRequest { topics, timeout_ms: 10_000, ..Default::default() };
    play.call("delete by name twice", &all(twice(&by_name)));
    play.call("delete by id twice", &all(twice(&by_id)));
    play.call("delete by name and by id", &all(vec![by_name.clone(), by_id.clone()]));
    play.call("delete by id and by name", &all(vec![by_id.clone(), by_name.clone()]));
    play.call("delete what is not there twice", &all(twice(&absent)));
    play.call("delete an id that is not there twice", &all(twice(&absent_id)));
    play.call(
        "delete one beside one twice",
        &all(vec![by_name.clone(), kept.clone(), by_name.clone(), absent]),
    );
    play.call("the other is gone", &all(vec![kept, kept_by_id]));
    let old = DeleteTopicsRequest {
        topic_names: vec![name.as_str().into(); 2],
        timeout_ms: 10_000,
        ..Default::default()
    };
    play.call_version("delete by name twice before there were ids", &old, 5);
    play.call("delete once", &all(vec![by_name]));
}

fn grow(play: &mut Play, topic: &str) {
    let to = |count| CreatePartitionsTopic { name: topic.into(), count, assignments: None };
    let absent = CreatePartitionsTopic { name: play.name("absent").as_str().into(), ..to(3) };
    let all = |topics| CreatePartitionsRequest { topics, timeout_ms: 10_000, validate_only: true };
    play.call("add partitions twice", &all(vec![to(3), to(4)]));
    play.call("add partitions three times", &all(vec![to(3), to(4), to(3)]));
    play.call("add partitions to what is not there twice", &all(twice(&absent)));
}

#[test]
fn repeated_settings() {
    play("repeated_settings", |play| {
        play.topic("t", 1);
        let topic = play.name("t");
        let describe = |keys: &[&str]| DescribeConfigsResource {
            configuration_keys: Some(keys.iter().map(|key| (*key).into()).collect()),
            ..described(TOPIC, &topic)
        };
        let all = |resources| DescribeConfigsRequest { resources, ..Default::default() };
        play.call("describe a setting twice", &all(vec![describe(&["retention.ms", "retention.ms"])]));
        play.call("describe a resource twice", &all(twice(&describe(&["retention.ms"]))));
        play.call(
            "describe other settings of a resource",
            &all(vec![describe(&["retention.ms"]), describe(&["flush.ms"])]),
        );
        let resource = |configs: &[(&str, Option<&str>)]| settings_of(&topic, configs);
        let all = |resources| AlterConfigsRequest { resources, validate_only: false };
        let both = [("retention.ms", Some("5")), ("retention.ms", Some("6"))];
        play.ask("replace a setting twice", &all(vec![resource(&both)]), 2);
        let five = resource(&[("retention.ms", Some("5"))]);
        play.ask("replace the settings of a resource twice", &all(twice(&five)), 2);
        let all = |resources| IncrementalAlterConfigsRequest { resources, validate_only: false };
        let resource = |all: &[(&str, i8, Option<&str>)]| changes(TOPIC, &topic, all);
        let five = ("retention.ms", 0, Some("5"));
        play.call("set a setting twice", &all(vec![resource(&[five, ("retention.ms", 0, Some("6"))])]));
        play.call("set and delete a setting", &all(vec![resource(&[five, ("retention.ms", 1, None)])]));
        play.call("set the settings of a resource twice", &all(twice(&resource(&[five]))));
        let absent = play.name("absent");
        play.call(
            "set the settings of what is not there twice",
            &all(twice(&changes(TOPIC, &absent, &[five]))),
        );
        play.call(
            "nothing was set",
            &DescribeConfigsRequest { resources: vec![describe(&["retention.ms"])], ..Default::default() },
        );
        let list =
            |resource_types: &[i8]| ListConfigResourcesRequest { resource_types: resource_types.to_vec() };
        play.call("list a type of resources twice", &list(&[4, 4]));
        let level = |max_version_level| FeatureUpdateKey {
            feature: "group.version".into(),
            max_version_level,
            ..Default::default()
        };
        let update = |feature_updates| UpdateFeaturesRequest {
            feature_updates,
            validate_only: true,
            ..Default::default()
        };
        play.ask("update a feature twice", &update(twice(&level(1))), 2);
    });
}
