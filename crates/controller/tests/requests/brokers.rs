//! Brokers come, live, go silent and leave; partitions follow.

use std::time::Duration;

use ottla_controller::image::LeaderRecovery;
use ottla_wire::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, BrokerHeartbeatRequest, BrokerHeartbeatResponse,
    BrokerRegistrationRequest, BrokerRegistrationResponse, UnregisterBrokerRequest, UnregisterBrokerResponse,
    UpdateFeaturesRequest, UpdateFeaturesResponse, update_features_request::FeatureUpdateKey,
};
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerId, ProducerId, Uuid};

use crate::world::{CLUSTER, World, dir, expect, ids};

const SESSION: Duration = Duration::from_secs(9);

#[test]
fn a_broker_is_fenced_until_it_has_seen_its_registration() {
    let mut world = World::new(0);
    let epoch = world.register(1, 0).broker_epoch;
    assert!(world.image.broker(BrokerId(1)).unwrap().fenced);
    let answer = world.heartbeat_with(1, |request| request.current_metadata_offset = epoch - 1);
    assert!(answer.is_fenced && !answer.is_caught_up);
    let answer = world.heartbeat_with(1, |request| request.current_metadata_offset = epoch);
    assert!(!answer.is_fenced && answer.is_caught_up);
    assert!(world.image.is_active(BrokerId(1)));
    assert!(world.delta.brokers_changed.contains(&BrokerId(1)));
    world.heartbeat(1);
    assert!(world.records.is_empty(), "a heartbeat that changes nothing writes nothing");
}

#[test]
fn registrations_that_are_refused() {
    let mut world = World::new(1);
    let request = BrokerRegistrationRequest {
        broker_id: 2,
        cluster_id: CLUSTER.into(),
        incarnation_id: Uuid([7; 16]),
        log_dirs: vec![Uuid([1; 16])],
        ..BrokerRegistrationRequest::default()
    };
    let taken = world.image.broker(BrokerId(1)).unwrap().log_dirs.clone();
    let cases = [
        (
            BrokerRegistrationRequest { cluster_id: "other".into(), ..request.clone() },
            ErrorCode::InconsistentClusterId,
        ),
        (
            BrokerRegistrationRequest { broker_id: 1, ..request.clone() },
            ErrorCode::DuplicateBrokerRegistration,
        ),
        // It supports no feature at all.
        (request.clone(), ErrorCode::UnsupportedVersion),
    ];
    for (request, code) in cases {
        let response: BrokerRegistrationResponse = world.ask(request.clone());
        expect(response.error_code, code, request);
        assert!(world.records.is_empty());
    }
    let features: Vec<_> = world
        .image
        .features
        .levels
        .iter()
        .map(|(name, level)| ottla_wire::messages::broker_registration_request::Feature {
            name: name.clone(),
            min_supported_version: *level,
            max_supported_version: *level,
        })
        .collect();
    for log_dirs in [vec![], vec![Uuid([1; 16]), Uuid([1; 16])], taken] {
        let request = BrokerRegistrationRequest { features: features.clone(), log_dirs, ..request.clone() };
        let response: BrokerRegistrationResponse = world.ask(request.clone());
        expect(response.error_code, ErrorCode::InvalidRegistration, request);
    }
}

#[test]
fn epochs_grow_and_old_processes_are_refused() {
    let mut world = World::new(1);
    let first = world.image.broker_epoch(BrokerId(1)).unwrap();
    // The same process again keeps its epoch, and stays unfenced.
    assert_eq!(world.register(1, 0).broker_epoch, first.0);
    assert!(world.image.is_active(BrokerId(1)));
    // Another process has to wait until the first is silent for a session.
    expect(world.register(1, 1).error_code, ErrorCode::DuplicateBrokerRegistration, "still alive");
    world.after(SESSION);
    let second = world.register(1, 1);
    assert!(second.error_code == 0 && second.broker_epoch > first.0);
    let old = world.heartbeat_with(1, |request| request.broker_epoch = first.0);
    expect(old.error_code, ErrorCode::StaleBrokerEpoch, old);
    let unknown: BrokerHeartbeatResponse =
        world.ask(BrokerHeartbeatRequest { broker_id: 5, ..BrokerHeartbeatRequest::default() });
    expect(unknown.error_code, ErrorCode::BrokerIdNotRegistered, unknown);
}

/// A node that is killed and started again is controller and broker anew: it need not wait for its own old
/// session.
#[test]
fn a_new_controller_lets_a_restarted_broker_in_at_once() {
    let mut world = World::new(1);
    world.place("t", &[1], &[]);
    world.fail_over();
    assert_eq!(world.register(1, 1).error_code, 0);
    assert_eq!(world.partition("t").leader, None);
    world.heartbeat(1);
    let partition = world.partition("t");
    assert_eq!((partition.leader, partition.isr, partition.elr), (Some(BrokerId(1)), ids(&[1]), ids(&[])));
    assert_eq!(partition.recovery, LeaderRecovery::Recovered);
    assert!(partition.leader_epoch.0 > 0);
}

#[test]
fn silent_brokers_are_fenced_and_others_lead() {
    let mut world = World::new(3);
    world.place("t", &[1, 2, 3], &[("min.insync.replicas", "2")]);
    world.after(SESSION / 2);
    for id in [2, 3] {
        world.heartbeat(id);
    }
    world.tick();
    assert!(world.records.is_empty());
    world.after(SESSION / 2);
    world.tick();
    let partition = world.partition("t");
    assert!(world.image.broker(BrokerId(1)).unwrap().fenced);
    assert_eq!((partition.leader, partition.isr), (Some(BrokerId(2)), ids(&[2, 3])));
    assert_eq!((partition.leader_epoch.0, partition.partition_epoch.0, partition.elr), (1, 1, ids(&[])));
    // It comes back as a follower; only its leader lets it into the ISR.
    world.heartbeat(1);
    assert_eq!(world.partition("t").isr, ids(&[2, 3]));
}

/// KIP-966: who leaves an ISR that is too small to acknowledge writes may still lead.
#[test]
fn eligible_leader_replicas() {
    let mut world = World::new(3);
    world.place("t", &[1, 2, 3], &[("min.insync.replicas", "2")]);
    world.fence(1);
    world.fence(2);
    let partition = world.partition("t");
    assert_eq!((partition.leader, partition.isr, partition.elr), (Some(BrokerId(3)), ids(&[3]), ids(&[2])));
    world.fence(3);
    let partition = world.partition("t");
    assert_eq!((partition.leader, partition.isr, partition.elr), (None, ids(&[]), ids(&[2, 3])));
    assert_eq!(partition.last_known_elr, ids(&[3]));
    // Broker 1 left while the ISR was large enough: it may lack records.
    world.heartbeat(1);
    assert_eq!(world.partition("t").leader, None);
    world.heartbeat(2);
    let partition = world.partition("t");
    assert_eq!((partition.leader, partition.isr, partition.elr), (Some(BrokerId(2)), ids(&[2]), ids(&[3])));
    assert_eq!(partition.recovery, LeaderRecovery::Recovered);
    assert_eq!(partition.last_known_elr, ids(&[]), "there is a leader again");
}

#[test]
fn without_eligible_leader_replicas_the_last_one_in_sync_stays() {
    let mut world = World::without_elr(2);
    world.place("t", &[1, 2], &[]);
    world.fence(1);
    world.fence(2);
    let partition = world.partition("t");
    assert_eq!((partition.leader, partition.isr, partition.elr), (None, ids(&[2]), ids(&[])));
    world.heartbeat(1);
    assert_eq!(world.partition("t").leader, None);
    world.heartbeat(2);
    assert_eq!(world.partition("t").leader, Some(BrokerId(2)));
}

/// A partition may come to have nobody in sync when it has had no leader for long.
#[test]
fn the_last_one_in_sync_is_kept_in_mind_without_having_led() {
    let mut world = World::without_elr(2);
    world.place("t", &[1, 2], &[]);
    world.fence(1);
    world.fence(2);
    let elr = FeatureUpdateKey {
        feature: "eligible.leader.replicas.version".into(),
        max_version_level: 1,
        upgrade_type: 1,
        ..Default::default()
    };
    let raise = UpdateFeaturesRequest { feature_updates: vec![elr], ..UpdateFeaturesRequest::default() };
    let raised: UpdateFeaturesResponse = world.ask(raise);
    expect(raised.error_code, ErrorCode::None, &raised);
    let partition = world.partition("t");
    assert_eq!((partition.leader, partition.isr, partition.elr), (None, ids(&[2]), ids(&[])));
    // Its process was killed, and may have lost what it had acknowledged.
    world.after(SESSION);
    assert_eq!(world.register_after(2, 1, -1).error_code, 0);
    let partition = world.partition("t");
    assert_eq!((partition.isr, partition.last_known_elr), (ids(&[]), ids(&[2])));
    world.heartbeat(1);
    assert_eq!(world.partition("t").leader, None);
    world.heartbeat(2);
    let partition = world.partition("t");
    assert_eq!((partition.leader, partition.recovery), (Some(BrokerId(2)), LeaderRecovery::Recovering));
}

#[test]
fn unclean_elections_only_where_they_are_allowed() {
    let mut world = World::without_elr(2);
    world.place("safe", &[1, 2], &[]);
    world.place("bold", &[1, 2], &[("unclean.leader.election.enable", "true")]);
    world.fence(2);
    world.fence(1);
    world.heartbeat(2);
    assert_eq!(world.partition("safe").leader, None);
    let bold = world.partition("bold");
    assert_eq!(
        (bold.leader, bold.isr, bold.recovery),
        (Some(BrokerId(2)), ids(&[2]), LeaderRecovery::Recovering)
    );
}

/// After an unclean election those that were eligible before are so no more: the new leader's log counts.
#[test]
fn an_unclean_election_empties_the_elr() {
    let mut world = World::new(3);
    let configs = [("min.insync.replicas", "2"), ("unclean.leader.election.enable", "true")];
    world.place("t", &[1, 2, 3], &configs);
    for id in [1, 2, 3] {
        world.fence(id);
    }
    assert_eq!(world.partition("t").elr, ids(&[2, 3]));
    world.heartbeat(1);
    let partition = world.partition("t");
    assert_eq!((partition.leader, partition.isr, partition.elr), (Some(BrokerId(1)), ids(&[1]), ids(&[])));
    assert_eq!(partition.recovery, LeaderRecovery::Recovering);
}

/// What a broker lost in an unclean shutdown it must fetch again before it counts.
#[test]
fn a_broker_that_lost_data_leaves_isr_and_elr() {
    let mut world = World::new(2);
    world.place("t", &[1, 2], &[("min.insync.replicas", "2")]);
    world.place("alone", &[2], &[]);
    world.after(SESSION);
    world.heartbeat(1);
    world.register_after(2, 1, -1);
    let partition = world.partition("t");
    assert_eq!((partition.isr, partition.elr), (ids(&[1]), ids(&[])));
    world.heartbeat(2);
    assert_eq!(world.partition("t").isr, ids(&[1]));
    // Nobody knows better than the last leader.
    let alone = world.partition("alone");
    assert_eq!(
        (alone.leader, alone.isr, alone.recovery),
        (Some(BrokerId(2)), ids(&[2]), LeaderRecovery::Recovering)
    );
}

#[test]
fn controlled_shutdown_moves_leaderships_first() {
    let mut world = World::new(2);
    world.place("t", &[1, 2], &[]);
    let leave = |request: &mut BrokerHeartbeatRequest| request.want_shut_down = true;
    let answer = world.heartbeat_with(1, leave);
    assert!(!answer.should_shut_down && !answer.is_fenced);
    assert_eq!(world.partition("t").leader, Some(BrokerId(2)));
    // Broker 2 must know before broker 1 may go.
    let answer = world.heartbeat_with(1, leave);
    assert!(!answer.should_shut_down);
    world.heartbeat(2);
    let answer = world.heartbeat_with(1, leave);
    assert!(answer.should_shut_down && answer.is_fenced);
    assert!(world.image.broker(BrokerId(1)).unwrap().fenced);
    // One that leads nothing goes at once.
    world.register(3, 0);
    world.heartbeat(3);
    assert!(world.heartbeat_with(3, leave).should_shut_down);
}

#[test]
fn leaderships_go_back_to_preferred_replicas() {
    let mut world = World::new(2);
    world.place("t", &[1, 2], &[]);
    world.fence(1);
    world.heartbeat(1);
    let grown = world.grow_isr("t", &[2, 1]);
    assert_eq!(grown, 0);
    assert_eq!(world.partition("t").leader, Some(BrokerId(2)));
    for _ in 0..60 {
        world.after(Duration::from_secs(5));
        world.heartbeat(1);
        world.heartbeat(2);
        world.tick();
    }
    assert_eq!(world.partition("t").leader, Some(BrokerId(1)));
}

#[test]
fn unregister_broker() {
    let mut world = World::new(2);
    world.place("t", &[1, 2], &[]);
    let response: UnregisterBrokerResponse = world.ask(UnregisterBrokerRequest { broker_id: 1 });
    expect(response.error_code, ErrorCode::None, &response);
    assert!(world.image.broker(BrokerId(1)).is_none());
    assert_eq!(world.partition("t").leader, Some(BrokerId(2)));
    let response: UnregisterBrokerResponse = world.ask(UnregisterBrokerRequest { broker_id: 1 });
    expect(response.error_code, ErrorCode::BrokerIdNotRegistered, &response);
}

#[test]
fn failed_and_cordoned_directories_are_noted() {
    let mut world = World::new(2);
    let dir = world.image.broker(BrokerId(2)).unwrap().log_dirs[0];
    world.heartbeat_with(2, |request| request.cordoned_log_dirs = Some(vec![dir]));
    assert!(world.image.broker(BrokerId(2)).unwrap().is_cordoned());
    let response = world.create(crate::world::topic("t", 1, 2, &[]));
    expect(response.topics[0].error_code, ErrorCode::InvalidReplicationFactor, &response);
    world.heartbeat_with(2, |request| request.cordoned_log_dirs = Some(vec![]));
    assert!(!world.image.broker(BrokerId(2)).unwrap().is_cordoned());
}

/// Kafka's `handleDirectoriesOffline`: what is in a failed directory moves, the rest stays.
#[test]
fn what_is_in_a_failed_directory_moves() {
    let spare = Uuid([77; 16]);
    let mut world = World::new(2);
    let mut request = world.registration(1, 0, -1);
    request.log_dirs.push(spare);
    let _: BrokerRegistrationResponse = world.ask(request);
    for topic in ["moves", "stays", "alone"] {
        world.place(topic, if topic == "alone" { &[1] } else { &[1, 2] }, &[]);
    }
    for (topic, directory) in [("moves", dir(1)), ("stays", spare), ("alone", dir(1))] {
        world.assign(1, topic, directory);
        assert_eq!(world.partition(topic).leader, Some(BrokerId(1)));
    }
    world.heartbeat_with(1, |request| request.offline_log_dirs = vec![dir(1)]);
    assert_eq!(world.image.broker(BrokerId(1)).unwrap().log_dirs, [spare]);
    let moved = world.partition("moves");
    assert_eq!((moved.leader, moved.isr), (Some(BrokerId(2)), ids(&[2])));
    let alone = world.partition("alone");
    assert_eq!((alone.leader, alone.elr), (None, ids(&[1])));
    let stayed = world.partition("stays");
    assert_eq!((stayed.leader, stayed.isr, stayed.leader_epoch.0), (Some(BrokerId(1)), ids(&[1, 2]), 0));
    // What is said again changes nothing.
    world.heartbeat_with(1, |request| request.offline_log_dirs = vec![dir(1)]);
    assert!(world.records.is_empty());
    // With the last directory it can serve nothing more, and stays fenced.
    for _ in 0..2 {
        let answer = world.heartbeat_with(1, |request| request.offline_log_dirs = vec![dir(1), spare]);
        assert!(answer.is_fenced);
    }
    assert_eq!(world.partition("stays").leader, Some(BrokerId(2)));
}

/// A broker whose disk was replaced would never lead again if its replicas were still said to be on the old
/// one.
#[test]
fn replicas_are_in_the_only_directory_of_their_broker() {
    const NEW: Uuid = Uuid([78; 16]);
    let mut world = World::new(2);
    world.place("t", &[1, 2], &[]);
    world.place("alone", &[1], &[]);
    world.fail_over();
    let mut request = world.registration(1, 1, -1);
    request.log_dirs = vec![NEW];
    let _: BrokerRegistrationResponse = world.ask(request);
    let moved = world.partition("t");
    assert_eq!((moved.directory_of(BrokerId(1)), moved.directory_of(BrokerId(2))), (Some(NEW), Some(dir(2))));
    assert_eq!((moved.leader, moved.isr), (Some(BrokerId(2)), ids(&[2])));
    world.heartbeat(1);
    assert_eq!(world.partition("alone").leader, Some(BrokerId(1)));
    // The same directory again changes nothing.
    world.fail_over();
    let epoch = world.partition("t").partition_epoch;
    let mut request = world.registration(1, 2, -1);
    request.log_dirs = vec![NEW];
    let _: BrokerRegistrationResponse = world.ask(request);
    assert_eq!(world.partition("t").partition_epoch, epoch);
}

/// A directory that fails while its broker waits to be let in: what is there is not handed back.
#[test]
fn a_broker_comes_back_without_a_directory() {
    let spare = Uuid([77; 16]);
    let mut world = World::new(1);
    let mut request = world.registration(1, 0, -1);
    request.log_dirs.push(spare);
    let _: BrokerRegistrationResponse = world.ask(request);
    world.place("t", &[1], &[]);
    world.assign(1, "t", dir(1));
    world.fence(1);
    let answer = world.heartbeat_with(1, |request| request.offline_log_dirs = vec![dir(1)]);
    assert!(!answer.is_fenced);
    assert_eq!(world.partition("t").leader, None);
}

/// A new controller has heard of nobody: it does not let a broker go before the others have told how far they
/// are.
#[test]
fn a_controlled_shutdown_outlives_its_controller() {
    let mut world = World::new(2);
    world.place("t", &[1, 2], &[]);
    let leave = |request: &mut BrokerHeartbeatRequest| request.want_shut_down = true;
    world.heartbeat_with(1, leave);
    world.fail_over();
    assert!(!world.heartbeat_with(1, leave).should_shut_down);
    world.heartbeat_with(2, |request| request.current_metadata_offset -= 2);
    assert!(!world.heartbeat_with(1, leave).should_shut_down);
    world.heartbeat(2);
    assert!(world.heartbeat_with(1, leave).should_shut_down);
}

#[test]
fn all_brokers_that_are_silent_are_fenced_by_the_same_tick() {
    let mut world = World::new(4);
    world.place("t", &[1, 2, 3, 4], &[]);
    world.after(SESSION);
    world.heartbeat(4);
    world.tick();
    let fenced = |id: i32| world.image.broker(BrokerId(id)).unwrap().fenced;
    assert_eq!([1, 2, 3, 4].map(fenced), [true, true, true, false]);
    assert_eq!((world.partition("t").leader, world.partition("t").isr), (Some(BrokerId(4)), ids(&[4])));
}

#[test]
fn producer_ids_are_handed_out_in_blocks() {
    let mut world = World::new(1);
    let epoch = world.image.broker_epoch(BrokerId(1)).unwrap().0;
    let request = AllocateProducerIdsRequest { broker_id: 1, broker_epoch: epoch };
    for start in [0, 1000, 2000] {
        let response: AllocateProducerIdsResponse = world.ask(request.clone());
        assert_eq!(
            (response.error_code, response.producer_id_start, response.producer_id_len),
            (0, start, 1000)
        );
    }
    assert_eq!(world.image.next_producer_id, ProducerId(3000));
    let cases = [(1, epoch + 1, ErrorCode::StaleBrokerEpoch), (7, epoch, ErrorCode::BrokerIdNotRegistered)];
    for (broker_id, broker_epoch, code) in cases {
        let response: AllocateProducerIdsResponse =
            world.ask(AllocateProducerIdsRequest { broker_id, broker_epoch });
        expect(response.error_code, code, &response);
    }
}
