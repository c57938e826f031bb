//! Consumers of groups against a coordinator that refuses, moves, and speaks old versions.

use std::time::Instant;

use ottla_client::{Advice, GroupConfig, GroupProtocol};
use ottla_wire::protocol::{ApiKey, ErrorCode};

use super::super::broker::Brokers;
use super::{PATIENCE, POLL, member, of, poll_until, produce, ways};

/// What passes is lived through: the member gets in, and reads all.
#[tokio::test]
async fn what_passes_is_waited_for() {
    use ErrorCode::{
        CoordinatorLoadInProgress, CoordinatorNotAvailable, FencedMemberEpoch, IllegalGeneration,
        NotCoordinator, RebalanceInProgress, UnknownMemberId,
    };
    for (way, config) in ways() {
        let brokers = Brokers::start(2).await;
        brokers.topic("t", 1);
        produce(&brokers, "t", 1, 0..10).await;
        {
            let mut world = brokers.world();
            world.group_fault(ApiKey::FindCoordinator, [CoordinatorNotAvailable]);
            world
                .group_fault(ApiKey::JoinGroup, [CoordinatorLoadInProgress, NotCoordinator, UnknownMemberId]);
            world.group_fault(ApiKey::SyncGroup, [RebalanceInProgress, IllegalGeneration, NotCoordinator]);
            world.group_fault(ApiKey::Heartbeat, [ErrorCode::None, NotCoordinator, IllegalGeneration]);
            world.group_fault(
                ApiKey::ConsumerGroupHeartbeat,
                [
                    CoordinatorLoadInProgress,
                    NotCoordinator,
                    ErrorCode::None,
                    FencedMemberEpoch,
                    CoordinatorNotAvailable,
                ],
            );
            world.group_fault(ApiKey::OffsetFetch, [CoordinatorLoadInProgress, NotCoordinator]);
            world.group_fault(ApiKey::OffsetCommit, [CoordinatorLoadInProgress, NotCoordinator]);
        }
        let mut consumer = member(&brokers, &config);
        consumer.subscribe(["t"]).unwrap();
        poll_until(&mut consumer, way, |consumer| consumer.position(&of(0)).is_some_and(|at| at.0 == 10))
            .await;
        let quiet = |brokers: &Brokers| {
            let world = brokers.world();
            world.group_faults.iter().all(|(key, left)| left.is_empty() || other_protocol(&config, *key))
        };
        poll_until(&mut consumer, "every fault was met", |_| quiet(&brokers)).await;
        poll_until(&mut consumer, way, |consumer| consumer.position(&of(0)).is_some_and(|at| at.0 == 10))
            .await;
        consumer.close(PATIENCE).await.unwrap();
        assert_eq!(brokers.world().group("g").offsets[&("t".to_owned(), 0)].offset, 10, "{way}");
    }
}

fn other_protocol(config: &GroupConfig, key: ApiKey) -> bool {
    match config.group_protocol {
        GroupProtocol::Classic => key == ApiKey::ConsumerGroupHeartbeat,
        GroupProtocol::Consumer => matches!(key, ApiKey::JoinGroup | ApiKey::SyncGroup | ApiKey::Heartbeat),
    }
}

/// The coordinator has raised the member's epoch, and the member is to hear of it any moment.
#[tokio::test]
async fn a_commit_waits_for_the_epoch_of_its_member() {
    let (_, config) = ways().remove(2);
    let config = GroupConfig { enable_auto_commit: false, ..config };
    let brokers = Brokers::start(1).await;
    brokers.topic("t", 1);
    produce(&brokers, "t", 1, 0..10).await;
    let mut consumer = member(&brokers, &config);
    consumer.subscribe(["t"]).unwrap();
    poll_until(&mut consumer, "it reads", |consumer| consumer.lag(&of(0)) == Some(0)).await;
    let stale = [ErrorCode::StaleMemberEpoch, ErrorCode::StaleMemberEpoch];
    brokers.world().group_fault(ApiKey::OffsetCommit, stale);
    consumer.commit().await.unwrap();
    assert_eq!(brokers.world().group("g").offsets[&("t".to_owned(), 0)].offset, 10);
}

#[tokio::test]
async fn the_coordinator_is_found_where_it_moved() {
    for (way, config) in ways() {
        let brokers = Brokers::start(3).await;
        brokers.topic("t", 2);
        produce(&brokers, "t", 2, 0..10).await;
        let mut consumer = member(&brokers, &config);
        consumer.subscribe(["t"]).unwrap();
        poll_until(&mut consumer, way, |consumer| consumer.lag(&of(0)) == Some(0)).await;
        let generation = consumer.group_metadata().generation;
        brokers.world().coordinator = 0;
        produce(&brokers, "t", 2, 10..20).await;
        poll_until(&mut consumer, way, |consumer| consumer.position(&of(0)).is_some_and(|at| at.0 == 20))
            .await;
        consumer.commit().await.unwrap();
        assert_eq!(consumer.group_metadata().generation, generation, "{way}: its place was kept");
    }
}

#[tokio::test]
async fn what_does_not_pass_is_told_and_ends_the_member() {
    for (way, config) in ways() {
        let (key, codes) = match config.group_protocol {
            GroupProtocol::Classic => (
                ApiKey::JoinGroup,
                [
                    ErrorCode::GroupAuthorizationFailed,
                    ErrorCode::GroupMaxSizeReached,
                    ErrorCode::InconsistentGroupProtocol,
                ],
            ),
            GroupProtocol::Consumer => (
                ApiKey::ConsumerGroupHeartbeat,
                [
                    ErrorCode::GroupAuthorizationFailed,
                    ErrorCode::UnsupportedAssignor,
                    ErrorCode::InvalidRegularExpression,
                ],
            ),
        };
        for code in codes {
            let brokers = Brokers::start(1).await;
            brokers.topic("t", 1);
            brokers.world().group_fault(key, [code]);
            let mut consumer = member(&brokers, &config);
            consumer.subscribe(["t"]).unwrap();
            let deadline = Instant::now() + PATIENCE;
            let error = loop {
                assert!(Instant::now() < deadline, "{way}: {code} is not told");
                if let Err(error) = consumer.poll(POLL).await {
                    break error;
                }
            };
            assert_eq!(error.code(), Some(code), "{way}");
            assert_ne!(error.advice(), Advice::Retry, "{way}");
            consumer.close(PATIENCE).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_coordinator_without_the_consumer_protocol_is_told() {
    let brokers = Brokers::start(1).await;
    brokers.topic("t", 1);
    brokers.world().version_max.insert(ApiKey::ConsumerGroupHeartbeat, -1);
    let (_, config) = ways().remove(2);
    let mut consumer = member(&brokers, &config);
    consumer.subscribe(["t"]).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let error = loop {
        assert!(Instant::now() < deadline);
        if let Err(error) = consumer.poll(POLL).await {
            break error;
        }
    };
    assert!(
        matches!(error, ottla_client::Error::Link(ottla_client::LinkError::UnsupportedVersion { .. })),
        "{error}"
    );
}

#[tokio::test]
async fn an_old_coordinator_is_spoken_to_in_its_versions() {
    for (way, config) in
        ways().into_iter().filter(|(_, config)| config.group_protocol == GroupProtocol::Classic)
    {
        let brokers = Brokers::start(1).await;
        brokers.topic("t", 2);
        brokers.world().version_max.extend([
            (ApiKey::FindCoordinator, 1),
            (ApiKey::JoinGroup, 2),
            (ApiKey::SyncGroup, 1),
            (ApiKey::Heartbeat, 1),
            (ApiKey::LeaveGroup, 1),
            (ApiKey::OffsetCommit, 3),
            (ApiKey::OffsetFetch, 3),
            (ApiKey::Metadata, 5),
            (ApiKey::Fetch, 11),
        ]);
        produce(&brokers, "t", 2, 0..10).await;
        let mut consumer = member(&brokers, &config);
        consumer.subscribe(["t"]).unwrap();
        poll_until(&mut consumer, way, |consumer| (0..2).all(|p| consumer.lag(&of(p)) == Some(0))).await;
        consumer.close(PATIENCE).await.unwrap();
        let mut world = brokers.world();
        assert!(world.group("g").offsets.values().all(|of| of.offset == 10), "{way}");
        assert!(world.group("g").members().is_empty(), "{way}: it left");
    }
}
