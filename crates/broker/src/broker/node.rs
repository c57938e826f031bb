//! The inner parts of a broker, up to the point where it can join its cluster: metadata log, shards,
//! controller, publisher.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;
use ottla_controller::controller::{IdSource, bootstrap_records};
use ottla_log::{DataDir, Flusher, FoundPartition};
use ottla_quorum::{MetadataLog, Quorum};
use ottla_settings::{BrokerSettings, key};
use ottla_tasks::Tasks;
use ottla_wire::messages::MetadataRecord;
use ottla_wire::{BrokerId, Uuid};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::checked::Metadata;
use super::{FatalError, StartError};
use crate::api;
use crate::clock::Clock;
use crate::cold_reads::ColdReads;
use crate::context::{Context, Limits};
use crate::controllers::{ControllerHandle, ControllerTask, Random, Reached};
use crate::coordinator::Coordinators;
use crate::descriptors::Shares;
use crate::door::Door;
use crate::fetch::Sessions;
use crate::metadata::{Applied, FoundPartitions, Opener, Publisher, RecoveryProgress};
use crate::metrics::Metrics;
use crate::published::Published;
use crate::shard::{ShardHandle, ShardSettings, Shards};

/// Threads that flush. Disks serve many flushes at once far better than one after the other.
const FLUSH_THREADS: usize = 16;

/// The parts of a broker that its cluster does not know yet.
pub struct Node {
    pub ctx: Arc<Context>,
    pub dir: DataDir,
    pub quorum: Arc<Quorum>,
    pub shards: Shards,
    pub tasks: Tasks,
    /// How far the metadata log is published.
    pub published: watch::Receiver<u64>,
    /// How far its partitions are open, too.
    open: watch::Receiver<u64>,
    /// Ends when the metadata log holds something that cannot be applied.
    pub publisher: Option<JoinHandle<FatalError>>,
}

impl Node {
    /// Opens everything. Returns when the metadata log is applied and its partitions are open.
    pub async fn open(
        settings: &BrokerSettings,
        dir: DataDir,
        metadata: Metadata,
        clock: Clock,
        progress: Arc<RecoveryProgress>,
        door: Door,
        tasks: Tasks,
    ) -> Result<Node, StartError> {
        let id = dir.meta().node_id;
        let settings =
            settings.with("node.id", &id.to_string()).map_err(|e| StartError::Settings(e.to_string()))?;
        let settings = Arc::new(settings);
        let node = BrokerId(id);
        let Metadata { folder, applied, inbox } = metadata;
        let quorum = Arc::new(folder.start().await?);
        let found = found_partitions(&dir)?;
        let published = Arc::new(ArcSwap::from_pointee(Published::default()));
        let (controller, asked) = ControllerHandle::new();
        let coordinators = Arc::new(Coordinators::new(
            node,
            settings.clone(),
            clock.clone(),
            published.clone(),
            controller.clone(),
            tasks.clone(),
        ));
        let shards = start_shards(&settings, &clock, &coordinators, &tasks)?;
        let opener = Opener {
            node,
            settings: settings.clone(),
            dir: dir.clone(),
            found: Arc::new(FoundPartitions::new(found)),
            shards: shards.clone(),
            next_key: Arc::new(AtomicU64::new(0)),
            progress,
        };
        let (index, published_index) = watch::channel(0);
        let (ready, ready_index) = watch::channel(0);
        let incarnation = Random.uuid();
        let publisher = Publisher {
            node,
            incarnation,
            inbox,
            published: published.clone(),
            index,
            ready,
            shards: shards.clone(),
            opener,
            coordinators: coordinators.clone(),
        };
        let publisher = tasks.part("the publisher", publisher.run());
        bootstrap(&quorum, &applied, &settings).await?;
        wait_for(ready_index.clone(), applied.load().index).await?;

        let task = ControllerTask {
            log: quorum.clone(),
            settings: settings.clone(),
            cluster_id: dir.meta().cluster_id.clone(),
            open_max: Shares::now().partitions,
            clock: clock.clone(),
            applied,
            reached: Reached { published: published_index.clone(), open: ready_index.clone() },
            tasks: tasks.clone(),
        };
        tasks.part("the controller", task.run(asked));
        let desks = (published, controller, coordinators);
        let ctx = Arc::new(context((node, incarnation), settings, clock, desks, &dir, door));
        Ok(Node {
            ctx,
            dir,
            quorum,
            shards,
            tasks,
            published: published_index,
            open: ready_index,
            publisher: Some(publisher),
        })
    }
}

impl Node {
    /// Waits until every partition of the image that is published now is open.
    pub async fn opened(&self) -> Result<(), StartError> {
        wait_for(self.open.clone(), self.ctx.published.load().index).await
    }
}

/// The partitions that have folders.
fn found_partitions(dir: &DataDir) -> Result<Vec<FoundPartition>, StartError> {
    let doing = || format!("list the partitions in {}", dir.path().display());
    dir.partitions().map_err(|error| StartError::Io { doing: doing(), error })
}

fn start_shards(
    settings: &BrokerSettings,
    clock: &Clock,
    coordinators: &Arc<Coordinators>,
    tasks: &Tasks,
) -> Result<Shards, StartError> {
    let flusher = Flusher::start(FLUSH_THREADS);
    let flusher =
        flusher.map_err(|error| StartError::Io { doing: "start the threads that flush".into(), error })?;
    let flusher = Arc::new(flusher);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let retention_interval = settings.read(key::LOG_RETENTION_CHECK_INTERVAL_MS);
    let shard = |number| {
        let settings = ShardSettings {
            clock: clock.clone(),
            flusher: flusher.clone(),
            retention_interval,
            coordinators: coordinators.clone(),
        };
        ShardHandle::spawn(number, settings, tasks)
    };
    Ok(Shards::new((0..cores).map(shard).collect()))
}

/// Gives a new cluster its first records.
async fn bootstrap(
    quorum: &Quorum,
    applied: &ArcSwap<Applied>,
    settings: &BrokerSettings,
) -> Result<(), StartError> {
    if applied.load().index > 0 {
        return Ok(());
    }
    let join = |error: String| StartError::Join(error);
    let records = bootstrap_records(settings);
    let frames: Result<Vec<_>, _> = records.iter().map(MetadataRecord::to_frame).collect();
    let frames = frames.map_err(|error| join(error.to_string()))?;
    quorum.propose(frames).await.map_err(|error| join(error.to_string()))?;
    Ok(())
}

async fn wait_for(mut published: watch::Receiver<u64>, index: u64) -> Result<(), StartError> {
    let reached = published.wait_for(|at| *at >= index).await;
    reached.map(drop).map_err(|_| StartError::Join("the metadata log cannot be applied; see the log".into()))
}

fn context(
    (node, incarnation): (BrokerId, Uuid),
    settings: Arc<BrokerSettings>,
    clock: Clock,
    (published, controller, coordinators): (Arc<ArcSwap<Published>>, ControllerHandle, Arc<Coordinators>),
    dir: &DataDir,
    door: Door,
) -> Context {
    let slots = settings.read(key::MAX_INCREMENTAL_FETCH_SESSION_CACHE_SLOTS);
    Context {
        node,
        incarnation,
        cluster_id: dir.meta().cluster_id.as_str().into(),
        served: api::SERVED,
        door,
        limits: Limits::default(),
        fetch_bytes_max: settings.read(key::FETCH_MAX_BYTES),
        started_with: settings,
        clock,
        published,
        controller,
        fetch_sessions: Sessions::new(slots),
        cold_reads: ColdReads::of_fetches(),
        searches: ColdReads::of_searches(),
        coordinators,
        data_dirs: Arc::new([dir.clone()]),
        metrics: Arc::new(Metrics::new(api::SERVED)),
    }
}
