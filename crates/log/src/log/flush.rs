//! What of a log is on stable storage, and what the next flush has to do.
//!
//! A flush syncs the log files. Now and then it vouches, too: it syncs the indexes and a producer snapshot,
//! after which the recovery point moves and a crash finds nothing to do up to there.

use std::ops::RangeBounds;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ottla_wire::messages::ProducerSnapshot;
use ottla_wire::{EpochStart, Instant, Offset};

use super::active::Active;
use super::unsynced::{ToSync, Unsynced};
use super::{Log, LogError};
use crate::dir::PARTITION_METADATA;
use crate::dir::checkpoint::format_epochs;
use crate::disk::DiskFile;
use crate::flush::{FlushDone, FlushId, FlushJob, Step};

/// What a log should have at most that no recovery point vouches for: a crash costs a scan of that much.
pub const UNVOUCHED_BYTES_AIM: u64 = 8 << 20;

/// A flush vouches after so many bytes: half the aim, the other half may come while it is under way.
const VOUCH_EVERY_BYTES: u64 = UNVOUCHED_BYTES_AIM / 2;

/// The same for a log whose topic has given up flushes (`flush.messages` at its largest): there the system
/// writes back when it sees fit, and what retention deletes first never costs the disk a write.
const VOUCH_EVERY_BYTES_RELAXED: u64 = 512 << 20;

/// Closed segments that may wait to be synced, each with its files open, before a flush is due that vouches:
/// for topics with small segments that have given up flushes.
const UNSYNCED_SEGMENTS_MAX: usize = 64;

/// A snapshot is written for at least so many times its own size of log.
const LOG_BYTES_PER_SNAPSHOT_BYTE: u64 = 32;

/// What waits to be flushed and what is being flushed.
#[derive(Debug, Default)]
pub(super) struct FlushState {
    durable_end: Offset,
    /// What is to be synced besides the segment that grows.
    pub(super) files: Unsynced,
    /// The log was created, or its last process died, and since then nothing of it was synced: its name in
    /// the data directory may be in the page cache only.
    unsynced: bool,
    /// The log was opened after a crash and nothing has vouched for it since.
    recovered: bool,
    /// The files are as `close` leaves them.
    complete: bool,
    folder_changed: bool,
    epochs: Option<Vec<u8>>,
    /// Bytes written since this log was opened, plus what recovery scanned.
    written_bytes: u64,
    /// As many of them are vouched for.
    vouched_bytes: u64,
    last_id: u64,
    in_flight: Option<InFlight>,
    /// When there was first something to flush.
    waiting_since: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    id: FlushId,
    end: Offset,
    /// Bytes that are vouched for when it is done.
    vouches: Option<u64>,
}

impl FlushState {
    /// `durable_end` is on stable storage; beyond it `unvouched_bytes` are written.
    pub fn new(durable_end: Offset, unvouched_bytes: u64, unsynced: bool) -> FlushState {
        FlushState {
            durable_end,
            written_bytes: unvouched_bytes,
            unsynced,
            folder_changed: unsynced,
            ..FlushState::default()
        }
    }

    pub fn durable_end(&self) -> Offset {
        self.durable_end
    }

    pub fn wrote(&mut self, bytes: u64) {
        self.written_bytes += bytes;
        self.complete = false;
    }

    /// A file was made that the first flush of a new log syncs.
    pub fn unsynced(&mut self) {
        self.unsynced = true;
        self.folder_changed = true;
    }

    /// The last process died.
    pub fn recovered(&mut self) {
        self.recovered = true;
    }

    /// The files were found as `close` leaves them.
    pub fn found_complete(&mut self) {
        self.complete = true;
    }

    /// The segment is closed; its indexes are in their files.
    pub fn rolled(&mut self, active: &Active) {
        self.complete = false;
        if let Some(file) = active.file() {
            self.files.add_segment(active.segment(), Arc::clone(file));
        }
    }

    pub fn snapshot_written(&mut self, offset: Offset, file: Arc<dyn DiskFile>) {
        self.files.add_snapshot(offset, file);
        self.folder_changed = true;
    }

    /// Closed segments with these bases have left the log. What was never synced must not come back after a
    /// crash, or the log would end in it: the next flush sees to that.
    pub fn removed(&mut self, bases: impl RangeBounds<Offset>) {
        self.files.forget_segments(bases);
        self.folder_changed = true;
    }

    pub fn folder_changed(&mut self) {
        self.folder_changed = true;
    }

    /// The log was cut: what is under way proves nothing beyond `end` any more.
    pub fn truncated(&mut self, end: Offset) {
        self.durable_end = self.durable_end.min(end);
        self.complete = false;
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.end = in_flight.end.min(end);
            in_flight.vouches = None;
        }
    }

    /// The log was emptied and goes on at `offset`.
    pub fn restarted(&mut self, offset: Offset) {
        self.truncated(offset);
        self.durable_end = offset;
        self.vouched_bytes = self.written_bytes;
    }
}

impl Log {
    /// Bytes that a crash now would make the next start scan.
    pub fn unvouched_bytes(&self) -> u64 {
        self.flush.written_bytes - self.flush.vouched_bytes
    }

    /// Whether to [`Log::begin_flush`] now: `flush.messages` records wait, or one has waited `flush.ms`, or
    /// so much was written that the recovery point should move. Never while a flush is under way.
    pub fn flush_due(&mut self, now: Instant) -> bool {
        let waiting = self.written_end().0 - self.flush.durable_end.0;
        if waiting <= 0 || self.flush.in_flight.is_some() {
            return false;
        }
        let since = *self.flush.waiting_since.get_or_insert(now);
        let waited = Duration::from_millis(self.config.flush_ms.max(0) as u64);
        waiting >= self.config.flush_messages || now.since(since) >= waited || self.much_unvouched()
    }

    /// Starts to make everything that was written durable. `None` if there is nothing to do, a flush is under
    /// way, or the directory is offline. The job's outcome MUST come back through [`Log::finish_flush`].
    ///
    /// `producers` is asked now and then for the state of the producers after everything that was appended,
    /// which MUST have been written then.
    pub fn begin_flush(&mut self, producers: &mut dyn FnMut() -> ProducerSnapshot) -> Option<FlushJob> {
        let dirty = self.written_end() > self.flush.durable_end || self.flush.files.segments() > 0;
        if !dirty || self.flush.in_flight.is_some() {
            return None;
        }
        let vouch = self.vouch_due() && self.queue.is_empty();
        // What cannot be vouched for now (it needs files to be opened) can be flushed all the same.
        let vouched = vouch.then(|| self.prepare_vouch(&producers()).ok()).flatten();
        self.start_flush(vouched)
    }

    /// As [`Log::begin_flush`], and moves the recovery point to the written end: for logs that have been
    /// idle, so that a crash does not find them, and for the epochs of logs without records. `producers` as
    /// there.
    pub fn begin_vouch(&mut self, producers: &mut dyn FnMut() -> ProducerSnapshot) -> Option<FlushJob> {
        let nothing = self.recovery_point() == self.written_end()
            && self.flush.durable_end == self.written_end()
            && self.flush.epochs.is_none();
        if nothing || self.flush.in_flight.is_some() || self.write().is_err() {
            return None;
        }
        let vouched = self.prepare_vouch(&producers()).ok();
        self.start_flush(vouched)
    }

    /// Takes the outcome of a flush; gives the new durable end. The outcome of a flush that is not under way
    /// is ignored.
    pub fn finish_flush(&mut self, done: FlushDone) -> Offset {
        if let Some(flight) = self.flush.in_flight.take_if(|flight| flight.id == done.id)
            && done.result.is_ok()
        {
            self.flush.durable_end = self.flush.durable_end.max(flight.end);
            self.flush.waiting_since = None;
            // Nothing is vouched for whose epochs are not in the file.
            match (done.epochs, flight.vouches) {
                (None, Some(bytes)) => self.vouched(flight.end, bytes),
                (None, None) => {}
                (Some(epochs), _) => drop(self.flush.epochs.get_or_insert(epochs)),
            }
        }
        self.flush.durable_end
    }

    /// Closes the log for a clean stop: after the job (if there is one) was run and finished, the log is
    /// durable with all that belongs to it, and can be dropped. There MUST be no flush under way.
    pub fn close(&mut self, producers: &ProducerSnapshot) -> Result<Option<FlushJob>, LogError> {
        self.write()?;
        if self.flush.in_flight.is_some() {
            return Err(LogError::FlushUnderWay);
        }
        let done = self.flush.complete
            && !self.flush.folder_changed
            && self.recovery_point() == self.written_end()
            && self.flush.durable_end == self.written_end()
            && self.flush.epochs.is_none();
        if done {
            return Ok(None);
        }
        let complete = self.write_metadata().and_then(|()| self.active.complete_files(&self.config));
        complete.map_err(|error| self.fail("close", error))?;
        let vouched = self.prepare_vouch(producers)?;
        self.flush.folder_changed = true;
        Ok(self.start_flush(Some(vouched)))
    }

    /// Remembers the leader epochs; the next flush writes `leader-epoch-checkpoint` after the records that
    /// they are of.
    pub fn store_epochs(&mut self, epochs: &[EpochStart]) {
        self.flush.epochs = Some(format_epochs(epochs).into_bytes());
    }

    /// Whether the topic has given up flushes: what is acknowledged may be in the page cache only.
    pub fn is_relaxed(&self) -> bool {
        self.config.flush_messages == i64::MAX
    }

    /// Whether a flush that is begun now vouches. The first one after a crash does, so that another crash
    /// does not find the same to do again.
    fn vouch_due(&self) -> bool {
        self.flush.recovered || self.much_unvouched()
    }

    fn much_unvouched(&self) -> bool {
        if self.flush.files.segments() >= UNSYNCED_SEGMENTS_MAX {
            return true;
        }
        let bytes = if self.is_relaxed() { VOUCH_EVERY_BYTES_RELAXED } else { VOUCH_EVERY_BYTES };
        let every = bytes.max(self.snapshots.newest_len.saturating_mul(LOG_BYTES_PER_SNAPSHOT_BYTE));
        self.unvouched_bytes() >= every
    }

    /// Flushes, and vouches if that was prepared. There MUST be no flush under way.
    fn start_flush(&mut self, vouched: Option<Vec<Arc<dyn DiskFile>>>) -> Option<FlushJob> {
        if self.check_online().is_err() {
            return None;
        }
        let vouches = vouched.is_some().then_some(self.flush.written_bytes);
        let indexes = vouched.unwrap_or_default();
        let ToSync { logs, others } = self.flush.files.take();
        let active = self.active.file().map(Arc::clone);
        let files = logs.into_iter().chain(active).chain(indexes).chain(others);
        let mut steps: Vec<Step> = files.map(Step::File).collect();
        let folder = &self.place.folder;
        if let Some(bytes) = self.flush.epochs.take() {
            steps.push(Step::Epochs { folder: folder.clone(), bytes });
        }
        let unsynced = std::mem::take(&mut self.flush.unsynced);
        if unsynced {
            steps.push(Step::Path(folder.join(PARTITION_METADATA)));
        }
        if std::mem::take(&mut self.flush.folder_changed) {
            steps.push(Step::Dir(folder.clone()));
        }
        if unsynced {
            steps.push(Step::Dir(PathBuf::from(self.dir.path())));
        }
        self.flush.last_id += 1;
        let id = FlushId(self.flush.last_id);
        self.flush.recovered &= vouches.is_none();
        self.flush.in_flight = Some(InFlight { id, end: self.written_end(), vouches });
        let (disk, health) = (Arc::clone(self.dir.disk()), self.dir.health().clone());
        Some(FlushJob { id, steps, disk, health })
    }

    /// Puts what recovery would otherwise have to make anew into files, for the flush to sync; gives the
    /// indexes.
    fn prepare_vouch(&mut self, producers: &ProducerSnapshot) -> Result<Vec<Arc<dyn DiskFile>>, LogError> {
        self.check_online()?;
        let mut write = || {
            self.active.persist_indexes()?;
            if self.log_end > Offset::ZERO { self.store_snapshot(producers) } else { Ok(()) }
        };
        write().map_err(|error| self.fail("write indexes of", error))?;
        Ok(self.active.segment().open_indexes())
    }

    fn vouched(&mut self, end: Offset, bytes: u64) {
        self.slot.set_recovery_point(end);
        self.flush.vouched_bytes = bytes;
        if let Err(error) = self.prune_snapshots(self.slot.checkpointed()) {
            tracing::warn!(folder = %self.place.folder.display(), %error, "cannot remove an old producer snapshot");
        }
        self.dir.request_checkpoint();
    }
}
