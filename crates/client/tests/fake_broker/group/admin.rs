//! Groups as the admin client sees them.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::admin::{GroupFilter, GroupState, GroupType, MemberToRemove};
use ottla_client::{Admin, GroupConfig, GroupConsumer, GroupProtocol, OffsetAndMetadata, TopicPartition};
use ottla_wire::protocol::{ApiKey, ErrorCode};
use ottla_wire::{BrokerId, LeaderEpoch, Offset};

use super::super::broker::Brokers;
use super::super::{PATIENCE, client, groups};
use super::{member, of, poll_until, ways};

/// A member of group `id` that has all three partitions of topic `t`.
async fn busy(brokers: &Brokers, id: &str, protocol: GroupProtocol) -> GroupConsumer {
    let config = GroupConfig { group_id: id.into(), group_protocol: protocol, ..ways().remove(0).1 };
    let mut consumer = member(brokers, &config);
    consumer.subscribe(["t"]).unwrap();
    poll_until(&mut consumer, id, |consumer| consumer.assignment().count() == 3).await;
    consumer
}

fn commit(brokers: &Brokers, group: &str, partition: i32, offset: i64) {
    let committed = groups::Committed { offset, leader_epoch: 3, metadata: "words".into() };
    brokers.world().group(group).offsets.insert(("t".into(), partition), committed);
}

#[tokio::test]
async fn groups_are_listed_and_described() {
    for old in [false, true] {
        let brokers = Brokers::start(3).await;
        brokers.topic("t", 3);
        let _classic = busy(&brokers, "classic", GroupProtocol::Classic).await;
        let _consumer = busy(&brokers, "consumer", GroupProtocol::Consumer).await;
        commit(&brokers, "idle", 0, 5);
        if old {
            brokers.world().version_max.extend([(ApiKey::DescribeGroups, 5), (ApiKey::FindCoordinator, 3)]);
        }
        let admin = Admin::new(client(&brokers.bootstrap())).unwrap();
        let listed = |filter: GroupFilter| {
            let admin = admin.clone();
            async move {
                let listings = admin.list_groups(&filter).await.unwrap();
                assert!(listings.errors.is_empty());
                listings.groups.into_iter().map(|group| group.group_id).collect::<Vec<_>>()
            }
        };
        assert_eq!(listed(GroupFilter::default()).await, ["classic", "consumer", "idle"]);
        let stable = GroupFilter { states: vec![GroupState::Stable], ..GroupFilter::default() };
        assert_eq!(listed(stable).await, ["classic", "consumer"]);
        let consumer = GroupFilter { types: vec![GroupType::Consumer], ..GroupFilter::default() };
        assert_eq!(listed(consumer).await, ["consumer"]);
        let none = GroupFilter { protocol_types: vec![String::new()], ..GroupFilter::default() };
        assert_eq!(listed(none).await, ["idle"]);

        let described = admin.describe_groups(&["classic", "consumer", "idle", "none"]).await;
        let all: BTreeSet<TopicPartition> = (0..3).map(of).collect();
        for (group, group_type, assignor) in
            [("classic", GroupType::Classic, "range"), ("consumer", GroupType::Consumer, "uniform")]
        {
            let group = described[group].as_ref().unwrap();
            assert_eq!((group.group_type, &group.assignor[..]), (group_type, assignor));
            assert_eq!((group.state, group.coordinator), (Some(GroupState::Stable), BrokerId(2)));
            assert_eq!(group.epochs.is_some(), group_type == GroupType::Consumer);
            assert_eq!((group.members.len(), &group.members[0].assignment), (1, &all));
        }
        assert_eq!(described["idle"].as_ref().unwrap().state, Some(GroupState::Empty));
        assert_eq!(
            described["none"].as_ref().unwrap_err().code(),
            Some(ErrorCode::GroupIdNotFound),
            "old: {old}"
        );
    }
}

#[tokio::test]
async fn offsets_of_groups_are_read_altered_and_deleted() {
    for old in [false, true] {
        let brokers = Brokers::start(2).await;
        brokers.topic("t", 3);
        if old {
            brokers.world().version_max.extend([(ApiKey::OffsetFetch, 7), (ApiKey::OffsetCommit, 7)]);
        }
        commit(&brokers, "a", 0, 5);
        commit(&brokers, "b", 1, 7);
        let admin = Admin::new(client(&brokers.bootstrap())).unwrap();
        brokers.world().group_fault(ApiKey::OffsetFetch, [ErrorCode::CoordinatorLoadInProgress]);
        brokers.world().unstable_offsets = 1;
        let asked = BTreeMap::from([("a".to_owned(), None), ("b".to_owned(), Some([of(0), of(1)].into()))]);
        let read = admin.group_offsets(&asked, true).await;
        let five =
            OffsetAndMetadata { offset: Offset(5), leader_epoch: LeaderEpoch(3), metadata: "words".into() };
        assert_eq!(read["a"].as_ref().unwrap(), &BTreeMap::from([(of(0), Ok(Some(five.clone())))]));
        let seven = OffsetAndMetadata { offset: Offset(7), ..five };
        assert_eq!(
            read["b"].as_ref().unwrap(),
            &BTreeMap::from([(of(0), Ok(None)), (of(1), Ok(Some(seven)))])
        );

        brokers.world().group_fault(ApiKey::OffsetCommit, [ErrorCode::NotCoordinator]);
        let nine =
            BTreeMap::from([(of(0), Offset(9).into()), (TopicPartition::new("none", 0), Offset(1).into())]);
        let altered = admin.alter_group_offsets("a", &nine).await.unwrap();
        assert!(altered[&of(0)].is_ok());
        assert_eq!(brokers.world().group("a").offsets[&("t".into(), 0)].offset, 9);
        let error = altered[&TopicPartition::new("none", 0)].as_ref().unwrap_err();
        assert_eq!(error.code, ErrorCode::UnknownTopicOrPartition, "one fails alone");

        let deleted = admin.delete_group_offsets("a", &[of(0)].into()).await.unwrap();
        assert_eq!(deleted, [(of(0), Ok(()))].into());
        assert!(brokers.world().group("a").offsets.is_empty());
        let error = admin.delete_group_offsets("none", &[of(0)].into()).await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::GroupIdNotFound));

        let _busy = busy(&brokers, "b", GroupProtocol::Classic).await;
        let altered = admin.alter_group_offsets("b", &[(of(0), Offset(9).into())].into()).await.unwrap();
        assert_eq!(altered[&of(0)].as_ref().unwrap_err().code, ErrorCode::UnknownMemberId);
        let deleted = admin.delete_group_offsets("b", &[of(1)].into()).await.unwrap();
        assert_eq!(deleted[&of(1)].as_ref().unwrap_err().code, ErrorCode::GroupSubscribedToTopic);
    }
}

#[tokio::test]
async fn members_are_removed_and_groups_deleted() {
    let brokers = Brokers::start(2).await;
    brokers.topic("t", 3);
    commit(&brokers, "idle", 0, 5);
    let mut consumer = busy(&brokers, "busy", GroupProtocol::Classic).await;
    let admin = Admin::new(client(&brokers.bootstrap())).unwrap();
    brokers.world().group_fault(ApiKey::FindCoordinator, [ErrorCode::CoordinatorNotAvailable]);
    let deleted = admin.delete_groups(&["idle", "busy", "none"]).await;
    assert!(deleted["idle"].is_ok() && !brokers.world().groups.contains_key("idle"));
    assert_eq!(deleted["busy"].as_ref().unwrap_err().code(), Some(ErrorCode::NonEmptyGroup));
    assert_eq!(deleted["none"].as_ref().unwrap_err().code(), Some(ErrorCode::GroupIdNotFound));

    let id = MemberToRemove::Id(consumer.group_metadata().member_id.to_string());
    let stranger = MemberToRemove::Instance("stranger".into());
    let generation = consumer.group_metadata().generation;
    let removed = admin.remove_members("busy", &[id.clone(), stranger.clone()], "a test").await.unwrap();
    assert!(removed[&id].is_ok());
    assert_eq!(removed[&stranger].as_ref().unwrap_err().code, ErrorCode::UnknownMemberId);
    poll_until(&mut consumer, "it is back", |consumer| {
        consumer.group_metadata().generation > generation && consumer.assignment().count() == 3
    })
    .await;
    consumer.close(PATIENCE).await.unwrap();
    assert!(admin.delete_groups(&["busy"]).await["busy"].is_ok());
}
