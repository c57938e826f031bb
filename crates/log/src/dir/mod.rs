//! A data directory: its lock and identity, the logs it holds, the checkpoints that say how far each is safe.

mod checked;
pub(crate) mod checkpoint;
mod chores;
mod flushed_first;
pub(crate) mod meta;
mod setup;
mod slots;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla_wire::{BrokerEpoch, Instant, Offset, PartitionIndex, TopicId};

use crate::disk::{Disk, LockGuard, Patient, Space, read_file, replace_file};
use crate::health::Health;
use crate::names::{Folder, aside_name, folder_name, parse_folder_name};
pub use checked::CheckedDir;
use checked::{Contents, Owned};
use checkpoint::{TopicPartition, format_offsets};
use chores::Chores;
pub(crate) use chores::Doomed;
use flushed_first::FlushedFirst;
pub use meta::MetaProperties;
use meta::{TEXT_BYTES_MAX, parse_partition};
pub use setup::{DirOptions, Identity, OpenError};
use setup::{Mark, mark_text, take_clean_mark};
pub(crate) use slots::Slot;
use slots::{CHECKPOINTS, Offsets, Slots, Written, locked};

pub(crate) const PARTITION_METADATA: &str = "partition.metadata";

/// A partition's folder that was found in a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundPartition {
    pub topic: String,
    pub partition: PartitionIndex,
    /// `None` if `partition.metadata` is missing or damaged: nothing was ever written or flushed, or it is an
    /// old Kafka's. [`Log::open`](crate::Log::open) then takes the topic id that it is given.
    pub topic_id: Option<TopicId>,
    pub path: PathBuf,
    pub recovery: Recovery,
    /// From the checkpoint; 0 if it has none.
    pub high_watermark: Offset,
}

/// What the checkpoints say of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Everything below is on stable storage, with its index entries.
    pub recovery_point: Offset,
    pub log_start: Offset,
    /// The directory was closed cleanly: every log is whole.
    pub clean: bool,
}

/// How far the recovery of logs has come, over all logs of a directory. Bytes.
#[derive(Debug, Default)]
pub struct Progress {
    to_scan: AtomicU64,
    scanned: AtomicU64,
}

impl Progress {
    /// Bytes of log that were found to need a scan so far.
    pub fn to_scan(&self) -> u64 {
        self.to_scan.load(Ordering::Relaxed)
    }

    /// Bytes of those that were scanned.
    pub fn scanned(&self) -> u64 {
        self.scanned.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, to_scan: u64, scanned: u64) {
        self.to_scan.fetch_add(to_scan, Ordering::Relaxed);
        self.scanned.fetch_add(scanned, Ordering::Relaxed);
    }
}

/// A data directory that this process has to itself. Clones are the same directory; the lock is given back
/// when the last clone and the last log of it are dropped.
#[derive(Clone)]
pub struct DataDir {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub disk: Arc<dyn Disk>,
    path: PathBuf,
    meta: MetaProperties,
    pub health: Health,
    clean: Option<Mark>,
    flushed_first: FlushedFirst,
    progress: Arc<Progress>,
    chores: Arc<Chores>,
    slots: Mutex<Slots>,
    /// What the three files say; held while they are written, so that one writer cannot undo another's.
    written: Mutex<Written>,
    _lock: LockGuard,
}

impl DataDir {
    /// Opens a data directory of the operating system, with a background thread; sets up a new one if `path`
    /// does not exist or is empty.
    pub fn open(path: impl Into<PathBuf>, identity: &Identity) -> Result<DataDir, OpenError> {
        DataDir::open_with(path, identity, DirOptions::default())
    }

    /// As [`DataDir::open`].
    pub fn open_with(
        path: impl Into<PathBuf>,
        identity: &Identity,
        options: DirOptions,
    ) -> Result<DataDir, OpenError> {
        DataDir::check(path, identity, options)?.open()
    }

    /// Looks at a data directory and touches nothing: what stands against opening it is an error.
    pub fn check(
        path: impl Into<PathBuf>,
        identity: &Identity,
        options: DirOptions,
    ) -> Result<CheckedDir, OpenError> {
        let options = DirOptions { disk: Arc::new(Patient(options.disk)), ..options };
        CheckedDir::of(options, path.into(), identity)
    }
}

impl CheckedDir {
    /// Takes the directory for this process, and sets up a new one. The mark of a clean shutdown is taken
    /// away: a process that dies from here on is not cleanly stopped.
    pub fn open(self) -> Result<DataDir, OpenError> {
        let (options, path) = (self.options.clone(), self.path.clone());
        let io = |error| OpenError::Io { dir: path.clone(), error };
        let Owned { lock, meta, contents } = self.take()?;
        let Contents { clean, flushed_first, written, .. } = contents;
        let slots = Slots { found: written.found(), ..Slots::default() };
        let chores = Arc::new(Chores::default());
        let inner = Arc::new(Inner {
            disk: Arc::clone(&options.disk),
            path: path.clone(),
            meta,
            health: Health::new(options.reserve_bytes),
            clean,
            flushed_first: FlushedFirst::found(flushed_first),
            progress: Arc::default(),
            chores: Arc::clone(&chores),
            slots: Mutex::new(slots),
            written: Mutex::new(written),
            _lock: lock,
        });
        if options.background {
            chores::start(chores, Arc::downgrade(&inner), options.checkpoint_interval).map_err(io)?;
        }
        let dir = DataDir { inner };
        if clean.is_some() {
            take_clean_mark(&*options.disk, &path).map_err(io)?;
        }
        dir.doom_leftovers().map_err(io)?;
        Ok(dir)
    }
}

impl DataDir {
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    pub fn meta(&self) -> &MetaProperties {
        &self.inner.meta
    }

    /// Shared with every log of the directory.
    pub fn health(&self) -> &Health {
        &self.inner.health
    }

    pub fn space(&self) -> io::Result<Space> {
        self.inner.disk.space(&self.inner.path)
    }

    /// Looks how much room there is: every second or so. The background thread does.
    pub fn look_for_room(&self, now: Instant) {
        self.inner.look_for_room(now);
    }

    /// How far the recovery of logs has come.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.inner.progress
    }

    /// Whether the last process to use the directory stopped cleanly.
    pub fn was_clean(&self) -> bool {
        self.inner.clean.is_some()
    }

    /// The broker epoch that the last process wrote when it stopped cleanly (KIP-966).
    pub fn clean_broker_epoch(&self) -> Option<BrokerEpoch> {
        self.inner.clean.and_then(|clean| clean.broker_epoch)
    }

    /// The partitions that have a folder, by name. Folders that Kafka has set aside (`-stray`, `-future`) are
    /// left alone and not listed.
    pub fn partitions(&self) -> io::Result<Vec<FoundPartition>> {
        let mut names: Vec<String> = Vec::new();
        for entry in self.inner.disk.read_dir(&self.inner.path)? {
            if entry.is_dir {
                names.push(entry.name);
            }
        }
        names.sort_unstable();
        let found = names.into_iter().filter_map(|name| match parse_folder_name(&name) {
            Folder::Partition(topic, partition) => Some(self.found(topic, partition, &name)),
            Folder::Aside => {
                tracing::warn!(folder = %name, "folder was set aside and is not served");
                None
            }
            Folder::Deleted | Folder::Other => None,
        });
        Ok(found.collect())
    }

    /// Takes the folder of a partition out of service whose log is not open, and keeps its files, as Kafka
    /// does: its name then ends in `-stray`. Tells where it is now.
    pub fn set_aside(&self, topic: &str, partition: PartitionIndex) -> io::Result<PathBuf> {
        self.move_aside(topic, partition, "stray")
    }

    /// Removes the folder of a partition whose log is not open, if there is one.
    pub fn delete_closed(&self, topic: &str, partition: PartitionIndex) -> io::Result<()> {
        match self.move_aside(topic, partition, "delete") {
            Ok(aside) => {
                self.doom(Doomed::Folder(aside), Duration::ZERO);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes the checkpoints that have changed, durably: recovery points, log starts and high watermarks of
    /// all logs. The background thread does this too; call it where an answer depends on it (DeleteRecords).
    pub fn checkpoint(&self) -> io::Result<()> {
        self.inner.checkpoint()
    }

    /// Asks the background thread for a checkpoint soon.
    pub fn request_checkpoint(&self) {
        self.inner.chores.want_checkpoint();
    }

    /// Says that every log was closed: the last thing that a process does with the directory. Writes the
    /// checkpoints.
    pub fn mark_clean(&self, broker_epoch: Option<BrokerEpoch>) -> io::Result<()> {
        if let Some(failure) = self.inner.health.failure() {
            return Err(io::Error::other(failure.to_string()));
        }
        self.checkpoint()?;
        let text = mark_text(broker_epoch);
        replace_file(&*self.inner.disk, &self.inner.path, setup::CLEAN, text.as_bytes())
    }

    /// Removes what waits to be removed, due or not, and writes the checkpoint if one was asked for. For
    /// directories without a background thread.
    pub fn do_chores(&self) {
        self.inner.chores.do_all(&self.inner);
    }

    fn move_aside(&self, topic: &str, partition: PartitionIndex, suffix: &str) -> io::Result<PathBuf> {
        let aside = self.path().join(aside_name(topic, partition, suffix));
        let disk = self.disk();
        disk.rename(&self.path().join(folder_name(topic, partition)), &aside)?;
        // A partition of the same name that comes later has nothing to do with what the checkpoints say of
        // this one.
        locked(&self.inner.slots).found.remove(&(topic.to_owned(), partition));
        disk.sync_dir(self.path())?;
        Ok(aside)
    }

    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.inner.disk
    }

    pub(crate) fn doom(&self, doomed: Doomed, delay: Duration) {
        self.inner.chores.doom(doomed, delay);
    }

    /// Adds an open log to the checkpoints. A log that is `new` MUST NOT be vouched for by what an older one
    /// of the same name has left in the files, so they are written first if need be.
    pub(crate) fn register(
        &self,
        name: TopicPartition,
        recovery: Recovery,
        new: bool,
    ) -> io::Result<Arc<Slot>> {
        let slot = Arc::new(Slot::default());
        let mut slots = locked(&self.inner.slots);
        let stale = slots.found.remove(&name);
        if !new {
            slot.set_recovery_point(recovery.recovery_point);
            slot.checkpointed.store(recovery.recovery_point.0, Ordering::Release);
            slot.set_high_watermark(stale.unwrap_or_default().high_watermark);
        }
        slot.set_log_start(recovery.log_start);
        slots.open.insert(name.clone(), Arc::clone(&slot));
        drop(slots);
        let says_something = |file: &Offsets| file.get(&name).is_some_and(|offset| *offset > Offset::ZERO);
        if new && locked(&self.inner.written).files.iter().any(says_something) {
            self.checkpoint()?;
        }
        Ok(slot)
    }

    /// Takes a log out of the checkpoints, if it is still the one that `slot` belongs to.
    pub(crate) fn unregister(&self, name: &TopicPartition, slot: &Arc<Slot>) {
        let mut slots = locked(&self.inner.slots);
        if slots.open.get(name).is_some_and(|open| Arc::ptr_eq(open, slot)) {
            slots.open.remove(name);
        }
    }

    /// A log was closed and stays on the disk: the checkpoints go on to say what they say of it now.
    pub(crate) fn park(&self, name: &TopicPartition, slot: &Arc<Slot>) {
        let mut slots = locked(&self.inner.slots);
        if slots.open.get(name).is_some_and(|open| Arc::ptr_eq(open, slot)) {
            slots.open.remove(name);
            slots.found.insert(name.clone(), slot.get());
        }
    }

    fn found(&self, topic: String, partition: PartitionIndex, folder: &str) -> FoundPartition {
        let path = self.inner.path.join(folder);
        let metadata = read_file(&*self.inner.disk, &path.join(PARTITION_METADATA), TEXT_BYTES_MAX).ok();
        let name = (topic, partition);
        let checkpointed = locked(&self.inner.slots).found.get(&name).copied().unwrap_or_default();
        let (topic, partition) = name;
        FoundPartition {
            topic,
            partition,
            topic_id: metadata.and_then(|text| parse_partition(&text)),
            path,
            recovery: Recovery {
                recovery_point: checkpointed.recovery_point,
                log_start: checkpointed.log_start,
                clean: self.was_clean(),
            },
            high_watermark: checkpointed.high_watermark,
        }
    }

    /// Removes folders of topics that were deleted when the last process stopped.
    fn doom_leftovers(&self) -> io::Result<()> {
        for entry in self.inner.disk.read_dir(&self.inner.path)? {
            if entry.is_dir && parse_folder_name(&entry.name) == Folder::Deleted {
                self.doom(Doomed::Folder(self.inner.path.join(entry.name)), Duration::ZERO);
            }
        }
        Ok(())
    }
}

impl fmt::Debug for DataDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataDir").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

impl Inner {
    /// An error may have taken the directory offline; if not, the next checkpoint says the same.
    pub(crate) fn checkpoint(&self) -> io::Result<()> {
        self.write_checkpoints().inspect_err(|error| self.health.judge_own("write checkpoint", error))
    }

    fn look_for_room(&self, now: Instant) {
        match self.disk.space(&self.path) {
            Ok(space) => self.health.room().measured(now, &self.path, space),
            // It is looked at again soon; writes still say what is wrong.
            Err(error) => tracing::debug!(%error, "the volume does not say how much room there is"),
        }
    }

    fn write_checkpoints(&self) -> io::Result<()> {
        let mut written = locked(&self.written);
        let (files, open) = self.collect();
        for ((entries, old), name) in files.into_iter().zip(&mut written.files).zip(CHECKPOINTS) {
            if entries != *old {
                replace_file(&*self.disk, &self.path, name, format_offsets(&entries).as_bytes())?;
                *old = entries;
            }
        }
        for (slot, recovery_point) in open {
            slot.checkpointed.store(recovery_point.0, Ordering::Release);
        }
        Ok(())
    }

    /// What the files are to say.
    fn collect(&self) -> ([Offsets; 3], Vec<(Arc<Slot>, Offset)>) {
        let slots = locked(&self.slots);
        let mut files = [const { Offsets::new() }; 3];
        let mut open = Vec::with_capacity(slots.open.len());
        let of_open = slots.open.iter().map(|(name, slot)| {
            let now = slot.get();
            open.push((Arc::clone(slot), now.recovery_point));
            (name, now)
        });
        let of_found = slots.found.iter().map(|(name, found)| (name, *found));
        for (name, now) in of_open.chain(of_found) {
            files[0].insert(name.clone(), now.recovery_point);
            // Kafka's way: what says nothing is left out.
            if now.log_start > Offset::ZERO {
                files[1].insert(name.clone(), now.log_start);
            }
            files[2].insert(name.clone(), now.high_watermark);
        }
        (files, open)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.chores.stop();
    }
}
