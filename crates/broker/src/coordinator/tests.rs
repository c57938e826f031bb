//! A group coordinator in a shard with a real log, through leaderships that start, end and start again.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use arc_swap::ArcSwap;
use ottla_controller::Image;
use ottla_coordinator::{Producer, Refusal};
use ottla_group::request::FetchOfGroup;
use ottla_group::{Call, Caller, GroupCoordinator, Request, Response};
use ottla_log::{DataDir, Flusher, Identity, OpenError};
use ottla_partition::{Claim, MarkerRequest, Unserved, partition_state};
use ottla_replica::{AppendError, PartitionState};
use ottla_settings::BrokerSettings;
use ottla_tasks::Tasks;
use ottla_wire::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use ottla_wire::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_wire::messages::{
    MetadataRecord, OffsetCommitRequest, PartitionRecord, TopicRecord, TxnOffsetCommitRequest,
    offset_commit_request,
};
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{
    BrokerId, Instant, LeaderEpoch, PartitionIndex, ProducerEpoch, ProducerId, Sequence, TopicId, Uuid,
};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

use super::internal::OFFSETS_TOPIC;
use super::kind::{Letter, PendingRequest, Proof};
use super::kit::Kit;
use super::verify::begin;
use super::{Coordinators, World};
use crate::clock::Clock;
use crate::controllers::ControllerHandle;
use crate::metadata::{FoundPartitions, Opener, Progress, RecoveryProgress};
use crate::partition::PartitionHandle;
use crate::published::Published;
use crate::shard::{
    AppendGroup, Letters, Mail, PartitionDriver, ShardHandle, ShardMarkers, ShardSettings, Shards,
};

const NODE: BrokerId = BrokerId(1);
const TOPIC: TopicId = Uuid([1; 16]);

const PRODUCER: Producer = Producer { id: ProducerId(7), epoch: ProducerEpoch(1) };

/// One partition of the offsets topic in a shard.
struct Partition {
    handle: Arc<PartitionHandle>,
    kit: Arc<Kit>,
    image: Image,
    shards: Shards,
    path: PathBuf,
}

fn image() -> Image {
    let topic = |name: &str, topic_id| MetadataRecord::Topic(TopicRecord { name: name.into(), topic_id });
    let partition = |topic_id| {
        MetadataRecord::Partition(PartitionRecord {
            partition_id: 0,
            topic_id,
            replicas: vec![NODE.0],
            isr: vec![NODE.0],
            leader: NODE.0,
            leader_epoch: 0,
            partition_epoch: 0,
            ..Default::default()
        })
    };
    let data = Uuid([2; 16]);
    let records = [topic(OFFSETS_TOPIC, TOPIC), partition(TOPIC), topic("t", data), partition(data)];
    Image::default().apply_all(&records).unwrap().0
}

/// Opens the partition as the broker does at its start.
async fn open_driver(
    dir: DataDir,
    settings: Arc<BrokerSettings>,
    image: &Image,
    shards: &Shards,
) -> Box<PartitionDriver> {
    let found = FoundPartitions::new(dir.partitions().unwrap());
    let opener = Opener {
        node: NODE,
        settings,
        found: Arc::new(found),
        dir,
        shards: shards.clone(),
        next_key: Arc::new(AtomicU64::new(0)),
        progress: Arc::new(RecoveryProgress::default()),
    };
    let (progress, mut opened) = mpsc::channel(1);
    let wanted = vec![((TOPIC, PartitionIndex(0)), OFFSETS_TOPIC.into())];
    opener.open_all(image, wanted, &progress).await.unwrap();
    match opened.recv().await {
        Some(Progress::Opened(partition)) => partition.driver.unwrap(),
        _ => panic!("it is opened"),
    }
}

impl Partition {
    /// Opens the partition in the folder. This broker does not lead it yet.
    async fn open(path: &std::path::Path) -> Partition {
        let settings = Arc::new(BrokerSettings::from_pairs([("node.id", "1")]).unwrap());
        let identity = Identity { node_id: Some(NODE.0), cluster_id: Some("p0XxMz0jTbuHn3nqvRuB6w".into()) };
        // The previous shard may still hold it.
        let dir = loop {
            match DataDir::open(path, &identity) {
                Err(OpenError::InUse { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
                opened => break opened.unwrap(),
            }
        };
        let (clock, image) = (Clock::start(), image());
        let published = Arc::new(ArcSwap::from_pointee(Published::default()));
        let controller = ControllerHandle::new().0;
        let desk =
            Coordinators::new(NODE, settings.clone(), clock.clone(), published, controller, Tasks::default());
        desk.set_world(World::new(&settings, &image));
        let desk = Arc::new(desk);
        let kit = desk.kit().clone();
        let shard = ShardSettings {
            clock,
            flusher: Arc::new(Flusher::start(1).unwrap()),
            retention_interval: Duration::from_secs(600),
            coordinators: desk,
        };
        let shards = Shards::new(vec![ShardHandle::spawn(0, shard, &Tasks::default())]);
        let driver = open_driver(dir, settings, &image, &shards).await;
        let handle = driver.handle().clone();
        handle.shard.send(Mail::Adopt(driver)).await.unwrap();
        Partition { handle, kit, image, shards, path: path.to_owned() }
    }

    async fn lead(&self, epoch: i32) {
        self.assign(|state| state.leader_epoch = LeaderEpoch(epoch)).await;
    }

    async fn assign(&self, change: impl FnOnce(&mut PartitionState)) {
        let known = self.image.partition(TOPIC, PartitionIndex(0)).unwrap();
        let mut state = partition_state(&self.image, known);
        change(&mut state);
        state.partition_epoch.0 = state.leader_epoch.0;
        self.handle.shard.send(Mail::Assign(vec![(self.handle.key, state)])).await.unwrap();
        // The publisher does the same: what is sent after it comes in a later turn.
        let (passed, barrier) = oneshot::channel();
        self.handle.shard.send(Mail::Barrier(passed)).await.unwrap();
        barrier.await.unwrap();
    }

    /// The answer to a request, or `None` if it is dropped.
    async fn ask(&self, request: Request) -> Option<Result<Response, Unserved>> {
        self.ask_with(request, None).await
    }

    async fn ask_with(&self, request: Request, proof: Option<Proof>) -> Option<Result<Response, Unserved>> {
        let (answer, answered) = oneshot::channel();
        let call = Call { caller: Caller { version: 5, ..Caller::default() }, request };
        let mut letters = Letters::default();
        let letter =
            Letter::<GroupCoordinator>::Ask(Box::new(PendingRequest { request: call, proof, answer }));
        letters.add(&self.handle, letter);
        letters.send().await;
        answered.await.ok()
    }

    /// The answer to a request once the coordinator is loaded.
    async fn answer(&self, request: Request) -> Response {
        loop {
            match self.ask(request.clone()).await.unwrap() {
                Ok(response) => return response,
                Err(Unserved::Refused(Refusal::Loading)) => {
                    tokio::time::sleep(Duration::from_millis(5)).await
                }
                Err(refusal) => panic!("{refusal}"),
            }
        }
    }

    /// The committed offset, or the error.
    async fn fetch(&self, require_stable: bool) -> Result<i64, ErrorCode> {
        let topic =
            OffsetFetchRequestTopics { name: "t".into(), partition_indexes: vec![0], ..Default::default() };
        let group =
            OffsetFetchRequestGroup { group_id: "g".into(), topics: Some(vec![topic]), ..Default::default() };
        let Response::OffsetFetch(group) =
            self.answer(Request::OffsetFetch(FetchOfGroup { group, require_stable })).await
        else {
            panic!("another answer")
        };
        let partition = &group.topics[0].partitions[0];
        match ErrorCode::from_code(partition.error_code).unwrap() {
            ErrorCode::None => Ok(partition.committed_offset),
            code => Err(code),
        }
    }

    /// A proof as if the coordinator of the transaction had agreed.
    async fn verified(&self) -> Proof {
        let claim = Claim { producer: PRODUCER, sequence: Sequence::NONE, bumps_epochs: false };
        let guards = begin([(&*self.handle, claim)].into_iter()).await;
        Proof { claim, verify: true, guard: guards[0] }
    }

    async fn end_transaction(&self, commit: bool) {
        let (group, mut markers) = (AppendGroup::new(1), ShardMarkers::default());
        let marker = MarkerRequest {
            producer: PRODUCER,
            commit,
            coordinator_epoch: 0,
            transaction_version: 0,
            deadline: Instant(u64::MAX),
        };
        markers.add(&self.handle, marker, &group, 0);
        markers.send().await;
        group.done().await;
        assert!(matches!(group.outcome(0), Some(Ok(_))));
    }

    /// Ends the shard and reopens its folder.
    async fn restart(self) -> Partition {
        let (stopped, stopping) = oneshot::channel();
        self.handle.shard.send(Mail::Stop(stopped)).await.unwrap();
        stopping.await.unwrap();
        let path = self.path.clone();
        drop(self);
        Partition::open(&path).await
    }
}

fn commit(offset: i64) -> Request {
    let partition = offset_commit_request::OffsetCommitRequestPartition {
        committed_offset: offset,
        ..Default::default()
    };
    let topic = offset_commit_request::OffsetCommitRequestTopic {
        name: "t".into(),
        partitions: vec![partition],
        ..Default::default()
    };
    Request::OffsetCommit(OffsetCommitRequest {
        group_id: "g".into(),
        topics: vec![topic],
        ..Default::default()
    })
}

fn commit_in_transaction(offset: i64) -> Request {
    let partition = TxnOffsetCommitRequestPartition { committed_offset: offset, ..Default::default() };
    let topic = TxnOffsetCommitRequestTopic { name: "t".into(), partitions: vec![partition] };
    Request::TxnOffsetCommit(TxnOffsetCommitRequest {
        group_id: "g".into(),
        transactional_id: "x".into(),
        producer_id: 7,
        producer_epoch: 1,
        topics: vec![topic],
        ..Default::default()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_comes_and_goes_with_the_leadership() {
    let dir = TempDir::new().unwrap();
    let partition = Partition::open(dir.path()).await;
    assert!(partition.ask(commit(1)).await.is_none(), "nobody leads");
    partition.lead(1).await;
    // An empty log need not be loaded.
    assert!(matches!(partition.ask(commit(1)).await, Some(Ok(Response::OffsetCommit(_)))));
    assert_eq!(partition.fetch(true).await, Ok(1));
    let taken = || partition.kit.counts.group_bytes.load(std::sync::atomic::Ordering::Relaxed);
    let taken_before = taken();
    assert!(taken_before > 0);
    partition.assign(|state| (state.leader, state.leader_epoch) = (None, LeaderEpoch(2))).await;
    assert!(partition.ask(commit(2)).await.is_none(), "nobody leads any more");
    assert_eq!(taken(), 0);
    partition.lead(3).await;
    assert_eq!(partition.fetch(true).await, Ok(1), "the new life knows what the old one has written");
    assert_eq!(taken(), taken_before);
    let counts = &partition.kit.counts;
    assert_eq!(counts.active.load(std::sync::atomic::Ordering::Relaxed), 1);
    assert_eq!(counts.loads.load(std::sync::atomic::Ordering::Relaxed), 2);
}

/// The batch of a transaction's offsets carries its producer. So the next leader knows which offsets are
/// undecided.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_of_a_transaction_wait_for_its_end_through_a_restart() {
    let dir = TempDir::new().unwrap();
    let mut partition = Partition::open(dir.path()).await;
    partition.lead(1).await;
    partition.answer(commit(1)).await;
    let Response::TxnOffsetCommit(answer) = partition.answer(commit_in_transaction(2)).await else {
        panic!("another answer")
    };
    assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    for restarts in 0..2 {
        assert_eq!(partition.fetch(true).await, Err(ErrorCode::UnstableOffsetCommit), "{restarts}");
        assert_eq!(partition.fetch(false).await, Ok(1), "{restarts}");
        partition = partition.restart().await;
        partition.lead(2 + restarts).await;
    }
}

/// A producer's offsets are verified, then written. A marker in between ends the transaction. Offsets written
/// after it would stay undecided forever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_of_a_transaction_that_has_ended_are_not_written() {
    let dir = TempDir::new().unwrap();
    let partition = Partition::open(dir.path()).await;
    partition.lead(1).await;
    partition.answer(commit(1)).await;
    let proof = partition.verified().await;
    partition.end_transaction(false).await;
    let late = partition.ask_with(commit_in_transaction(2), Some(proof)).await;
    assert!(matches!(late, Some(Err(Unserved::Producer(AppendError::NotVerified { .. })))));
    // Nor are those of an old epoch, verified or not. The coordinator continues as if nothing had happened.
    let epoch = ProducerEpoch(PRODUCER.epoch.0 - 1);
    let claim = Claim { producer: Producer { epoch, ..PRODUCER }, ..proof.claim };
    let fenced = Some(Proof { claim, verify: false, guard: None });
    let late = partition.ask_with(commit_in_transaction(2), fenced).await;
    assert!(matches!(late, Some(Err(Unserved::Producer(AppendError::InvalidProducerEpoch { .. })))));
    assert_eq!(partition.kit.counts.loads.load(std::sync::atomic::Ordering::Relaxed), 1);
    // Verified again, they are written. Once the transaction is open, the old proof suffices, too.
    let proof = partition.verified().await;
    for offset in [3, 4] {
        let taken = partition.ask_with(commit_in_transaction(offset), Some(proof)).await;
        assert!(matches!(taken, Some(Ok(Response::TxnOffsetCommit(_)))));
    }
    assert!(partition.verified().await.guard.is_none());
    assert_eq!(partition.fetch(true).await, Err(ErrorCode::UnstableOffsetCommit));
    partition.end_transaction(true).await;
    assert_eq!(partition.fetch(true).await, Ok(4));
}

/// Offsets and a later marker come in one turn. They are written in this order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_marker_comes_after_what_was_asked_before_it() {
    let dir = TempDir::new().unwrap();
    let partition = Partition::open(dir.path()).await;
    partition.lead(1).await;
    for offset in 0..20 {
        let proof = partition.verified().await;
        let asked = partition.ask_with(commit_in_transaction(offset), Some(proof));
        let (taken, ()) = tokio::join!(biased; asked, partition.end_transaction(true));
        assert!(matches!(taken, Some(Ok(Response::TxnOffsetCommit(_)))));
        assert_eq!(partition.fetch(true).await, Ok(offset));
    }
}

/// A stop does not wait for members that wait for each other. Nothing is served after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_resigns_lets_everybody_go() {
    let dir = TempDir::new().unwrap();
    let partition = Partition::open(dir.path()).await;
    partition.lead(1).await;
    partition.answer(commit(1)).await;
    for shard in partition.shards.iter() {
        shard.send(Mail::Resign).await.unwrap();
    }
    assert!(partition.ask(commit(2)).await.is_none());
    partition.lead(2).await;
    assert!(partition.ask(commit(2)).await.is_none());
}
