//! Every served API goes through the door. It refuses what the client may not do, with Kafka's code in
//! Kafka's place, and says how long the client must wait.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla_wire::TopicId;
use ottla_wire::messages::*;
use ottla_wire::primitives::{Records, Request};
use ottla_wire::protocol::ErrorCode::{
    ClusterAuthorizationFailed as CLUSTER, GroupAuthorizationFailed as GROUP,
    TopicAuthorizationFailed as TOPIC, TransactionalIdAuthorizationFailed as TRANSACTIONAL_ID,
};
use ottla_wire::protocol::{ApiKey, ErrorCode};

use super::stage::{Connection, ME, PATIENCE, Stage, batch};
use crate::api;
use crate::door::authorize::Requester;
use crate::door::throttle::Charge;
use crate::door::{Authorizer, Door, Operation, Quotas, Resource, Unlimited};

/// How long a throttled client must wait.
const WAIT: Duration = Duration::from_millis(250);

/// Allows everything until it is switched to refuse: everything, or everything about topics.
#[derive(Default)]
struct Switch {
    refuses: AtomicBool,
    only_topics: AtomicBool,
}

impl Authorizer for Switch {
    fn allows(&self, _who: Requester<'_>, _operation: Operation, resource: Resource<'_>) -> bool {
        let spared = self.only_topics.load(Ordering::Relaxed) && !matches!(resource, Resource::Topic(_));
        spared || !self.refuses.load(Ordering::Relaxed)
    }
}

/// Every client must wait after every request.
struct Slow;

impl Quotas for Slow {
    fn charge(&self, _charge: &Charge<'_>) -> Duration {
        WAIT
    }
}

/// A stage with a topic, a group and a transactional id, and a connection to it.
struct Scene {
    connection: Connection,
    topic: TopicId,
    refuses: Arc<Switch>,
    /// The APIs that have been refused.
    refused: BTreeSet<ApiKey>,
}

impl Scene {
    /// `code` must find `expected` in the answer when everything is refused, and another code before.
    async fn refused<R: Request + Clone>(
        &mut self,
        version: i16,
        request: R,
        expected: ErrorCode,
        code: impl Fn(&R::Response) -> i16,
    ) where
        R::Response: std::fmt::Debug,
    {
        for (refuses, expects) in [(false, false), (true, true)] {
            self.refuses.refuses.store(refuses, Ordering::Relaxed);
            let answer = tokio::time::timeout(PATIENCE, self.connection.ask(version, &request));
            let answer = answer.await.expect("it is answered").expect("the connection stays");
            let refused = code(&answer) == expected.code();
            assert_eq!(refused, expects, "{} version {version}, refused: {refuses}: {answer:?}", R::KEY);
        }
        self.refuses.refuses.store(false, Ordering::Relaxed);
        self.refused.insert(R::KEY);
    }

    /// An entry is listed before everything is refused, and not afterwards.
    async fn hidden<R: Request + Clone>(
        &mut self,
        version: i16,
        request: R,
        count: impl Fn(&R::Response) -> usize,
    ) where
        R::Response: std::fmt::Debug,
    {
        for refuses in [false, true] {
            self.refuses.refuses.store(refuses, Ordering::Relaxed);
            let answer = self.connection.ask(version, &request).await.expect("the connection stays");
            assert_eq!(count(&answer) == 0, refuses, "{} version {version}: {answer:?}", R::KEY);
        }
        self.refuses.refuses.store(false, Ordering::Relaxed);
        self.refused.insert(R::KEY);
    }
}

async fn scene() -> (Stage, Scene) {
    let refuses = Arc::new(Switch::default());
    let door = Door { authorizer: refuses.clone(), quotas: Arc::new(Unlimited) };
    let stage = Stage::behind(door).await;
    let topic = stage.create_topic("t", &[&[ME]]).await;
    let mut connection = stage.connection();
    let commit = offset_commit();
    settle(async || connection.ask(9, &commit).await.unwrap().topics[0].partitions[0].error_code).await;
    let producer = init_producer_id("x");
    settle(async || connection.ask(4, &producer).await.unwrap().error_code).await;
    let scene = Scene { connection, topic, refuses, refused: BTreeSet::new() };
    (stage, scene)
}

/// Asks until the coordinator answers.
async fn settle(mut ask: impl AsyncFnMut() -> i16) {
    let settled = async {
        while ask().await != 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, settled).await.expect("the coordinator comes");
}

fn offset_commit() -> OffsetCommitRequest {
    use offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
    let partition = OffsetCommitRequestPartition { committed_offset: 0, ..Default::default() };
    let topic =
        OffsetCommitRequestTopic { name: "t".into(), partitions: vec![partition], ..Default::default() };
    OffsetCommitRequest { group_id: "g".into(), topics: vec![topic], ..Default::default() }
}

fn init_producer_id(id: &str) -> InitProducerIdRequest {
    InitProducerIdRequest {
        transactional_id: Some(id.to_owned().into()),
        transaction_timeout_ms: 60_000,
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_api_refuses_what_a_client_may_not_do() {
    let (_stage, mut scene) = scene().await;
    data(&mut scene).await;
    groups(&mut scene).await;
    transactions(&mut scene).await;
    topics(&mut scene).await;
    cluster(&mut scene).await;
    topics_alone(&mut scene).await;
    // Kafka lists the APIs it serves without asking for permission.
    let missing: Vec<_> = api::SERVED
        .iter()
        .filter(|key| **key != ApiKey::ApiVersions && !scene.refused.contains(key))
        .collect();
    assert!(missing.is_empty(), "nothing shows that these refuse: {missing:?}");
}

async fn data(scene: &mut Scene) {
    for version in [9, 13] {
        let produce = produce(scene.topic, version, 1);
        scene.refused(version, produce, TOPIC, |r| r.responses[0].partition_responses[0].error_code).await;
    }
    let transactional = ProduceRequest { transactional_id: Some("x".into()), ..produce(scene.topic, 9, 1) };
    scene
        .refused(9, transactional, TRANSACTIONAL_ID, |r| r.responses[0].partition_responses[0].error_code)
        .await;
    for version in [12, 13] {
        let fetch = fetch(scene.topic);
        scene.refused(version, fetch, TOPIC, |r| r.responses[0].partitions[0].error_code).await;
    }
    let partition = list_offsets_request::ListOffsetsPartition { timestamp: -1, ..Default::default() };
    let topic = list_offsets_request::ListOffsetsTopic { name: "t".into(), partitions: vec![partition] };
    let list = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    scene.refused(7, list, TOPIC, |r| r.topics[0].partitions[0].error_code).await;
    let topic = offset_for_leader_epoch_request::OffsetForLeaderTopic {
        topic: "t".into(),
        partitions: vec![Default::default()],
    };
    let epochs = OffsetForLeaderEpochRequest { replica_id: -1, topics: vec![topic] };
    scene.refused(4, epochs, TOPIC, |r| r.topics[0].partitions[0].error_code).await;
    let topic =
        delete_records_request::DeleteRecordsTopic { name: "t".into(), partitions: vec![Default::default()] };
    let delete = DeleteRecordsRequest { topics: vec![topic], timeout_ms: 60_000 };
    scene.refused(2, delete, TOPIC, |r| r.topics[0].partitions[0].error_code).await;
    let topic = describe_producers_request::TopicRequest { name: "t".into(), partition_indexes: vec![0] };
    let producers = DescribeProducersRequest { topics: vec![topic] };
    scene.refused(0, producers, TOPIC, |r| r.topics[0].partitions[0].error_code).await;
}

fn produce(topic_id: TopicId, version: i16, acks: i16) -> ProduceRequest {
    let records = Some(Records::Bytes(batch(b"v", 1000)));
    let data = produce_request::PartitionProduceData { index: 0, records };
    // Names and ids exclude each other.
    let (name, topic_id) =
        if version < 13 { ("t".into(), TopicId::ZERO) } else { (Default::default(), topic_id) };
    let topic = produce_request::TopicProduceData { name, topic_id, partition_data: vec![data] };
    ProduceRequest { acks, timeout_ms: 60_000, topic_data: vec![topic], ..Default::default() }
}

fn fetch(topic_id: TopicId) -> FetchRequest {
    let partition = fetch_request::FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() };
    let topic = fetch_request::FetchTopic { topic: "t".into(), topic_id, partitions: vec![partition] };
    FetchRequest {
        replica_id: -1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    }
}

async fn groups(scene: &mut Scene) {
    let group = || "g".into();
    scene.refused(9, offset_commit(), GROUP, |r| r.topics[0].partitions[0].error_code).await;
    let asked = offset_fetch_request::OffsetFetchRequestGroup { group_id: group(), ..Default::default() };
    let fetch = OffsetFetchRequest { groups: vec![asked], ..Default::default() };
    scene.refused(8, fetch, GROUP, |r| r.groups[0].error_code).await;
    let fetch = OffsetFetchRequest { group_id: group(), topics: None, ..Default::default() };
    scene.refused(7, fetch, GROUP, |r| r.error_code).await;
    let find = |key_type| FindCoordinatorRequest { key: group(), key_type, ..Default::default() };
    scene.refused(3, find(0), GROUP, |r| r.error_code).await;
    scene.refused(3, find(1), TRANSACTIONAL_ID, |r| r.error_code).await;
    let join = JoinGroupRequest {
        group_id: group(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![Default::default()],
        ..Default::default()
    };
    scene.refused(6, join, GROUP, |r| r.error_code).await;
    let sync = SyncGroupRequest { group_id: group(), member_id: "m".into(), ..Default::default() };
    scene.refused(4, sync, GROUP, |r| r.error_code).await;
    let heartbeat = HeartbeatRequest { group_id: group(), member_id: "m".into(), ..Default::default() };
    scene.refused(4, heartbeat, GROUP, |r| r.error_code).await;
    let member = leave_group_request::MemberIdentity { member_id: "m".into(), ..Default::default() };
    let leave = LeaveGroupRequest { group_id: group(), members: vec![member], ..Default::default() };
    scene.refused(4, leave, GROUP, |r| r.error_code).await;
    let heartbeat = ConsumerGroupHeartbeatRequest {
        group_id: "c".into(),
        member_id: "m".into(),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec!["t".into()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    scene.refused(1, heartbeat, GROUP, |r| r.error_code).await;
    let describe = DescribeGroupsRequest { groups: vec![group()], ..Default::default() };
    scene.refused(5, describe, GROUP, |r| r.groups[0].error_code).await;
    let describe = ConsumerGroupDescribeRequest { group_ids: vec!["c".into()], ..Default::default() };
    scene.refused(1, describe, GROUP, |r| r.groups[0].error_code).await;
    scene.hidden(4, ListGroupsRequest::default(), |r| r.groups.len()).await;
    let topic = offset_delete_request::OffsetDeleteRequestTopic {
        name: "t".into(),
        partitions: vec![Default::default()],
    };
    let delete = OffsetDeleteRequest { group_id: group(), topics: vec![topic] };
    scene.refused(0, delete, GROUP, |r| r.error_code).await;
    let delete = DeleteGroupsRequest { groups_names: vec!["gone".into()] };
    scene.refused(2, delete, GROUP, |r| r.results[0].error_code).await;
}

async fn transactions(scene: &mut Scene) {
    let id = || "x".into();
    scene.refused(4, init_producer_id("x"), TRANSACTIONAL_ID, |r| r.error_code).await;
    let idempotent = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: 60_000,
        ..Default::default()
    };
    scene.refused(4, idempotent, CLUSTER, |r| r.error_code).await;
    let topic =
        add_partitions_to_txn_request::AddPartitionsToTxnTopic { name: "t".into(), partitions: vec![0] };
    let add = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: id(),
        v3_and_below_topics: vec![topic],
        ..Default::default()
    };
    let code = |r: &AddPartitionsToTxnResponse| {
        r.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
    };
    scene.refused(3, add, TRANSACTIONAL_ID, code).await;
    scene.refused(4, AddPartitionsToTxnRequest::default(), CLUSTER, |r| r.error_code).await;
    let add = AddOffsetsToTxnRequest { transactional_id: id(), group_id: "g".into(), ..Default::default() };
    scene.refused(3, add, TRANSACTIONAL_ID, |r| r.error_code).await;
    let end = EndTxnRequest { transactional_id: id(), ..Default::default() };
    scene.refused(3, end, TRANSACTIONAL_ID, |r| r.error_code).await;
    let topic = txn_offset_commit_request::TxnOffsetCommitRequestTopic {
        name: "t".into(),
        partitions: vec![Default::default()],
    };
    let commit = TxnOffsetCommitRequest {
        transactional_id: id(),
        group_id: "g".into(),
        topics: vec![topic],
        ..Default::default()
    };
    scene.refused(3, commit, TRANSACTIONAL_ID, |r| r.topics[0].partitions[0].error_code).await;
    let topic =
        write_txn_markers_request::WritableTxnMarkerTopic { name: "t".into(), partition_indexes: vec![0] };
    let marker = write_txn_markers_request::WritableTxnMarker {
        producer_id: -1,
        topics: vec![topic],
        ..Default::default()
    };
    let markers = WriteTxnMarkersRequest { markers: vec![marker] };
    scene.refused(1, markers, CLUSTER, |r| r.markers[0].topics[0].partitions[0].error_code).await;
    let describe = DescribeTransactionsRequest { transactional_ids: vec![id()] };
    scene.refused(0, describe, TRANSACTIONAL_ID, |r| r.transaction_states[0].error_code).await;
    let list = ListTransactionsRequest { duration_filter: -1, ..Default::default() };
    scene.hidden(1, list, |r| r.transaction_states.len()).await;
}

async fn topics(scene: &mut Scene) {
    let asked = metadata_request::MetadataRequestTopic { name: Some("t".into()), ..Default::default() };
    let metadata = MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
    scene.refused(9, metadata, TOPIC, |r| r.topics[0].error_code).await;
    let asked = metadata_request::MetadataRequestTopic { topic_id: scene.topic, ..Default::default() };
    let metadata = MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
    scene.refused(12, metadata, TOPIC, |r| r.topics[0].error_code).await;
    scene.hidden(9, MetadataRequest { topics: None, ..Default::default() }, |r| r.topics.len()).await;
    let asked = describe_topic_partitions_request::TopicRequest { name: "t".into() };
    let describe = DescribeTopicPartitionsRequest {
        topics: vec![asked],
        response_partition_limit: 10,
        ..Default::default()
    };
    scene.refused(0, describe, TOPIC, |r| r.topics[0].error_code).await;
    let topic = create_topics_request::CreatableTopic {
        name: "new".into(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let create = CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, validate_only: true };
    scene.refused(7, create, TOPIC, |r| r.topics[0].error_code).await;
    let topic =
        create_partitions_request::CreatePartitionsTopic { name: "t".into(), count: 2, ..Default::default() };
    let more = CreatePartitionsRequest { topics: vec![topic], timeout_ms: 60_000, validate_only: true };
    scene.refused(3, more, TOPIC, |r| r.results[0].error_code).await;
    let asked = delete_topics_request::DeleteTopicState { name: Some("gone".into()), ..Default::default() };
    let delete = DeleteTopicsRequest { topics: vec![asked], timeout_ms: 60_000, ..Default::default() };
    scene.refused(6, delete, TOPIC, |r| r.responses[0].error_code).await;
    let delete =
        DeleteTopicsRequest { topic_names: vec!["gone".into()], timeout_ms: 60_000, ..Default::default() };
    scene.refused(5, delete, TOPIC, |r| r.responses[0].error_code).await;
}

/// A client that may do everything except with topics gets a refusal for each topic.
async fn topics_alone(scene: &mut Scene) {
    scene.refuses.only_topics.store(true, Ordering::Relaxed);
    scene.refused(9, offset_commit(), TOPIC, |r| r.topics[0].partitions[0].error_code).await;
    let topic = offset_fetch_request::OffsetFetchRequestTopics {
        name: "t".into(),
        partition_indexes: vec![0],
        ..Default::default()
    };
    let asked = offset_fetch_request::OffsetFetchRequestGroup {
        group_id: "g".into(),
        topics: Some(vec![topic]),
        ..Default::default()
    };
    let some = OffsetFetchRequest { groups: vec![asked.clone()], ..Default::default() };
    scene.refused(8, some, TOPIC, |r| r.groups[0].topics[0].partitions[0].error_code).await;
    let all = offset_fetch_request::OffsetFetchRequestGroup { topics: None, ..asked };
    let all = OffsetFetchRequest { groups: vec![all], ..Default::default() };
    scene.hidden(8, all, |r| r.groups[0].topics.len()).await;
    let topic = offset_delete_request::OffsetDeleteRequestTopic {
        name: "t".into(),
        partitions: vec![Default::default()],
    };
    let delete = OffsetDeleteRequest { group_id: "g".into(), topics: vec![topic] };
    // The allowed request deletes the offset. The refused one still answers for the topic.
    scene.refused(0, delete, TOPIC, |r| r.topics[0].partitions[0].error_code).await;
    let topic = txn_offset_commit_request::TxnOffsetCommitRequestTopic {
        name: "t".into(),
        partitions: vec![Default::default()],
    };
    let commit = TxnOffsetCommitRequest {
        transactional_id: "x".into(),
        group_id: "other".into(),
        topics: vec![topic],
        ..Default::default()
    };
    scene.refused(3, commit, TOPIC, |r| r.topics[0].partitions[0].error_code).await;
    let topic =
        add_partitions_to_txn_request::AddPartitionsToTxnTopic { name: "t".into(), partitions: vec![0] };
    let add = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: "x".into(),
        v3_and_below_topics: vec![topic],
        ..Default::default()
    };
    let code = |r: &AddPartitionsToTxnResponse| {
        r.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
    };
    scene.refused(3, add, TOPIC, code).await;
    scene.refuses.only_topics.store(false, Ordering::Relaxed);
}

/// Kinds of resources with settings, and the refusal to those who may not see or change them.
const SETTINGS: [(i8, &str, ErrorCode); 3] = [(2, "t", TOPIC), (4, "1", CLUSTER), (32, "g", GROUP)];

async fn cluster(scene: &mut Scene) {
    for (resource_type, name, code) in SETTINGS {
        let resource_name = || name.into();
        let resource = describe_configs_request::DescribeConfigsResource {
            resource_type,
            resource_name: resource_name(),
            ..Default::default()
        };
        let describe = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
        scene.refused(4, describe, code, |r| r.results[0].error_code).await;
        let resource = alter_configs_request::AlterConfigsResource {
            resource_type,
            resource_name: resource_name(),
            ..Default::default()
        };
        let alter = AlterConfigsRequest { resources: vec![resource], validate_only: true };
        scene.refused(2, alter, code, |r| r.responses[0].error_code).await;
        let resource = incremental_alter_configs_request::AlterConfigsResource {
            resource_type,
            resource_name: resource_name(),
            ..Default::default()
        };
        let alter = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: true };
        scene.refused(1, alter, code, |r| r.responses[0].error_code).await;
    }
    scene.refused(1, ListConfigResourcesRequest::default(), CLUSTER, |r| r.error_code).await;
    let dirs = DescribeLogDirsRequest { topics: None };
    scene.refused(3, dirs, CLUSTER, |r| r.error_code).await;
    let features = UpdateFeaturesRequest { timeout_ms: 60_000, validate_only: true, ..Default::default() };
    scene.refused(1, features, CLUSTER, |r| r.error_code).await;
    // Everyone may see the brokers. The operations allowed on the cluster are none.
    let describe = DescribeClusterRequest {
        include_cluster_authorized_operations: true,
        endpoint_type: 1,
        ..Default::default()
    };
    scene.hidden(1, describe, |r| r.cluster_authorized_operations as usize).await;
}

/// The answer says how long the client must wait, and the connection enforces it: for single requests and for
/// runs.
#[tokio::test(flavor = "multi_thread")]
async fn answers_tell_how_long_a_client_is_to_wait() {
    let door = Door { quotas: Arc::new(Slow), ..Door::open() };
    let stage = Stage::behind(door).await;
    let topic = stage.create_topic("t", &[&[ME]]).await;
    let mut connection = stage.connection();
    let told = |ms: i32, muted: Duration| assert_eq!((ms, muted), (250, WAIT));
    let (answer, muted) = connection.ask_muted(13, &produce(topic, 13, -1)).await.unwrap();
    told(answer.throttle_time_ms, muted);
    let (answer, muted) = connection.ask_muted(12, &fetch(topic)).await.unwrap();
    told(answer.throttle_time_ms, muted);
    let (answer, muted) = connection.ask_muted(9, &offset_commit()).await.unwrap();
    told(answer.throttle_time_ms, muted);
    let (answer, muted) = connection.ask_muted(9, &MetadataRequest::default()).await.unwrap();
    told(answer.throttle_time_ms, muted);
}

/// Notes what requests have cost, in bytes.
#[derive(Default)]
struct Meter(Mutex<Vec<(ApiKey, usize)>>);

impl Quotas for Meter {
    fn charge(&self, charge: &Charge<'_>) -> Duration {
        self.0.lock().unwrap().push((charge.key, charge.bytes));
        Duration::ZERO
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_charged_by_their_bytes() {
    let meter = Arc::new(Meter::default());
    let stage = Stage::behind(Door { quotas: meter.clone(), ..Door::open() }).await;
    let topic = stage.create_topic("t", &[&[ME]]).await;
    meter.0.lock().unwrap().clear();
    let mut connection = stage.connection();
    connection.ask(13, &produce(topic, 13, -1)).await.unwrap();
    connection.ask(12, &fetch(topic)).await.unwrap();
    connection.ask(9, &MetadataRequest::default()).await.unwrap();
    let charged = std::mem::take(&mut *meter.0.lock().unwrap());
    let records = batch(b"v", 1000).len();
    let (produced, fetched, told) = (charged[0], charged[1], charged[2]);
    assert!(produced.0 == ApiKey::Produce && (records..records + 100).contains(&produced.1), "{produced:?}");
    assert_eq!([fetched, told], [(ApiKey::Fetch, records), (ApiKey::Metadata, 0)]);
}

/// A producer without acknowledgements waits as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_producer_without_acknowledgements_waits_too() {
    let door = Door { quotas: Arc::new(Slow), ..Door::open() };
    let stage = Stage::behind(door).await;
    let topic = stage.create_topic("t", &[&[ME]]).await;
    let responses = stage.connection().send(13, &produce(topic, 13, 0)).await.unwrap();
    let muted: Vec<(Option<u32>, bool, Duration)> = responses
        .iter()
        .map(|one| (one.framed, one.parts.iter().all(|part| part.is_empty()), one.mute))
        .collect();
    assert_eq!(muted, [(Some(0), true, WAIT)]);
}
