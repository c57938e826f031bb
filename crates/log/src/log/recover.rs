//! Opening the files of a log: finding out what is there, scanning what no recovery point vouches for,
//! cutting what is not whole, making indexes anew, showing the batches to who rebuilds the producers.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ottla_wire::batch::BatchHeader;
use ottla_wire::{EpochStart, LeaderEpoch, Offset};

use super::listing::{Listing, list};
use super::lost::LostSegments;
use super::open::failed;
use super::replay::{Met, each_batch};
use super::{Active, FlushState, LogError, Replay, Snapshots};
use crate::config::LogConfig;
use crate::dir::checkpoint::{CHECKPOINT_BYTES_MAX, parse_epochs};
use crate::dir::{DataDir, Doomed, Recovery};
use crate::disk::{Open, read_file};
use crate::names::{FileKind, LEADER_EPOCHS};
use crate::segment::cursor::{Cursor, CursorError, LOOKUP_WINDOW, SCAN_WINDOW, read_control};
use crate::segment::indexer::Indexer;
use crate::segment::txn_index::ENTRY_LEN;
use crate::segment::{LogFolder, Segment, Sizes};

/// A log as it was found and made whole.
pub(super) struct Recovered {
    pub segments: Vec<Arc<Segment>>,
    pub active: Active,
    pub flush: FlushState,
    pub snapshots: Snapshots,
    pub epochs: Vec<EpochStart>,
    pub epochs_learnt: bool,
    pub log_start: Offset,
    pub log_end: Offset,
    pub scanned_bytes: u64,
    pub cut_bytes: u64,
}

/// See [`super::Log::open`].
pub(super) fn recover(
    dir: &DataDir,
    place: &Arc<LogFolder>,
    config: &LogConfig,
    recovery: Recovery,
    replay: &mut dyn Replay,
) -> Result<Recovered, LogError> {
    let trusted = if recovery.clean { Offset(i64::MAX) } else { recovery.recovery_point };
    let mut loader = Loader {
        dir,
        place,
        config,
        trusted,
        scanned_bytes: 0,
        cut_bytes: 0,
        changed: Vec::new(),
        lost: LostSegments { trusted, compact: config.compact },
        damaged: BTreeSet::new(),
        met: Met::default(),
    };
    let listing = list(place).map_err(|error| failed(dir, place, error))?;
    if let Some(name) = &listing.unfinished {
        return Err(LogError::UnfinishedCompaction { path: place.folder.join(name) });
    }
    loader.lost.check_orphans(&listing).map_err(|error| of_folder(dir, place, error))?;
    if !listing.leftovers.is_empty() {
        let leftovers = listing.leftovers.iter().map(|name| place.folder.join(name)).collect();
        dir.doom(Doomed::Files(leftovers), Duration::ZERO);
    }
    loader.load(listing, recovery, replay).map_err(|error| of_folder(dir, place, error))
}

fn of_folder(dir: &DataDir, place: &LogFolder, error: CursorError) -> LogError {
    match error {
        CursorError::Corrupt { position, what } => {
            LogError::Corrupt { path: place.folder.clone(), position, what }
        }
        CursorError::Io(error) => failed(dir, place, error),
    }
}

struct Loader<'a> {
    dir: &'a DataDir,
    place: &'a Arc<LogFolder>,
    config: &'a LogConfig,
    /// Everything below was synced, indexes and all.
    trusted: Offset,
    scanned_bytes: u64,
    cut_bytes: u64,
    /// Closed segments whose files are not known to be durable.
    changed: Vec<Arc<Segment>>,
    lost: LostSegments,
    /// Segments whose indexes cannot be what was written.
    damaged: BTreeSet<Offset>,
    met: Met,
}

impl Loader<'_> {
    fn load(
        &mut self,
        listing: Listing,
        recovery: Recovery,
        replay: &mut dyn Replay,
    ) -> Result<Recovered, CursorError> {
        let complete = listing.segments.last_key_value().is_some_and(|(_, kinds)| {
            recovery.clean && kinds.contains(&FileKind::Index) && kinds.contains(&FileKind::TimeIndex)
        });
        let (mut segments, last) = self.load_segments(&listing.segments)?;
        let active = match last {
            Some(indexer) => {
                let Some(last) = segments.last() else { unreachable!("the indexer is the last segment's") };
                Active::resume(Arc::clone(last), indexer)?
            }
            None => {
                let active = Active::planned(self.place, recovery.log_start)?;
                segments.push(Arc::clone(active.segment()));
                active
            }
        };
        let log_end = active.end();
        if log_end < recovery.recovery_point {
            tracing::error!(folder = %self.place.folder.display(), %log_end, synced = %recovery.recovery_point,
                "records that were on stable storage are gone: the newest files of the log are missing or damaged");
        }
        let log_start = recovery.log_start.max(segments[0].base);
        // What is below the first segment was synced before it was deleted.
        let known = self.trusted.max(segments[0].base).min(log_end);
        let mut snapshots = Snapshots { offsets: listing.snapshots, newest_len: 0 };
        let stored_epochs = self.read_epochs()?;
        let epochs = self.replay(&segments, &mut snapshots, known, stored_epochs.clone(), replay)?;
        let epochs = trim_start(epochs, log_start);
        let mut flush = FlushState::new(known, self.scanned_bytes, !recovery.clean);
        for segment in &self.changed {
            flush.files.add_segment(segment, segment.file()?);
        }
        if !recovery.clean {
            for offset in snapshots.offsets.range(known..) {
                let path = self.place.path(*offset, FileKind::Snapshot);
                flush.snapshot_written(*offset, self.place.disk.open(&path, Open::Write)?);
            }
            flush.recovered();
        }
        if self.cut_bytes > 0 {
            flush.folder_changed();
        } else if complete && self.damaged.is_empty() {
            flush.found_complete();
        }
        Ok(Recovered {
            segments,
            active,
            flush,
            snapshots,
            epochs_learnt: stored_epochs.unwrap_or_default() != epochs,
            epochs,
            log_start,
            log_end,
            scanned_bytes: self.scanned_bytes,
            cut_bytes: self.cut_bytes,
        })
    }

    /// The segments, and the indexer of the last one.
    fn load_segments(
        &mut self,
        found: &BTreeMap<Offset, BTreeSet<FileKind>>,
    ) -> Result<(Vec<Arc<Segment>>, Option<Indexer>), CursorError> {
        let mut segments = Vec::with_capacity(found.len());
        let mut indexer = None;
        let mut rest = found.iter().peekable();
        while let Some((base, kinds)) = rest.next() {
            let next = rest.peek().map(|(base, _)| **base);
            let sizes = self.sizes(*base, kinds)?;
            if let Some(next) = next.filter(|_| sizes.log == 0) {
                self.lost.check(*base, next, "empty")?;
            }
            let indexed = kinds.contains(&FileKind::Index)
                && kinds.contains(&FileKind::TimeIndex)
                && !self.damaged.contains(base);
            // A recovery point at the very end of a segment may be older than the last entries of its
            // indexes.
            if let Some(next) = next.filter(|next| *next < self.trusted && indexed) {
                segments.push(Arc::new(Segment::new(self.place, *base, sizes, next)));
                continue;
            }
            let walked = self.walk(*base, sizes, next)?;
            let segment = Arc::new(walked.segment);
            if let Some(next) = next.filter(|_| !walked.cut) {
                self.complete(&segment, walked.indexer, next < self.trusted)?;
            }
            segments.push(segment);
            indexer = Some(walked.indexer);
            if walked.cut {
                for (base, _) in rest.by_ref() {
                    self.remove_segment(*base)?;
                }
            }
        }
        Ok((segments, indexer))
    }

    fn sizes(&mut self, base: Offset, kinds: &BTreeSet<FileKind>) -> io::Result<Sizes> {
        let len = |kind| match kinds.contains(&kind) {
            true => self.place.disk.len(&self.place.path(base, kind)),
            false => Ok(0),
        };
        let (log, index, times, txns) =
            (len(FileKind::Log)?, len(FileKind::Index)?, len(FileKind::TimeIndex)?, len(FileKind::TxnIndex)?);
        let torn = index % 8 != 0 || times % 12 != 0;
        if torn || log > 0 && times == 0 {
            self.damaged.insert(base);
        }
        let (offsets, times) = ((index / 8) as usize, (times / 12) as usize);
        Ok(Sizes { log, offsets, times, txns: txns / ENTRY_LEN as u64 })
    }

    /// Completes a closed segment that was walked. If the next start will `trust` its indexes, they are
    /// synced now.
    fn complete(&mut self, segment: &Arc<Segment>, mut indexer: Indexer, trust: bool) -> io::Result<()> {
        indexer.note_time(segment);
        for index in [&segment.offsets, &segment.times] {
            let file = index.file(Open::Create)?;
            index.persist()?;
            if trust {
                file.sync_data()?;
            }
        }
        self.changed.push(Arc::clone(segment));
        Ok(())
    }

    fn remove_segment(&mut self, base: Offset) -> io::Result<()> {
        let segment = Segment::new(self.place, base, Sizes::default(), base);
        self.cut_bytes += self.place.disk.len(&self.place.path(base, FileKind::Log))?;
        let delay = Duration::from_millis(self.config.file_delete_delay_ms);
        self.dir.doom(Doomed::Files(segment.retire()?), delay);
        Ok(())
    }

    /// Walks over a segment from where its indexes are known to be right; scans from the trusted offset on.
    fn walk(&mut self, base: Offset, sizes: Sizes, next: Option<Offset>) -> Result<Walked, CursorError> {
        let mut trusted = self.trusted;
        loop {
            let (walked, end) = self.walk_once(base, sizes, trusted, next)?;
            // The records behind it were on stable storage, too, and are not given up for it.
            if let Some(next) = next.filter(|next| walked.cut && *next < self.trusted) {
                tracing::error!(segment = %self.place.path(base, FileKind::Log).display(), %end,
                    "log is damaged below what was synced: what comes after this cannot be read in this segment");
                walked.segment.publish(sizes.log, next, walked.indexer.largest());
                return Ok(Walked { cut: false, ..walked });
            }
            let contradicted = walked.cut || next.is_none() && trusted != Offset(i64::MAX);
            if end < trusted && trusted > base && contradicted {
                let segment = self.place.path(base, FileKind::Log);
                tracing::error!(segment = %segment.display(), %end, %trusted,
                    "log is damaged below what was synced: scanning the segment from its start");
                trusted = base;
                continue;
            }
            let size = walked.segment.size();
            if walked.cut {
                tracing::warn!(segment = %self.place.path(base, FileKind::Log).display(), %end,
                    bytes = sizes.log - size, "cut off the end of a segment that was not whole");
                self.cut_bytes += sizes.log - size;
                walked.segment.file()?.set_len(size)?;
            }
            return Ok(walked);
        }
    }

    fn walk_once(
        &mut self,
        base: Offset,
        sizes: Sizes,
        trusted: Offset,
        next: Option<Offset>,
    ) -> Result<(Walked, Offset), CursorError> {
        self.met.forget(base);
        let segment = Segment::new(self.place, base, sizes, base);
        let prefix = self.prefix(&segment, sizes, trusted)?;
        let damaged = self.damaged.contains(&base);
        if prefix.offsets < sizes.offsets || damaged {
            segment.offsets.truncate(prefix.offsets)?;
        }
        if prefix.times < sizes.times || damaged {
            segment.times.truncate(prefix.times)?;
        }
        let mut indexer = Indexer::resume(&segment)?;
        let file = segment.file()?;
        let window = if trusted == Offset(i64::MAX) { LOOKUP_WINDOW } else { SCAN_WINDOW };
        let mut cursor = Cursor::new(&file, prefix.position, sizes.log, window);
        let next_base = next.unwrap_or(Offset(i64::MAX));
        let mut rules = Rules { end: base, gaps: false, epoch: LeaderEpoch::NONE, next: next_base };
        let mut size = prefix.position;
        let cut = loop {
            let found = match cursor.next() {
                Ok(Some(found)) => found,
                Ok(None) => break next.is_some_and(|next| next > trusted && self.has_hole(&rules)),
                Err(CursorError::Corrupt { .. }) => break true,
                Err(error) => return Err(error),
            };
            let scan = found.header.last_offset() >= trusted;
            if scan {
                self.scanned(found.header.total_len() as u64);
            }
            if !rules.allow(&found.header, scan) || scan && !cursor.crc_matches(&found)? {
                break true;
            }
            rules.accept(&found.header);
            if found.position == prefix.position && prefix.offsets > 0 {
                indexer.skip(&found.header);
            } else {
                indexer.note_found(
                    &segment,
                    &found.header,
                    found.position,
                    self.config.index_interval_bytes,
                )?;
            }
            size = found.end();
            self.met.add(base, found);
        };
        segment.publish(size, rules.end, indexer.largest());
        Ok((Walked { segment, indexer, cut }, rules.end))
    }

    /// Whether the end of a closed segment is missing. Files reach the disk in any order, so the segment
    /// after it may be whole; it goes too, or the log would have a hole. Only compaction leaves a hole that
    /// is none, and other gaps.
    fn has_hole(&self, rules: &Rules) -> bool {
        rules.end < rules.next && !(self.config.compact && rules.gaps)
    }

    /// The index entries that can be believed: all of a cleanly closed log, those below the recovery point
    /// otherwise, and none if the last of them does not point at its batch.
    fn prefix(&self, found: &Segment, sizes: Sizes, trusted: Offset) -> io::Result<Prefix> {
        let base = found.base;
        let clean = trusted == Offset(i64::MAX);
        let zeroed = || Ok::<bool, io::Error>(found.times.last()?.is_some_and(|last| last.is_zero()));
        if self.damaged.contains(&base) || clean && sizes.times > 0 && zeroed()? {
            return Ok(Prefix::default());
        }
        if clean && sizes.offsets == 0 {
            return Ok(Prefix { times: sizes.times, ..Prefix::default() });
        }
        if sizes.offsets == 0 || trusted <= base {
            return Ok(Prefix::default());
        }
        let (offsets, last) = if clean {
            (sizes.offsets, found.offsets.last()?)
        } else {
            let mut entries = found.offsets.read_all()?;
            entries.retain(|entry| base.0 + entry.key < trusted.0);
            (entries.len(), entries.last().copied())
        };
        let Some(last) = last else { return Ok(Prefix::default()) };
        let position = u64::from(last.value);
        let mut cursor = Cursor::new(&found.file()?, position.min(sizes.log), sizes.log, LOOKUP_WINDOW);
        let points_at = cursor.next().ok().flatten();
        if points_at.is_none_or(|batch| batch.header.last_offset().0 != base.0 + last.key) {
            return Ok(Prefix::default());
        }
        let times = match clean {
            true => sizes.times,
            false => found.times.read_all()?.iter().take_while(|e| i64::from(e.value) <= last.key).count(),
        };
        // A time index of zeros, or none.
        if times == 0 {
            return Ok(Prefix::default());
        }
        Ok(Prefix { offsets, times, position })
    }

    /// Shows the batches after the newest usable snapshot; gives the leader epochs. The transaction indexes
    /// of what was scanned are made anew on the way.
    fn replay(
        &mut self,
        segments: &[Arc<Segment>],
        snapshots: &mut Snapshots,
        known: Offset,
        stored_epochs: Option<Vec<EpochStart>>,
        replay: &mut dyn Replay,
    ) -> Result<Vec<EpochStart>, CursorError> {
        let Some(log_end) = segments.last().map(|segment| segment.end()) else {
            unreachable!("a log has a segment")
        };
        let clean = self.trusted == Offset(i64::MAX);
        for segment in segments.iter().filter(|segment| !clean && segment.end() >= known) {
            segment.txns.truncate(known)?;
        }
        let snapshot = snapshots.newest_usable(self.place, known, log_end)?;
        let replay_from = snapshot.as_ref().map_or(segments[0].base, |(offset, _)| *offset);
        replay.snapshot(snapshot.map(|(_, snapshot)| snapshot));
        let (mut epochs, epochs_from) = match stored_epochs {
            Some(epochs) => (epochs, known),
            None => (Vec::new(), segments[0].base),
        };
        // The checkpoint may be newer than what is vouched for: from there on the batches say it.
        epochs.retain(|epoch| epoch.start < epochs_from.min(log_end));
        let from = replay_from.min(epochs_from);
        each_batch(segments, from, &self.met, |segment, file, found| {
            let header = &found.header;
            if header.last_offset() >= epochs_from {
                assign(&mut epochs, header.partition_leader_epoch, header.base_offset);
            }
            if header.last_offset() < replay_from {
                return Ok(());
            }
            match replay.batch(header, read_control(file, found)?) {
                Some(aborted) if aborted.last_offset >= known => Ok(segment.txns.append(&[aborted])?),
                Some(_) | None => Ok(()),
            }
        })?;
        Ok(epochs)
    }

    /// `None` if the file is missing or damaged: then the log says what its epochs are.
    fn read_epochs(&self) -> io::Result<Option<Vec<EpochStart>>> {
        let path = self.place.folder.join(LEADER_EPOCHS);
        let read = read_file(&*self.place.disk, &path, CHECKPOINT_BYTES_MAX);
        match read.and_then(|text| parse_epochs(&text)) {
            Ok(epochs) => Ok(Some(epochs)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn scanned(&mut self, bytes: u64) {
        self.scanned_bytes += bytes;
        self.dir.progress().add(bytes, bytes);
    }
}

struct Walked {
    segment: Segment,
    indexer: Indexer,
    /// The segment ended in something that was not a whole batch.
    cut: bool,
}

#[derive(Default)]
struct Prefix {
    offsets: usize,
    times: usize,
    /// Of the batch of the last of these entries.
    position: u64,
}

/// What must hold of one batch after the other.
struct Rules {
    end: Offset,
    /// Offsets are missing between batches.
    gaps: bool,
    epoch: LeaderEpoch,
    /// The base of the next segment.
    next: Offset,
}

impl Rules {
    fn allow(&self, header: &BatchHeader, scan: bool) -> bool {
        let epoch = header.partition_leader_epoch;
        let in_order = header.base_offset >= self.end && header.last_offset() < self.next;
        // An older epoch after a newer one is what a truncation had taken away and a crash has brought back.
        in_order && !(scan && epoch > LeaderEpoch::NONE && epoch < self.epoch)
    }

    fn accept(&mut self, header: &BatchHeader) {
        self.gaps |= header.base_offset > self.end;
        self.end = header.next_offset();
        self.epoch = header.partition_leader_epoch;
    }
}

/// Adds an epoch as its first batch is met: what contradicts it goes.
fn assign(epochs: &mut Vec<EpochStart>, epoch: LeaderEpoch, start: Offset) {
    if epoch < LeaderEpoch(0) || epochs.last().is_some_and(|last| last.epoch == epoch && last.start <= start)
    {
        return;
    }
    epochs.retain(|old| old.epoch < epoch && old.start < start);
    epochs.push(EpochStart { epoch, start });
}

/// The epoch at the log's start starts there.
fn trim_start(mut epochs: Vec<EpochStart>, log_start: Offset) -> Vec<EpochStart> {
    let first = epochs.partition_point(|epoch| epoch.start <= log_start).saturating_sub(1);
    epochs.drain(..first);
    if let Some(first) = epochs.first_mut() {
        first.start = first.start.max(log_start);
    }
    epochs
}
