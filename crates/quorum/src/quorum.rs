//! The handle: start, propose, leadership, shut down.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use openraft::{Config, RaftState, SnapshotPolicy};
use ottla_wire::ids::BrokerId;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio::task::spawn_blocking;

use crate::disk::Disk;
use crate::folder::Contents;
use crate::journal::Lease;
use crate::machine::{Folder, Machine, Signals};
use crate::network::{self, Network, NoTransport, Transport};
use crate::observer::Observer;
use crate::proposer::{self, QUEUED_BYTES_MAX, QUEUED_UNIT_BYTES, Queued};
use crate::raft::{Proposal, Raft};
use crate::store::LogStore;
use crate::types::{
    Leadership, MetadataLog, PROPOSAL_BYTES_MAX, ProposeError, ReceiveError, Settings, StartError,
    StateMachine,
};

/// How long a shutdown waits for proposals in flight.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a follower may take for one piece of a snapshot, or to install the last one.
const SNAPSHOT_PIECE_TIMEOUT: Duration = Duration::from_secs(10);
const SNAPSHOT_PIECE_BYTES: u64 = 1 << 20;
const QUEUED_UNITS: u32 = (QUEUED_BYTES_MAX / QUEUED_UNIT_BYTES) as u32;

/// This node's part in the metadata log. Dropping it without [`shutdown`](MetadataLog::shutdown) is like a
/// crash: no acknowledged proposal is lost.
pub struct Quorum {
    raft: Raft,
    store: LogStore,
    queue: mpsc::Sender<Queued>,
    /// Room in the queue; closed by the shutdown.
    room: Arc<Semaphore>,
    leadership: watch::Receiver<Leadership>,
    applied: watch::Receiver<u64>,
    settings: Settings,
    /// Alive while anything may still write to the folder.
    lease: Weak<Lease>,
}

/// The folder of a metadata log that can be started.
pub struct CheckedFolder {
    disk: Disk,
    dir: PathBuf,
    node: BrokerId,
    voters: BTreeSet<BrokerId>,
    settings: Settings,
    contents: Contents,
}

impl CheckedFolder {
    pub(crate) async fn of(
        disk: Disk,
        dir: PathBuf,
        node: BrokerId,
        voters: BTreeSet<BrokerId>,
        settings: Settings,
        machine: Box<dyn StateMachine>,
    ) -> Result<CheckedFolder, StartError> {
        raft_config(&settings)?;
        let read = move || {
            let contents = Contents::read(disk.clone(), &dir, node, &voters, &settings, machine)?;
            Ok(CheckedFolder { disk, dir, node, voters, settings, contents })
        };
        spawn_blocking(read).await.map_err(stopped)?
    }

    /// The log holds no proposal: there is no folder, or the first start was interrupted.
    pub fn is_new(&self) -> bool {
        self.contents.is_new()
    }

    /// Starts the quorum of one. Resolves like [`Quorum::start`].
    pub async fn start(self) -> Result<Quorum, StartError> {
        let quorum = Quorum::open(self, Arc::new(NoTransport)).await?;
        quorum.wait_until_leading().await?;
        Ok(quorum)
    }
}

impl Quorum {
    /// Starts a quorum of one in the folder `dir`, which the first start creates. Resolves when this node
    /// leads and has applied everything committed to `state_machine`.
    pub async fn start(
        dir: impl Into<PathBuf>,
        node: BrokerId,
        settings: Settings,
        state_machine: impl StateMachine,
    ) -> Result<Quorum, StartError> {
        Self::check(dir, node, settings, state_machine).await?.start().await
    }

    /// Reads the folder of a quorum of one and changes nothing. Every reason not to start is an error here.
    pub async fn check(
        dir: impl Into<PathBuf>,
        node: BrokerId,
        settings: Settings,
        state_machine: impl StateMachine,
    ) -> Result<CheckedFolder, StartError> {
        let voters = BTreeSet::from([node]);
        CheckedFolder::of(Disk::default(), dir.into(), node, voters, settings, Box::new(state_machine)).await
    }

    /// Starts this node's part in a quorum of several. At the first start all `voters` MUST be given the same
    /// set; later only the set in the log counts. Resolves when the node takes part.
    /// [`leadership`](MetadataLog::leadership) then says who leads. Requests from other voters go to
    /// [`receive`](Self::receive).
    pub async fn start_voter(
        dir: impl Into<PathBuf>,
        node: BrokerId,
        voters: BTreeSet<BrokerId>,
        settings: Settings,
        state_machine: impl StateMachine,
        transport: Arc<dyn Transport>,
    ) -> Result<Quorum, StartError> {
        let machine = Box::new(state_machine);
        let checked = CheckedFolder::of(Disk::default(), dir.into(), node, voters, settings, machine).await?;
        Self::open(checked, transport).await
    }

    /// Answers a request that another voter sent through its transport.
    pub async fn receive(&self, request: Bytes) -> Result<Bytes, ReceiveError> {
        network::answer(&self.raft, request).await
    }

    async fn open(checked: CheckedFolder, transport: Arc<dyn Transport>) -> Result<Quorum, StartError> {
        let CheckedFolder { disk, dir, node, voters, settings, contents } = checked;
        let config = raft_config(&settings)?;
        let opened = spawn_blocking(move || contents.open()).await.map_err(stopped)??;
        let (applied, applied_receiver) = watch::channel(0);
        let snapshot_due = Arc::new(Notify::new());
        let signals = Signals { applied, snapshot_due: snapshot_due.clone() };
        let lease = opened.journal.lease();
        let folder = Folder { disk: disk.clone(), dir: dir.clone(), lease: lease.clone() };
        let store = LogStore::start(disk, dir.clone(), opened.journal, opened.replayed, opened.vote)
            .map_err(|source| StartError::Io { dir: dir.clone(), source })?;
        let machine = Machine::new(folder, opened.machine, opened.snapshot, settings.snapshot_bytes, signals);
        let raft = Raft::new(node, Arc::new(config), Network(transport), store.clone(), machine)
            .await
            .map_err(stopped)?;
        let (leadership, leadership_receiver) = watch::channel(Leadership::default());
        let (queue, queued) = mpsc::channel(QUEUED_UNITS as usize);
        tokio::spawn(proposer::run(raft.clone(), queued, settings.propose_timeout));
        let observer = Observer {
            raft: raft.clone(),
            store: store.clone(),
            leadership,
            snapshot_due,
            settings: settings.clone(),
        };
        tokio::spawn(observer.run());
        let quorum = Quorum {
            raft,
            store,
            queue,
            room: Arc::new(Semaphore::new(QUEUED_UNITS as usize)),
            leadership: leadership_receiver,
            applied: applied_receiver,
            settings,
            lease,
        };
        quorum.join(node, voters).await?;
        Ok(quorum)
    }

    /// Tells a new quorum who votes.
    async fn join(&self, node: BrokerId, voters: BTreeSet<BrokerId>) -> Result<(), StartError> {
        if self.raft.is_initialized().await.map_err(stopped)? {
            if self.voters().await? == [node] {
                // The first tick would do it, too, but one heartbeat later. Does nothing if this node still
                // leads.
                self.raft.trigger().elect().await.map_err(stopped)?;
            }
        } else {
            let voters: BTreeMap<BrokerId, ()> = voters.into_iter().map(|id| (id, ())).collect();
            // Another voter may have been faster and have filled this node's log. That serves as well.
            if let Err(error) = self.raft.initialize(voters).await
                && let Some(fatal) = error.fatal()
            {
                return Err(stopped(fatal));
            }
        }
        Ok(())
    }

    async fn voters(&self) -> Result<Vec<BrokerId>, StartError> {
        // Not from the metrics, which may lag behind the initialization.
        let voters = |state: &RaftState<_, _, _>| state.membership_state.effective().voter_ids().collect();
        self.raft.with_raft_state(voters).await.map_err(stopped)
    }

    async fn wait_until_leading(&self) -> Result<(), StartError> {
        let mut leadership = self.leadership.clone();
        // openraft drops the sender when it stops. Its metrics say why.
        if leadership.wait_for(|leadership| leadership.me).await.is_err() {
            let reason = match &self.raft.metrics().borrow().running_state {
                Ok(()) => "no reason is known".to_string(),
                Err(fatal) => fatal.to_string(),
            };
            return Err(StartError::Stopped(reason));
        }
        Ok(())
    }

    async fn enqueue(&self, epoch: u64, records: Vec<Bytes>) -> Result<u64, ProposeError> {
        let proposal = Proposal { epoch, records };
        let bytes = proposal.size();
        if bytes > PROPOSAL_BYTES_MAX {
            return Err(ProposeError::TooLarge { bytes });
        }
        let permit = self.room.clone().acquire_many_owned(proposer::units(bytes)).await;
        let permit = permit.map_err(|_| ProposeError::ShuttingDown)?;
        let (reply, answer) = oneshot::channel();
        // Never full: it has as many places as there are permits.
        self.queue.try_send(Queued { proposal, reply, permit }).map_err(|_| ProposeError::ShuttingDown)?;
        match tokio::time::timeout(self.settings.propose_timeout, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(ProposeError::ShuttingDown),
            Err(_) => Err(ProposeError::Unavailable),
        }
    }
}

impl MetadataLog for Quorum {
    async fn propose(&self, records: Vec<Bytes>) -> Result<u64, ProposeError> {
        self.enqueue(0, records).await
    }

    async fn propose_in(&self, epoch: u64, records: Vec<Bytes>) -> Result<u64, ProposeError> {
        self.enqueue(epoch, records).await
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    fn applied(&self) -> watch::Receiver<u64> {
        self.applied.clone()
    }

    async fn shutdown(&self) {
        // Takes all room in the queue. Later callers wait behind this and then find the queue closed.
        let drained = tokio::time::timeout(DRAIN_TIMEOUT, self.room.acquire_many(QUEUED_UNITS)).await;
        if !self.room.is_closed() {
            self.room.close();
            if drained.is_err() {
                tracing::warn!("metadata proposals were still under way at the shutdown");
            }
            // The consensus waits for what is being written.
            self.store.stop_waiting_for_room();
            if let Err(error) = self.raft.shutdown().await {
                tracing::warn!(%error, "the metadata log's task ended badly");
            }
            self.store.stop().await;
        }
        // A snapshot may still be being written.
        while self.lease.strong_count() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for Quorum {
    fn drop(&mut self) {
        if self.room.is_closed() {
            return; // already shut down
        }
        self.store.stop_soon();
        // openraft's task does not end by itself. Without a runtime its tasks have ended already.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let raft = self.raft.clone();
            runtime.spawn(async move { raft.shutdown().await });
        }
    }
}

fn stopped(fatal: impl std::fmt::Display) -> StartError {
    StartError::Stopped(fatal.to_string())
}

fn raft_config(settings: &Settings) -> Result<Config, StartError> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let config = Config {
        cluster_name: "metadata".into(),
        heartbeat_interval: millis(settings.heartbeat_interval),
        election_timeout_min: millis(settings.election_timeout),
        election_timeout_max: millis(settings.election_timeout).saturating_mul(2),
        install_snapshot_timeout: millis(SNAPSHOT_PIECE_TIMEOUT),
        snapshot_max_chunk_size: SNAPSHOT_PIECE_BYTES,
        // The observer does both, by bytes instead of entries.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        ..Config::default()
    };
    let config = config.validate().map_err(|error| StartError::Settings(error.to_string()))?;
    if config.heartbeat_interval == 0 {
        return Err(StartError::Settings("the heartbeat interval is 0 ms".into()));
    }
    Ok(config)
}
