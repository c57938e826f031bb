//! Consumer groups from outside: members, committed offsets, and the internal topic that keeps them, through
//! kills.

mod operation;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_wire::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_wire::messages::leave_group_request::MemberIdentity;
use ottla_wire::messages::metadata_request::MetadataRequestTopic;
use ottla_wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use ottla_wire::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use ottla_wire::messages::offset_fetch_response::OffsetFetchResponseGroup;
use ottla_wire::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_wire::messages::*;
use ottla_wire::{ErrorCode, TopicId, Uuid};

use crate::harness::{Setup, Wire, batch, create_topic, delete_topic, eventually, times, try_produce};

const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// The id of no topic.
const NO_TOPIC: TopicId = Uuid([7; 16]);

/// Brokers of these tests: no group waits for members that do not come.
fn setup() -> Setup {
    Setup::new().set("group.initial.rebalance.delay.ms", 0)
}

fn name_of(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).unwrap()
}

/// A coordinator that has just begun may not have its state yet: clients ask again.
fn is_passing(code: i16) -> bool {
    matches!(
        name_of(code),
        ErrorCode::CoordinatorLoadInProgress | ErrorCode::CoordinatorNotAvailable | ErrorCode::NotCoordinator
    )
}

fn join(group: &str, member: &str) -> JoinGroupRequest {
    let protocol =
        JoinGroupRequestProtocol { name: "range".into(), metadata: Bytes::from(format!("of {member}")) };
    JoinGroupRequest {
        group_id: group.into(),
        member_id: member.into(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
        ..Default::default()
    }
}

/// An id for a new member (KIP-394).
fn new_member(wire: &mut Wire, group: &str) -> String {
    let answer = wire.call(&join(group, ""), 9);
    assert_eq!(name_of(answer.error_code), ErrorCode::MemberIdRequired);
    answer.member_id.as_str().to_owned()
}

fn heartbeat(wire: &mut Wire, group: &str, generation_id: i32, member: &str) -> ErrorCode {
    let request = HeartbeatRequest {
        group_id: group.into(),
        generation_id,
        member_id: member.into(),
        ..Default::default()
    };
    name_of(wire.call(&request, 4).error_code)
}

fn sync(group: &str, generation_id: i32, member: &str, assignments: &[(&str, &str)]) -> SyncGroupRequest {
    let assignment = |(member, assignment): &(&str, &str)| SyncGroupRequestAssignment {
        member_id: (*member).into(),
        assignment: Bytes::copy_from_slice(assignment.as_bytes()),
    };
    SyncGroupRequest {
        group_id: group.into(),
        generation_id,
        member_id: member.into(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: assignments.iter().map(assignment).collect(),
        ..Default::default()
    }
}

fn commit(group: &str, topic: &str, offsets: &[(i32, i64)]) -> OffsetCommitRequest {
    let partition = |(index, offset): &(i32, i64)| OffsetCommitRequestPartition {
        partition_index: *index,
        committed_offset: *offset,
        committed_metadata: Some("note".into()),
        ..Default::default()
    };
    let partitions = offsets.iter().map(partition).collect();
    let topics = vec![OffsetCommitRequestTopic { name: topic.into(), partitions, ..Default::default() }];
    OffsetCommitRequest { group_id: group.into(), topics, ..Default::default() }
}

/// Commits, again while the coordinator is not there yet.
#[track_caller]
fn committed(wire: &mut Wire, group: &str, topic: &str, offsets: &[(i32, i64)]) {
    let mut codes = Vec::new();
    eventually("the commit", || {
        let answer = wire.call(&commit(group, topic, offsets), 9);
        codes = answer.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error_code).collect();
        !codes.iter().any(|code| is_passing(*code))
    });
    assert!(codes.iter().all(|code| *code == 0) && codes.len() == offsets.len(), "{codes:?}");
}

/// Everything that groups have committed, as (group, partition, offset), again while a coordinator is not
/// there yet.
fn fetched(wire: &mut Wire, groups: &[String]) -> Vec<(String, i32, i64)> {
    let group =
        |id: &String| OffsetFetchRequestGroup { group_id: id.into(), topics: None, ..Default::default() };
    let request = OffsetFetchRequest { groups: groups.iter().map(group).collect(), ..Default::default() };
    let mut answers: Vec<OffsetFetchResponseGroup> = Vec::new();
    eventually("the offsets", || {
        answers = wire.call(&request, 9).groups;
        !answers.iter().any(|group| is_passing(group.error_code))
    });
    let mut all = Vec::new();
    for (asked, answer) in groups.iter().zip(answers) {
        assert_eq!(
            (answer.group_id.as_str(), answer.error_code),
            (asked.as_str(), 0),
            "answers are in order"
        );
        for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            assert_eq!(partition.error_code, 0);
            all.push((asked.clone(), partition.partition_index, partition.committed_offset));
        }
    }
    all
}

#[test]
fn two_members_share_the_work_until_one_leaves() {
    let mut setup = setup();
    let broker = setup.start();
    let (mut one, mut two) = (broker.connect(), broker.connect());
    let (a, b) = (new_member(&mut one, "g"), new_member(&mut two, "g"));

    let alone = one.call(&join("g", &a), 9);
    assert_eq!((alone.error_code, alone.generation_id, alone.leader.as_str()), (0, 1, a.as_str()));
    let assigned = one.call(&sync("g", 1, &a, &[(&a, "everything")]), 5);
    assert_eq!((assigned.error_code, &assigned.assignment[..]), (0, &b"everything"[..]));
    assert_eq!(heartbeat(&mut one, "g", 1, &a), ErrorCode::None);

    // The second one waits for the first to join again, and holds nobody up meanwhile.
    let joining = two.send(&join("g", &b), 9).unwrap();
    eventually("the rebalance", || heartbeat(&mut one, "g", 1, &a) == ErrorCode::RebalanceInProgress);
    assert!(!two.stirs(Duration::from_millis(50)));
    let both = one.call(&join("g", &a), 9);
    let second = two.answer::<JoinGroupRequest>(joining, 9).unwrap();
    assert_eq!((both.error_code, both.generation_id, both.members.len()), (0, 2, 2));
    assert_eq!((second.error_code, second.generation_id, second.members.len()), (0, 2, 0));

    // A follower that syncs first waits for the leader's assignment.
    let syncing = two.send(&sync("g", 2, &b, &[]), 5).unwrap();
    assert!(!two.stirs(Duration::from_millis(50)));
    let first = one.call(&sync("g", 2, &a, &[(&a, "left"), (&b, "right")]), 5);
    let second = two.answer::<SyncGroupRequest>(syncing, 5).unwrap();
    assert_eq!((&first.assignment[..], &second.assignment[..]), (&b"left"[..], &b"right"[..]));
    assert_eq!(heartbeat(&mut two, "g", 2, &b), ErrorCode::None);

    let leaving = MemberIdentity { member_id: b.as_str().into(), ..Default::default() };
    let leave = LeaveGroupRequest { group_id: "g".into(), members: vec![leaving], ..Default::default() };
    let left = two.call(&leave, 5);
    assert_eq!((left.error_code, left.members[0].error_code), (0, 0));
    assert_eq!(heartbeat(&mut two, "g", 2, &b), ErrorCode::UnknownMemberId);
    assert_eq!(heartbeat(&mut one, "g", 2, &a), ErrorCode::RebalanceInProgress);

    let described = DescribeGroupsRequest { groups: vec!["g".into()], include_authorized_operations: true };
    let described = one.call(&described, 6).groups.remove(0);
    assert_eq!((described.error_code, described.group_state.as_str()), (0, "PreparingRebalance"));
    assert!(described.authorized_operations > 0);
    assert!(described.members.iter().any(|member| member.client_host == "/127.0.0.1"));
    let listed = one.call(&ListGroupsRequest::default(), 5);
    assert_eq!((listed.error_code, listed.groups.len()), (0, 1));

    // Older versions name the one member at the top, and are answered there.
    for expected in [ErrorCode::None, ErrorCode::UnknownMemberId] {
        let leave =
            LeaveGroupRequest { group_id: "g".into(), member_id: a.as_str().into(), ..Default::default() };
        assert_eq!(name_of(one.call(&leave, 2).error_code), expected);
    }
}

/// What waits for the others ends with its connection, and a stop does not wait for it.
#[test]
fn a_member_that_waits_can_go_away() {
    let mut setup = setup();
    let broker = setup.start();
    let (mut one, mut two) = (broker.connect(), broker.connect());
    let (a, b) = (new_member(&mut one, "g"), new_member(&mut two, "g"));
    assert_eq!(one.call(&join("g", &a), 9).error_code, 0);
    assert_eq!(one.call(&sync("g", 1, &a, &[]), 5).error_code, 0);
    two.send(&join("g", &b), 9).unwrap();
    eventually("the rebalance", || heartbeat(&mut one, "g", 1, &a) == ErrorCode::RebalanceInProgress);
    let open = broker.metric("ottla_connections_open");
    drop(two);
    eventually("the connection is gone", || broker.metric("ottla_connections_open") < open);
    let mut three = broker.connect();
    let c = new_member(&mut three, "g");
    three.send(&join("g", &c), 9).unwrap();
    let (code, log) = broker.stop();
    assert_eq!(code, 0);
    assert!(!log.contains("are cut"), "it was waited for: {log}");
}

#[test]
fn the_internal_topic_is_made_once_on_first_need_and_is_not_for_clients() {
    let mut setup = setup();
    let broker = setup.start();
    let find = FindCoordinatorRequest {
        coordinator_keys: vec!["g".into(), "".into(), "h".into()],
        ..Default::default()
    };
    let finders: Vec<_> = (0..8)
        .map(|_| {
            let (mut wire, find) = (broker.connect(), find.clone());
            std::thread::spawn(move || wire.call(&find, 6))
        })
        .collect();
    for finder in finders {
        let found = finder.join().unwrap().coordinators;
        assert_eq!(found.len(), 3);
        for one in &found {
            let at = (one.error_code, one.node_id, one.host.as_str(), one.port);
            assert_eq!(at, (0, 1, "127.0.0.1", i32::from(broker.addr.port())));
        }
    }
    let mut wire = broker.connect();
    let asked = MetadataRequestTopic { name: Some(OFFSETS_TOPIC.into()), ..Default::default() };
    let topic =
        wire.call(&MetadataRequest { topics: Some(vec![asked]), ..Default::default() }, 12).topics.remove(0);
    assert!(topic.is_internal && topic.error_code == 0);
    assert_eq!(topic.partitions.len(), 50);
    assert!(topic.partitions.iter().all(|partition| partition.replica_nodes == [1]));
    let refused = try_produce(&mut wire, OFFSETS_TOPIC, 0, batch(["forged"])).unwrap();
    assert_eq!(name_of(refused.error_code), ErrorCode::InvalidTopicException);
    // It is usable as soon as it is there.
    create_topic(&mut wire, "t", 1, &[]);
    let answer = wire.call(&commit("g", "t", &[(0, 5)]), 9);
    assert_eq!(answer.topics[0].partitions[0].error_code, 0);
}

#[test]
fn other_kinds_of_coordinators_are_not_found() {
    let mut setup = setup();
    let broker = setup.start();
    let mut wire = broker.connect();
    for (key_type, code) in [(2, ErrorCode::InvalidRequest), (9, ErrorCode::InvalidRequest)] {
        let request =
            FindCoordinatorRequest { key_type, coordinator_keys: vec!["x".into()], ..Default::default() };
        let found = wire.call(&request, 6).coordinators.remove(0);
        assert_eq!((name_of(found.error_code), found.node_id, found.port), (code, -1, -1), "{key_type}");
        let old = FindCoordinatorRequest { key_type, key: "x".into(), ..Default::default() };
        assert_eq!(name_of(wire.call(&old, 3).error_code), code, "{key_type}");
    }
    let none = wire.call(&FindCoordinatorRequest::default(), 6);
    assert_eq!((none.error_code, none.coordinators.len()), (0, 0));
}

/// An answer to a commit means that it is on the disk.
#[test]
fn committed_offsets_survive_kills() {
    let mut setup = setup();
    let mut broker = setup.start();
    create_topic(&mut broker.connect(), "t", 3, &[]);
    let groups: Vec<String> = (0..20).map(|number| format!("group-{number}")).collect();
    for round in 0..times(5, 50) {
        let mut wire = broker.connect();
        for (number, group) in groups.iter().enumerate() {
            let offset = (round * 100 + number) as i64;
            committed(&mut wire, group, "t", &[(0, offset), (1, offset + 1), (2, offset + 2)]);
        }
        broker.kill();
        broker = setup.start();
        let read = fetched(&mut broker.connect(), &groups);
        let expected: Vec<_> = groups
            .iter()
            .enumerate()
            .flat_map(|(number, group)| {
                let offset = (round * 100 + number) as i64;
                (0..3).map(move |index| (group.clone(), index, offset + i64::from(index)))
            })
            .collect();
        assert_eq!(read, expected, "round {round}");
    }
    // A clean stop is no worse.
    let (code, _) = broker.stop();
    assert_eq!(code, 0);
    broker = setup.start();
    assert_eq!(fetched(&mut broker.connect(), &groups).len(), 60);
}

/// The generation and the assignment are recorded: members go on where they were.
#[test]
fn a_member_does_not_notice_a_restart() {
    let mut setup = setup();
    let broker = setup.start();
    let mut wire = broker.connect();
    let a = new_member(&mut wire, "g");
    assert_eq!(wire.call(&join("g", &a), 9).generation_id, 1);
    assert_eq!(wire.call(&sync("g", 1, &a, &[(&a, "mine")]), 5).error_code, 0);
    broker.kill();
    let broker = setup.start();
    let mut wire = broker.connect();
    let mut answer = ErrorCode::None;
    eventually("the coordinator", || {
        answer = heartbeat(&mut wire, "g", 1, &a);
        answer != ErrorCode::CoordinatorLoadInProgress
    });
    assert_eq!(answer, ErrorCode::None);
    let again = wire.call(&sync("g", 1, &a, &[]), 5);
    assert_eq!((again.error_code, &again.assignment[..]), (0, &b"mine"[..]));
}

#[test]
fn a_lot_of_groups() {
    let mut setup = setup();
    let broker = setup.start();
    create_topic(&mut broker.connect(), "t", 1, &[]);
    let count = times(2_000, 50_000);
    let share = count / 8;
    let began = Instant::now();
    let committers: Vec<_> = (0..8)
        .map(|thread| {
            let mut wire = broker.connect();
            std::thread::spawn(move || {
                for number in thread * share..(thread + 1) * share {
                    committed(&mut wire, &format!("group-{number}"), "t", &[(0, number as i64)]);
                }
            })
        })
        .collect();
    committers.into_iter().for_each(|committer| committer.join().unwrap());
    println!("{count} groups have committed after {:?}", began.elapsed());
    broker.kill();
    let broker = setup.start();
    let mut wire = broker.connect();
    let groups: Vec<String> = (0..count).map(|number| format!("group-{number}")).collect();
    for chunk in groups.chunks(500) {
        let read = fetched(&mut wire, chunk);
        assert_eq!(read.len(), chunk.len());
        assert!(read.iter().all(|(group, _, offset)| *group == format!("group-{offset}")));
    }
    let listed: BTreeSet<String> = wire
        .call(&ListGroupsRequest::default(), 5)
        .groups
        .into_iter()
        .map(|group| group.group_id.as_str().to_owned())
        .collect();
    assert_eq!(listed.len(), count);
    assert_eq!(broker.metric("ottla_group_offsets"), count as f64);
    assert_eq!(broker.metric("ottla_coordinators_active"), 50.0);
    assert_eq!(broker.metric("ottla_coordinators_loading"), 0.0);
}

#[test]
fn what_is_not_there_fails_alone() {
    let mut setup = setup();
    let broker = setup.start();
    let mut wire = broker.connect();
    let id = create_topic(&mut wire, "t", 1, &[]);
    let mut request = commit("g", "t", &[(0, 5), (1, 6)]);
    request.topics.extend(commit("g", "gone", &[(0, 7)]).topics);
    let codes = |answer: OffsetCommitResponse| -> BTreeSet<(String, i32, ErrorCode)> {
        let partitions = answer.topics.into_iter().flat_map(|topic| {
            let name = topic.name.as_str().to_owned();
            topic
                .partitions
                .into_iter()
                .map(move |p| (name.clone(), p.partition_index, name_of(p.error_code)))
        });
        partitions.collect()
    };
    let unknown = ErrorCode::UnknownTopicOrPartition;
    let expected =
        [("gone".to_owned(), 0, unknown), ("t".to_owned(), 0, ErrorCode::None), ("t".to_owned(), 1, unknown)];
    assert_eq!(codes(wire.call(&request, 9)), expected.into());

    // By id, there and back.
    let mut by_id = commit("g", "", &[(0, 8)]);
    by_id.topics[0].topic_id = id;
    by_id.topics.push(OffsetCommitRequestTopic { topic_id: NO_TOPIC, ..by_id.topics[0].clone() });
    let answer = wire.call(&by_id, 10);
    let told: Vec<_> =
        answer.topics.iter().map(|t| (t.topic_id, name_of(t.partitions[0].error_code))).collect();
    assert!(told.contains(&(id, ErrorCode::None)));
    assert!(told.iter().any(|(_, code)| *code == ErrorCode::UnknownTopicId));
    let asked =
        |id| OffsetFetchRequestTopics { topic_id: id, partition_indexes: vec![0], ..Default::default() };
    let group = OffsetFetchRequestGroup {
        group_id: "g".into(),
        topics: Some(vec![asked(NO_TOPIC), asked(id)]),
        ..Default::default()
    };
    let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
    let topics = wire.call(&request, 10).groups.remove(0).topics;
    let of = |id| topics.iter().find(|topic| topic.topic_id == id).map(|topic| &topic.partitions[0]).unwrap();
    assert_eq!((of(id).error_code, of(id).committed_offset), (0, 8));
    assert_eq!(name_of(of(NO_TOPIC).error_code), ErrorCode::UnknownTopicId);
}

/// A topic takes what was committed for it along, and the next one of its name begins without.
#[test]
fn offsets_go_with_their_topic() {
    let mut setup = setup();
    let broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "t", 1, &[]);
    create_topic(&mut wire, "u", 1, &[]);
    committed(&mut wire, "g", "t", &[(0, 5)]);
    committed(&mut wire, "g", "u", &[(0, 6)]);
    assert_eq!(delete_topic(&mut wire, "t"), 0);
    create_topic(&mut wire, "t", 1, &[]);
    let groups = ["g".to_owned()];
    eventually("the offsets are gone", || fetched(&mut wire, &groups) == [("g".to_owned(), 0, 6)]);
    broker.kill();
    let broker = setup.start();
    assert_eq!(fetched(&mut broker.connect(), &groups), [("g".to_owned(), 0, 6)], "for good");
}
