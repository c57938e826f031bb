//! The types of the public interface.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use ottla_wire::ids::BrokerId;
use tokio::sync::watch;

/// The most bytes of one proposal, counting four more for each record. It bounds a log entry, and so the
/// memory needed to read one. Kafka's bound is 10,000 records of metadata; this is room for 60,000.
pub const PROPOSAL_BYTES_MAX: usize = 8 << 20;

/// The state that the log drives. Calls come in order, one at a time.
pub trait StateMachine: Send + 'static {
    /// Applies one proposal as a whole. Indexes count applied proposals from 1 without a gap. So the state
    /// after `index` is the same on every node and after every restart.
    ///
    /// MUST NOT block: it runs on the shared runtime.
    fn apply(&mut self, index: u64, records: Vec<Bytes>);

    /// The whole state as records. `restore` turns them into an equal state. Runs on a thread that may block;
    /// `apply` waits meanwhile.
    fn snapshot(&self) -> Vec<Bytes>;

    /// Checks that these proposals can be applied one after the other; an error says why not. Applies
    /// nothing.
    fn check(&self, proposals: &mut dyn Iterator<Item = Vec<Bytes>>) -> Result<(), String> {
        let _all_can_be = proposals;
        Ok(())
    }

    /// Replaces the state by the one that `snapshot` returned after `index`.
    fn restore(&mut self, index: u64, records: Vec<Bytes>);
}

/// Who leads the metadata log, as this node knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Leadership {
    /// The leader, if known.
    pub leader: Option<BrokerId>,
    /// Grows with every election. An epoch has at most one leader.
    pub epoch: u64,
    /// This node leads in `epoch`, has applied everything that earlier leaders committed, and (among several
    /// voters) was recently acknowledged by a majority. May change back and forth within an epoch.
    pub me: bool,
}

/// The broker's interface to the metadata log.
pub trait MetadataLog: Send + Sync + 'static {
    /// Appends `records` as one proposal, which is applied as a whole or not at all. Resolves to its index
    /// once it is flushed on a majority and applied here. Proposals of one caller are applied in the order in
    /// which their futures were first polled. Waits while the queue is full. If the future is dropped, the
    /// proposal may or may not be applied.
    fn propose(&self, records: Vec<Bytes>) -> impl Future<Output = Result<u64, ProposeError>> + Send;

    /// Like [`propose`](Self::propose), but applied only if `epoch` ([`Leadership::epoch`]) is still current
    /// when it is appended. For decisions that are based on the state as the leader of that epoch knew it.
    fn propose_in(
        &self,
        epoch: u64,
        records: Vec<Bytes>,
    ) -> impl Future<Output = Result<u64, ProposeError>> + Send;

    /// Who leads; changes with every election.
    fn leadership(&self) -> watch::Receiver<Leadership>;

    /// The index of the last proposal applied here.
    fn applied(&self) -> watch::Receiver<u64>;

    /// Finishes queued proposals (for a few seconds at most), refuses later ones, and closes the files.
    fn shutdown(&self) -> impl Future<Output = ()> + Send;
}

/// Why a proposal was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Not applied. Propose it to the leader.
    #[error("this node does not lead the metadata log{}", leader.map(|id| format!(": node {id} does")).unwrap_or_default())]
    NotLeader { leader: Option<BrokerId> },
    /// Not applied, and never will be: split it.
    #[error("a metadata proposal of {bytes} bytes is over the limit of {PROPOSAL_BYTES_MAX}")]
    TooLarge { bytes: usize },
    /// No majority answered in time. The proposal may or may not be applied.
    #[error("the metadata log has no majority that answers: it is unknown whether the change will be made")]
    Unavailable,
    /// The log's files failed. This node takes no part until it is restarted. The proposal may or may not be
    /// applied.
    #[error("the metadata log's storage failed: {0}")]
    Storage(String),
    /// The quorum was shut down. A proposal that was queued by then may or may not be applied.
    #[error("the metadata log is shutting down")]
    ShuttingDown,
}

/// Why the quorum did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file is damaged. Nothing was changed.
    #[error(
        "metadata file {file} is damaged at byte {position}: {reason}; restore the folder from a backup or from another node, since starting without it would lose acknowledged changes"
    )]
    Damaged { file: PathBuf, position: u64, reason: String },
    /// Another process (or another quorum in this one) uses the folder.
    #[error("metadata folder {dir} is in use by another process")]
    InUse { dir: PathBuf },
    /// The folder belongs to other nodes.
    #[error(
        "metadata folder {dir} has the voters {voters:?}, and node {node} is not one of them: start with the node id it was made with"
    )]
    NotVoter { dir: PathBuf, node: BrokerId, voters: Vec<BrokerId> },
    /// The folder belongs to a cluster of several nodes, but this start is for a single node.
    #[error(
        "metadata folder {dir} has the voters {voters:?}: node {node} cannot lead it alone, start it with its peers"
    )]
    NotAlone { dir: PathBuf, node: BrokerId, voters: Vec<BrokerId> },
    /// The folder belongs to another cluster.
    #[error(
        "metadata folder {dir} belongs to cluster {found}, and the data directory to cluster {expected}: restore both from the same backup"
    )]
    OtherCluster { dir: PathBuf, found: String, expected: String },
    /// The log holds records that this program cannot apply.
    #[error(
        "metadata folder {dir} holds what this release does not understand: {reason}; start the release that wrote it, or a later one"
    )]
    NotUnderstood { dir: PathBuf, reason: String },
    /// This process may not write to the file or folder.
    #[error("metadata: {path} cannot be written to: {source}; give this user the right to")]
    NotWritable { path: PathBuf, source: io::Error },
    /// A setting is out of its range.
    #[error("{0}")]
    Settings(String),
    /// Reading or writing failed while starting.
    #[error("metadata folder {dir}: {source}")]
    Io { dir: PathBuf, source: io::Error },
    /// The log stopped while starting.
    #[error("the metadata log stopped while starting: {0}")]
    Stopped(String),
}

/// Why a peer's request got no answer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// The peer sent something this version does not understand.
    #[error("malformed request from a peer: {0}")]
    Malformed(&'static str),
}

/// The settings of the quorum. Defaults are Kafka's where Kafka has the setting.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cluster that must own the folder. A folder without an owner is claimed for it. `None` skips the
    /// check.
    pub cluster_id: Option<String>,
    /// The next snapshot is due after this many applied bytes
    /// (`metadata.log.max.record.bytes.between.snapshots`).
    pub snapshot_bytes: u64,
    /// Bytes of log kept behind a snapshot, so that a voter that lags a little needs no snapshot.
    pub keep_bytes: u64,
    /// The size at which the log begins a new file. Only whole files are deleted.
    pub segment_bytes: u64,
    /// How often a leader sends heartbeats. An election begins after `election_timeout` without one.
    pub heartbeat_interval: Duration,
    /// The shortest time without a leader before this node stands for election; the longest is twice that
    /// (`controller.quorum.election.timeout.ms`).
    pub election_timeout: Duration,
    /// How long a proposal waits for a majority.
    pub propose_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            cluster_id: None,
            snapshot_bytes: 20 << 20,
            keep_bytes: 4 << 20,
            segment_bytes: 4 << 20,
            heartbeat_interval: Duration::from_millis(200),
            election_timeout: Duration::from_millis(1000),
            propose_timeout: Duration::from_secs(30),
        }
    }
}
