//! How members come to their partitions and lose them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ottla_client::{Departure, Error, GroupConfig, GroupConsumer, GroupProtocol};
use ottla_wire::protocol::{ApiKey, ErrorCode};

use super::super::broker::Brokers;
use super::super::client;
use super::super::groups::{Protocol, State};
use super::super::steady::steady;
use super::{
    Ledger, PATIENCE, POLL, Read, Running, from_earliest, member, owns, poll_until, produce, read_count,
    until, ways,
};

#[tokio::test]
async fn members_share_and_no_partition_has_two_owners() {
    for (way, config) in ways() {
        let brokers = Brokers::start(2).await;
        brokers.topic("t", 6);
        let (ledger, read) = (Ledger::default(), Read::default());
        let mut running = Vec::new();
        for id in 0..3 {
            let mut consumer = member(&brokers, &config);
            consumer.set_listener(ledger.listener(id));
            consumer.subscribe(["t"]).unwrap();
            running.push(Running::start(consumer, read.clone()));
            let share = 6 / (id + 1);
            until(&format!("{way}: {share} each"), || {
                ledger.counts() == (0..=id).map(|member| (member, share)).collect()
            })
            .await;
            produce(&brokers, "t", 6, id * 10..id * 10 + 10).await;
        }
        running.remove(0).stop().await;
        until(&format!("{way}: the others take over"), || ledger.counts() == [(1, 3), (2, 3)].into()).await;
        until(&format!("{way}: all is read"), || read.lock().unwrap().len() >= 180).await;
        for member in running {
            member.stop().await;
        }
        // Every partition was given up in peace, so nothing is read twice.
        let read = read.lock().unwrap();
        let once: BTreeSet<_> = read.iter().collect();
        assert_eq!((once.len(), read.len()), (180, 180), "{way}");
        assert!(ledger.log().iter().all(|line| !line.contains("lost")), "{way}: {:?}", ledger.log());
    }
}

#[tokio::test]
async fn a_member_that_was_put_out_loses_its_partitions_and_comes_back() {
    for (way, config) in ways() {
        let brokers = Brokers::start(1).await;
        brokers.topic("t", 2);
        let ledger = Ledger::default();
        let mut consumer = member(&brokers, &config);
        consumer.set_listener(ledger.listener(0));
        consumer.subscribe(["t"]).unwrap();
        poll_until(&mut consumer, "it has all", owns(2)).await;
        ledger.depose(0);
        {
            let mut world = brokers.world();
            let members = world.group("g").members();
            members.iter().for_each(|member| world.group("g").expel(member));
        }
        poll_until(&mut consumer, "it lost all", |_| {
            ledger.log().iter().any(|line| line == "0 lost t-0 t-1")
        })
        .await;
        poll_until(&mut consumer, "it has all again", |_| ledger.counts() == [(0, 2)].into()).await;
        let log = ledger.log();
        assert!(!log.iter().any(|line| line.contains("revoked")), "{way}: {log:?}");
    }
}

/// It was to give its partitions up for a rebalance, but its owner was late: by now they are lost.
#[tokio::test]
async fn what_was_lost_before_it_was_given_up_is_told_as_lost() {
    let (_, config) = ways().remove(0);
    let brokers = Brokers::start(1).await;
    brokers.topic("t", 2);
    let ledger = Ledger::default();
    let mut consumer = member(&brokers, &config);
    consumer.set_listener(ledger.listener(0));
    consumer.subscribe(["t"]).unwrap();
    poll_until(&mut consumer, "it has all", owns(2)).await;
    brokers.world().group("g").classic().prepare();
    let beats = brokers.count(ApiKey::Heartbeat);
    until("it has heard of the rebalance", || brokers.count(ApiKey::Heartbeat) > beats + 2).await;
    {
        let mut world = brokers.world();
        let members = world.group("g").members();
        members.iter().for_each(|member| world.group("g").expel(member));
    }
    let generation = consumer.group_metadata().generation;
    until("it has heard of its loss", || consumer.group_metadata().generation < generation).await;
    poll_until(&mut consumer, "it is back", |_| ledger.log().len() == 3).await;
    assert_eq!(ledger.log(), ["0 assigned t-0 t-1", "0 lost t-0 t-1", "0 assigned t-0 t-1"]);
}

#[tokio::test]
async fn who_does_not_poll_leaves_and_who_polls_again_is_back() {
    steady();
    for (way, config) in ways() {
        let brokers = Brokers::start(1).await;
        brokers.topic("t", 2);
        let ledger = Ledger::default();
        let config = GroupConfig { max_poll_interval: Duration::from_millis(300), ..config };
        let mut consumer = member(&brokers, &config);
        consumer.set_listener(ledger.listener(0));
        consumer.subscribe(["t"]).unwrap();
        poll_until(&mut consumer, "it has all", owns(2)).await;
        // A long poll is a poll.
        consumer.poll(Duration::from_millis(600)).await.unwrap();
        assert!(!brokers.world().group("g").members().is_empty(), "{way}: it is still there");
        until(&format!("{way}: it has left"), || brokers.world().group("g").members().is_empty()).await;
        assert_eq!(consumer.assignment().count(), 2, "{way}: nothing changes between polls");
        poll_until(&mut consumer, "it lost all", |_| ledger.log().iter().any(|line| line.contains("lost")))
            .await;
        poll_until(&mut consumer, "it has all again", |_| ledger.counts() == [(0, 2)].into()).await;
    }
}

#[tokio::test]
async fn static_members_keep_their_place() {
    for (way, config) in ways() {
        let brokers = Brokers::start(1).await;
        brokers.topic("t", 2);
        let config = GroupConfig { group_instance_id: Some("one".into()), ..config };
        let mut consumer = member(&brokers, &config);
        consumer.subscribe(["t"]).unwrap();
        poll_until(&mut consumer, "it has all", owns(2)).await;
        let metadata = consumer.group_metadata();
        assert_eq!(metadata.group_instance_id.as_deref(), Some("one"), "{way}");
        consumer.close(PATIENCE).await.unwrap();
        let left = brokers.count(ApiKey::LeaveGroup);
        assert_eq!(left, 0, "{way}: it did not say that it left for good");
        let mut again = member(&brokers, &config);
        again.subscribe(["t"]).unwrap();
        poll_until(&mut again, "it has all again", owns(2)).await;
        again.close_as(Departure::Leave, PATIENCE).await.unwrap();
        assert!(brokers.world().group("g").members().is_empty(), "{way}: now it did");
    }
}

#[tokio::test]
async fn an_older_instance_is_fenced_for_good() {
    for (way, config) in ways() {
        let brokers = Brokers::start(1).await;
        brokers.topic("t", 1);
        let config = GroupConfig { group_instance_id: Some("one".into()), ..config };
        let mut older = member(&brokers, &config);
        older.subscribe(["t"]).unwrap();
        poll_until(&mut older, "it has all", owns(1)).await;
        let mut newer = member(&brokers, &config);
        newer.subscribe(["t"]).unwrap();
        // With the consumer protocol it is the newer one that has to wait until the older one is gone.
        let (fenced, code) = match config.group_protocol {
            GroupProtocol::Classic => (&mut older, ErrorCode::FencedInstanceId),
            GroupProtocol::Consumer => (&mut newer, ErrorCode::UnreleasedInstanceId),
        };
        let deadline = Instant::now() + PATIENCE;
        let error = loop {
            assert!(Instant::now() < deadline, "{way}: not fenced");
            if let Err(error) = fenced.poll(POLL).await {
                break error;
            }
        };
        assert_eq!(error.code(), Some(code), "{way}");
        assert_eq!(fenced.poll(POLL).await.unwrap_err().code(), Some(code), "{way}: and stays so");
        assert_eq!(fenced.assignment().count(), 0, "{way}");
    }
}

#[tokio::test]
async fn topics_by_pattern_also_those_that_come_later() {
    for (way, config) in ways() {
        let brokers = Brokers::start(1).await;
        brokers.topic("a1", 1).topic("b", 1);
        let client = ottla_client::ClientConfig {
            metadata_max_age: Duration::from_millis(50),
            ..client(&brokers.bootstrap())
        };
        let mut consumer = GroupConsumer::new(client, from_earliest(), config).unwrap();
        assert!(matches!(consumer.subscribe_pattern("("), Err(Error::Config { .. })));
        consumer.subscribe_pattern("a.*").unwrap();
        poll_until(&mut consumer, "it has a1", owns(1)).await;
        brokers.topic("a2", 2);
        poll_until(&mut consumer, "it has a2", owns(3)).await;
        produce(&brokers, "a2", 2, 0..3).await;
        read_count(&mut consumer, 6).await;
        assert!(consumer.assignment().all(|of| of.topic.starts_with('a')), "{way}");
    }
}

#[tokio::test]
async fn more_partitions_are_shared_too() {
    for (way, config) in ways() {
        let brokers = Brokers::start(1).await;
        brokers.topic("t", 1);
        let client = ottla_client::ClientConfig {
            metadata_max_age: Duration::from_millis(50),
            ..client(&brokers.bootstrap())
        };
        let mut consumer = GroupConsumer::new(client, from_earliest(), config).unwrap();
        consumer.subscribe(["t"]).unwrap();
        poll_until(&mut consumer, way, owns(1)).await;
        {
            let mut world = brokers.world();
            let id = world.topics["t"].id;
            world.create("t", 3);
            world.topics.get_mut("t").unwrap().id = id;
        }
        poll_until(&mut consumer, way, owns(3)).await;
    }
}

#[tokio::test]
async fn unsubscribed_it_leaves_and_may_come_back() {
    for (way, config) in ways() {
        let brokers = Brokers::start(1).await;
        brokers.topic("t", 2).topic("u", 1);
        let ledger = Ledger::default();
        let mut consumer = member(&brokers, &config);
        consumer.set_listener(ledger.listener(0));
        consumer.subscribe(["t"]).unwrap();
        poll_until(&mut consumer, "t", owns(2)).await;
        consumer.subscribe(["t", "u"]).unwrap();
        poll_until(&mut consumer, "u, too", owns(3)).await;
        // It gives partitions up first and joins again then: until it has, its commits may be refused.
        let generation = consumer.group_metadata().generation;
        consumer.subscribe(["u"]).unwrap();
        poll_until(&mut consumer, "only u", |consumer| {
            let joined = consumer.group_metadata().generation > generation && is_stable(&brokers);
            joined && owns(1)(consumer)
        })
        .await;
        consumer.unsubscribe().await.unwrap();
        assert_eq!(consumer.assignment().count(), 0, "{way}");
        until(&format!("{way}: it has left"), || brokers.world().group("g").members().is_empty()).await;
        assert!(consumer.poll(POLL).await.unwrap().is_empty());
        consumer.subscribe(["t"]).unwrap();
        poll_until(&mut consumer, "back", owns(2)).await;
        assert!(ledger.log().iter().all(|line| !line.contains("lost")), "{way}: {:?}", ledger.log());
    }
}

/// Whether no rebalance is under way.
fn is_stable(brokers: &Brokers) -> bool {
    match &brokers.world().group("g").protocol {
        Protocol::Classic(classic) => classic.state == State::Stable,
        Protocol::Empty | Protocol::Consumer(_) => true,
    }
}
