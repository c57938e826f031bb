//! Decisions that can change every partition: what the entries they are cut into add up to, and what another
//! controller makes of them when they break off.

use std::collections::BTreeSet;

use ottla_controller::controller::{Cuts, ENTRY_BYTES_MAX, Entries, Entry};
use ottla_controller::{Image, Partition, Request};
use ottla_wire::messages::{
    ElectLeadersRequest, IncrementalAlterConfigsRequest, MetadataRecord, UnregisterBrokerRequest,
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
};
use ottla_wire::{BrokerId, PartitionIndex, TopicId};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::laws::{BROKERS, step, take};
use crate::world::{World, topic};

/// A decision of any size.
#[derive(Clone, Copy, Debug)]
enum Large {
    Fence(i32),
    Return(i32),
    ShutDown(i32),
    Unregister(i32),
    /// Another process takes the place of the broker's, which may have lost what it acknowledged.
    Replace(i32, bool),
    Elect(bool),
    MinIsr(i32),
}

fn large() -> impl Strategy<Value = Large> {
    let broker = || 1..=BROKERS;
    prop_oneof![
        broker().prop_map(Large::Fence),
        broker().prop_map(Large::Return),
        broker().prop_map(Large::ShutDown),
        broker().prop_map(Large::Unregister),
        (broker(), any::<bool>()).prop_map(|(broker, clean)| Large::Replace(broker, clean)),
        any::<bool>().prop_map(Large::Elect),
        (1..3i32).prop_map(Large::MinIsr),
    ]
}

impl Large {
    fn request(self, world: &World) -> Request {
        match self {
            Large::Fence(broker) => {
                world.heartbeat_request(broker, |request| request.want_fence = true).into()
            }
            Large::Return(broker) => world.heartbeat_request(broker, |_| {}).into(),
            Large::ShutDown(broker) => {
                world.heartbeat_request(broker, |request| request.want_shut_down = true).into()
            }
            Large::Unregister(broker_id) => UnregisterBrokerRequest { broker_id }.into(),
            Large::Replace(broker, clean) => {
                let epoch = world.image.broker_epoch(BrokerId(broker)).filter(|_| clean);
                world.registration(broker, 9, epoch.map_or(-1, |epoch| epoch.0)).into()
            }
            Large::Elect(unclean) => {
                ElectLeadersRequest { election_type: i8::from(unclean), ..Default::default() }.into()
            }
            Large::MinIsr(min_isr) => {
                let config = AlterableConfig {
                    name: "min.insync.replicas".into(),
                    config_operation: 0,
                    value: Some(min_isr.to_string().into()),
                };
                let resource = AlterConfigsResource {
                    resource_type: 4,
                    resource_name: "".into(),
                    configs: vec![config],
                };
                IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false }.into()
            }
        }
    }
}

fn records(entry: &Entry) -> Vec<MetadataRecord> {
    entry.frames.iter().map(|frame| MetadataRecord::from_frame(frame.clone()).unwrap()).collect()
}

fn cut(records: &[MetadataRecord], cuts: &Cuts, entry_bytes_max: usize) -> Vec<Entry> {
    let mut entries = Entries::of(entry_bytes_max);
    entries.add(records, cuts).unwrap();
    entries.into_entries()
}

/// What there is to compare of a partition. Epochs count decisions, of which there may be more or fewer.
type Standing = (Option<BrokerId>, BTreeSet<BrokerId>, BTreeSet<BrokerId>, Vec<BrokerId>);

fn standings(image: &Image) -> Vec<(TopicId, PartitionIndex, Standing)> {
    let set = |brokers: &[BrokerId]| brokers.iter().copied().collect();
    let standing = |one: &Partition| (one.leader, set(&one.isr), set(&one.elr), one.last_known_elr.clone());
    let mut all = Vec::new();
    for topic in image.topics() {
        all.extend(topic.partitions.iter().map(|(index, one)| (topic.id, *index, standing(one))));
    }
    all
}

/// Every leader is alive, and whoever could lead without loss does.
fn check_leaders(image: &Image) {
    for topic in image.topics() {
        for (index, partition) in &topic.partitions {
            let serves = |broker: &BrokerId| image.is_active(*broker);
            let may = if partition.isr.is_empty() { &partition.elr } else { &partition.isr };
            let at = format!("{}-{index}: {partition:?}", topic.name);
            assert_eq!(partition.leader.is_some(), may.iter().any(serves), "{at}");
            assert!(partition.leader.is_none_or(|leader| serves(&leader)), "{at}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, rng_seed: RngSeed::Fixed(631), failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the image, the decision and the size of entries: each entry keeps to the size, all of them
    /// together are the decision, and one that breaks off anywhere is made whole by the next controller.
    #[test]
    fn a_decision_that_is_cut_is_the_decision(
        elr in any::<bool>(),
        steps in vec(step(), 1..40),
        decision in large(),
        entry_bytes_max in 1..600usize,
        logged in any::<prop::sample::Index>(),
    ) {
        let mut world = if elr { World::new(3) } else { World::without_elr(3) };
        steps.into_iter().for_each(|step| take(&mut world, step));
        // Nobody's session keeps another process from registering.
        world.fail_over();
        world.tick();
        let start = world.image.clone();
        let request = decision.request(&world);
        let outcome = world.decide(request);

        let entries = cut(&outcome.records, &outcome.cuts, entry_bytes_max);
        for entry in &entries {
            prop_assert!(entry.bytes() <= entry_bytes_max || entry.frames.len() == 1);
        }
        let logged_records: Vec<MetadataRecord> = entries.iter().flat_map(records).collect();
        prop_assert_eq!(&logged_records, &outcome.records);

        // Whole.
        world.apply_part(&outcome.records);
        world.fail_over();
        world.tick();
        world.check();
        let whole = std::mem::replace(&mut world.image, start);
        // Broken off.
        let logged = logged.index(entries.len() + 1);
        for entry in &entries[..logged] {
            world.apply_part(&records(entry));
        }
        world.fail_over();
        world.tick();
        world.check();
        check_leaders(&world.image);
        if logged > 0 {
            // Whoever asked asks again.
            let request = decision.request(&world);
            let outcome = world.decide(request);
            world.apply_part(&outcome.records);
            world.tick();
            world.check();
            prop_assert_eq!(standings(&world.image), standings(&whole));
        }
    }
}

/// As many partitions as a large broker has: no entry is large, and what matters most is in the first.
#[test]
fn a_fence_is_logged_in_small_entries() {
    let mut world = World::new(3);
    for (name, partitions) in [("A", 10_000), ("__consumer_offsets", 50), ("b", 10_000)] {
        let response = world.create(topic(name, partitions, 3, &[]));
        assert_eq!(response.topics[0].error_code, 0, "{:?}", response.topics[0].error_message);
    }
    let request = world.heartbeat_request(1, |request| request.want_fence = true);
    let outcome = world.decide(request);
    let entries = cut(&outcome.records, &outcome.cuts, ENTRY_BYTES_MAX);
    assert!(entries.len() > 2, "{}", entries.len());
    assert!(entries.iter().all(|entry| entry.bytes() <= ENTRY_BYTES_MAX));
    let first = records(&entries[0]);
    assert!(matches!(first[0], MetadataRecord::BrokerRegistrationChange(_)));
    let offsets = world.image.topic_id("__consumer_offsets").unwrap();
    let of_offsets = |record: &MetadataRecord| matches!(record, MetadataRecord::PartitionChange(change) if change.topic_id == offsets);
    assert!(first[1..51].iter().all(of_offsets));
    // It may break off after any of them; a controller that takes over moves the rest.
    world.apply_part(&first);
    world.fail_over();
    world.tick();
    check_leaders(&world.image);
}

/// The epoch of a registration is the offset at which it is found, also behind everything that the old
/// process leaves.
#[test]
fn a_registration_has_the_offset_of_its_entry_as_epoch() {
    let mut world = World::new(3);
    world.create(topic("t", 10_000, 3, &[]));
    world.fail_over();
    let next = world.offset;
    let request = world.registration(1, 1, -1);
    let outcome = world.decide(request);
    let entries = cut(&outcome.records, &outcome.cuts, ENTRY_BYTES_MAX);
    let last = records(&entries[entries.len() - 1]);
    let Some(MetadataRecord::RegisterBroker(registration)) = last.last() else { panic!("{last:?}") };
    assert!(entries.len() > 1);
    assert_eq!(registration.broker_epoch, next + entries.len() as i64 - 1);
}
