//! ISR changes, elections and reassignments: every answer.

use ottla_controller::controller::list_partition_reassignments;
use ottla_wire::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use ottla_wire::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};
use ottla_wire::messages::assign_replicas_to_dirs_request::{
    DirectoryData, PartitionData as Placed, TopicData as PlacedTopic,
};
use ottla_wire::messages::create_partitions_request::CreatePartitionsTopic;
use ottla_wire::messages::elect_leaders_request::TopicPartitions;
use ottla_wire::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use ottla_wire::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, AlterPartitionRequest,
    AlterPartitionResponse, AssignReplicasToDirsRequest, AssignReplicasToDirsResponse,
    BrokerRegistrationResponse, CreatePartitionsRequest, CreatePartitionsResponse, ElectLeadersRequest,
    ElectLeadersResponse, ListPartitionReassignmentsRequest,
};
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerId, PartitionIndex, Uuid};

use crate::world::{World, dir, expect, ids, topic};

impl World {
    /// The request by which the leader of `topic` asks for `isr`.
    fn isr_request(&self, topic: &str, isr: &[i32]) -> AlterPartitionRequest {
        let partition = self.partition(topic);
        let epoch = |id: i32| self.image.broker_epoch(BrokerId(id)).map_or(-1, |epoch| epoch.0);
        let member = |id: &i32| BrokerState { broker_id: *id, broker_epoch: epoch(*id) };
        let asked = PartitionData {
            partition_index: 0,
            leader_epoch: partition.leader_epoch.0,
            new_isr_with_epochs: isr.iter().map(member).collect(),
            partition_epoch: partition.partition_epoch.0,
            ..PartitionData::default()
        };
        let leader = partition.leader_id();
        AlterPartitionRequest {
            broker_id: leader.0,
            broker_epoch: epoch(leader.0),
            topics: vec![TopicData {
                topic_id: self.image.topic_id(topic).unwrap(),
                partitions: vec![asked],
            }],
        }
    }

    /// The leader of `topic` asks for `isr`; the error code of the partition.
    pub fn grow_isr(&mut self, topic: &str, isr: &[i32]) -> i16 {
        let request = self.isr_request(topic, isr);
        let response: AlterPartitionResponse = self.ask(request);
        response.topics[0].partitions[0].error_code
    }

    /// `broker` says which directory its replica of `topic` is in.
    pub fn assign(&mut self, broker: i32, topic: &str, directory: Uuid) {
        let partitions = vec![Placed { partition_index: 0 }];
        let topics = vec![PlacedTopic { topic_id: self.image.topic_id(topic).unwrap(), partitions }];
        let request = AssignReplicasToDirsRequest {
            broker_id: broker,
            broker_epoch: self.image.broker_epoch(BrokerId(broker)).unwrap().0,
            directories: vec![DirectoryData { id: directory, topics }],
        };
        let response: AssignReplicasToDirsResponse = self.ask(request);
        assert_eq!(response.directories[0].topics[0].partitions[0].error_code, 0);
    }

    fn reassign(&mut self, topic: &str, replicas: Option<&[i32]>) -> i16 {
        let partition = ReassignablePartition { partition_index: 0, replicas: replicas.map(<[i32]>::to_vec) };
        let request = AlterPartitionReassignmentsRequest {
            topics: vec![ReassignableTopic { name: topic.into(), partitions: vec![partition] }],
            ..AlterPartitionReassignmentsRequest::default()
        };
        let response: AlterPartitionReassignmentsResponse = self.ask(request);
        response.responses[0].partitions[0].error_code
    }
}

#[test]
fn isr_changes_and_what_is_refused() {
    type Change = fn(&mut AlterPartitionRequest);
    fn partition(request: &mut AlterPartitionRequest) -> &mut PartitionData {
        &mut request.topics[0].partitions[0]
    }
    let cases: Vec<(&str, Change, ErrorCode)> = vec![
        ("unknown topic", |r| r.topics[0].topic_id = Uuid([9; 16]), ErrorCode::UnknownTopicId),
        ("unknown partition", |r| partition(r).partition_index = 5, ErrorCode::UnknownTopicOrPartition),
        ("older leader epoch", |r| partition(r).leader_epoch -= 1, ErrorCode::FencedLeaderEpoch),
        ("newer leader epoch", |r| partition(r).leader_epoch += 1, ErrorCode::NotController),
        ("older partition epoch", |r| partition(r).partition_epoch -= 1, ErrorCode::InvalidUpdateVersion),
        ("newer partition epoch", |r| partition(r).partition_epoch += 1, ErrorCode::NotController),
        ("nobody", |r| partition(r).new_isr_with_epochs.clear(), ErrorCode::InvalidRequest),
        ("without the leader", |_| {}, ErrorCode::InvalidRequest),
        ("not a replica", |r| partition(r).new_isr_with_epochs[1].broker_id = 4, ErrorCode::InvalidRequest),
        ("a member twice", |r| partition(r).new_isr_with_epochs[1].broker_id = 1, ErrorCode::InvalidRequest),
        (
            "old process",
            |r| partition(r).new_isr_with_epochs[1].broker_epoch -= 1,
            ErrorCode::IneligibleReplica,
        ),
        ("fenced", |r| partition(r).new_isr_with_epochs[1].broker_id = 3, ErrorCode::IneligibleReplica),
        ("recovery unknown", |r| partition(r).leader_recovery_state = 2, ErrorCode::InvalidRequest),
        ("recovering again", |r| partition(r).leader_recovery_state = 1, ErrorCode::InvalidRequest),
        ("right", |_| {}, ErrorCode::None),
    ];
    for (what, change, code) in cases {
        let mut world = World::new(4);
        world.place("t", &[1, 2, 3], &[]);
        world.fence(3);
        assert_eq!(world.grow_isr("t", &[1]), 0);
        let mut request = world.isr_request("t", &[1, 2]);
        if what == "without the leader" {
            request = world.isr_request("t", &[2]);
        }
        if what == "fenced" {
            partition(&mut request).new_isr_with_epochs[1].broker_epoch = -1;
        }
        change(&mut request);
        let response: AlterPartitionResponse = world.ask(request);
        let answer = &response.topics[0].partitions[0];
        expect(answer.error_code, code, what);
        if code == ErrorCode::None {
            assert_eq!((answer.leader_id, &answer.isr[..], answer.partition_epoch), (1, &[1, 2][..], 3));
        } else {
            assert!(world.records.is_empty(), "{what}");
        }
    }
}

#[test]
fn isr_changes_come_from_the_leader_as_it_is_now() {
    let mut world = World::new(2);
    world.place("t", &[1, 2], &[]);
    let mut request = world.isr_request("t", &[1]);
    request.broker_epoch += 1;
    let response: AlterPartitionResponse = world.ask(request.clone());
    expect(response.error_code, ErrorCode::StaleBrokerEpoch, &response);
    request.broker_id = 2;
    request.broker_epoch = world.image.broker_epoch(BrokerId(2)).unwrap().0;
    let response: AlterPartitionResponse = world.ask(request);
    expect(response.topics[0].partitions[0].error_code, ErrorCode::InvalidRequest, &response);
    // What is asked for again changes nothing, and is told as it is.
    assert_eq!(world.grow_isr("t", &[1, 2]), 0);
    assert!(world.records.is_empty());
}

#[test]
fn an_isr_of_the_minimal_size_empties_the_elr() {
    let mut world = World::new(3);
    world.place("t", &[1, 2, 3], &[("min.insync.replicas", "2")]);
    assert_eq!(world.grow_isr("t", &[1]), 0);
    assert_eq!(world.partition("t").elr, ids(&[2, 3]));
    assert_eq!(world.partition("t").leader_epoch.0, 0, "an ISR that shrinks is no new leader");
    assert_eq!(world.grow_isr("t", &[1, 2]), 0);
    assert_eq!(world.partition("t").elr, ids(&[]));
}

#[test]
fn elections() {
    let mut world = World::new(3);
    world.place("well", &[1, 2], &[]);
    world.place("moved", &[1, 2], &[]);
    world.place("absent", &[3, 2], &[]);
    world.place("dead", &[3], &[]);
    world.fence(3);
    world.fence(1);
    world.heartbeat(1);
    assert_eq!(world.grow_isr("moved", &[2, 1]), 0);
    assert_eq!(world.grow_isr("well", &[2, 1]), 0);
    let ask = |world: &mut World, kind: i8, topics: &[(&str, i32)]| -> Vec<ErrorCode> {
        let one = |(topic, index): &(&str, i32)| TopicPartitions {
            topic: (*topic).into(),
            partitions: vec![*index],
        };
        let topic_partitions = Some(topics.iter().map(one).collect());
        let request =
            ElectLeadersRequest { election_type: kind, topic_partitions, ..ElectLeadersRequest::default() };
        let response: ElectLeadersResponse = world.ask(request);
        let results = response.replica_election_results.iter().flat_map(|topic| &topic.partition_result);
        results.map(|result| ErrorCode::from_code(result.error_code).unwrap()).collect()
    };
    assert_eq!(ask(&mut world, 0, &[("well", 0)]), [ErrorCode::None]);
    assert_eq!(
        ask(&mut world, 0, &[("well", 0), ("absent", 0), ("none", 0), ("well", 7)]),
        [
            ErrorCode::ElectionNotNeeded,
            ErrorCode::PreferredLeaderNotAvailable,
            ErrorCode::UnknownTopicOrPartition,
            ErrorCode::UnknownTopicOrPartition
        ]
    );
    assert_eq!(
        ask(&mut world, 1, &[("well", 0), ("dead", 0)]),
        [ErrorCode::ElectionNotNeeded, ErrorCode::EligibleLeadersNotAvailable]
    );
    // All partitions: those that need nothing are not in the answer.
    let request =
        ElectLeadersRequest { election_type: 0, topic_partitions: None, ..ElectLeadersRequest::default() };
    let response: ElectLeadersResponse = world.ask(request);
    let names: Vec<&str> = response.replica_election_results.iter().map(|one| one.topic.as_str()).collect();
    assert_eq!(names, ["absent", "dead", "moved"]);
    assert_eq!(world.partition("moved").leader, Some(BrokerId(1)));
    let response: ElectLeadersResponse =
        world.ask(ElectLeadersRequest { election_type: 2, ..ElectLeadersRequest::default() });
    expect(response.error_code, ErrorCode::InvalidRequest, &response);
}

#[test]
fn an_unclean_election_by_hand() {
    let mut world = World::without_elr(2);
    world.place("t", &[1, 2], &[]);
    world.fence(2);
    world.fence(1);
    world.heartbeat(2);
    assert_eq!(world.partition("t").leader, None);
    let request =
        ElectLeadersRequest { election_type: 1, topic_partitions: None, ..ElectLeadersRequest::default() };
    let response: ElectLeadersResponse = world.ask(request);
    expect(response.replica_election_results[0].partition_result[0].error_code, ErrorCode::None, &response);
    assert_eq!((world.partition("t").leader, world.partition("t").isr), (Some(BrokerId(2)), ids(&[2])));
}

#[test]
fn a_reassignment_moves_replicas_when_the_new_ones_are_in_sync() {
    let mut world = World::new(4);
    world.place("t", &[1, 2], &[]);
    assert_eq!(world.reassign("t", Some(&[3, 4])), 0);
    let partition = world.partition("t");
    assert_eq!(partition.replicas, ids(&[3, 4, 1, 2]));
    assert_eq!((partition.adding, partition.removing), (ids(&[3, 4]), ids(&[1, 2])));
    assert_eq!((partition.leader, partition.isr), (Some(BrokerId(1)), ids(&[1, 2])));
    let listed = list_partition_reassignments(&world.image, &ListPartitionReassignmentsRequest::default());
    assert_eq!(listed.topics[0].partitions[0].adding_replicas, [3, 4]);
    let none = ListPartitionReassignmentsTopics { name: "other".into(), partition_indexes: vec![0] };
    let request = ListPartitionReassignmentsRequest { topics: Some(vec![none]), ..Default::default() };
    assert!(list_partition_reassignments(&world.image, &request).topics.is_empty());

    assert_eq!(world.grow_isr("t", &[1, 2, 3]), 0);
    assert!(world.partition("t").is_reassigning());
    // The leader itself has to go: it is told that another leads.
    expect(world.grow_isr("t", &[1, 2, 3, 4]), ErrorCode::NewLeaderElected, "done");
    let partition = world.partition("t");
    assert!(!partition.is_reassigning());
    assert_eq!((&partition.replicas, &partition.isr), (&ids(&[3, 4]), &ids(&[3, 4])));
    assert_eq!((partition.leader, partition.leader_epoch.0), (Some(BrokerId(3)), 1));
}

/// Whoever goes may be the only one to hold what a replica that stays lacks.
#[test]
fn a_reassignment_is_complete_when_all_of_its_replicas_are_in_sync() {
    // The target, and who must catch up for it besides broker 2, which has fallen behind.
    let cases: [(&str, &[i32], &[i32]); 3] = [
        ("one is replaced", &[1, 2, 4], &[4]),
        ("one is added", &[1, 2, 3, 4], &[4]),
        ("one goes", &[1, 2], &[]),
    ];
    for (what, target, new) in cases {
        let mut world = World::new(4);
        world.place("t", &[1, 2, 3], &[]);
        assert_eq!(world.grow_isr("t", &[1, 3]), 0);
        assert_eq!(world.reassign("t", Some(target)), 0);
        let in_sync: Vec<i32> = [1, 3].iter().chain(new).copied().collect();
        world.grow_isr("t", &in_sync);
        let partition = world.partition("t");
        assert!(partition.is_reassigning(), "{what}");
        assert_eq!(partition.isr, ids(&in_sync), "{what}");
        let all: Vec<i32> = [1, 2, 3].iter().chain(new).copied().collect();
        assert_eq!(world.grow_isr("t", &all), 0);
        let partition = world.partition("t");
        assert_eq!((partition.adding, partition.removing), (ids(&[]), ids(&[])), "{what}");
        assert_eq!(partition.replicas, ids(target), "{what}");
        assert_eq!(partition.isr.len(), target.len(), "{what}");
    }
}

#[test]
fn a_smaller_set_of_replicas_that_is_in_sync_is_taken_at_once_and_is_a_new_epoch() {
    let mut world = World::new(3);
    world.place("t", &[1, 2, 3], &[]);
    assert_eq!(world.reassign("t", Some(&[1, 2])), 0);
    let partition = world.partition("t");
    assert_eq!((partition.replicas, partition.isr), (ids(&[1, 2]), ids(&[1, 2])));
    assert_eq!((partition.leader, partition.leader_epoch.0), (Some(BrokerId(1)), 1));
}

/// While replicas move there are those that come and those that go; new partitions need not have both.
#[test]
fn new_partitions_have_as_many_replicas_as_the_topic_is_to_have() {
    let cases: [(&[i32], usize); 2] = [(&[3, 4], 2), (&[1, 2, 3], 3)];
    for (target, expected) in cases {
        let mut world = World::new(4);
        world.place("t", &[1, 2], &[]);
        assert_eq!(world.reassign("t", Some(target)), 0);
        let topics = vec![CreatePartitionsTopic { name: "t".into(), count: 2, assignments: None }];
        let response: CreatePartitionsResponse =
            world.ask(CreatePartitionsRequest { topics, ..Default::default() });
        expect(response.results[0].error_code, ErrorCode::None, &response);
        let second = world.image.topic("t").unwrap().partition(PartitionIndex(1)).unwrap().clone();
        assert_eq!(second.replicas.len(), expected);
    }
}

#[test]
fn reassignments_are_replaced_and_cancelled() {
    let mut world = World::new(4);
    world.place("t", &[1, 2], &[]);
    world.reassign("t", Some(&[2, 3]));
    assert_eq!(world.reassign("t", Some(&[2, 4])), 0);
    let partition = world.partition("t");
    assert_eq!((partition.adding, partition.removing), (ids(&[4]), ids(&[3, 1])));
    assert_eq!(world.reassign("t", None), 0);
    let partition = world.partition("t");
    assert!(!partition.is_reassigning());
    assert_eq!(partition.isr, ids(&[1, 2]));
    expect(world.reassign("t", None), ErrorCode::NoReassignmentInProgress, "cancelled already");
}

#[test]
fn reassignments_that_are_refused() {
    let mut world = World::new(2);
    world.place("t", &[1, 2], &[]);
    let cases: [(&str, &[i32], ErrorCode); 4] = [
        ("none", &[1], ErrorCode::UnknownTopicOrPartition),
        ("t", &[], ErrorCode::InvalidReplicaAssignment),
        ("t", &[1, 1], ErrorCode::InvalidReplicaAssignment),
        ("t", &[1, 9], ErrorCode::InvalidReplicaAssignment),
    ];
    for (topic, replicas, code) in cases {
        expect(world.reassign(topic, Some(replicas)), code, replicas);
    }
    let partition = ReassignablePartition { partition_index: 0, replicas: Some(vec![1]) };
    let request = AlterPartitionReassignmentsRequest {
        allow_replication_factor_change: false,
        topics: vec![ReassignableTopic { name: "t".into(), partitions: vec![partition] }],
        ..AlterPartitionReassignmentsRequest::default()
    };
    let response: AlterPartitionReassignmentsResponse = world.ask(request);
    expect(response.responses[0].partitions[0].error_code, ErrorCode::InvalidReplicationFactor, &response);
}

#[test]
fn directories_of_replicas() {
    let mut world = World::new(2);
    world.create(topic("t", 1, 1, &[]));
    let partition = world.partition("t");
    let leader = partition.leader_id();
    assert_eq!(partition.directory_of(leader), Some(world.image.broker(leader).unwrap().log_dirs[0]));
    let ask = |world: &mut World, topic_id: Uuid, index: i32, broker: i32| {
        let partitions = vec![Placed { partition_index: index }];
        let request = AssignReplicasToDirsRequest {
            broker_id: broker,
            broker_epoch: world.image.broker_epoch(BrokerId(broker)).unwrap().0,
            directories: vec![DirectoryData {
                id: Uuid([7; 16]),
                topics: vec![PlacedTopic { topic_id, partitions }],
            }],
        };
        let response: AssignReplicasToDirsResponse = world.ask(request);
        response.directories[0].topics[0].partitions[0].error_code
    };
    let both = vec![dir(leader.0), Uuid([7; 16])];
    let mut request = world.registration(leader.0, 0, -1);
    request.log_dirs = both;
    let _: BrokerRegistrationResponse = world.ask(request);
    let id = world.image.topic_id("t").unwrap();
    expect(ask(&mut world, Uuid([8; 16]), 0, leader.0), ErrorCode::UnknownTopicId, "topic");
    expect(ask(&mut world, id, 3, leader.0), ErrorCode::UnknownTopicOrPartition, "partition");
    expect(ask(&mut world, id, 0, 3 - leader.0), ErrorCode::NotLeaderOrFollower, "broker");
    expect(ask(&mut world, id, 0, leader.0), ErrorCode::None, "right");
    let partition = world.image.partition(id, PartitionIndex(0)).unwrap();
    assert_eq!(partition.directories, [Uuid([7; 16])]);
    assert_eq!((partition.leader_epoch.0, partition.partition_epoch.0), (0, 1));
}

/// How a broker gives up a partition that it cannot serve, and takes it on again.
#[test]
fn a_replica_in_a_directory_that_is_not_online_does_not_lead() {
    const LOST: Uuid = Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    let mut world = World::new(2);
    world.place("t", &[1, 2], &[]);
    world.place("alone", &[1], &[]);
    world.assign(1, "t", LOST);
    let partition = world.partition("t");
    assert_eq!((partition.leader, &partition.isr), (Some(BrokerId(2)), &ids(&[2])));
    assert_eq!((partition.leader_epoch.0, partition.directory_of(BrokerId(1))), (1, Some(LOST)));
    world.assign(1, "alone", LOST);
    let partition = world.partition("alone");
    assert_eq!((partition.leader, &partition.isr, &partition.elr), (None, &ids(&[]), &ids(&[1])));
    // No election takes it, whatever kind.
    world.fence(2);
    world.fence(1);
    world.heartbeat(1);
    for election_type in [0, 1] {
        let request = ElectLeadersRequest { election_type, topic_partitions: None, ..Default::default() };
        let _: ElectLeadersResponse = world.ask(request);
    }
    assert_eq!((world.partition("t").leader, world.partition("alone").leader), (None, None));
    world.assign(1, "alone", dir(1));
    let partition = world.partition("alone");
    assert_eq!((partition.leader, partition.isr), (Some(BrokerId(1)), ids(&[1])));
}

/// All of a request is decided on one image: what is named twice would be decided as if it had not changed.
#[test]
fn a_partition_is_changed_once_in_a_request() {
    let mut world = World::new(3);
    world.place("t", &[1, 2, 3], &[("min.insync.replicas", "2")]);
    let mut request = world.isr_request("t", &[1]);
    let again = world.isr_request("t", &[1, 2]).topics.remove(0).partitions.remove(0);
    request.topics[0].partitions.push(again);
    let response: AlterPartitionResponse = world.ask(request);
    let codes: Vec<i16> = response.topics[0].partitions.iter().map(|one| one.error_code).collect();
    assert_eq!(codes, [0, ErrorCode::InvalidRequest.code()]);
    assert_eq!((world.partition("t").isr, world.partition("t").elr), (ids(&[1]), ids(&[2, 3])));
    world.heartbeat_with(1, |request| request.want_fence = true);
    let twice = TopicPartitions { topic: "t".into(), partitions: vec![0, 0] };
    let request = ElectLeadersRequest { topic_partitions: Some(vec![twice]), ..Default::default() };
    let response: ElectLeadersResponse = world.ask(request);
    let results = &response.replica_election_results[0].partition_result;
    expect(results[1].error_code, ErrorCode::InvalidRequest, &response);
}

#[test]
fn a_reassignment_is_not_cancelled_if_nobody_could_lead() {
    let cases = [("false", false, ErrorCode::InvalidReplicaAssignment), ("true", false, ErrorCode::None)];
    let dead = [
        ("false", true, ErrorCode::InvalidReplicaAssignment),
        ("true", true, ErrorCode::InvalidReplicaAssignment),
    ];
    for (unclean, old_ones_dead, code) in cases.into_iter().chain(dead) {
        let mut world = World::without_elr(4);
        world.place("t", &[1, 2], &[("unclean.leader.election.enable", unclean)]);
        // Broker 3 is in sync, broker 4 not yet; then those there were fall out of sync.
        world.reassign("t", Some(&[3, 4]));
        assert_eq!(world.grow_isr("t", &[1, 3]), 0);
        world.fence(2);
        world.fence(1);
        assert_eq!(world.partition("t").isr, ids(&[3]));
        if !old_ones_dead {
            world.heartbeat(2);
        }
        expect(world.reassign("t", None), code, (unclean, old_ones_dead));
    }
}
