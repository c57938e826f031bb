//! Creating, growing and deleting topics: every answer.

use crate::world::{World, expect, ids, topic};
use ottla_controller::image::ConfigResource;
use ottla_wire::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use ottla_wire::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use ottla_wire::messages::delete_topics_request::DeleteTopicState;
use ottla_wire::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse,
};
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerId, Uuid};

fn assigned(name: &str, partitions: &[(i32, &[i32])]) -> CreatableTopic {
    let assignment = |(index, brokers): &(i32, &[i32])| CreatableReplicaAssignment {
        partition_index: *index,
        broker_ids: brokers.to_vec(),
    };
    CreatableTopic { assignments: partitions.iter().map(assignment).collect(), ..topic(name, -1, -1, &[]) }
}

#[test]
fn create_topics_refuses() {
    let long = "x".repeat(250);
    let cases: Vec<(CreatableTopic, ErrorCode, &str)> = vec![
        (topic("", 1, 1, &[]), ErrorCode::InvalidTopicException, "empty string"),
        (topic("..", 1, 1, &[]), ErrorCode::InvalidTopicException, "'..' is not allowed"),
        (topic("a b", 1, 1, &[]), ErrorCode::InvalidTopicException, "'a b' contains"),
        (topic("\u{e4}", 1, 1, &[]), ErrorCode::InvalidTopicException, "contains"),
        (topic(&long, 1, 1, &[]), ErrorCode::InvalidTopicException, "longer than"),
        (topic("taken.name", 1, 1, &[]), ErrorCode::TopicAlreadyExists, "already exists"),
        (
            topic("taken_name", 1, 1, &[]),
            ErrorCode::InvalidTopicException,
            "collides with existing topic: taken.name",
        ),
        (topic("__cluster_metadata", 1, 1, &[]), ErrorCode::InvalidRequest, "prohibited"),
        (topic("t", 0, 1, &[]), ErrorCode::InvalidPartitions, "non-positive"),
        (topic("t", -2, 1, &[]), ErrorCode::InvalidPartitions, "non-positive"),
        (topic("t", 1, 0, &[]), ErrorCode::InvalidReplicationFactor, "non-positive"),
        (topic("t", 1, 4, &[]), ErrorCode::InvalidReplicationFactor, "only 3 broker(s)"),
        (topic("t", 11, 1, &[]), ErrorCode::InvalidPartitions, "topic.partitions.max"),
        (topic("t", 10, 1, &[]), ErrorCode::PolicyViolation, "partitions.max"),
        (topic("t", 1, 1, &[("no.such", "1")]), ErrorCode::InvalidConfig, "no.such"),
        (topic("t", 1, 1, &[("retention.md", "1")]), ErrorCode::InvalidConfig, "did you mean retention.ms?"),
        (topic("t", 1, 1, &[("segment.bytes", "1024")]), ErrorCode::InvalidConfig, "at least 1048576"),
        (topic("t", 1, 1, &[("remote.storage.enable", "true")]), ErrorCode::InvalidConfig, "not served yet"),
        (
            topic("t", 1, 1, &[("retention.ms", "1"), ("retention.ms", "1")]),
            ErrorCode::InvalidConfig,
            "twice",
        ),
        (
            topic("t", 1, 1, &[("min.compaction.lag.ms", "9"), ("max.compaction.lag.ms", "5")]),
            ErrorCode::InvalidConfig,
            "more than max.compaction.lag.ms",
        ),
        (
            CreatableTopic { num_partitions: 1, ..assigned("t", &[(0, &[1])]) },
            ErrorCode::InvalidRequest,
            "numPartitions was not set to -1",
        ),
        (
            CreatableTopic { replication_factor: 1, ..assigned("t", &[(0, &[1])]) },
            ErrorCode::InvalidRequest,
            "replication factor was not set to -1",
        ),
        (assigned("t", &[(0, &[1]), (0, &[1])]), ErrorCode::InvalidReplicaAssignment, "multiple manual"),
        (assigned("t", &[(0, &[1]), (2, &[1])]), ErrorCode::InvalidReplicaAssignment, "consecutive"),
        (assigned("t", &[(1, &[1])]), ErrorCode::InvalidReplicaAssignment, "consecutive"),
        (assigned("t", &[(0, &[])]), ErrorCode::InvalidReplicaAssignment, "empty replica list"),
        (assigned("t", &[(0, &[1, 1])]), ErrorCode::InvalidReplicaAssignment, "same broker twice"),
        (assigned("t", &[(0, &[9])]), ErrorCode::InvalidReplicaAssignment, "no such broker"),
        (assigned("t", &[(0, &[1, 2]), (1, &[1])]), ErrorCode::InvalidReplicaAssignment, "not consistent"),
        (assigned("t", &[(0, &[3])]), ErrorCode::InvalidReplicaAssignment, "fenced"),
    ];
    let mut world = World::with(3, &[("topic.partitions.max", "10"), ("partitions.max", "10")]);
    world.create(topic("taken.name", 1, 1, &[]));
    world.fence(3);
    for (asked, code, part) in cases {
        let response = world.create(asked.clone());
        let result = &response.topics[0];
        expect(result.error_code, code, &asked);
        let message = result.error_message.as_deref().unwrap_or_default();
        assert!(message.contains(part), "{message:?} should say {part:?}");
        assert!(world.records.is_empty(), "{asked:?}");
        assert_eq!((result.num_partitions, result.replication_factor), (-1, -1));
    }
}

/// A topic's partitions come into being in one entry of the metadata log, which is bounded.
#[test]
fn partitions_that_a_topic_gets_at_once() {
    let mut world = World::new(1);
    let response = world.create(topic("t", 10_001, 1, &[]));
    expect(response.topics[0].error_code, ErrorCode::PolicyViolation, &response.topics[0].error_message);
    world.create(topic("t", 2, 1, &[]));
    let topics = vec![CreatePartitionsTopic { name: "t".into(), count: 10_003, assignments: None }];
    let response: CreatePartitionsResponse =
        world.ask(CreatePartitionsRequest { topics, ..Default::default() });
    expect(response.results[0].error_code, ErrorCode::PolicyViolation, &response);
}

/// A broker that cannot open the files of more partitions does not get them. Of others nobody knows.
#[test]
fn descriptors_bound_the_partitions_of_a_broker_alone() {
    let mut alone = World::new(1);
    alone.create(topic("t", 10_000, 1, &[]));
    let response = alone.create(topic("u", 5_001, 1, &[]));
    let result = &response.topics[0];
    expect(result.error_code, ErrorCode::PolicyViolation, result);
    assert!(result.error_message.as_deref().unwrap_or_default().contains("ulimit -n"), "{result:?}");
    expect(
        alone.create(topic("u", 5_000, 1, &[])).topics[0].error_code,
        ErrorCode::None,
        "what there is room for",
    );
    let topics = vec![CreatePartitionsTopic { name: "u".into(), count: 5_001, assignments: None }];
    let response: CreatePartitionsResponse =
        alone.ask(CreatePartitionsRequest { topics, ..Default::default() });
    expect(response.results[0].error_code, ErrorCode::PolicyViolation, &response);
    let mut two = World::new(2);
    two.create(topic("t", 10_000, 1, &[]));
    expect(two.create(topic("u", 5_001, 1, &[])).topics[0].error_code, ErrorCode::None, "two brokers");
}

/// The folder of each partition has a name that file systems take: 255 bytes with the partition's number.
#[test]
fn partitions_whose_folders_have_too_long_a_name() {
    let mut world = World::with(1, &[("topic.partitions.max", "1000000"), ("partitions.max", "1000000")]);
    let long = "x".repeat(249);
    world.create(topic(&long, 1, 1, &[]));
    let more = |world: &mut World, count| {
        let topics = vec![CreatePartitionsTopic { name: long.as_str().into(), count, assignments: None }];
        let response: CreatePartitionsResponse =
            world.ask(CreatePartitionsRequest { topics, validate_only: true, ..Default::default() });
        (response.results[0].error_code, response.results[0].error_message.clone().unwrap_or_default())
    };
    let (code, why) = more(&mut world, 100_001);
    assert!(code == ErrorCode::InvalidPartitions.code() && why.contains("too long"), "{code} {why}");
    // What it may have in all, but not at once.
    assert_eq!(more(&mut world, 100_000).0, ErrorCode::PolicyViolation.code());
}

#[test]
fn create_topics_needs_a_broker() {
    let mut world = World::new(1);
    world.fence(1);
    let response = world.create(topic("t", 1, 1, &[]));
    expect(response.topics[0].error_code, ErrorCode::InvalidReplicationFactor, &response);
}

#[test]
fn a_topic_leads_at_once_and_its_settings_are_told() {
    let mut world = World::with(1, &[("log.retention.hours", "1"), ("num.partitions", "3")]);
    let response = world.create(topic("t", -1, -1, &[("cleanup.policy", "compact")]));
    let result = &response.topics[0];
    assert_eq!((result.error_code, result.num_partitions, result.replication_factor), (0, 3, 1));
    let created = world.image.topic("t").unwrap();
    assert_eq!(result.topic_id, created.id);
    assert_eq!(created.partition_count(), 3);
    assert!(created.partitions.values().all(|one| one.leader == Some(BrokerId(1)) && one.isr == ids(&[1])));
    assert!(world.delta.topics_created.contains(&created.id));
    assert_eq!(world.delta.partitions().count(), 3);

    let config = |name: &str| {
        let configs = result.configs.as_ref().unwrap();
        let one = configs.iter().find(|config| config.name.as_str() == name).unwrap();
        (one.value.as_deref().unwrap_or("null").to_owned(), one.config_source)
    };
    assert_eq!(config("cleanup.policy"), ("compact".to_owned(), 1));
    assert_eq!(config("retention.ms"), ("3600000".to_owned(), 4));
    assert_eq!(config("flush.messages"), ("1".to_owned(), 5));
    assert!(
        !result
            .configs
            .as_ref()
            .unwrap()
            .iter()
            .any(|config| config.name.as_str() == "internal.segment.bytes")
    );
}

#[test]
fn validate_only_creates_nothing() {
    let mut world = World::new(1);
    let request = CreateTopicsRequest {
        topics: vec![topic("t", 2, 1, &[]), topic("t2", 0, 1, &[])],
        validate_only: true,
        ..CreateTopicsRequest::default()
    };
    let response: CreateTopicsResponse = world.ask(request);
    assert_eq!((response.topics[0].error_code, response.topics[0].num_partitions), (0, 2));
    assert_eq!(response.topics[0].topic_id, Uuid::ZERO);
    expect(response.topics[1].error_code, ErrorCode::InvalidPartitions, &response);
    assert!(world.records.is_empty());
}

#[test]
fn names_that_come_twice_or_collide_in_one_request() {
    let mut world = World::new(1);
    let topics = ["a", "b", "a", "c.d", "c_d"].map(|name| topic(name, 1, 1, &[])).to_vec();
    let response: CreateTopicsResponse =
        world.ask(CreateTopicsRequest { topics, ..CreateTopicsRequest::default() });
    let answers: Vec<(&str, i16)> =
        response.topics.iter().map(|one| (one.name.as_str(), one.error_code)).collect();
    let (invalid, collides) = (ErrorCode::InvalidRequest.code(), ErrorCode::InvalidTopicException.code());
    assert_eq!(answers, [("a", invalid), ("b", 0), ("c.d", 0), ("c_d", collides)]);
    assert!(world.image.topic("a").is_none());
}

#[test]
fn replicas_are_spread_over_racks_and_brokers() {
    let mut world = World::new(6);
    world.create(topic("t", 60, 3, &[]));
    let created = world.image.topic("t").unwrap().clone();
    let mut leads = [0; 7];
    let mut holds = [0; 7];
    for partition in created.partitions.values() {
        let mut racks: Vec<i32> = partition.replicas.iter().map(|broker| broker.0 % 3).collect();
        racks.sort_unstable();
        assert_eq!(racks, [0, 1, 2], "{:?}", partition.replicas);
        leads[partition.leader_id().0 as usize] += 1;
        partition.replicas.iter().for_each(|broker| holds[broker.0 as usize] += 1);
    }
    assert_eq!(leads[1..], [10; 6]);
    assert!(holds[1..].iter().all(|count| (20..=40).contains(count)), "{holds:?}");
}

#[test]
fn fenced_brokers_take_replicas_only_if_there_are_no_others() {
    let mut world = World::new(3);
    world.fence(2);
    world.create(topic("two", 4, 2, &[]));
    world.create(topic("three", 4, 3, &[]));
    for partition in world.image.topic("two").unwrap().partitions.values() {
        assert!(!partition.replicas.contains(&BrokerId(2)));
    }
    for partition in world.image.topic("three").unwrap().partitions.values() {
        assert_eq!(partition.isr.len(), 2);
        assert_ne!(partition.replicas[0], BrokerId(2));
    }
}

fn state(name: Option<&str>, topic_id: Uuid) -> DeleteTopicState {
    DeleteTopicState { name: name.map(Into::into), topic_id }
}

#[test]
fn delete_topics() {
    let mut world = World::new(1);
    world.create(topic("a", 1, 1, &[("retention.ms", "5")]));
    world.create(topic("b", 1, 1, &[]));
    let (a, b) = (world.image.topic_id("a").unwrap(), world.image.topic_id("b").unwrap());
    let topics = vec![
        state(Some("a"), Uuid::ZERO),
        state(None, b),
        state(None, Uuid::ZERO),
        state(Some("b"), b),
        state(Some("none"), Uuid::ZERO),
        state(None, Uuid([9; 16])),
    ];
    let response: DeleteTopicsResponse =
        world.ask(DeleteTopicsRequest { topics, ..DeleteTopicsRequest::default() });
    let expected = [
        ErrorCode::None,
        ErrorCode::None,
        ErrorCode::InvalidRequest,
        ErrorCode::InvalidRequest,
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::UnknownTopicId,
    ];
    for (result, code) in response.responses.iter().zip(expected) {
        expect(result.error_code, code, result);
    }
    assert_eq!(response.responses.len(), expected.len());
    assert_eq!((&response.responses[1].name, response.responses[0].topic_id), (&Some("b".into()), a));
    assert_eq!(world.image.topic_count(), 0);
    assert_eq!(world.image.config(&ConfigResource::topic("a")), None);
    assert_eq!(world.delta.topics_deleted.len(), 2);
    // The same name again is another topic.
    world.create(topic("a", 1, 1, &[]));
    assert_ne!(world.image.topic_id("a"), Some(a));
}

/// A topic that a request names more than once, in whatever way, stays, and is answered once.
#[test]
fn topics_that_are_to_be_deleted_twice_stay() {
    let mut world = World::new(1);
    world.create(topic("a", 1, 1, &[]));
    world.create(topic("b", 1, 1, &[]));
    let a = world.image.topic_id("a").unwrap();
    let (name, id) = (state(Some("a"), Uuid::ZERO), state(None, a));
    let absent = state(Some("none"), Uuid::ZERO);
    let cases = [
        ("by name", vec![name.clone(), name.clone()], (Some("a"), Uuid::ZERO)),
        ("by id", vec![id.clone(), id.clone()], (None, a)),
        ("by each", vec![name.clone(), id.clone()], (Some("a"), a)),
        ("by each, the id first", vec![id.clone(), name.clone()], (Some("a"), a)),
        ("three times", vec![name.clone(), id, name], (Some("a"), a)),
        ("not there", vec![absent.clone(), absent], (Some("none"), Uuid::ZERO)),
    ];
    for (what, topics, (name, topic_id)) in cases {
        let request = DeleteTopicsRequest { topics, ..DeleteTopicsRequest::default() };
        let response: DeleteTopicsResponse = world.ask(request);
        assert_eq!(response.responses.len(), 1, "{what}");
        let result = &response.responses[0];
        expect(result.error_code, ErrorCode::InvalidRequest, result);
        assert_eq!((result.name.as_deref(), result.topic_id), (name, topic_id), "{what}");
        assert_eq!(world.image.topic_count(), 2, "{what}");
    }
    let old = DeleteTopicsRequest {
        topic_names: vec!["a".into(), "b".into(), "a".into()],
        ..DeleteTopicsRequest::default()
    };
    let response: DeleteTopicsResponse = world.ask(old);
    let codes: Vec<i16> = response.responses.iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [ErrorCode::InvalidRequest.code(), 0]);
    assert!(world.image.topic("a").is_some() && world.image.topic("b").is_none());
}

#[test]
fn delete_topics_of_old_versions_and_disabled() {
    let mut world = World::with(1, &[("delete.topic.enable", "false")]);
    world.create(topic("a", 1, 1, &[]));
    let request = DeleteTopicsRequest { topic_names: vec!["a".into()], ..DeleteTopicsRequest::default() };
    let response: DeleteTopicsResponse = world.ask(request.clone());
    expect(response.responses[0].error_code, ErrorCode::TopicDeletionDisabled, &response);
    world.settings = world.settings.with("delete.topic.enable", "true").unwrap();
    let response: DeleteTopicsResponse = world.ask(request);
    expect(response.responses[0].error_code, ErrorCode::None, &response);
}

#[test]
fn create_partitions() {
    let more = |name: &str, count, assignments: Option<Vec<Vec<i32>>>| CreatePartitionsTopic {
        name: name.into(),
        count,
        assignments: assignments
            .map(|all| all.into_iter().map(|broker_ids| CreatePartitionsAssignment { broker_ids }).collect()),
    };
    let cases = [
        (more("none", 5, None), ErrorCode::UnknownTopicOrPartition),
        (more("t", 2, None), ErrorCode::InvalidPartitions),
        (more("t", 1, None), ErrorCode::InvalidPartitions),
        (more("t", -1, None), ErrorCode::InvalidPartitions),
        (more("t", i32::MIN, None), ErrorCode::InvalidPartitions),
        (more("t", 200_000, None), ErrorCode::InvalidPartitions),
        (more("t", 4, Some(vec![vec![1, 2]])), ErrorCode::InvalidReplicaAssignment),
        (more("t", 3, Some(vec![vec![1]])), ErrorCode::InvalidReplicaAssignment),
        (more("t", 3, Some(vec![vec![1, 9]])), ErrorCode::InvalidReplicaAssignment),
        (more("t", 3, Some(vec![vec![2, 1]])), ErrorCode::None),
        (more("t", 5, None), ErrorCode::None),
    ];
    let mut world = World::new(2);
    world.create(topic("t", 2, 2, &[]));
    for (asked, code) in cases {
        let request =
            CreatePartitionsRequest { topics: vec![asked.clone()], ..CreatePartitionsRequest::default() };
        let response: CreatePartitionsResponse = world.ask(request);
        expect(response.results[0].error_code, code, &response);
        assert_eq!(world.records.is_empty(), code != ErrorCode::None);
    }
    assert_eq!(world.image.topic("t").unwrap().partition_count(), 5);

    let twice = vec![more("t", 6, None), more("t", 7, None)];
    let response: CreatePartitionsResponse =
        world.ask(CreatePartitionsRequest { topics: twice, ..CreatePartitionsRequest::default() });
    assert_eq!(response.results.len(), 1);
    expect(response.results[0].error_code, ErrorCode::InvalidRequest, &response);

    let request = CreatePartitionsRequest {
        topics: vec![more("t", 6, None)],
        validate_only: true,
        ..CreatePartitionsRequest::default()
    };
    let response: CreatePartitionsResponse = world.ask(request);
    expect(response.results[0].error_code, ErrorCode::None, &response);
    assert!(world.records.is_empty());
}
