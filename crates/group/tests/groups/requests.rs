//! What holds for every request before it reaches a group: one case for each of them.

use ottla_coordinator::Coordinator;
use ottla_group::request::{ConsumerGroupDescribe, DeleteGroup, DescribeGroup, FetchOfGroup, History};
use ottla_group::{Call, Caller, GroupConfig, GroupCoordinator, Request, Response};
use ottla_wire::ErrorCode;
use ottla_wire::messages::*;
use ottla_wire::primitives::Str;

use crate::offsets::ask::commits;
use crate::world::World;

/// A request of a group, and what is to be true of it.
struct Case {
    request: fn(Str) -> Request,
    needs_name: bool,
    may_create: bool,
    reads_only: bool,
}

fn cases() -> [Case; 13] {
    let changes =
        |request, needs_name, may_create| Case { request, needs_name, may_create, reads_only: false };
    let reads = |request, needs_name| Case { request, needs_name, may_create: false, reads_only: true };
    [
        changes(|group_id| JoinGroupRequest { group_id, ..Default::default() }.into(), true, true),
        changes(|group_id| SyncGroupRequest { group_id, ..Default::default() }.into(), true, false),
        changes(|group_id| HeartbeatRequest { group_id, ..Default::default() }.into(), true, false),
        changes(|group_id| LeaveGroupRequest { group_id, ..Default::default() }.into(), true, false),
        changes(
            |group_id| ConsumerGroupHeartbeatRequest { group_id, ..Default::default() }.into(),
            false,
            true,
        ),
        changes(commit, false, true),
        changes(commit_in_transaction, true, true),
        changes(|group_id| OffsetDeleteRequest { group_id, ..Default::default() }.into(), true, false),
        changes(|group_id| DeleteGroup::from(group_id).into(), false, false),
        reads(fetch, false),
        reads(|group_id| DescribeGroup::from(group_id).into(), false),
        reads(|group_id| ConsumerGroupDescribe::from(group_id).into(), true),
        reads(|group_id| History::from(group_id).into(), false),
    ]
}

fn commit(group_id: Str) -> Request {
    let partition = offset_commit_request::OffsetCommitRequestPartition::default();
    let topic = offset_commit_request::OffsetCommitRequestTopic {
        name: "orders".into(),
        partitions: vec![partition],
        ..Default::default()
    };
    let generation_id_or_member_epoch = -1;
    let topics = vec![topic];
    OffsetCommitRequest { group_id, generation_id_or_member_epoch, topics, ..Default::default() }.into()
}

fn commit_in_transaction(group_id: Str) -> Request {
    let partition = txn_offset_commit_request::TxnOffsetCommitRequestPartition::default();
    let topic = txn_offset_commit_request::TxnOffsetCommitRequestTopic {
        name: "orders".into(),
        partitions: vec![partition],
    };
    let (generation_id, topics) = (-1, vec![topic]);
    TxnOffsetCommitRequest { group_id, generation_id, topics, ..Default::default() }.into()
}

fn fetch(group_id: Str) -> Request {
    let group = offset_fetch_request::OffsetFetchRequestGroup { group_id, ..Default::default() };
    FetchOfGroup { group, require_stable: false }.into()
}

/// The error of an answer, where its request has room for one.
fn error(response: &Response) -> Option<ErrorCode> {
    let code = match response {
        Response::JoinGroup(response) => response.error_code,
        Response::SyncGroup(response) => response.error_code,
        Response::Heartbeat(response) => response.error_code,
        Response::LeaveGroup(response) => response.error_code,
        Response::ConsumerGroupHeartbeat(response) => response.error_code,
        Response::OffsetCommit(response) => response.topics[0].partitions[0].error_code,
        Response::TxnOffsetCommit(response) => response.topics[0].partitions[0].error_code,
        Response::OffsetFetch(group) => group.error_code,
        Response::OffsetDelete(response) => response.error_code,
        Response::ListGroups(response) => response.error_code,
        Response::DescribeGroup(group) => group.error_code,
        Response::ConsumerGroupDescribe(group) => group.error_code,
        Response::DeleteGroup(result) => result.error_code,
        Response::History(_) => return None,
    };
    ErrorCode::from_code(code)
}

fn asked(world: &mut World, case: &Case, group: &str) -> Option<ErrorCode> {
    // Old versions cannot say a long id.
    let newest = Caller { version: i16::MAX, ..Caller::default() };
    error(&world.call(&newest, (case.request)(group.into())))
}

#[test]
fn a_request_knows_its_group_and_can_be_refused() {
    for case in cases() {
        let request = (case.request)("g".into());
        let name = request.name();
        assert_eq!(request.group().map(Str::as_str), Some("g"), "{name}");
        let refused = error(&request.refuse(ErrorCode::NotCoordinator));
        assert!(refused.is_none_or(|error| error == ErrorCode::NotCoordinator), "{name}: {refused:?}");
    }
    let all = Request::from(ListGroupsRequest::default());
    assert_eq!(all.group(), None);
    assert_eq!(error(&all.refuse(ErrorCode::NotCoordinator)), Some(ErrorCode::NotCoordinator));
}

#[test]
fn an_id_that_no_record_can_hold_is_refused_and_the_empty_one_where_kafka_does() {
    for case in cases() {
        let mut world = World::new(GroupConfig::default());
        let name = (case.request)("g".into()).name();
        let too_long = asked(&mut world, &case, &"g".repeat(40_000));
        assert!(too_long.is_none_or(|error| error == ErrorCode::InvalidGroupId), "{name}: {too_long:?}");
        let empty = asked(&mut world, &case, "");
        assert_eq!(empty == Some(ErrorCode::InvalidGroupId), case.needs_name, "{name}: {empty:?}");
        assert!(world.core().groups().get(&"g".repeat(40_000)).is_none(), "{name}");
    }
}

/// Where there are as many groups as there may be, a request that would make one is refused. Others are not,
/// and neither are those for a group that is there.
#[test]
fn one_group_too_many_is_refused_to_those_that_would_make_it() {
    for case in cases() {
        let mut config = GroupConfig::default();
        config.limits.groups_max = 1;
        let mut world = World::new(config);
        commits(&mut world, "there", &[("orders", 0, 1)]);
        let name = (case.request)("g".into()).name();
        let new = asked(&mut world, &case, "new");
        assert_eq!(new == Some(ErrorCode::PolicyViolation), case.may_create, "{name}: {new:?}");
        let there = asked(&mut world, &case, "there");
        assert_ne!(there, Some(ErrorCode::PolicyViolation), "{name}");
        assert!(world.core().groups().len() <= 1, "{name}");
    }
}

/// What is said to read only is served while nothing can be written, so it MUST write nothing.
#[test]
fn what_only_reads_writes_nothing() {
    for case in cases() {
        let request = (case.request)("there".into());
        let name = request.name();
        let call = Call { caller: Caller::default(), request: request.clone() };
        assert_eq!(GroupCoordinator::only_reads(&call), case.reads_only, "{name}");
        if case.reads_only {
            let mut world = World::new(GroupConfig::default());
            commits(&mut world, "there", &[("orders", 0, 1)]);
            let before = world.log().len();
            world.call(&Caller::default(), request);
            assert_eq!(world.log().len(), before, "{name}");
        }
    }
}
