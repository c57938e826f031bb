//! Laws that hold whatever is asked in whatever order. `World` checks after every request that a leader is in
//! the ISR and alive, that ISR, ELR and replicas fit, and that a snapshot gives the same image.

use std::time::Duration;

use ottla_controller::Image;
use ottla_wire::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use ottla_wire::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};
use ottla_wire::messages::create_partitions_request::CreatePartitionsTopic;
use ottla_wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_wire::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse, AlterPartitionRequest, AlterPartitionResponse,
    CreatePartitionsRequest, CreatePartitionsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    ElectLeadersRequest, ElectLeadersResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, MetadataRecord, UnregisterBrokerRequest, UnregisterBrokerResponse,
};
use ottla_wire::{BrokerId, LeaderEpoch, PartitionEpoch, TopicId};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::world::{World, topic};

const TOPICS: [&str; 3] = ["a", "b.c", "d"];
pub const BROKERS: i32 = 4;

#[derive(Clone, Debug)]
pub enum Step {
    Register { broker: i32, process: u8, clean: bool },
    Heartbeat { broker: i32, fence: bool, shut_down: bool },
    Unregister { broker: i32 },
    Wait { seconds: u64 },
    Create { topic: usize, partitions: i32, replicas: i16, min_isr: i32, unclean: bool },
    Delete { topic: usize },
    Grow { topic: usize, count: i32 },
    Isr { topic: usize, partition: i32, members: Vec<i32> },
    Reassign { topic: usize, partition: i32, replicas: Option<Vec<i32>> },
    Elect { unclean: bool },
    MinIsr { topic: usize, min_isr: i32 },
    ProducerIds { broker: i32 },
}

pub fn step() -> impl Strategy<Value = Step> {
    let broker = || 1..=BROKERS;
    let topic = || 0..TOPICS.len();
    let brokers = || vec(1..=BROKERS + 1, 0..4);
    prop_oneof![
        2 => (broker(), 0..3u8, any::<bool>())
            .prop_map(|(broker, process, clean)| Step::Register { broker, process, clean }),
        6 => (broker(), prop::bool::weighted(0.2), prop::bool::weighted(0.2))
            .prop_map(|(broker, fence, shut_down)| Step::Heartbeat { broker, fence, shut_down }),
        1 => broker().prop_map(|broker| Step::Unregister { broker }),
        3 => (0..12u64).prop_map(|seconds| Step::Wait { seconds }),
        4 => (topic(), 1..4i32, 1..4i16, 1..3i32, any::<bool>()).prop_map(
            |(topic, partitions, replicas, min_isr, unclean)| Step::Create {
                topic, partitions, replicas, min_isr, unclean
            }
        ),
        1 => topic().prop_map(|topic| Step::Delete { topic }),
        1 => (topic(), 1..6i32).prop_map(|(topic, count)| Step::Grow { topic, count }),
        6 => (topic(), 0..3i32, brokers())
            .prop_map(|(topic, partition, members)| Step::Isr { topic, partition, members }),
        4 => (topic(), 0..3i32, prop::option::weighted(0.8, brokers()))
            .prop_map(|(topic, partition, replicas)| Step::Reassign { topic, partition, replicas }),
        1 => any::<bool>().prop_map(|unclean| Step::Elect { unclean }),
        1 => (topic(), 1..4i32).prop_map(|(topic, min_isr)| Step::MinIsr { topic, min_isr }),
        1 => broker().prop_map(|broker| Step::ProducerIds { broker }),
    ]
}

pub fn take(world: &mut World, step: Step) {
    world.records.clear();
    match step {
        Step::Register { broker, process, clean } => {
            let previous = world.image.broker_epoch(BrokerId(broker)).map_or(-1, |epoch| epoch.0);
            world.register_after(broker, process, if clean { previous } else { -1 });
        }
        Step::Heartbeat { broker, fence, shut_down } => {
            world.heartbeat_with(broker, |request| {
                request.want_fence = fence;
                request.want_shut_down = shut_down;
            });
        }
        Step::Unregister { broker } => {
            let _: UnregisterBrokerResponse = world.ask(UnregisterBrokerRequest { broker_id: broker });
        }
        Step::Wait { seconds } => {
            world.after(Duration::from_secs(seconds));
            world.tick();
        }
        Step::Create { topic: at, partitions, replicas, min_isr, unclean } => {
            let (min_isr, unclean) = (min_isr.to_string(), unclean.to_string());
            let configs = [("min.insync.replicas", &*min_isr), ("unclean.leader.election.enable", &*unclean)];
            world.create(topic(TOPICS[at], partitions, replicas, &configs));
        }
        Step::Delete { topic } => {
            let request =
                DeleteTopicsRequest { topic_names: vec![TOPICS[topic].into()], ..Default::default() };
            let _: DeleteTopicsResponse = world.ask(request);
        }
        Step::Grow { topic, count } => {
            let topics = vec![CreatePartitionsTopic { name: TOPICS[topic].into(), count, assignments: None }];
            let _: CreatePartitionsResponse =
                world.ask(CreatePartitionsRequest { topics, ..Default::default() });
        }
        Step::Isr { topic, partition, members } => ask_isr(world, TOPICS[topic], partition, &members),
        Step::Reassign { topic, partition, replicas } => {
            let partitions = vec![ReassignablePartition { partition_index: partition, replicas }];
            let topics = vec![ReassignableTopic { name: TOPICS[topic].into(), partitions }];
            let request = AlterPartitionReassignmentsRequest { topics, ..Default::default() };
            let _: AlterPartitionReassignmentsResponse = world.ask(request);
        }
        Step::Elect { unclean } => {
            let request = ElectLeadersRequest { election_type: i8::from(unclean), ..Default::default() };
            let _: ElectLeadersResponse = world.ask(request);
        }
        Step::MinIsr { topic, min_isr } => {
            let config = AlterableConfig {
                name: "min.insync.replicas".into(),
                config_operation: 0,
                value: Some(min_isr.to_string().into()),
            };
            let resource = AlterConfigsResource {
                resource_type: 2,
                resource_name: TOPICS[topic].into(),
                configs: vec![config],
            };
            let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
            let _: IncrementalAlterConfigsResponse = world.ask(request);
        }
        Step::ProducerIds { broker } => {
            let broker_epoch = world.image.broker_epoch(BrokerId(broker)).map_or(-1, |epoch| epoch.0);
            let request = AllocateProducerIdsRequest { broker_id: broker, broker_epoch };
            let _: AllocateProducerIdsResponse = world.ask(request);
        }
    }
}

/// The leader asks for itself and whoever of `members` is a replica and alive, most of the time.
fn ask_isr(world: &mut World, topic: &str, index: i32, members: &[i32]) {
    let Some(found) = world.image.topic(topic) else { return };
    let Some(partition) = found.partition(ottla_wire::PartitionIndex(index)) else { return };
    let epoch = |id: i32| world.image.broker_epoch(BrokerId(id)).map_or(-1, |epoch| epoch.0);
    let leader = partition.leader_id().0;
    let member = |id: i32| BrokerState { broker_id: id, broker_epoch: epoch(id) };
    let others = members.iter().copied().filter(|id| *id != leader && partition.is_replica(BrokerId(*id)));
    let asked = PartitionData {
        partition_index: index,
        leader_epoch: partition.leader_epoch.0,
        new_isr_with_epochs: std::iter::once(leader).chain(others).map(member).collect(),
        partition_epoch: partition.partition_epoch.0,
        ..PartitionData::default()
    };
    let request = AlterPartitionRequest {
        broker_id: leader,
        broker_epoch: epoch(leader),
        topics: vec![TopicData { topic_id: found.id, partitions: vec![asked] }],
    };
    let _: AlterPartitionResponse = world.ask(request);
}

/// Epochs of every partition.
fn epochs(image: &Image) -> Vec<(TopicId, i32, LeaderEpoch, PartitionEpoch, Option<BrokerId>)> {
    let of = |topic: &ottla_controller::Topic| {
        let partitions = topic.partitions.iter();
        let id = topic.id;
        partitions
            .map(|(index, one)| (id, index.0, one.leader_epoch, one.partition_epoch, one.leader))
            .collect::<Vec<_>>()
    };
    image.topics().flat_map(|topic| of(topic)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, rng_seed: RngSeed::Fixed(966), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_requests_leave_a_sound_image(elr in any::<bool>(), steps in vec(step(), 1..60)) {
        let mut world = if elr { World::new(3) } else { World::without_elr(3) };
        let mut log: Vec<MetadataRecord> = world.image.to_records();
        for step in steps {
            let before = epochs(&world.image);
            take(&mut world, step);
            log.extend(world.records.iter().cloned());
            for (id, index, leader_epoch, partition_epoch, leader) in before {
                let Some(now) = world.image.partition(id, ottla_wire::PartitionIndex(index)) else { continue };
                prop_assert!(now.leader_epoch >= leader_epoch && now.partition_epoch >= partition_epoch);
                prop_assert!(now.leader == leader || now.leader_epoch > leader_epoch, "another leader, the same epoch");
            }
        }
        // The whole log gives the image that its parts gave one after the other.
        let (replayed, _) = Image::default().apply_all(&log).unwrap();
        prop_assert_eq!(replayed, world.image);
    }
}
