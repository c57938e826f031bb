//! The log of one partition, as its one owner sees it.

mod active;
mod cut;
mod error;
mod flush;
mod listing;
mod lost;
mod open;
mod recent;
mod recover;
mod replay;
mod retain;
mod snapshots;
mod unsynced;
mod write;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ottla_wire::batch::AppendBatch;
use ottla_wire::{AbortedTxn, Offset, PartitionIndex, TopicId};

use crate::config::LogConfig;
use crate::dir::checkpoint::TopicPartition;
use crate::dir::{DataDir, Doomed, Slot};
use crate::reader::{Bound, LogReader, Shared};
use crate::room::Room;
use crate::segment::{LogFolder, Segment};
use crate::verdict::Verdict;
use active::Active;
pub use error::LogError;
use flush::FlushState;
pub use flush::UNVOUCHED_BYTES_AIM;
pub use open::Opened;
use recent::Recent;
pub use replay::{NoReplay, Replay};
pub use retain::Retained;
use snapshots::Snapshots;

/// The files of one partition. One owner; readers get a [`LogReader`].
///
/// Errors of the disk take the data directory offline, but those that say nothing about the disk (see
/// [`Verdict`](crate::Verdict)); after that every operation answers [`LogError::Offline`]. A log that an
/// error has come from MUST NOT be written to any more, unless it was [`LogError::Full`].
#[derive(Debug)]
pub struct Log {
    dir: DataDir,
    place: Arc<LogFolder>,
    name: TopicPartition,
    topic_id: Option<TopicId>,
    /// `partition.metadata` is still to be written.
    metadata_missing: bool,
    config: LogConfig,
    slot: Arc<Slot>,
    shared: Arc<Shared>,
    active: Active,
    /// Appended and not written yet.
    queue: Vec<AppendBatch>,
    queued_bytes: u64,
    aborted: Vec<AbortedTxn>,
    log_end: Offset,
    recent: Recent,
    flush: FlushState,
    snapshots: Snapshots,
}

impl Log {
    pub fn topic(&self) -> &str {
        &self.name.0
    }

    pub fn partition(&self) -> PartitionIndex {
        self.name.1
    }

    /// `None` for a log of an old Kafka that was opened without an id.
    pub fn topic_id(&self) -> Option<TopicId> {
        self.topic_id
    }

    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// New settings count from the next operation on.
    pub fn set_config(&mut self, config: LogConfig) {
        self.shared.max_decompressed_bytes.store(config.max_decompressed_bytes, Ordering::Relaxed);
        self.config = config;
    }

    pub fn reader(&self) -> LogReader {
        LogReader::new(Arc::clone(&self.shared))
    }

    /// The first offset that can be read.
    pub fn log_start(&self) -> Offset {
        Offset(self.shared.log_start.load(Ordering::Acquire))
    }

    /// The offset that the next batch gets, after all that was appended, written or not.
    pub fn log_end(&self) -> Offset {
        self.log_end
    }

    /// The offset after all that readers can see.
    pub fn written_end(&self) -> Offset {
        self.active.end()
    }

    /// The offset after all that is on stable storage.
    pub fn durable_end(&self) -> Offset {
        self.flush.durable_end()
    }

    /// What the next checkpoint says is on stable storage together with its index entries.
    pub fn recovery_point(&self) -> Offset {
        self.slot.recovery_point()
    }

    /// What the checkpoint of the data directory is to say.
    pub fn set_high_watermark(&self, offset: Offset) {
        self.slot.set_high_watermark(offset);
    }

    /// Bytes of all `.log` files.
    pub fn size(&self) -> u64 {
        self.reader().size()
    }

    /// Where a read that must stay below `offset` ends. Cheap for what was written lately; for anything older
    /// it looks into the file. If the disk fails at that, the bound is the start of the log, so that nothing
    /// is read.
    pub fn bound(&self, offset: Offset) -> Bound {
        if offset >= self.written_end() {
            return self.active.bound();
        }
        if let Some(bound) = self.recent.bound(offset) {
            return bound;
        }
        self.search_bound(offset)
    }

    /// Lets go of file descriptors that nobody used since the last call; the segment that grows keeps its
    /// own.
    pub fn close_idle_files(&self) {
        let segments = self.shared.segments.load();
        for segment in segments.iter().filter(|segment| !Arc::ptr_eq(segment, self.active.segment())) {
            segment.close_if_idle();
        }
    }

    /// Deletes the partition: the folder gets another name at once and is removed in the background after
    /// `file.delete.delay.ms`. Readers that have files open can go on with them.
    pub fn delete(self) -> Result<(), LogError> {
        let aside = self.move_aside("delete")?;
        let delay = Duration::from_millis(self.config.file_delete_delay_ms);
        self.dir.doom(Doomed::Folder(aside), delay);
        Ok(())
    }

    /// Takes a partition that the cluster does not know out of service and keeps its files, as Kafka does:
    /// the folder's name then ends in `-stray`.
    pub fn set_aside(self) -> Result<(), LogError> {
        self.move_aside("stray").map(drop)
    }

    fn search_bound(&self, offset: Offset) -> Bound {
        let segments = self.shared.segments.load();
        let at = segments.partition_point(|segment| segment.base <= offset).saturating_sub(1);
        for segment in &segments[at..] {
            match segment.locate(offset, segment.size()) {
                Ok(Some(found)) => {
                    return Bound { offset, segment_base: segment.base, position: found.position };
                }
                Ok(None) => {}
                Err(error) => {
                    self.dir.health().judge("find an offset", &error.into());
                    return Bound { offset: self.log_start(), segment_base: Offset::ZERO, position: 0 };
                }
            }
        }
        self.active.bound()
    }

    /// The segments as readers see them.
    fn segments(&self) -> Arc<Vec<Arc<Segment>>> {
        self.shared.segments.load_full()
    }

    fn publish_segments(&self, segments: Vec<Arc<Segment>>) {
        self.shared.segments.store(Arc::new(segments));
    }

    fn check_online(&self) -> Result<(), LogError> {
        match self.dir.health().failure() {
            None => Ok(()),
            Some(failure) => Err(LogError::Offline(failure.to_string())),
        }
    }

    /// Takes the directory offline if the disk is no good. What failed MUST leave the log as it was, or such
    /// that it can be done once more.
    fn fail(&self, doing: &str, error: std::io::Error) -> LogError {
        let doing = format!("{doing} {}", self.place.folder.display());
        self.dir.health().judge(&doing, &error);
        match Verdict::of(&error) {
            Verdict::Full => LogError::Full { doing, error },
            Verdict::Fails | Verdict::Again | Verdict::Offline => LogError::Io { doing, error },
        }
    }

    /// As `fail`, for what leaves the log in the middle of something: a full disk is as bad as a broken one.
    fn fail_halfway(&self, doing: &str, error: std::io::Error) -> LogError {
        let doing = format!("{doing} {}", self.place.folder.display());
        match Verdict::of(&error) {
            Verdict::Full => self.dir.health().give_up(&doing, &error),
            Verdict::Fails | Verdict::Again | Verdict::Offline => self.dir.health().judge(&doing, &error),
        }
        LogError::Io { doing, error }
    }

    /// The room in the data directory.
    pub fn room(&self) -> &Room {
        self.dir.health().room()
    }
}

/// A log that is dropped without being deleted stays in the checkpoints as it is.
impl Drop for Log {
    fn drop(&mut self) {
        self.dir.park(&self.name, &self.slot);
    }
}
