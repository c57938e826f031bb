//! What is read and what is committed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ottla_client::{
    ConsumerConfig, Error, GroupConfig, GroupConsumer, OffsetAndMetadata, OffsetReset, Rebalance,
    RebalanceListener, Seek, TopicPartition,
};
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{LeaderEpoch, Offset};

use super::super::broker::Brokers;
use super::super::client;
use super::super::steady::steady;
use super::{
    Ledger, PATIENCE, POLL, from_earliest, member, of, poll_until, produce, read_count, until, ways,
};

#[tokio::test]
async fn reads_all_commits_and_goes_on_where_it_was() {
    for (way, config) in ways() {
        let brokers = Brokers::start(2).await;
        brokers.topic("t", 3);
        produce(&brokers, "t", 3, 0..50).await;
        let mut consumer = member(&brokers, &config);
        consumer.subscribe(["t"]).unwrap();
        read_count(&mut consumer, 150).await;
        assert_eq!(consumer.position(&of(0)), Some(Offset(50)), "{way}");
        assert_eq!(consumer.lag(&of(0)), Some(0), "{way}");
        assert!(consumer.group_metadata().generation >= 1, "{way}");
        consumer.close(PATIENCE).await.unwrap();
        {
            let mut world = brokers.world();
            let offsets: Vec<i64> = world.group("g").offsets.values().map(|of| of.offset).collect();
            assert_eq!(offsets, [50, 50, 50], "{way}");
            assert!(world.group("g").members().is_empty(), "{way}: it left");
        }
        produce(&brokers, "t", 3, 50..60).await;
        let mut next = member(&brokers, &config);
        next.subscribe(["t"]).unwrap();
        read_count(&mut next, 30).await;
    }
}

#[tokio::test]
async fn dropped_it_leaves_but_commits_nothing() {
    for (way, config) in ways() {
        let brokers = Brokers::start(1).await;
        brokers.topic("t", 1);
        produce(&brokers, "t", 1, 0..5).await;
        let config = GroupConfig { auto_commit_interval: Duration::from_secs(60), ..config };
        let mut consumer = member(&brokers, &config);
        consumer.subscribe(["t"]).unwrap();
        read_count(&mut consumer, 5).await;
        drop(consumer);
        until(&format!("{way}: it has left"), || brokers.world().group("g").members().is_empty()).await;
        assert!(brokers.world().group("g").commits.is_empty(), "{way}");
    }
}

#[tokio::test]
async fn commits_by_hand() {
    for (way, config) in ways() {
        let brokers = Brokers::start(2).await;
        brokers.topic("t", 2);
        produce(&brokers, "t", 2, 0..10).await;
        let config = GroupConfig { enable_auto_commit: false, ..config };
        let mut consumer = member(&brokers, &config);
        let error = consumer.commit_offsets([(of(0), Offset(1).into())].into()).await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::UnknownMemberId), "{way}: not a member yet");
        consumer.subscribe(["t"]).unwrap();
        read_count(&mut consumer, 20).await;
        let committed =
            OffsetAndMetadata { offset: Offset(4), leader_epoch: LeaderEpoch(0), metadata: "here".into() };
        consumer.commit_offsets([(of(0), committed.clone())].into()).await.unwrap();
        let found = consumer.committed([of(0), of(1)]).await.unwrap();
        assert_eq!(found, [(of(0), Some(committed)), (of(1), None)].into(), "{way}");
        // In the order of the calls, whatever is under way.
        let commits: Vec<_> = (5..9)
            .map(|offset| consumer.commit_offsets_async([(of(1), Offset(offset).into())].into()))
            .collect();
        for commit in commits {
            commit.await.unwrap();
        }
        let at = |brokers: &Brokers, partition| {
            brokers.world().group("g").offsets[&("t".to_owned(), partition)].offset
        };
        assert_eq!(at(&brokers, 1), 8, "{way}");
        let large = OffsetAndMetadata { metadata: "x".repeat(5000), ..Offset(9).into() };
        let error =
            consumer.commit_offsets([(of(0), large), (of(1), Offset(9).into())].into()).await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::OffsetMetadataTooLarge), "{way}");
        assert_eq!((at(&brokers, 0), at(&brokers, 1)), (4, 9), "{way}: one fails alone");
        consumer.commit().await.unwrap();
        assert_eq!((at(&brokers, 0), at(&brokers, 1)), (10, 10), "{way}");
        brokers.world().unstable_offsets = 3;
        assert!(
            consumer.committed([of(0)]).await.unwrap()[&of(0)].is_some(),
            "{way}: waits for open transactions"
        );
        let before = brokers.world().group("g").commits.len();
        consumer.close(PATIENCE).await.unwrap();
        assert_eq!(brokers.world().group("g").commits.len(), before, "{way}: no automatic commit");
    }
}

#[tokio::test]
async fn positions_are_committed_now_and_then() {
    for (way, config) in ways() {
        let brokers = Brokers::start(1).await;
        brokers.topic("t", 1);
        produce(&brokers, "t", 1, 0..10).await;
        let mut consumer = member(&brokers, &config);
        consumer.subscribe(["t"]).unwrap();
        let first = loop {
            let records = consumer.poll(POLL).await.unwrap();
            if !records.is_empty() {
                break records;
            }
        };
        assert_eq!(first[0].records.len(), 10);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let done =
            |brokers: &Brokers| brokers.world().group("g").commits.iter().any(|(_, _, offset)| *offset == 10);
        assert!(!done(&brokers), "{way}: what was just given is not done");
        poll_until(&mut consumer, way, |_| done(&brokers)).await;
    }
}

#[tokio::test]
async fn without_a_committed_offset_the_policy_decides() {
    for (reset, expected) in [
        (OffsetReset::Earliest, Some(0)),
        (OffsetReset::Latest, Some(10)),
        (OffsetReset::ByDuration(Duration::from_secs(3600)), Some(0)),
        (OffsetReset::None, None),
    ] {
        let brokers = Brokers::start(1).await;
        brokers.topic("t", 1);
        produce(&brokers, "t", 1, 0..10).await;
        let config = ConsumerConfig { auto_offset_reset: reset, max_poll_records: 1, ..from_earliest() };
        let group = ways().remove(0).1;
        let mut consumer = GroupConsumer::new(client(&brokers.bootstrap()), config, group).unwrap();
        consumer.subscribe(["t"]).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let mut outcome = Ok(Vec::new());
        while consumer.position(&of(0)).is_none() && outcome.is_ok() {
            assert!(Instant::now() < deadline, "{reset:?}");
            outcome = consumer.poll(POLL).await;
        }
        match (outcome, expected) {
            (Ok(records), Some(expected)) => {
                let first =
                    records.first().map_or(consumer.position(&of(0)).unwrap(), |of| of.records[0].offset);
                assert_eq!(first, Offset(expected), "{reset:?}");
            }
            (Err(error), None) => {
                assert!(matches!(error, Error::NoOffset(_)), "{error}");
                consumer.seek(&of(0), Seek::Offset(Offset(7))).unwrap();
                let deadline = Instant::now() + PATIENCE;
                while consumer.poll(POLL).await.is_ok_and(|records| records.is_empty()) {
                    assert!(Instant::now() < deadline);
                }
                assert_eq!(consumer.position(&of(0)), Some(Offset(8)));
            }
            (outcome, _) => panic!("{reset:?}: {outcome:?}"),
        }
    }
}

#[tokio::test]
async fn polls_that_are_dropped_half_way_lose_nothing() {
    steady();
    for (way, config) in ways() {
        let brokers = Brokers::start(1).await;
        brokers.topic("t", 4);
        produce(&brokers, "t", 4, 0..25).await;
        let ledger = Ledger::default();
        let mut one = member(&brokers, &config);
        let mut two = member(&brokers, &config);
        one.set_listener(ledger.listener(1));
        two.set_listener(ledger.listener(2));
        one.subscribe(["t"]).unwrap();
        let mut read = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        let mut round = 0u64;
        while read.len() < 100 || ledger.counts() != [(1, 2), (2, 2)].into() {
            assert!(Instant::now() < deadline, "{way}: {} read, {:?}", read.len(), ledger.log());
            round += 1;
            if round == 20 {
                two.subscribe(["t"]).unwrap();
            }
            for consumer in [&mut one, &mut two] {
                let short = Duration::from_micros(300 * (round % 20));
                if let Ok(records) = tokio::time::timeout(short, consumer.poll(POLL)).await {
                    let offsets = records.unwrap().into_iter().flat_map(|of| {
                        of.records.into_iter().map(move |record| (of.partition.clone(), record.offset))
                    });
                    read.extend(offsets);
                }
            }
        }
        let once: BTreeSet<_> = read.iter().collect();
        assert_eq!((once.len(), read.len()), (100, 100), "{way}");
    }
}

struct SeekAndCommit;

impl RebalanceListener for SeekAndCommit {
    fn assigned(&mut self, rebalance: &mut Rebalance<'_>, partitions: &[TopicPartition]) {
        for partition in partitions {
            rebalance.seek(partition, Seek::Offset(Offset(6))).unwrap();
        }
    }

    fn revoked(&mut self, rebalance: &mut Rebalance<'_>, partitions: &[TopicPartition]) {
        for partition in partitions {
            let offset = rebalance.position(partition).unwrap();
            let mine = OffsetAndMetadata { metadata: "mine".into(), ..offset.into() };
            rebalance.commit(partition.clone(), mine);
        }
    }
}

#[tokio::test]
async fn a_listener_may_seek_and_commit() {
    for (way, config) in ways() {
        let brokers = Brokers::start(1).await;
        brokers.topic("t", 2);
        produce(&brokers, "t", 2, 0..10).await;
        let config = GroupConfig { enable_auto_commit: false, ..config };
        let mut consumer = member(&brokers, &config);
        consumer.set_listener(SeekAndCommit);
        consumer.subscribe(["t"]).unwrap();
        read_count(&mut consumer, 8).await;
        consumer.close(PATIENCE).await.unwrap();
        let world = &mut brokers.world();
        assert!(
            world.group("g").offsets.values().all(|of| (of.offset, &of.metadata[..]) == (10, "mine")),
            "{way}"
        );
    }
}
