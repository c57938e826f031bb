//! Opening or setting up a data directory: whose it is, how it was left.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ottla_wire::{BrokerEpoch, Uuid};

use super::checkpoint::{CHECKPOINT_BYTES_MAX, parse_offsets};
use super::meta::{MetaProperties, TEXT_BYTES_MAX};
use super::slots::{LOG_STARTS, Offsets};
use crate::disk::{Disk, Entry, RealDisk, read_file, replace_file};
use crate::names::{Folder, parse_folder_name, random_uuid};
use crate::room::RESERVE_BYTES;

const META: &str = "meta.properties";

/// There after a clean stop, until the next start.
pub(super) const CLEAN: &str = ".kafka_cleanshutdown";

/// Whose data directory is expected. What is `None` is taken from the directory.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    pub node_id: Option<i32>,
    pub cluster_id: Option<String>,
}

/// How a data directory is driven.
#[derive(Clone, Debug)]
pub struct DirOptions {
    pub disk: Arc<dyn Disk>,
    /// Run a thread that removes files and writes checkpoints. Without it
    /// [`DataDir::do_chores`](super::DataDir::do_chores) does.
    pub background: bool,
    /// How often the checkpoints are written if something has changed: Kafka's
    /// `replica.high.watermark.checkpoint.interval.ms`. A log with much that no recovery point vouches for
    /// does not wait.
    pub checkpoint_interval: Duration,
    /// What is kept free for the broker's own needs: `log.dir.reserve.bytes`. A twentieth of the volume if
    /// that is less.
    pub reserve_bytes: u64,
}

impl Default for DirOptions {
    fn default() -> Self {
        DirOptions {
            disk: Arc::new(RealDisk),
            background: true,
            checkpoint_interval: Duration::from_secs(5),
            reserve_bytes: RESERVE_BYTES,
        }
    }
}

/// Why a data directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("data directory {dir} is in use by {}", match pid { Some(pid) => format!("process {pid}"), None => "another process".to_owned() })]
    InUse { dir: PathBuf, pid: Option<u32> },
    #[error(
        "data directory {dir} belongs to node {found}, this is node {expected}: start with --set node.id={found}, or choose another --data"
    )]
    OtherNode { dir: PathBuf, found: i32, expected: i32 },
    #[error(
        "data directory {dir} belongs to cluster {found}, this is cluster {expected}: choose another --data, or join cluster {found}"
    )]
    OtherCluster { dir: PathBuf, found: String, expected: String },
    #[error("data directory {dir} is new: node id and cluster id are needed to set it up")]
    NoIdentity { dir: PathBuf },
    #[error(
        "data directory {dir} has logs but no meta.properties: restore the file, or choose another --data"
    )]
    NoMeta { dir: PathBuf },
    #[error("{path} cannot be read: {error}: restore the file from a backup, or choose another --data")]
    Damaged { path: PathBuf, error: io::Error },
    #[error(
        "{path} cannot be read: {error}: restore the file from a backup, or delete it to go on without; then records that were deleted on request (DeleteRecords) come back where later ones share a segment with them"
    )]
    NoLogStarts { path: PathBuf, error: io::Error },
    #[error(
        "data directory: {path} cannot be written to: {error}; give this user the right to, or choose another --data"
    )]
    NotWritable { path: PathBuf, error: io::Error },
    #[error("data directory {dir}: {error}")]
    Io { dir: PathBuf, error: io::Error },
}

/// There while everything is flushed before it is acknowledged.
pub(super) const FLUSHED_FIRST: &str = ".ottla_flushed_first";

/// A mark that was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    /// `None` if it names no epoch: older Kafka leaves the file empty.
    pub broker_epoch: Option<BrokerEpoch>,
}

pub(super) fn create_dir_all(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path
        .ancestors()
        .filter(|part| !part.as_os_str().is_empty())
        .take_while(|part| disk.read_dir(part).is_err_and(|error| error.kind() == io::ErrorKind::NotFound))
        .collect();
    for part in missing.into_iter().rev() {
        disk.create_dir(part)?;
        match part.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => disk.sync_dir(parent)?,
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn read_meta(
    disk: &dyn Disk,
    dir: &Path,
    identity: &Identity,
    entries: &[Entry],
) -> Result<Option<MetaProperties>, OpenError> {
    let path = dir.join(META);
    let text = match read_file(disk, &path, TEXT_BYTES_MAX) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let is_log = |entry: &Entry| matches!(parse_folder_name(&entry.name), Folder::Partition(..));
            return match entries.iter().any(|entry| entry.is_dir && is_log(entry)) {
                true => Err(OpenError::NoMeta { dir: dir.to_owned() }),
                false => Ok(None),
            };
        }
        Err(error) => return Err(OpenError::Damaged { path, error }),
    };
    let meta = MetaProperties::parse(&text).map_err(|error| OpenError::Damaged { path, error })?;
    let dir = dir.to_owned();
    match (identity.node_id, &identity.cluster_id) {
        (Some(expected), _) if expected != meta.node_id => {
            Err(OpenError::OtherNode { dir, found: meta.node_id, expected })
        }
        (_, Some(expected)) if *expected != meta.cluster_id => {
            Err(OpenError::OtherCluster { dir, found: meta.cluster_id, expected: expected.clone() })
        }
        _ => Ok(Some(meta)),
    }
}

/// Says whose a new directory is.
pub(super) fn create_meta(
    disk: &dyn Disk,
    dir: &Path,
    identity: &Identity,
) -> Result<MetaProperties, OpenError> {
    let (Some(node_id), Some(cluster_id)) = (identity.node_id, identity.cluster_id.clone()) else {
        return Err(OpenError::NoIdentity { dir: dir.to_owned() });
    };
    let directory_id: Uuid = random_uuid();
    let meta = MetaProperties { node_id, cluster_id, directory_id };
    let written = replace_file(disk, dir, META, meta.to_text().as_bytes());
    written.map_err(|error| OpenError::Io { dir: dir.to_owned(), error })?;
    Ok(meta)
}

/// Takes the mark of a clean shutdown away, durably.
pub(super) fn take_clean_mark(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    disk.remove_file(&dir.join(CLEAN))?;
    disk.sync_dir(dir)
}

/// What a mark says: Kafka's `{"version":0,"brokerEpoch":12}`.
pub(super) fn mark_text(broker_epoch: Option<BrokerEpoch>) -> String {
    let epoch = broker_epoch.map_or(-1, |epoch| epoch.0);
    format!("{{\"version\":0,\"brokerEpoch\":{epoch}}}")
}

/// A mark, if it is there.
pub(super) fn read_mark(disk: &dyn Disk, path: &Path) -> io::Result<Option<Mark>> {
    let text = match read_file(disk, path, TEXT_BYTES_MAX) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let text = String::from_utf8_lossy(&text);
    let epoch: Option<i64> = text.split_once("\"brokerEpoch\":").and_then(|(_, rest)| {
        rest.trim_start().split(|c: char| c != '-' && !c.is_ascii_digit()).next()?.parse().ok()
    });
    Ok(Some(Mark { broker_epoch: epoch.filter(|epoch| *epoch >= 0).map(BrokerEpoch) }))
}

pub(super) fn read_checkpoint(disk: &dyn Disk, dir: &Path, name: &str) -> Result<Offsets, OpenError> {
    let path = dir.join(name);
    match read_file(disk, &path, CHECKPOINT_BYTES_MAX).and_then(|text| parse_offsets(&text)) {
        Ok(entries) => Ok(entries),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Offsets::new()),
        // Kafka goes on with what it could read. Doing so could bring back deleted records, so a person is
        // asked.
        Err(error) if name == LOG_STARTS => Err(OpenError::NoLogStarts { path, error }),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            tracing::warn!(path = %path.display(), %error, "a checkpoint cannot be read: what it says is worked out from the logs");
            Ok(Offsets::new())
        }
        Err(error) => Err(OpenError::Damaged { path, error }),
    }
}
