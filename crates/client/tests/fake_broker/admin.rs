use std::collections::BTreeMap;

use ottla_client::{Admin, ConfigResource, IsolationLevel, NewTopic, OffsetSpec, TopicPartition};
use ottla_wire::Offset;
use ottla_wire::protocol::{ApiKey, ErrorCode};

use super::broker::Brokers;
use super::client;

#[tokio::test]
async fn topics_are_created_listed_described_and_deleted() {
    for old in [false, true] {
        let brokers = Brokers::start(2).await;
        if old {
            brokers.world().version_max.insert(ApiKey::DeleteTopics, 5);
            brokers.world().version_max.insert(ApiKey::DescribeCluster, 1);
        }
        let admin = Admin::new(client(&brokers.bootstrap())).unwrap();
        let topic = NewTopic::new("t", 3).config("retention.ms", "1000");
        let created = admin.create_topics(std::slice::from_ref(&topic), true).await.unwrap();
        assert!(created["t"].is_ok() && brokers.world().topics.is_empty(), "only validated");
        let created = admin.create_topics(std::slice::from_ref(&topic), false).await.unwrap();
        assert_eq!(created["t"].as_ref().unwrap().partitions, Some(3));
        let again = admin.create_topics(&[topic], false).await.unwrap();
        assert_eq!(again["t"].as_ref().unwrap_err().code, ErrorCode::TopicAlreadyExists);
        assert_eq!(again["t"].as_ref().unwrap_err().to_string(), "TOPIC_ALREADY_EXISTS: there it is");

        assert_eq!(admin.list_topics().await.unwrap()[0].name, "t");
        let described = admin.describe_topics(&["t", "none"]).await.unwrap();
        assert_eq!(described["t"].as_ref().unwrap().partitions.len(), 3);
        assert_eq!(described["none"].as_ref().unwrap_err().code, ErrorCode::UnknownTopicOrPartition);

        let cluster = admin.describe_cluster().await.unwrap();
        assert_eq!((cluster.cluster_id.as_str(), cluster.brokers.len()), ("fake", 2));
        let resource = ConfigResource::topic("t");
        let configs = admin.describe_configs(std::slice::from_ref(&resource), None, false).await.unwrap();
        assert_eq!(configs[&resource].as_ref().unwrap()[0].name, "retention.ms");

        let deleted = admin.delete_topics(&["t", "none"]).await.unwrap();
        assert!(deleted["t"].is_ok());
        assert_eq!(deleted["none"].as_ref().unwrap_err().code, ErrorCode::UnknownTopicOrPartition);
    }
}

#[tokio::test]
async fn offsets_and_deleted_records_go_to_the_leaders() {
    let brokers = Brokers::start(3).await;
    brokers.topic("t", 3);
    for partition in 0..3 {
        brokers.world().partition("t", partition).next_offset = 10 + partition as i64;
    }
    let admin = Admin::new(client(&brokers.bootstrap())).unwrap();
    let all = |spec| (0..3).map(|p| (TopicPartition::new("t", p), spec)).collect::<BTreeMap<_, _>>();
    let listed = admin.list_offsets(&all(OffsetSpec::Latest), IsolationLevel::ReadUncommitted).await;
    let offsets: Vec<_> = listed.values().map(|found| found.as_ref().unwrap().offset.unwrap().0).collect();
    assert_eq!(offsets, [10, 11, 12]);

    let before =
        BTreeMap::from([(TopicPartition::new("t", 0), Some(Offset(4))), (TopicPartition::new("t", 1), None)]);
    let deleted = admin.delete_records(&before).await;
    let starts: Vec<_> = deleted.values().map(|start| start.as_ref().unwrap().0).collect();
    assert_eq!(starts, [4, 11]);
    let missing = BTreeMap::from([(TopicPartition::new("t", 9), OffsetSpec::Latest)]);
    let listed = admin.list_offsets(&missing, IsolationLevel::ReadUncommitted).await;
    let error = listed.values().next().unwrap().as_ref().unwrap_err().to_string();
    assert!(error.contains("no partition 9"), "{error}");
}
