//! openraft's state machine over the broker's: counts proposals, keeps openraft's positions, writes
//! snapshots.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use openraft::storage::{RaftStateMachine, Snapshot as RaftSnapshot};
use openraft::{AnyError, RaftSnapshotBuilder};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;

use crate::disk::{Disk, FILE_BYTES_MAX};
use crate::journal::Lease;
use crate::raft::{
    Batch, Entry, LogId, Outcome, Payload, SnapshotMeta, StorageError, StorageIoError, StoredMembership,
    TypeConfig,
};
use crate::snapshot::{self, Head, Snapshot};
use crate::types::StateMachine;

/// What the rest of the quorum learns from the machine.
pub(crate) struct Signals {
    /// The index of the last proposal applied.
    pub(crate) applied: watch::Sender<u64>,
    /// Enough has been applied for another snapshot.
    pub(crate) snapshot_due: Arc<Notify>,
}

/// The folder of the snapshots, and the right to write there.
#[derive(Clone)]
pub(crate) struct Folder {
    pub(crate) disk: Disk,
    pub(crate) dir: PathBuf,
    pub(crate) lease: Weak<Lease>,
}

impl Folder {
    /// Does blocking work in the folder, unless the quorum has released it.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Disk, &Path) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let Folder { disk, dir, lease } = self.clone();
        let work = move || match lease.upgrade() {
            Some(_held) => work(&disk, &dir),
            None => Err(io::Error::other("the metadata log has stopped")),
        };
        spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

/// The state machine that openraft's worker owns.
pub(crate) struct Machine {
    folder: Folder,
    // Shared with the threads that take and install snapshots. They hold it only while the worker waits for
    // them.
    inner: Arc<Mutex<Box<dyn StateMachine>>>,
    applied: Option<LogId>,
    membership: StoredMembership,
    index: u64,
    /// The newest snapshot's file.
    current: Arc<Mutex<Option<(SnapshotMeta, PathBuf)>>>,
    snapshot_bytes: u64,
    bytes_since_snapshot: u64,
    signals: Signals,
}

impl Machine {
    /// A machine in the state of `snapshot`, to which `inner` has been restored; a new one without a
    /// snapshot.
    pub(crate) fn new(
        folder: Folder,
        inner: Box<dyn StateMachine>,
        snapshot: Option<(Head, PathBuf)>,
        snapshot_bytes: u64,
        signals: Signals,
    ) -> Machine {
        let head = snapshot.as_ref().map(|(head, _)| head.clone());
        let index = head.as_ref().map_or(0, |head| head.index);
        signals.applied.send_replace(index);
        Machine {
            folder,
            inner: Arc::new(Mutex::new(inner)),
            applied: head.as_ref().map(|head| head.last),
            membership: head.map(|head| head.membership).unwrap_or_default(),
            index,
            current: Arc::new(Mutex::new(snapshot.map(|(head, path)| (head.meta(), path)))),
            snapshot_bytes,
            bytes_since_snapshot: 0,
            signals,
        }
    }

    fn apply_entry(&mut self, entry: Entry) -> Result<Vec<Outcome>, StorageIoError> {
        let outcomes = match entry.payload {
            Payload::Blank => Vec::new(),
            Payload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
                Vec::new()
            }
            Payload::Normal(batch) => self.apply_batch(entry.log_id, batch)?,
        };
        self.applied = Some(entry.log_id);
        Ok(outcomes)
    }

    fn apply_batch(&mut self, log_id: LogId, batch: Batch) -> Result<Vec<Outcome>, StorageIoError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut outcomes = Vec::with_capacity(batch.0.len());
        for proposal in batch.0 {
            if proposal.epoch != 0 && proposal.epoch != log_id.leader_id.term {
                outcomes.push(Outcome::OtherEpoch);
                continue;
            }
            self.bytes_since_snapshot += proposal.size() as u64;
            self.index += 1;
            // openraft would wait forever for a worker that panicked. An error stops it and fails those who
            // wait.
            catch_unwind(AssertUnwindSafe(|| inner.apply(self.index, proposal.records)))
                .map_err(|_| StorageIoError::apply(log_id, AnyError::error("the state machine panicked")))?;
            outcomes.push(Outcome::Applied(self.index));
        }
        Ok(outcomes)
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Vec<Outcome>>, StorageError>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let outcomes = entries.into_iter().map(|entry| self.apply_entry(entry)).collect::<Result<_, _>>()?;
        self.signals.applied.send_replace(self.index);
        if self.bytes_since_snapshot >= self.snapshot_bytes {
            self.bytes_since_snapshot = 0;
            self.signals.snapshot_due.notify_one();
        }
        Ok(outcomes)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let inner = self.inner.clone();
        // Awaited here because the worker applies nothing meanwhile, so the records are of one moment.
        let records =
            spawn_blocking(move || inner.lock().unwrap_or_else(PoisonError::into_inner).snapshot()).await;
        Builder {
            folder: self.folder.clone(),
            last: self.applied,
            membership: self.membership.clone(),
            index: self.index,
            records: records.ok(),
            current: self.current.clone(),
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<tokio::fs::File>, StorageError> {
        let file = self.folder.write(|_, dir| nameless_file(dir)).await.map_err(write_failed)?;
        Ok(Box::new(tokio::fs::File::from_std(file)))
    }

    async fn install_snapshot(
        &mut self,
        _meta: &SnapshotMeta,
        file: Box<tokio::fs::File>,
    ) -> Result<(), StorageError> {
        let bytes = read_all(*file).await.map_err(write_failed)?;
        let inner = self.inner.clone();
        let install = move |disk: &Disk, dir: &Path| {
            let snapshot = snapshot::decode(bytes).map_err(|(position, reason)| {
                let message = format!("the leader's snapshot is damaged at byte {position}: {reason}");
                io::Error::new(io::ErrorKind::InvalidData, message)
            })?;
            let path = snapshot::save(disk, dir, &snapshot)?;
            let Snapshot { head, records } = snapshot;
            inner.lock().unwrap_or_else(PoisonError::into_inner).restore(head.index, records);
            Ok((head, path))
        };
        let (head, path) = self.folder.write(install).await.map_err(write_failed)?;
        self.applied = Some(head.last);
        self.membership = head.membership.clone();
        self.index = head.index;
        self.bytes_since_snapshot = 0;
        set_current(&self.current, head.meta(), path);
        self.signals.applied.send_replace(self.index);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<RaftSnapshot<TypeConfig>>, StorageError> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match current {
            None => Ok(None),
            Some((meta, path)) => open(meta, path).await.map(Some).map_err(read_failed),
        }
    }
}

/// Writes the records of one moment as a snapshot, while the machine goes on.
pub(crate) struct Builder {
    folder: Folder,
    last: Option<LogId>,
    membership: StoredMembership,
    index: u64,
    /// `None` if taking them panicked.
    records: Option<Vec<Bytes>>,
    current: Arc<Mutex<Option<(SnapshotMeta, PathBuf)>>>,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    async fn build_snapshot(&mut self) -> Result<RaftSnapshot<TypeConfig>, StorageError> {
        let failed = |what: &str| write_failed(io::Error::other(what));
        let last = self.last.ok_or_else(|| failed("there is nothing to take a snapshot of"))?;
        let records = self.records.take().ok_or_else(|| failed("the state machine panicked"))?;
        let head = Head { last, membership: self.membership.clone(), index: self.index };
        let meta = head.meta();
        let save = move |disk: &Disk, dir: &Path| snapshot::save(disk, dir, &Snapshot { head, records });
        let path = self.folder.write(save).await.map_err(write_failed)?;
        set_current(&self.current, meta.clone(), path.clone());
        tracing::info!(index = self.index, file = %path.display(), "metadata snapshot written");
        open(meta, path).await.map_err(read_failed)
    }
}

fn set_current(current: &Mutex<Option<(SnapshotMeta, PathBuf)>>, meta: SnapshotMeta, path: PathBuf) {
    let mut current = current.lock().unwrap_or_else(PoisonError::into_inner);
    // A snapshot from the leader may have overtaken one that was being built.
    if current.as_ref().is_none_or(|(newest, _)| newest.last_log_id <= meta.last_log_id) {
        *current = Some((meta, path));
    }
}

async fn open(meta: SnapshotMeta, path: PathBuf) -> io::Result<RaftSnapshot<TypeConfig>> {
    let file = tokio::fs::File::open(path).await?;
    Ok(RaftSnapshot { meta, snapshot: Box::new(file) })
}

async fn read_all(mut file: tokio::fs::File) -> io::Result<Bytes> {
    let len = file.metadata().await?.len();
    if len > FILE_BYTES_MAX {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    file.rewind().await?;
    let mut bytes = Vec::with_capacity(len as usize);
    file.read_to_end(&mut bytes).await?;
    Ok(Bytes::from(bytes))
}

/// A file without a name, for a snapshot that is arriving. The system removes it if the rest never comes.
fn nameless_file(dir: &Path) -> io::Result<std::fs::File> {
    let path = dir.join("arriving.tmp");
    let file = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

fn write_failed(error: io::Error) -> StorageError {
    tracing::error!(%error, "writing a metadata snapshot failed");
    StorageIoError::write_snapshot(None, AnyError::new(&error)).into()
}

fn read_failed(error: io::Error) -> StorageError {
    tracing::error!(%error, "reading a metadata snapshot failed");
    StorageIoError::read_snapshot(None, AnyError::new(&error)).into()
}
