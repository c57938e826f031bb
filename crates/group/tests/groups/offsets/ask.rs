//! The requests of these tests, and what is read in the answers.

use ottla_coordinator::Producer;
use ottla_group::request::FetchOfGroup;
use ottla_group::{Caller, GroupConfig, Request, Response};
use ottla_wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use ottla_wire::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use ottla_wire::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use ottla_wire::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_wire::messages::*;
use ottla_wire::{ErrorCode, ProducerEpoch, ProducerId};

use crate::world::World;

/// The newest version of OffsetCommit that names topics.
pub const NEWEST: i16 = 9;

/// A place and an offset: topic, partition, offset.
pub type At = (&'static str, i32, i64);

pub fn world() -> World {
    world_with(GroupConfig::default())
}

pub fn world_with(config: GroupConfig) -> World {
    let mut world = World::new(config);
    world.change_topics(|topics| {
        topics.set("orders", 4);
        topics.set("returns", 2);
    });
    world
}

pub fn caller(version: i16) -> Caller {
    Caller { client_id: "client".into(), client_host: "/10.0.0.1".into(), version }
}

pub fn producer(id: i64) -> Producer {
    Producer { id: ProducerId(id), epoch: ProducerEpoch(0) }
}

/// A commit of somebody who is no member.
pub fn commit(group: &str, offsets: &[At]) -> OffsetCommitRequest {
    let topic = |(name, partition_index, committed_offset): &At| OffsetCommitRequestTopic {
        name: (*name).into(),
        partitions: vec![OffsetCommitRequestPartition {
            partition_index: *partition_index,
            committed_offset: *committed_offset,
            ..Default::default()
        }],
        ..Default::default()
    };
    OffsetCommitRequest {
        group_id: group.into(),
        topics: offsets.iter().map(topic).collect(),
        ..Default::default()
    }
}

/// A commit of nobody in particular in a producer's transaction.
pub fn txn_commit(producer: Producer, group: &str, offsets: &[At]) -> TxnOffsetCommitRequest {
    let topic = |(name, partition_index, committed_offset): &At| TxnOffsetCommitRequestTopic {
        name: (*name).into(),
        partitions: vec![TxnOffsetCommitRequestPartition {
            partition_index: *partition_index,
            committed_offset: *committed_offset,
            ..Default::default()
        }],
    };
    TxnOffsetCommitRequest {
        group_id: group.into(),
        transactional_id: "t".into(),
        producer_id: producer.id.0,
        producer_epoch: producer.epoch.0,
        topics: offsets.iter().map(topic).collect(),
        ..Default::default()
    }
}

fn error(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).expect("an error that Kafka knows")
}

/// The error of each partition, in order.
pub fn errors_of_commit(world: &mut World, version: i16, request: OffsetCommitRequest) -> Vec<ErrorCode> {
    let Response::OffsetCommit(response) = world.call(&caller(version), Request::OffsetCommit(request))
    else {
        panic!("another answer")
    };
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|partition| error(partition.error_code)).collect()
}

pub fn errors_of_txn_commit(world: &mut World, request: TxnOffsetCommitRequest) -> Vec<ErrorCode> {
    let Response::TxnOffsetCommit(response) = world.call(&caller(5), Request::TxnOffsetCommit(request))
    else {
        panic!("another answer")
    };
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|partition| error(partition.error_code)).collect()
}

/// Commits, and it goes well.
pub fn commits(world: &mut World, group: &str, offsets: &[At]) {
    let errors = errors_of_commit(world, NEWEST, commit(group, offsets));
    assert_eq!(errors, vec![ErrorCode::None; offsets.len()]);
}

/// Commits in a transaction, and it goes well.
pub fn commits_in(world: &mut World, producer: Producer, group: &str, offsets: &[At]) {
    let errors = errors_of_txn_commit(world, txn_commit(producer, group, offsets));
    assert_eq!(errors, vec![ErrorCode::None; offsets.len()]);
}

pub fn ask_fetch(group: &str, places: Option<&[(&str, i32)]>) -> OffsetFetchRequestGroup {
    let topics = places.map(|places| {
        let topic = |(name, partition): &(&str, i32)| OffsetFetchRequestTopics {
            name: (*name).into(),
            partition_indexes: vec![*partition],
            ..Default::default()
        };
        places.iter().map(topic).collect()
    });
    OffsetFetchRequestGroup { group_id: group.into(), topics, ..Default::default() }
}

pub fn fetch(
    world: &mut World,
    group: OffsetFetchRequestGroup,
    require_stable: bool,
) -> offset_fetch_response::OffsetFetchResponseGroup {
    let request = Request::OffsetFetch(FetchOfGroup { group, require_stable });
    let Response::OffsetFetch(response) = world.call(&caller(NEWEST), request) else {
        panic!("another answer")
    };
    response
}

/// Everything that a group has committed: topic, partition, offset.
pub fn fetched(world: &mut World, group: &str) -> Vec<(String, i32, i64)> {
    let response = fetch(world, ask_fetch(group, None), false);
    assert_eq!(response.error_code, 0);
    let topics = response.topics.iter();
    let offsets = topics.flat_map(|topic| {
        topic.partitions.iter().map(|partition| {
            assert_eq!(partition.error_code, 0);
            (topic.name.to_string(), partition.partition_index, partition.committed_offset)
        })
    });
    offsets.collect()
}

/// Offset and error of one partition, for who asks for stable offsets.
pub fn stable(world: &mut World, group: &str, place: (&str, i32)) -> (i64, ErrorCode) {
    let response = fetch(world, ask_fetch(group, Some(&[place])), true);
    let partition = &response.topics[0].partitions[0];
    (partition.committed_offset, error(partition.error_code))
}

/// OffsetDelete: the error of the whole, and of each partition.
pub fn delete(world: &mut World, group: &str, places: &[(&str, i32)]) -> (ErrorCode, Vec<ErrorCode>) {
    let topic = |(name, partition_index): &(&str, i32)| OffsetDeleteRequestTopic {
        name: (*name).into(),
        partitions: vec![OffsetDeleteRequestPartition { partition_index: *partition_index }],
    };
    let request = OffsetDeleteRequest { group_id: group.into(), topics: places.iter().map(topic).collect() };
    let Response::OffsetDelete(response) = world.call(&caller(0), Request::OffsetDelete(request)) else {
        panic!("another answer")
    };
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    (error(response.error_code), partitions.map(|partition| error(partition.error_code)).collect())
}

pub fn delete_group(world: &mut World, group: &str) -> ErrorCode {
    let request = Request::DeleteGroup(group.into());
    let Response::DeleteGroup(response) = world.call(&caller(2), request) else { panic!("another answer") };
    error(response.error_code)
}

/// Whether there is such a group.
pub fn exists(world: &World, group: &str) -> bool {
    world.core().groups().get(group).is_some()
}
