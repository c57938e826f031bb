//! Answers to clients and followers about a partition whose leader is, or becomes, another broker.

use std::time::Duration;

use ottla_net::CloseReason;
use ottla_wire::messages::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
use ottla_wire::messages::fetch_response::PartitionData;
use ottla_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_wire::messages::produce_response::PartitionProduceResponse;
use ottla_wire::messages::{
    FetchRequest, FetchResponse, MetadataRecord, PartitionChangeRecord, ProduceRequest, ProduceResponse,
};
use ottla_wire::primitives::{Records, Request};
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{Offset, PartitionIndex, TopicId};

use super::stage::{Connection, ME, PATIENCE, Stage, batch};

const TOPIC: &str = "t";
const OTHER: i32 = 2;
const OTHER_EPOCH: i64 = 500;

/// The first versions that name new leaders (KIP-951).
const FETCH_NAMES_LEADERS: i16 = 16;
const PRODUCE_NAMES_LEADERS: i16 = 10;

const NOT_LEADER: i16 = ErrorCode::NotLeaderOrFollower as i16;

/// Two brokers, and a topic that this one leads.
async fn stage() -> (Stage, TopicId) {
    let stage = Stage::new().await;
    stage.register(OTHER, OTHER_EPOCH).await;
    let topic = stage.create_topic(TOPIC, &[&[ME, OTHER]]).await;
    (stage, topic)
}

pub fn fetch(version: i16, topic: TopicId, wait: Duration) -> FetchRequest {
    let partition = FetchPartition {
        fetch_offset: 0,
        partition_max_bytes: 1 << 20,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        ..Default::default()
    };
    let mut topic = FetchTopic { topic_id: topic, partitions: vec![partition], ..Default::default() };
    if version < 13 {
        topic = FetchTopic { topic: TOPIC.into(), topic_id: TopicId::default(), ..topic };
    }
    FetchRequest {
        max_wait_ms: i32::try_from(wait.as_millis()).unwrap(),
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    }
}

pub fn produce(version: i16, topic: TopicId, acks: i16) -> ProduceRequest {
    let records = Some(Records::Bytes(batch(b"a", 1_000)));
    let partition_data = vec![PartitionProduceData { index: 0, records }];
    let topic = match version {
        ..13 => TopicProduceData { name: TOPIC.into(), partition_data, ..Default::default() },
        _ => TopicProduceData { topic_id: topic, partition_data, ..Default::default() },
    };
    ProduceRequest { acks, timeout_ms: 600_000, topic_data: vec![topic], ..Default::default() }
}

pub fn fetched(response: &FetchResponse) -> &PartitionData {
    &response.responses[0].partitions[0]
}

pub fn produced(response: &ProduceResponse) -> &PartitionProduceResponse {
    &response.responses[0].partition_responses[0]
}

/// What a fetch says about the leader: the error, the leader, its epoch, its host.
fn leader_of_fetch(response: &FetchResponse) -> (i16, i32, i32, Option<&str>) {
    let PartitionData { error_code, current_leader, .. } = fetched(response);
    let host = response.node_endpoints.first().map(|node| &*node.host);
    (*error_code, current_leader.leader_id, current_leader.leader_epoch, host)
}

fn leader_of_produce(response: &ProduceResponse) -> (i16, i32, i32, Option<&str>) {
    let PartitionProduceResponse { error_code, current_leader, .. } = produced(response);
    let host = response.node_endpoints.first().map(|node| &*node.host);
    (*error_code, current_leader.leader_id, current_leader.leader_epoch, host)
}

/// The expected answer about the new leader, in versions that can name it.
fn named(can_say: bool, epoch: i32) -> (i16, i32, i32, Option<&'static str>) {
    match can_say {
        true => (NOT_LEADER, OTHER, epoch, Some("host-2")),
        false => (NOT_LEADER, -1, -1, None),
    }
}

/// Sends a request and lets `meanwhile` happen while the request waits.
async fn asked_during<R: Request>(
    mut connection: Connection,
    (version, request): (i16, R),
    meanwhile: impl Future<Output = ()>,
) -> Result<R::Response, CloseReason> {
    let later = async {
        // The request need not wait by then: the answer is the same.
        tokio::time::sleep(Duration::from_millis(20)).await;
        meanwhile.await;
    };
    let asked = async { tokio::time::timeout(PATIENCE, connection.ask(version, &request)).await };
    tokio::join!(asked, later).0.expect("it is answered")
}

#[tokio::test]
async fn a_fetch_that_waits_names_the_leader_of_when_it_is_answered_in_every_version() {
    for version in FetchRequest::KEY.versions() {
        let (stage, topic) = stage().await;
        let moves = stage.move_to(topic, 0, &[OTHER, ME]);
        let request = (version, fetch(version, topic, PATIENCE));
        let response = asked_during(stage.connection(), request, moves).await.unwrap();
        assert_eq!(leader_of_fetch(&response), named(version >= FETCH_NAMES_LEADERS, 1), "{version}");
    }
}

#[tokio::test]
async fn a_produce_that_waits_names_the_leader_of_when_it_is_answered_in_every_version() {
    for version in ProduceRequest::KEY.versions() {
        let (stage, topic) = stage().await;
        let moves = stage.move_to(topic, 0, &[OTHER, ME]);
        let request = (version, produce(version, topic, -1));
        let response = asked_during(stage.connection(), request, moves).await.unwrap();
        assert_eq!(leader_of_produce(&response), named(version >= PRODUCE_NAMES_LEADERS, 1), "{version}");
    }
}

#[tokio::test]
async fn who_comes_after_the_leader_has_moved_is_sent_to_it_in_every_version() {
    let (stage, topic) = stage().await;
    stage.move_to(topic, 0, &[OTHER, ME]).await;
    let mut connection = stage.connection();
    for version in FetchRequest::KEY.versions() {
        let response = connection.ask(version, &fetch(version, topic, PATIENCE)).await.unwrap();
        assert_eq!(leader_of_fetch(&response), named(version >= FETCH_NAMES_LEADERS, 1), "{version}");
    }
    for version in ProduceRequest::KEY.versions() {
        let response = connection.ask(version, &produce(version, topic, 1)).await.unwrap();
        assert_eq!(leader_of_produce(&response), named(version >= PRODUCE_NAMES_LEADERS, 1), "{version}");
    }
}

/// The leader stays but its epoch changes. A reader with the old epoch gets the new one.
#[tokio::test]
async fn a_fetch_with_a_passed_epoch_is_told_the_epoch_of_now() {
    let (stage, topic) = stage().await;
    stage.move_to(topic, 0, &[ME, OTHER]).await;
    let mut request = fetch(17, topic, PATIENCE);
    request.topics[0].partitions[0].current_leader_epoch = 0;
    let response = stage.connection().ask(17, &request).await.unwrap();
    let fenced = ErrorCode::FencedLeaderEpoch as i16;
    assert_eq!(leader_of_fetch(&response), (fenced, ME, 1, Some("localhost")));
}

/// Once the image says who leads, the partition itself serves as that: a client that heard it is not turned
/// away.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_of_leaders_is_true() {
    const PARTITIONS: i32 = 200;
    let stage = Stage::new().await;
    let topic = stage.create_topic(TOPIC, &[&[ME][..]; PARTITIONS as usize]).await;
    for epoch in 1..=5 {
        let again = |partition_id| PartitionChangeRecord {
            partition_id,
            topic_id: topic,
            leader: ME,
            ..Default::default()
        };
        stage.propose_all((0..PARTITIONS).map(again).map(MetadataRecord::PartitionChange)).await;
        let published = stage.node.ctx.published.load();
        let epoch_of =
            |index| published.partition(TOPIC, PartitionIndex(index)).unwrap().view().replica.leader_epoch;
        let behind: Vec<i32> = (0..PARTITIONS).filter(|index| epoch_of(*index).0 < epoch).collect();
        assert!(behind.is_empty(), "these do not know yet: {behind:?}");
    }
}

/// A follower's fetches count for its ISR, so only the registered incarnation is served (KIP-903).
#[tokio::test]
async fn a_follower_is_who_names_the_registered_epoch() {
    let (stage, topic) = stage().await;
    let mut connection = stage.connection();
    let leader_only = produce(9, topic, 1);
    assert_eq!(produced(&connection.ask(9, &leader_only).await.unwrap()).error_code, 0);
    let high_watermark =
        || stage.node.ctx.published.load().partition(TOPIC, 0.into()).unwrap().view().replica.high_watermark;
    let as_follower = |version: i16, epoch: i64| {
        let mut request = fetch(version, topic, Duration::ZERO);
        match version {
            ..15 => request.replica_id = OTHER,
            _ => request.replica_state = ReplicaState { replica_id: OTHER, replica_epoch: epoch },
        }
        request.topics[0].partitions[0].fetch_offset = 1;
        request
    };
    for (case, version, epoch) in [
        ("too old to name an epoch", 4, -1),
        ("too old to name an epoch", 14, -1),
        ("no epoch", 17, -1),
        ("an epoch that has passed", 17, OTHER_EPOCH - 1),
        ("an epoch that is not known here yet", 17, OTHER_EPOCH + 1),
    ] {
        let response = connection.ask(version, &as_follower(version, epoch)).await.unwrap();
        assert_eq!(fetched(&response).error_code, NOT_LEADER, "{case}");
        assert!(fetched(&response).records.as_ref().is_none_or(Records::is_empty), "{case}");
    }
    // If anything had counted, the answer to this one would add it to the ISR.
    assert_eq!(fetched(&connection.ask(17, &fetch(17, topic, Duration::ZERO)).await.unwrap()).error_code, 0);
    assert_eq!(high_watermark(), Offset(0), "nobody has the record yet");
    let response = connection.ask(17, &as_follower(17, OTHER_EPOCH)).await.unwrap();
    assert_eq!(fetched(&response).error_code, 0);
    let counts = async {
        while high_watermark() != Offset(1) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, counts).await.expect("now it has");
}
