//! What a start looks at before it touches anything: who is refused finds everything as it was.
//!
//! First everything is checked, then the data directory is taken, and only then something is written.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use ottla_controller::controller::IdSource;
use ottla_log::{CheckedDir, DataDir, DirOptions, Identity, OpenError};
use ottla_quorum::{CheckedFolder, Quorum};
use ottla_settings::{BrokerSettings, key};
use ottla_wire::BrokerId;

use super::StartError;
use crate::controllers::Random;
use crate::metadata::{Applied, Inbox, Machine};

/// The folder of the metadata log in the data directory. No partition's folder is called so: those end in a
/// number.
const METADATA_DIR: &str = "__cluster_metadata";

/// What Kafka keeps its own metadata in: the log, and what its `kafka-storage format` leaves for the first
/// start.
const KAFKAS_METADATA: [&str; 2] = ["__cluster_metadata-0", "bootstrap.checkpoint"];

/// Node id of a new data directory when none is set.
const FIRST_NODE_ID: i32 = 1;

/// A data directory with its metadata log, in which nothing stands against a start.
pub struct Checked {
    dir: CheckedDir,
    metadata: Metadata,
}

/// A metadata log that can be started, and what it will be applied to.
pub struct Metadata {
    pub folder: CheckedFolder,
    pub applied: Arc<ArcSwap<Applied>>,
    pub inbox: Arc<Inbox>,
}

impl Checked {
    /// Looks at the data directory of these settings. A new one gets a cluster id and, if none is set, a node
    /// id.
    pub async fn of(settings: &BrokerSettings) -> Result<Checked, StartError> {
        let (path, node_id) = (data_dir(settings)?, settings.node_id().map(|id| id.0));
        let identity = Identity { node_id, cluster_id: None };
        let reserve_bytes = settings.read(key::LOG_DIR_RESERVE_BYTES) as u64;
        let options = DirOptions { reserve_bytes, ..DirOptions::default() };
        let check = move || DataDir::check(&path, &identity, options);
        let mut dir = blocking("look at the data directory", check).await?;
        let (node_id, cluster_id) = match dir.meta() {
            Some(meta) => (meta.node_id, meta.cluster_id.clone()),
            None => (node_id.unwrap_or(FIRST_NODE_ID), Random.uuid().to_string()),
        };
        dir.set_identity(Identity { node_id: Some(node_id), cluster_id: Some(cluster_id.clone()) });
        let metadata = Metadata::check(settings, dir.path(), BrokerId(node_id), cluster_id).await?;
        if metadata.folder.is_new() {
            refuse_foreign(&dir)?;
        }
        Ok(Checked { dir, metadata })
    }

    /// Takes the data directory for this process. From here on it is written to.
    pub async fn take(self) -> Result<(DataDir, Metadata), StartError> {
        let dir = blocking("open the data directory", || self.dir.open()).await?;
        Ok((dir, self.metadata))
    }
}

impl Metadata {
    /// Looks at the metadata log in the data directory `dir`.
    pub async fn check(
        settings: &BrokerSettings,
        dir: &Path,
        node: BrokerId,
        cluster_id: String,
    ) -> Result<Metadata, StartError> {
        let snapshot_bytes = settings.read(key::METADATA_LOG_MAX_RECORD_BYTES_BETWEEN_SNAPSHOTS);
        let defaults = ottla_quorum::Settings::default();
        let quorum = ottla_quorum::Settings {
            cluster_id: Some(cluster_id),
            snapshot_bytes: u64::try_from(snapshot_bytes).unwrap_or(defaults.snapshot_bytes),
            ..defaults
        };
        let applied = Arc::new(ArcSwap::from_pointee(Applied::default()));
        let inbox = Arc::new(Inbox::default());
        let machine = Machine::new(applied.clone(), inbox.clone());
        let folder = Quorum::check(dir.join(METADATA_DIR), node, quorum, machine).await?;
        Ok(Metadata { folder, applied, inbox })
    }
}

fn data_dir(settings: &BrokerSettings) -> Result<PathBuf, StartError> {
    let dirs = settings.log_dirs();
    match dirs.as_slice() {
        [dir] => Ok(PathBuf::from(dir)),
        _ => Err(StartError::Settings(format!(
            "log.dirs names {} directories, and exactly one is served so far: put them together with LVM or RAID",
            dirs.len()
        ))),
    }
}

async fn blocking<T: Send + 'static>(
    doing: &str,
    work: impl FnOnce() -> Result<T, OpenError> + Send + 'static,
) -> Result<T, StartError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(error) => Err(StartError::Io { doing: doing.to_owned(), error: error.into() }),
    }
}

/// Without metadata of ours, partitions are somebody else's, and so is the metadata of Kafka.
fn refuse_foreign(dir: &CheckedDir) -> Result<(), StartError> {
    let path = || dir.path().to_owned();
    if let Some(found) = dir.names().find(|name| KAFKAS_METADATA.contains(name)) {
        return Err(StartError::Kafkas { dir: path(), found: found.to_owned() });
    }
    match dir.partitions().next() {
        None => Ok(()),
        Some(example) => Err(StartError::ForeignPartitions {
            dir: path(),
            count: dir.partitions().count(),
            example: example.to_owned(),
        }),
    }
}
