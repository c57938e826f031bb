//! Taking records away: from the end (truncation), from the start (DeleteRecords), or all of them.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ottla_wire::Offset;

use super::{Active, Log, LogError};
use crate::dir::Doomed;
use crate::names::aside_name;
use crate::segment::index::SparseIndex;
use crate::segment::indexer::Indexer;
use crate::segment::{Segment, Sizes, cursor::CursorError};

impl Log {
    /// Takes away every batch that reaches to `to` or beyond, durably; gives the new log end, which is below
    /// `to` if `to` lies inside a batch. An offset below everything that is there restarts the log at it.
    pub fn truncate_to(&mut self, to: Offset) -> Result<Offset, LogError> {
        self.write()?;
        if to >= self.log_end {
            return Ok(self.log_end);
        }
        let segments = self.segments();
        let at = segments.partition_point(|segment| segment.base <= to);
        let Some(at) = at.checked_sub(1) else {
            self.restart_at(to)?;
            return Ok(to);
        };
        let segment = &segments[at];
        let found = segment.locate(to, segment.size()).map_err(|error| self.unreadable("truncate", error))?;
        let (position, end) = match found {
            Some(found) => (found.position, found.header.base_offset),
            None => (segment.size(), segment.end()),
        };
        self.lower_checkpoints(end)?;
        self.cut(&segments, at, position, end).map_err(|error| self.unreadable("truncate", error))?;
        Ok(end)
    }

    /// Takes away everything; the log goes on at `offset`. What is queued is dropped.
    pub fn restart_at(&mut self, offset: Offset) -> Result<(), LogError> {
        self.check_online()?;
        self.lower_checkpoints(offset)?;
        self.queue.clear();
        self.queued_bytes = 0;
        self.aborted.clear();
        self.restart(offset).map_err(|error| self.fail_halfway("restart", error))
    }

    /// Moves the start of the log up (DeleteRecords); segments that are wholly below it go. It survives a
    /// crash once [`DataDir::checkpoint`](crate::DataDir::checkpoint) has run, which is asked for here. An
    /// offset after the written end counts as the written end; the start never moves down.
    pub fn move_start(&mut self, offset: Offset) -> Result<(), LogError> {
        self.check_online()?;
        let offset = offset.min(self.written_end());
        if offset <= self.log_start() {
            return Ok(());
        }
        self.set_log_start(offset);
        let segments = self.segments();
        let gone = segments.windows(2).take_while(|pair| pair[1].base <= offset).count();
        let gone = self.removable(&segments, gone);
        self.remove_first(gone).map_err(|error| self.fail("delete records of", error))?;
        self.dir.request_checkpoint();
        Ok(())
    }

    /// Removes the first `count` segments: from the readers' sight, then from the log, later from the disk.
    pub(super) fn remove_first(&mut self, count: usize) -> io::Result<()> {
        if count == 0 {
            return Ok(());
        }
        let segments = self.segments();
        self.sync_snapshots_to(segments[count].base)?;
        self.publish_segments(segments[count..].to_vec());
        self.flush.removed(..segments[count].base);
        self.retire(&segments[..count])
    }

    pub(super) fn set_log_start(&self, offset: Offset) {
        self.shared.log_start.store(offset.0, Ordering::Release);
        self.slot.set_log_start(offset);
    }

    /// Renames the folder out of the way; gives its new path. The log is out of the checkpoints from here on.
    pub(super) fn move_aside(&self, suffix: &str) -> Result<PathBuf, LogError> {
        let aside = self.dir.path().join(aside_name(self.topic(), self.partition(), suffix));
        let disk = self.dir.disk();
        disk.rename(&self.place.folder, &aside).map_err(|error| self.fail("rename", error))?;
        self.dir.unregister(&self.name, &self.slot);
        disk.sync_dir(self.dir.path()).map_err(|error| self.fail("rename", error))?;
        Ok(aside)
    }

    /// Before the log ends at `to`: no checkpoint may vouch for what is there later, nor start the log after
    /// it.
    pub(super) fn lower_checkpoints(&self, to: Offset) -> Result<(), LogError> {
        let vouched = self.slot.recovery_point().max(self.slot.checkpointed());
        if vouched > to || self.slot.log_start() > to {
            self.slot.set_recovery_point(self.slot.recovery_point().min(to));
            self.slot.set_log_start(self.slot.log_start().min(to));
            self.dir.checkpoint().map_err(|error| self.fail_halfway("checkpoint", error))?;
        }
        Ok(())
    }

    fn cut(
        &mut self,
        segments: &[Arc<Segment>],
        at: usize,
        position: u64,
        end: Offset,
    ) -> Result<(), CursorError> {
        let old = &segments[at];
        old.offsets.persist()?;
        old.times.persist()?;
        let cut = cut_segment(old, position, end)?;
        let mut indexer = Indexer::resume(&cut)?;
        indexer.catch_up(&cut, self.config.index_interval_bytes)?;
        let active = Active::resume(Arc::new(cut), indexer)?;
        let mut left = segments[..at].to_vec();
        left.push(Arc::clone(active.segment()));
        self.publish_segments(left);
        self.active = active;
        self.ended_at(end);
        self.flush.removed(old.base..);
        self.retire(segments[at + 1..].iter().rev())?;
        self.remove_snapshots_after(end)?;
        let file = self.active.make_file(&self.config)?;
        file.set_len(position)?;
        file.sync_data()?;
        self.place.disk.sync_dir(&self.place.folder)?;
        if self.log_start() > end {
            self.set_log_start(end);
        }
        Ok(())
    }

    fn restart(&mut self, offset: Offset) -> io::Result<()> {
        let segments = self.segments();
        // All out of the way first: a new file may get the name of one of them.
        self.flush.removed(..);
        self.retire(segments.iter().rev())?;
        self.write_metadata()?;
        self.active = Active::create(&self.place, offset, &self.config)?;
        self.publish_segments(vec![Arc::clone(self.active.segment())]);
        self.ended_at(offset);
        self.remove_snapshots_after(Offset(-1))?;
        self.set_log_start(offset);
        self.place.disk.sync_dir(&self.place.folder)?;
        self.flush.restarted(offset);
        Ok(())
    }

    fn ended_at(&mut self, end: Offset) {
        self.log_end = end;
        self.recent.clear();
        self.flush.truncated(end);
    }

    /// Takes the files of segments out of the log, in the order given: what a crash leaves of it MUST be
    /// without a hole.
    fn retire<'a>(&self, segments: impl IntoIterator<Item = &'a Arc<Segment>>) -> io::Result<()> {
        let mut files = Vec::new();
        for segment in segments {
            files.extend(segment.retire()?);
        }
        if !files.is_empty() {
            let delay = Duration::from_millis(self.config.file_delete_delay_ms);
            self.dir.doom(Doomed::Files(files), delay);
        }
        Ok(())
    }

    pub(super) fn unreadable(&self, doing: &str, error: CursorError) -> LogError {
        self.fail_halfway(doing, error.into())
    }
}

/// The segment as it is when it ends at `position`: the same files, with shorter indexes.
fn cut_segment(old: &Segment, position: u64, end: Offset) -> io::Result<Segment> {
    let relative_end = end.0 - old.base.0;
    let sizes = Sizes {
        log: position,
        offsets: count_while(&old.offsets, |_, value| u64::from(value) < position)?,
        times: count_while(&old.times, |_, value| i64::from(value) < relative_end)?,
        txns: old.txns.len(),
    };
    let cut = Segment::new(&old.place, old.base, sizes, end);
    cut.offsets.truncate(sizes.offsets)?;
    cut.times.truncate(sizes.times)?;
    cut.txns.truncate(end)?;
    Ok(cut)
}

/// How many entries at the start fulfil what only entries at the start do.
fn count_while(index: &SparseIndex, holds: impl Fn(i64, u32) -> bool) -> io::Result<usize> {
    let (mut low, mut high) = (0, index.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let entry = index.get(middle)?;
        if holds(entry.key, entry.value) { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}
