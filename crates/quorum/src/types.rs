//! What the room's public interface is made of.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use ottla_wire::ids::BrokerId;
use tokio::sync::watch;

/// The most bytes one proposal may hold, each record counted with four bytes more. It bounds one log entry,
/// and so what a node must hold to read it. Kafka's own bound is 10,000 records of metadata; this is room for
/// 60,000.
pub const PROPOSAL_BYTES_MAX: usize = 8 << 20;

/// What the log drives. All calls come in order from one place at a time.
pub trait StateMachine: Send + 'static {
    /// Applies one proposal, whole. Indexes count applied proposals: the first is 1 and none is left out, so
    /// the state after `index` is the same on every node and after every restart.
    ///
    /// MUST NOT block: it runs on the shared runtime.
    fn apply(&mut self, index: u64, records: Vec<Bytes>);

    /// The whole state as records, so that `restore` of them on an empty state machine gives an equal one.
    /// Runs on a thread that may block; `apply` waits meanwhile.
    fn snapshot(&self) -> Vec<Bytes>;

    /// Forgets everything and takes on the state that `snapshot` gave after `index`.
    fn restore(&mut self, index: u64, records: Vec<Bytes>);
}

/// Who leads the metadata log, as this node knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Leadership {
    /// The leader, if one is known.
    pub leader: Option<BrokerId>,
    /// Grows with every election; one epoch has one leader at most.
    pub epoch: u64,
    /// This node leads in `epoch`, has applied everything that earlier leaders committed, and (of several
    /// voters) was acknowledged by a majority lately. May turn false and true again within an epoch.
    pub me: bool,
}

/// What the broker asks of the metadata log.
pub trait MetadataLog: Send + Sync + 'static {
    /// Appends `records` as one proposal, which is applied whole or not at all, and answers its index once it
    /// is flushed on a majority and applied here. Proposals of one caller are applied in the order in which
    /// their futures were first polled. Waits while too much is queued. If the future is dropped, it is
    /// unknown whether the proposal will be applied.
    fn propose(&self, records: Vec<Bytes>) -> impl Future<Output = Result<u64, ProposeError>> + Send;

    /// As [`propose`](Self::propose), but applied only if `epoch` ([`Leadership::epoch`]) is still the
    /// leader's when it is appended: for what was decided from the state as that leader knew it.
    fn propose_in(
        &self,
        epoch: u64,
        records: Vec<Bytes>,
    ) -> impl Future<Output = Result<u64, ProposeError>> + Send;

    /// Who leads, now and on every change.
    fn leadership(&self) -> watch::Receiver<Leadership>;

    /// The index of the last proposal applied here.
    fn applied(&self) -> watch::Receiver<u64>;

    /// Finishes what is queued (for a few seconds at most), refuses what comes later, and lets go of the
    /// files.
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
    /// No majority answered in time. It is unknown whether the proposal will be applied.
    #[error("the metadata log has no majority that answers: it is unknown whether the change will be made")]
    Unavailable,
    /// The log's files failed; this node takes no further part until it is restarted. It is unknown whether
    /// the proposal will be applied.
    #[error("the metadata log's storage failed: {0}")]
    Storage(String),
    /// The quorum was shut down. It is unknown whether the proposal will be applied if it was already queued.
    #[error("the metadata log is shutting down")]
    ShuttingDown,
}

/// Why the quorum did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The bytes of a file are not what was written. Nothing was changed, but that a write which a crash has
    /// interrupted may be cut off the log: it was never acknowledged.
    #[error(
        "metadata file {file} is damaged at byte {position}: {reason}; restore the folder from a backup or from another node, since starting without it would lose acknowledged changes"
    )]
    Damaged { file: PathBuf, position: u64, reason: String },
    /// Another process (or another quorum of this one) has the folder.
    #[error("metadata folder {dir} is in use by another process")]
    InUse { dir: PathBuf },
    /// The folder belongs to other nodes.
    #[error(
        "metadata folder {dir} has the voters {voters:?}, and node {node} is not one of them: start with the node id it was made with"
    )]
    NotVoter { dir: PathBuf, node: BrokerId, voters: Vec<BrokerId> },
    /// The folder belongs to a cluster of several nodes, and this start was for a single one.
    #[error(
        "metadata folder {dir} has the voters {voters:?}: node {node} cannot lead it alone, start it with its peers"
    )]
    NotAlone { dir: PathBuf, node: BrokerId, voters: Vec<BrokerId> },
    /// The folder is another cluster's.
    #[error(
        "metadata folder {dir} belongs to cluster {found}, and the data directory to cluster {expected}: restore both from the same backup"
    )]
    OtherCluster { dir: PathBuf, found: String, expected: String },
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

/// What can be set. The defaults are Kafka's where Kafka has the setting.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cluster whose log the folder must hold. A folder that does not say takes it on; `None` does not
    /// ask.
    pub cluster_id: Option<String>,
    /// Bytes applied since the last snapshot that make the next one due
    /// (`metadata.log.max.record.bytes.between.snapshots`).
    pub snapshot_bytes: u64,
    /// Bytes of log kept behind a snapshot, so that a voter that is a little behind needs no snapshot.
    pub keep_bytes: u64,
    /// Bytes after which the log begins a new file. Only whole files are deleted.
    pub segment_bytes: u64,
    /// How often a leader shows that it is alive. Elections begin after `election_timeout` without.
    pub heartbeat_interval: Duration,
    /// The least time without a leader before this node stands for election; the most is twice that
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
