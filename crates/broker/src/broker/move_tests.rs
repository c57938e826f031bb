//! Partitions that are deleted or moved, while the broker is up and while it is down, and partitions that
//! cannot be opened.

use std::time::Duration;

use ottla_log::{Disk, Faults, Open};
use ottla_replica::ViewRole;
use ottla_wire::messages::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
use ottla_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_wire::messages::{FetchRequest, MetadataRecord, ProduceRequest, RemoveTopicRecord};
use ottla_wire::primitives::Records;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{PartitionIndex, TopicId};

use super::stage::{ME, PATIENCE, Stage, batch};

const OTHER: i32 = 2;
/// Below the end of the metadata log. The epochs that follow are offsets that the log will reach.
const OTHER_EPOCH: i64 = 3;

const OK: i16 = 0;
const NOT_LEADER: i16 = ErrorCode::NotLeaderOrFollower as i16;
const STORAGE: i16 = ErrorCode::KafkaStorageError as i16;

async fn stage() -> Stage {
    let stage = Stage::new().await;
    stage.register(OTHER, OTHER_EPOCH).await;
    stage
}

/// The error code for a producer that writes one record.
async fn produce(stage: &Stage, topic: &str) -> i16 {
    let records = Some(Records::Bytes(batch(b"a", 1_000)));
    let data = PartitionProduceData { index: 0, records };
    let topic =
        TopicProduceData { name: topic.to_owned().into(), partition_data: vec![data], ..Default::default() };
    let request =
        ProduceRequest { acks: 1, timeout_ms: 60_000, topic_data: vec![topic], ..Default::default() };
    let response = stage.connection().ask(9, &request).await.unwrap();
    response.responses[0].partition_responses[0].error_code
}

/// What a reader from the start gets: the error, and the number of bytes.
async fn fetch(stage: &Stage, topic: TopicId, reader: ReplicaState) -> (i16, usize) {
    let partition = FetchPartition {
        fetch_offset: 0,
        partition_max_bytes: 1 << 20,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        ..Default::default()
    };
    let topic = FetchTopic { topic_id: topic, partitions: vec![partition], ..Default::default() };
    let request = FetchRequest {
        replica_state: reader,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    let response = stage.connection().ask(17, &request).await.unwrap();
    let partition = &response.responses[0].partitions[0];
    (partition.error_code, partition.records.as_ref().map_or(0, Records::len))
}

fn consumer() -> ReplicaState {
    ReplicaState { replica_id: -1, replica_epoch: -1 }
}

fn follower() -> ReplicaState {
    ReplicaState { replica_id: OTHER, replica_epoch: OTHER_EPOCH }
}

fn role(stage: &Stage, topic: &str) -> Option<ViewRole> {
    let published = stage.node.ctx.published.load();
    let partition = published.topic(topic)?.partition(PartitionIndex(0))?;
    Some(partition.view().replica.role)
}

async fn delete(stage: &Stage, topic: TopicId) {
    stage.propose(MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id: topic })).await;
}

async fn eventually(what: &str, is: impl Fn() -> bool) {
    let becomes = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, becomes).await.unwrap_or_else(|_| panic!("{what}"));
}

/// The folders, without the parts that differ for each partition: `t-0`, `t-0 delete`, `t-0 stray`.
fn folders(stage: &Stage) -> Vec<String> {
    let short = |name: String| match name.split_once('.') {
        Some((partition, rest)) => format!("{partition} {}", rest.rsplit_once('-').unwrap().1),
        None => name,
    };
    stage.folders().into_iter().map(short).collect()
}

#[tokio::test]
async fn a_partition_that_moves_away_is_retired_and_its_files_go() {
    let stage = stage().await;
    let topic = stage.create_topic("t", &[&[ME, OTHER]]).await;
    assert_eq!(produce(&stage, "t").await, OK);
    let before = stage.node.ctx.published.load_full();
    let held = before.partition("t", PartitionIndex(0)).unwrap();

    stage.move_to(topic, 0, &[OTHER]).await;
    assert_eq!(role(&stage, "t"), None, "it is not here any more as soon as that is published");
    assert_eq!(produce(&stage, "t").await, NOT_LEADER);
    eventually("its files are out of the way", || folders(&stage) == ["t-0 delete"]).await;
    assert_eq!(held.view().replica.role, ViewRole::Retired);

    stage.move_to(topic, 0, &[ME, OTHER]).await;
    eventually("it is opened anew", || role(&stage, "t") == Some(ViewRole::Leader)).await;
    assert_eq!(fetch(&stage, topic, follower()).await, (OK, 0), "it begins with nothing");
    assert_eq!(folders(&stage), ["t-0", "t-0 delete"]);
}

/// The folder has its new name, but nothing has removed it yet.
#[tokio::test]
async fn a_stop_before_the_files_are_removed_leaves_that_to_the_next_start() {
    let stage = stage().await;
    let topic = stage.create_topic("t", &[&[ME, OTHER]]).await;
    assert_eq!(produce(&stage, "t").await, OK);
    stage.move_to(topic, 0, &[OTHER]).await;
    eventually("its files are out of the way", || folders(&stage) == ["t-0 delete"]).await;
    let (disk, metadata) = stage.stop().await;
    let stage = Stage::open(disk, metadata).await;
    stage.node.dir.do_chores();
    assert!(folders(&stage).is_empty());
}

/// A topic that is created right after the deletion of one of the same name has none of its records.
#[tokio::test]
async fn a_name_can_be_used_again_at_once() {
    let stage = stage().await;
    for _ in 0..10 {
        let topic = stage.create_topic("t", &[&[ME]]).await;
        assert_eq!(produce(&stage, "t").await, OK);
        let bytes = batch(b"a", 1_000).len();
        assert_eq!(
            fetch(&stage, topic, consumer()).await,
            (OK, bytes),
            "one record, and not that of another topic"
        );
        delete(&stage, topic).await;
    }
}

/// Before the metadata log holds this process's registration, its records were meant for another process.
/// Nobody leads, and nothing is removed.
#[tokio::test]
async fn before_it_is_registered_a_broker_leads_nothing_and_removes_nothing() {
    let before = stage().await;
    before.create_topic("stays", &[&[ME]]).await;
    let deleted = before.create_topic("deleted", &[&[ME]]).await;
    let moved = before.create_topic("moved", &[&[ME, OTHER]]).await;
    let gone = before.create_topic("gone", &[&[ME]]).await;
    for topic in ["stays", "deleted", "moved", "gone"] {
        assert_eq!(produce(&before, topic).await, OK);
    }
    let (disk, metadata) = before.stop().await;

    // This one sees the metadata log move on, and dies before it is registered.
    let unseen = Stage::open(disk, metadata).await;
    delete(&unseen, gone).await;
    let all = ["deleted-0", "gone-0", "moved-0", "stays-0"];
    assert_eq!(folders(&unseen), all);
    let (disk, metadata) = unseen.stop().await;

    let stage = Stage::open(disk, metadata).await;
    assert_eq!(role(&stage, "stays"), Some(ViewRole::Idle), "it is open, so that it is ready");
    assert_eq!(role(&stage, "gone"), None, "the cluster does not know it");
    delete(&stage, deleted).await;
    stage.move_to(moved, 0, &[OTHER]).await;
    assert_eq!(role(&stage, "stays"), Some(ViewRole::Idle));
    assert_eq!(produce(&stage, "stays").await, NOT_LEADER);
    assert_eq!(folders(&stage), all, "the image is older than the registration");

    stage.join().await;
    assert_eq!(role(&stage, "stays"), Some(ViewRole::Leader));
    assert_eq!(produce(&stage, "stays").await, OK);
    assert_eq!(folders(&stage), ["deleted-0 stray", "gone-0 stray", "moved-0 stray", "stays-0"]);
}

/// Slow files must not delay a change of leader.
#[tokio::test]
async fn a_change_of_leader_does_not_wait_for_files() {
    let before = stage().await;
    let slow = before.create_topic("slow", &[&[ME]]).await;
    let fast = before.create_topic("fast", &[&[ME, OTHER]]).await;
    assert_eq!((produce(&before, "slow").await, produce(&before, "fast").await), (OK, OK));
    let (disk, metadata) = before.stop().await;
    let away = Stage::open(disk, metadata).await;
    away.move_to(slow, 0, &[OTHER]).await;
    let (disk, metadata) = away.stop().await;

    let stage = Stage::open(disk, metadata).await;
    stage.disk.evict(&stage.path().join("slow-0/partition.metadata"), 0..4096).unwrap();
    stage.disk.set_faults(Faults { reads_stall: true, ..Faults::default() });
    stage.move_to(slow, 0, &[ME]).await;
    eventually("it is being opened", || stage.disk.reads_stalled() > 0).await;
    let meanwhile = async {
        // The other broker took over while this one was down.
        eventually("it follows", || role(&stage, "fast") == Some(ViewRole::Follower)).await;
        stage.move_to(fast, 0, &[ME, OTHER]).await;
        assert_eq!(role(&stage, "fast"), Some(ViewRole::Leader));
        assert_eq!((role(&stage, "slow"), produce(&stage, "slow").await), (None, NOT_LEADER));
        stage.disk.set_faults(Faults::default());
    };
    tokio::join!(stage.join(), meanwhile);
    eventually("it is seen", || role(&stage, "slow") == Some(ViewRole::Leader)).await;
    assert_eq!(produce(&stage, "slow").await, OK);
}

/// A partition that cannot be opened has no replica here. It does not lead, follow, or count for the ISR. Its
/// topic can still be deleted and its name used again.
#[tokio::test]
async fn a_partition_that_cannot_be_opened_takes_no_part() {
    let before = stage().await;
    let topic = before.create_topic("t", &[&[ME, OTHER]]).await;
    assert_eq!(produce(&before, "t").await, OK);
    let (disk, metadata) = before.stop().await;
    let unfinished = metadata.path().join("t-0/00000000000000000000.log.swap");
    disk.open(&unfinished, Open::Create).unwrap();

    let stage = Stage::open(disk, metadata).await;
    stage.join().await;
    let alone = stage.create_topic("alone", &[&[ME]]).await;
    for leader in [ME, OTHER, ME] {
        // Nothing is sent to the shard: it does not have the partition.
        stage.move_to(topic, 0, &[leader, ME + OTHER - leader]).await;
        assert_eq!(role(&stage, "t"), None);
        assert_eq!(produce(&stage, "t").await, STORAGE);
        for reader in [consumer(), follower()] {
            assert_eq!(fetch(&stage, topic, reader).await.0, STORAGE);
        }
    }
    assert_eq!((produce(&stage, "alone").await, fetch(&stage, alone, consumer()).await.0), (OK, OK));

    delete(&stage, topic).await;
    eventually("its files are out of the way", || folders(&stage) == ["alone-0", "t-0 delete"]).await;
    stage.create_topic("t", &[&[ME]]).await;
    assert_eq!(produce(&stage, "t").await, OK);
}
