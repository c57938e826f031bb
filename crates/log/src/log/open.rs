//! Creating a log and opening one that is there.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use ottla_wire::{EpochStart, Offset, PartitionIndex, TopicId};

use super::recover::{Recovered, recover};
use super::{Active, FlushState, Log, LogError, Recent, Replay, Shared, Snapshots};
use crate::config::LogConfig;
use crate::dir::meta::{TEXT_BYTES_MAX, format_partition, parse_partition};
use crate::dir::{DataDir, PARTITION_METADATA, Recovery};
use crate::disk::{Disk, Open, read_file, write_all};
use crate::names::folder_name;
use crate::segment::LogFolder;

/// A log that was opened.
#[derive(Debug)]
pub struct Opened {
    pub log: Log,
    /// The leader epochs of what the log holds.
    pub epochs: Vec<EpochStart>,
    /// The checkpoint does not say these epochs, and the next start may not look at where they were learnt:
    /// they are to be stored.
    pub epochs_learnt: bool,
    /// Bytes of log that were scanned because no recovery point vouched for them.
    pub scanned_bytes: u64,
    /// Bytes that were not whole and were cut off.
    pub cut_bytes: u64,
}

impl Log {
    /// Creates the folder of a new partition. Its files are made when something is first written; nothing is
    /// synced before the first flush.
    pub fn create(
        dir: &DataDir,
        topic: &str,
        partition: PartitionIndex,
        topic_id: TopicId,
        config: LogConfig,
    ) -> Result<Log, LogError> {
        if let Some(failure) = dir.health().failure() {
            return Err(LogError::Offline(failure.to_string()));
        }
        let folder = dir.path().join(folder_name(topic, partition));
        let place = Arc::new(LogFolder::new(Arc::clone(dir.disk()), folder.clone()));
        let failed = |error: io::Error| {
            let doing = format!("create {}", folder.display());
            dir.health().judge(&doing, &error);
            LogError::Io { doing, error }
        };
        dir.disk().create_dir(&folder).map_err(failed)?;
        let active = Active::planned(&place, Offset::ZERO).map_err(failed)?;
        let name = (topic.to_owned(), partition);
        let slot = dir.register(name.clone(), Recovery::default(), true).map_err(failed)?;
        let segments = vec![Arc::clone(active.segment())];
        let shared = Shared::new(segments, Offset::ZERO, config.max_decompressed_bytes);
        Ok(Log {
            dir: dir.clone(),
            place,
            name,
            topic_id: Some(topic_id),
            metadata_missing: true,
            config,
            slot,
            shared: Arc::new(shared),
            active,
            queue: Vec::new(),
            queued_bytes: 0,
            aborted: Vec::new(),
            log_end: Offset::ZERO,
            recent: Recent::default(),
            flush: FlushState::new(Offset::ZERO, 0, true),
            snapshots: Snapshots::default(),
        })
    }

    /// Opens the files of a partition. What `recovery` does not vouch for is scanned: the first batch that is
    /// not whole and everything after it are cut off, and the indexes of that part are made anew. What was
    /// scanned is in the page cache and not known to be durable, so [`Log::durable_end`] may be below the
    /// log's end until the first flush.
    ///
    /// With a `topic_id` the folder must be that topic's; without one any will do.
    pub fn open(
        dir: &DataDir,
        topic: &str,
        partition: PartitionIndex,
        topic_id: Option<TopicId>,
        config: LogConfig,
        recovery: Recovery,
        replay: &mut dyn Replay,
    ) -> Result<Opened, LogError> {
        let folder = dir.path().join(folder_name(topic, partition));
        if let Some(failure) = dir.health().failure() {
            return Err(LogError::Offline(failure.to_string()));
        }
        let place = Arc::new(LogFolder::new(Arc::clone(dir.disk()), folder.clone()));
        let found_id = read_topic(&**dir.disk(), &folder).map_err(|e| failed(dir, &place, e))?;
        if let (Some(found), Some(expected)) = (found_id, topic_id)
            && found != expected
        {
            return Err(LogError::OtherTopic { folder, found, expected });
        }
        let topic_id = found_id.or(topic_id);
        let recovered = recover(dir, &place, &config, recovery, replay)?;
        let name = (topic.to_owned(), partition);
        let slot = dir.register(name.clone(), recovery, false).map_err(|e| failed(dir, &place, e))?;
        let Recovered { segments, active, flush, snapshots, epochs, log_start, log_end, .. } = recovered;
        let shared = Shared::new(segments, log_start, config.max_decompressed_bytes);
        let mut log = Log {
            dir: dir.clone(),
            place,
            name,
            topic_id,
            metadata_missing: found_id.is_none() && topic_id.is_some(),
            config,
            slot,
            shared: Arc::new(shared),
            active,
            queue: Vec::new(),
            queued_bytes: 0,
            aborted: Vec::new(),
            log_end,
            recent: Recent::default(),
            flush,
            snapshots,
        };
        match recovery.clean {
            true => log.slot.set_recovery_point(log_end),
            false => log.lower_checkpoints(log_end)?,
        }
        log.set_log_start(log_start);
        if log_start > log_end {
            tracing::warn!(folder = %folder.display(), %log_start, %log_end, "log ends before its start and is restarted");
            log.restart_at(log_start)?;
        }
        if log.metadata_missing && log_end > Offset::ZERO {
            log.write_metadata().map_err(|error| failed(dir, &log.place, error))?;
        }
        Ok(Opened {
            log,
            epochs,
            epochs_learnt: recovered.epochs_learnt,
            scanned_bytes: recovered.scanned_bytes,
            cut_bytes: recovered.cut_bytes,
        })
    }
}

impl Log {
    /// Writes `partition.metadata` if it is not there. The next flush syncs it.
    pub(super) fn write_metadata(&mut self) -> io::Result<()> {
        if let Some(topic_id) = self.topic_id.filter(|_| self.metadata_missing) {
            let file = self.place.disk.open(&self.place.folder.join(PARTITION_METADATA), Open::Create)?;
            file.set_len(0)?;
            write_all(&*file, &[IoSlice::new(format_partition(topic_id).as_bytes())], 0)?;
            self.metadata_missing = false;
            self.flush.unsynced();
        }
        Ok(())
    }
}

/// A log could not be opened.
pub(super) fn failed(dir: &DataDir, place: &LogFolder, error: io::Error) -> LogError {
    let doing = format!("open {}", place.folder.display());
    dir.health().judge(&doing, &error);
    LogError::Io { doing, error }
}

/// The topic id of a folder; `None` if `partition.metadata` is missing or damaged.
fn read_topic(disk: &dyn Disk, folder: &Path) -> io::Result<Option<TopicId>> {
    match read_file(disk, &folder.join(PARTITION_METADATA), TEXT_BYTES_MAX) {
        Ok(text) => Ok(parse_partition(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
