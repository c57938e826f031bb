//! Commits outside of transactions, by those who are no members.

use std::time::Duration;

use ottla_group::{GroupConfig, GroupRecord};
use ottla_wire::ErrorCode::{
    self, GroupIdNotFound, IllegalGeneration, OffsetMetadataTooLarge, PolicyViolation,
};
use ottla_wire::messages::OffsetCommitRequest;
use ottla_wire::{TopicId, Uuid};

use super::ask::*;

#[test]
fn a_simple_consumer_commits_and_finds_its_offsets_after_a_change_of_the_broker() {
    let mut world = world();
    commits(&mut world, "g", &[("orders", 0, 5), ("orders", 3, 7), ("returns", 1, 0)]);
    commits(&mut world, "g", &[("orders", 0, 6)]);
    commits(&mut world, "other", &[("orders", 0, 1)]);
    world.check_against_log();
    world.reload();
    let expected = [("orders", 0, 6), ("orders", 3, 7), ("returns", 1, 0)];
    assert_eq!(fetched(&mut world, "g"), expected.map(|(t, p, o)| (t.to_owned(), p, o)));
}

#[test]
fn epoch_and_metadata_come_back_and_no_metadata_is_empty() {
    let mut world = world();
    let mut request = commit("g", &[("orders", 0, 5), ("orders", 1, 5)]);
    request.topics[0].partitions[0].committed_leader_epoch = 3;
    request.topics[0].partitions[0].committed_metadata = Some("here".into());
    request.topics[1].partitions[0].committed_leader_epoch = -1;
    request.topics[1].partitions[0].committed_metadata = None;
    assert_eq!(errors_of_commit(&mut world, NEWEST, request), [ErrorCode::None; 2]);
    world.reload();
    let response = fetch(&mut world, ask_fetch("g", Some(&[("orders", 0), ("orders", 1)])), false);
    let found: Vec<_> = response
        .topics
        .iter()
        .map(|topic| &topic.partitions[0])
        .map(|found| (found.committed_leader_epoch, found.metadata.as_deref()))
        .collect();
    assert_eq!(found, [(3, Some("here")), (-1, Some(""))]);
}

#[test]
fn a_generation_of_a_group_that_does_not_exist_is_refused_in_the_words_of_the_version() {
    for (version, generation, expected) in [
        (2, 0, IllegalGeneration),
        (8, 5, IllegalGeneration),
        (9, 0, GroupIdNotFound),
        (10, 5, GroupIdNotFound),
        (2, -1, ErrorCode::None),
        (10, -1, ErrorCode::None),
    ] {
        let mut world = world();
        let request = OffsetCommitRequest {
            generation_id_or_member_epoch: generation,
            ..commit("g", &[("orders", 0, 1)])
        };
        assert_eq!(errors_of_commit(&mut world, version, request), [expected], "{version} {generation}");
        assert_eq!(exists(&world, "g"), expected == ErrorCode::None);
    }
}

#[test]
fn too_large_metadata_fails_alone() {
    let config = GroupConfig { offset_metadata_bytes_max: 4, ..Default::default() };
    let mut world = world_with(config);
    // Kafka counts UTF-16 units: the last of these has four, and eight bytes.
    let metadata = ["12345", "1234", "世世世世世", "😀😀"];
    let mut request = commit("g", &[("orders", 0, 1), ("orders", 1, 1), ("orders", 2, 1), ("orders", 3, 1)]);
    for (topic, metadata) in request.topics.iter_mut().zip(metadata) {
        topic.partitions[0].committed_metadata = Some(metadata.into());
    }
    let expected = [OffsetMetadataTooLarge, ErrorCode::None, OffsetMetadataTooLarge, ErrorCode::None];
    assert_eq!(errors_of_commit(&mut world, NEWEST, request), expected);
    assert_eq!(fetched(&mut world, "g").len(), 2);
}

/// What fits the setting must also fit the record.
#[test]
fn metadata_that_no_record_can_hold_is_too_large() {
    let config = GroupConfig { offset_metadata_bytes_max: usize::MAX, ..Default::default() };
    let mut world = world_with(config);
    for (len, expected) in [(i16::MAX as usize, ErrorCode::None), (1 << 15, OffsetMetadataTooLarge)] {
        let mut request = commit("g", &[("orders", 0, 1)]);
        request.topics[0].partitions[0].committed_metadata = Some("x".repeat(len).into());
        assert_eq!(errors_of_commit(&mut world, NEWEST, request), [expected]);
    }
    world.check_against_log();
}

/// Newer versions of the requests can carry longer names than records can.
#[test]
fn a_topic_that_no_record_can_name_is_refused() {
    let mut world = world();
    let name = ottla_wire::primitives::Str::from("x".repeat(1 << 15));
    let mut request = commit("g", &[("orders", 0, 1), ("orders", 1, 1)]);
    request.topics[0].name = name.clone();
    let expected = [ErrorCode::InvalidTopicException, ErrorCode::None];
    assert_eq!(errors_of_commit(&mut world, NEWEST, request), expected);
    let mut request = txn_commit(producer(1), "g", &[("orders", 0, 1), ("orders", 1, 1)]);
    request.topics[0].name = name;
    assert_eq!(errors_of_txn_commit(&mut world, request), expected);
    world.check_against_log();
}

#[test]
fn a_commit_of_nothing_makes_no_group() {
    let config = GroupConfig { offset_metadata_bytes_max: 0, ..Default::default() };
    let mut world = world_with(config);
    let mut request = commit("g", &[("orders", 0, 1)]);
    request.topics[0].partitions[0].committed_metadata = Some("x".into());
    assert_eq!(errors_of_commit(&mut world, NEWEST, request), [OffsetMetadataTooLarge]);
    assert_eq!(errors_of_commit(&mut world, NEWEST, commit("g", &[])), []);
    assert!(!exists(&world, "g"));
    assert!(world.log().is_empty());
}

#[test]
fn the_last_of_two_offsets_for_one_partition_counts() {
    let mut world = world();
    commits(&mut world, "g", &[("orders", 0, 9), ("orders", 0, 4)]);
    assert_eq!(fetched(&mut world, "g"), [("orders".to_owned(), 0, 4)]);
    world.check_against_log();
}

/// Versions 2 to 4 say how long the offset is to be kept; then the record says so, and has no room for epoch
/// and id.
#[test]
fn a_commit_may_say_when_it_expires() {
    let mut world = world();
    let mut request = OffsetCommitRequest { retention_time_ms: 1000, ..commit("g", &[("orders", 0, 1)]) };
    request.topics[0].partitions[0].committed_leader_epoch = 3;
    assert_eq!(errors_of_commit(&mut world, 4, request), [ErrorCode::None]);
    let now = world.wall().0;
    match &world.written_since(0)[..] {
        [GroupRecord::Offset { value: Some(value), .. }] => {
            assert_eq!((value.commit_timestamp, value.expire_timestamp), (now, now + 1000));
        }
        other => panic!("{other:?}"),
    }
    world.check_against_log();
    for retention in [i64::MAX, i64::MIN] {
        let request =
            OffsetCommitRequest { retention_time_ms: retention, ..commit("g", &[("orders", 1, 1)]) };
        assert_eq!(errors_of_commit(&mut world, 4, request), [ErrorCode::None]);
    }
    world.check_against_log();
    world.advance(Duration::from_secs(1));
}

#[test]
fn offsets_belong_to_the_topic_that_there_was() {
    let mut world = world();
    let id = |world: &crate::world::World, partition| {
        let place = ottla_group::offsets::GroupTopicPartition {
            group: "g".into(),
            topic: "orders".into(),
            partition: ottla_wire::PartitionIndex(partition),
        };
        world.core().offsets().get(&place).map(|committed| committed.topic_id)
    };
    let mut orders = TopicId::ZERO;
    world.change_topics(|topics| orders = topics.set("orders", 4));
    commits(&mut world, "g", &[("orders", 0, 5), ("unheard-of", 0, 5)]);
    assert_eq!(id(&world, 0), Some(orders), "looked up by its name");
    let mut request = commit("g", &[("orders", 1, 5)]);
    request.topics[0].topic_id = Uuid([7; 16]);
    assert_eq!(errors_of_commit(&mut world, 10, request), [ErrorCode::None]);
    assert_eq!(id(&world, 1), Some(Uuid([7; 16])), "as the client says");

    for (asked, expected) in [(Uuid::ZERO, 5), (orders, 5), (Uuid([7; 16]), -1)] {
        let mut group = ask_fetch("g", Some(&[("orders", 0)]));
        group.topics.as_mut().unwrap()[0].topic_id = asked;
        let response = fetch(&mut world, group, false);
        assert_eq!(response.topics[0].topic_id, asked);
        assert_eq!(response.topics[0].partitions[0].committed_offset, expected, "{asked}");
    }
}

#[test]
fn beyond_the_limit_only_known_places_are_committed() {
    let mut config = GroupConfig::default();
    config.limits.offsets_max = 2;
    let mut world = world_with(config);
    commits(&mut world, "g", &[("orders", 0, 1)]);
    commits_in(&mut world, producer(1), "g", &[("orders", 1, 1)]);
    let request = commit("g", &[("orders", 0, 2), ("orders", 2, 1)]);
    assert_eq!(errors_of_commit(&mut world, NEWEST, request), [ErrorCode::None, PolicyViolation]);
    let request = txn_commit(producer(1), "g", &[("orders", 2, 1)]);
    assert_eq!(errors_of_txn_commit(&mut world, request), [PolicyViolation]);
}

/// As Kafka has it for clients that knew no group ids.
#[test]
fn the_empty_group_id_keeps_offsets() {
    let mut world = world();
    commits(&mut world, "", &[("orders", 0, 1)]);
    assert_eq!(fetched(&mut world, ""), [("orders".to_owned(), 0, 1)]);
}

#[test]
fn an_answer_waits_until_the_offset_is_safe() {
    let mut world = world();
    world.hold();
    let request = ottla_group::Request::OffsetCommit(commit("g", &[("orders", 0, 1)]));
    let ticket = world.ask(&caller(NEWEST), request);
    assert_eq!(world.answer(ticket), None);
    world.release();
    assert!(world.answer(ticket).is_some());
}
