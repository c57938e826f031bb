//! The segment that grows.

use std::io;
use std::sync::Arc;

use ottla_wire::batch::BatchHeader;
use ottla_wire::{Offset, Timestamp};

use crate::config::LogConfig;
use crate::disk::{DiskFile, Open};
use crate::names::{FileKind, random};
use crate::reader::Bound;
use crate::segment::cursor::{Cursor, LOOKUP_WINDOW};
use crate::segment::index::UNPERSISTED_ENTRIES_MAX;
use crate::segment::indexer::Indexer;
use crate::segment::{LogFolder, Segment, Sizes};
use crate::verdict::Verdict;

/// What the owner knows of the segment that grows.
#[derive(Debug)]
pub(super) struct Active {
    segment: Arc<Segment>,
    /// `None` until something is written to a segment that nothing made yet.
    file: Option<Arc<dyn DiskFile>>,
    indexer: Indexer,
    /// Bytes written.
    size: u64,
    /// The offset after what is written.
    end: Offset,
    /// The largest timestamp of the first batch: the age of a segment counts from it.
    first_timestamp: Option<Timestamp>,
    /// When the segment was first asked for its age, for records without timestamps.
    seen: Option<Timestamp>,
    /// Decides how much of `segment.jitter.ms` is taken off.
    jitter: u64,
}

/// Asks for the space of a whole segment. One for which there is no room yet grows as it is written to.
fn allocate(file: &dyn DiskFile, bytes: u64) -> io::Result<()> {
    match file.allocate(bytes) {
        Err(error) if Verdict::of(&error) == Verdict::Full => Ok(()),
        allocated => allocated,
    }
}

/// The largest relative offset and position that an index can hold.
const RELATIVE_MAX: i64 = i32::MAX as i64;

impl Active {
    /// The first segment of a log, whose file is made when it is first written to: a thousand partitions that
    /// nobody has used yet need not cost a thousand files.
    pub fn planned(place: &Arc<LogFolder>, base: Offset) -> io::Result<Active> {
        let segment = Segment::new(place, base, Sizes::default(), base);
        let indexer = Indexer::resume(&segment)?;
        Ok(Active {
            segment: Arc::new(segment),
            file: None,
            indexer,
            size: 0,
            end: base,
            first_timestamp: None,
            seen: None,
            jitter: random(),
        })
    }

    /// A new segment and its file. Where that fails there is no file either: an empty one would say that the
    /// segment before it ends there.
    pub fn create(place: &Arc<LogFolder>, base: Offset, config: &LogConfig) -> io::Result<Active> {
        let mut active = Active::planned(place, base)?;
        if let Err(error) = active.make_file(config) {
            match place.disk.remove_file(&place.path(base, FileKind::Log)) {
                Err(stays) if stays.kind() != io::ErrorKind::NotFound => return Err(stays),
                Ok(()) | Err(_) => return Err(error),
            }
        }
        Ok(active)
    }

    /// Goes on with a segment whose indexes are complete.
    pub fn resume(segment: Arc<Segment>, indexer: Indexer) -> io::Result<Active> {
        let file = segment.file()?;
        let (size, end) = (segment.size(), segment.end());
        let mut first = Cursor::new(&file, 0, size, LOOKUP_WINDOW);
        // A first batch that cannot be read has no time; whoever reads it will find out.
        let first_timestamp = first.next().ok().flatten().map(|found| found.header.max_timestamp);
        segment.publish(size, end, indexer.largest());
        let file = Some(file);
        Ok(Active { segment, file, indexer, size, end, first_timestamp, seen: None, jitter: random() })
    }

    pub fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// The file, if it was made.
    pub fn file(&self) -> Option<&Arc<dyn DiskFile>> {
        self.file.as_ref()
    }

    /// The file, made if there is none.
    pub fn make_file(&mut self, config: &LogConfig) -> io::Result<Arc<dyn DiskFile>> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        let file = self.segment.make_file()?;
        if config.preallocate {
            allocate(&*file, config.segment_bytes)?;
        }
        self.file = Some(Arc::clone(&file));
        Ok(file)
    }

    pub fn base(&self) -> Offset {
        self.segment.base
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn end(&self) -> Offset {
        self.end
    }

    pub fn bound(&self) -> Bound {
        Bound { offset: self.end, segment_base: self.base(), position: self.size }
    }

    /// Whether an index can point at a batch that starts after `queued` more bytes.
    pub fn fits(&self, queued: u64, header: &BatchHeader) -> bool {
        let end = self.size + queued + header.total_len() as u64;
        end <= RELATIVE_MAX as u64 && header.last_offset().0 - self.base().0 <= RELATIVE_MAX
    }

    /// Kafka's rule: the segment would get too large, is too old, or an index is full.
    pub fn roll_due(
        &mut self,
        queued: u64,
        header: &BatchHeader,
        wall: Timestamp,
        config: &LogConfig,
    ) -> bool {
        let size = self.size + queued;
        if size == 0 {
            return !self.fits(queued, header);
        }
        let entries_max = |entry_len: u64| (config.segment_index_bytes / entry_len) as usize;
        size + header.total_len() as u64 > config.segment_bytes
            || self.age(header.max_timestamp, wall) > self.age_max(config)
            || self.segment.offsets.len() >= entries_max(8)
            || self.segment.times.len() + 1 >= entries_max(12)
            || !self.fits(queued, header)
    }

    /// Makes room in memory for the index entries of so many batches.
    pub fn make_index_room(&self, batches: usize) -> io::Result<()> {
        match self.segment.offsets.unpersisted() + batches > UNPERSISTED_ENTRIES_MAX {
            true => self.persist_indexes(),
            false => Ok(()),
        }
    }

    /// Counts a batch that was written at the end. There MUST be room for its index entries.
    pub fn wrote(&mut self, header: &BatchHeader, interval: u64) {
        if self.size == 0 {
            self.first_timestamp = Some(header.max_timestamp);
        }
        self.indexer.note(&self.segment, header, self.size, interval);
        self.size += header.total_len() as u64;
        self.end = header.next_offset();
    }

    /// Shows readers what was written.
    pub fn publish(&self) {
        self.segment.publish(self.size, self.end, self.indexer.largest());
    }

    /// Writes the index entries that are only in memory to the files. Nothing is synced.
    pub fn persist_indexes(&self) -> io::Result<()> {
        self.segment.offsets.persist()?;
        self.segment.times.persist()
    }

    /// Completes the indexes before the segment is closed.
    pub fn complete_indexes(&mut self) -> io::Result<()> {
        self.indexer.note_time(&self.segment);
        self.persist_indexes()
    }

    /// Leaves the files as Kafka does when it stops: both indexes exist and are complete.
    pub fn complete_files(&mut self, config: &LogConfig) -> io::Result<()> {
        let file = self.make_file(config)?;
        self.complete_indexes()?;
        self.segment.offsets.file(Open::Create)?;
        self.segment.times.file(Open::Create)?;
        if config.preallocate { file.set_len(self.size) } else { Ok(()) }
    }

    fn age(&mut self, newest: Timestamp, wall: Timestamp) -> i64 {
        let seen = *self.seen.get_or_insert(wall);
        match self.first_timestamp {
            Some(first) if first > Timestamp::NONE && newest > Timestamp::NONE => {
                newest.0.saturating_sub(first.0)
            }
            _ => wall.0.saturating_sub(seen.0),
        }
    }

    fn age_max(&self, config: &LogConfig) -> i64 {
        let jitter = config.segment_jitter_ms.min(config.segment_ms).max(0) as u64;
        config.segment_ms - if jitter == 0 { 0 } else { (self.jitter % jitter) as i64 }
    }
}
