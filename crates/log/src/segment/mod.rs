//! One segment: a `.log` file with its indexes, shared between the owner of the log and its readers.

pub(crate) mod cursor;
pub(crate) mod index;
pub(crate) mod indexer;
pub(crate) mod order;
pub(crate) mod txn_index;

use std::cmp::Ordering::{Equal, Greater, Less};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use ottla_wire::batch::HEADER_LEN;
use ottla_wire::{Offset, Timestamp};

use crate::disk::{Cold, Disk, DiskFile, FileSlot, Open};
use crate::names::{DELETED, FileKind, file_name};
use crate::verdict::Verdict;
use cursor::{Cursor, CursorError, Found, LOOKUP_WINDOW};
use index::{Around, Entry, SparseIndex};
use txn_index::TxnIndex;

/// Where the files of a log are.
#[derive(Debug)]
pub(crate) struct LogFolder {
    pub disk: Arc<dyn Disk>,
    pub folder: PathBuf,
}

impl LogFolder {
    pub fn new(disk: Arc<dyn Disk>, folder: PathBuf) -> LogFolder {
        LogFolder { disk, folder }
    }

    pub fn path(&self, base: Offset, kind: FileKind) -> PathBuf {
        self.folder.join(file_name(base, kind))
    }
}

/// A segment. The owner of the log writes; what readers may see is in the atomics. A segment that is
/// truncated is replaced by a new `Segment` over the same file, so `size` and `end` only grow.
#[derive(Debug)]
pub(crate) struct Segment {
    pub place: Arc<LogFolder>,
    pub base: Offset,
    log: FileSlot,
    pub offsets: SparseIndex,
    pub times: SparseIndex,
    pub txns: TxnIndex,
    size: AtomicU64,
    end: AtomicI64,
    largest_timestamp: AtomicI64,
    /// A descriptor has been used since the last [`Segment::close_if_idle`].
    used: AtomicBool,
}

/// `largest_timestamp` of a segment whose time index has not been asked yet.
const UNKNOWN: i64 = i64::MIN;

/// How many entries and bytes the files of a segment have.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sizes {
    pub log: u64,
    pub offsets: usize,
    pub times: usize,
    pub txns: u64,
}

impl Segment {
    /// A segment whose files have these sizes and whose last batch ends at `end`.
    pub fn new(place: &Arc<LogFolder>, base: Offset, sizes: Sizes, end: Offset) -> Segment {
        let unknown = sizes.times > 0;
        Segment {
            place: Arc::clone(place),
            base,
            log: FileSlot::default(),
            offsets: SparseIndex::new(place, base, FileKind::Index, sizes.offsets),
            times: SparseIndex::new(place, base, FileKind::TimeIndex, sizes.times),
            txns: TxnIndex::new(place, base, sizes.txns),
            size: AtomicU64::new(sizes.log),
            end: AtomicI64::new(end.0),
            largest_timestamp: AtomicI64::new(if unknown { UNKNOWN } else { Timestamp::NONE.0 }),
            used: AtomicBool::new(true),
        }
    }

    /// Bytes that readers may see.
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// The offset after the last batch that readers may see.
    pub fn end(&self) -> Offset {
        Offset(self.end.load(Ordering::Acquire))
    }

    /// Shows readers more. Only the owner may.
    pub fn publish(&self, size: u64, end: Offset, largest_timestamp: Timestamp) {
        self.largest_timestamp.store(largest_timestamp.0, Ordering::Release);
        // Who has loaded a size finds an end that is beyond all of it.
        self.end.store(end.0, Ordering::Release);
        self.size.store(size, Ordering::Release);
    }

    /// The largest timestamp of a record; `Timestamp::NONE` if no record has one.
    pub fn largest_timestamp(&self) -> io::Result<Timestamp> {
        let known = self.largest_timestamp.load(Ordering::Acquire);
        if known != UNKNOWN {
            return Ok(Timestamp(known));
        }
        let last = match self.times.last()? {
            // By it retention would delete the segment, and searches would pass over it.
            Some(last) if last.is_zero() => self.walk_for_timestamp()?,
            last => last.map_or(Timestamp::NONE, |entry| Timestamp(entry.key)),
        };
        self.largest_timestamp.store(last.0, Ordering::Release);
        Ok(last)
    }

    /// The largest timestamp by the headers of the batches, as far as they can be read.
    fn walk_for_timestamp(&self) -> io::Result<Timestamp> {
        let mut cursor = Cursor::new(&self.file()?, 0, self.size(), LOOKUP_WINDOW);
        let mut largest = Timestamp::NONE;
        loop {
            match cursor.next() {
                Ok(Some(found)) => largest = largest.max(found.header.max_timestamp),
                Ok(None) | Err(CursorError::Corrupt { .. }) => return Ok(largest),
                Err(CursorError::Io(error)) => return Err(error),
            }
        }
    }

    /// The `.log` file, made if there is none.
    pub fn make_file(&self) -> io::Result<Arc<dyn DiskFile>> {
        self.log.get(&*self.place.disk, || self.place.path(self.base, FileKind::Log).into(), Open::Create)
    }

    /// The `.log` file.
    pub fn file(&self) -> io::Result<Arc<dyn DiskFile>> {
        self.file_if(Cold::Wait)
    }

    /// The `.log` file for a read that is not to wait for the disk unless `cold` says so.
    pub fn file_if(&self, cold: Cold) -> io::Result<Arc<dyn DiskFile>> {
        self.used.store(true, Ordering::Relaxed);
        self.log.get_if(&*self.place.disk, || self.place.path(self.base, FileKind::Log).into(), cold)
    }

    /// The files of the indexes, as far as they are open.
    pub fn open_indexes(&self) -> Vec<Arc<dyn DiskFile>> {
        let files = [self.offsets.open_file(), self.times.open_file(), self.txns.open_file()];
        files.into_iter().flatten().collect()
    }

    /// The first batch below position `limit` that holds `offset` or a later one.
    pub fn locate(&self, offset: Offset, limit: u64) -> Result<Option<Found>, CursorError> {
        self.search(offset, limit, Cold::Wait, |cursor| cursor)
    }

    /// As [`Segment::locate`], for a reader: a batch that does not lie within `offsets`, or not behind the
    /// one before, is corruption.
    pub fn locate_within(
        &self,
        offset: Offset,
        limit: u64,
        offsets: &Range<Offset>,
        cold: Cold,
    ) -> Result<Option<Found>, CursorError> {
        self.search(offset, limit, cold, |cursor| cursor.in_order(offsets.clone()))
    }

    fn search(
        &self,
        offset: Offset,
        limit: u64,
        cold: Cold,
        with: impl Fn(Cursor) -> Cursor,
    ) -> Result<Option<Found>, CursorError> {
        if limit == 0 {
            return Ok(None); // there may be no file yet
        }
        let file = self.file_if(cold)?;
        let cursor = |from, window| with(Cursor::new(&file, from, limit, window).when_cold(cold));
        let Around { floor, next } = self.offsets.around(offset.0 - self.base.0, cold)?;
        // The first batch of a segment has no entry.
        let [floor, next] = [floor, next].map(|e| e.filter(|e| (1..limit).contains(&u64::from(e.value))));
        let start = floor.map_or(0, |entry| u64::from(entry.value));
        // Large batches have an entry each, with their last offset, so the next one is most likely of the
        // batch itself.
        if let Some(next) = next
            && u64::from(next.value) > start + LOOKUP_WINDOW as u64
            && let Ok(Some(found)) = cursor(next.value.into(), HEADER_LEN).next()
            && found.holds(offset)
            && self.relative(&found) == next.key
        {
            return Ok(Some(found));
        }
        let Some(floor) = floor else { return seek(&mut cursor(0, LOOKUP_WINDOW), offset) };
        match self.seek_from(floor, &mut cursor(start, LOOKUP_WINDOW), offset) {
            // An index that leads astray is not worth losing the segment for.
            Err(CursorError::Corrupt { .. }) => match cold {
                Cold::Wait => seek(&mut cursor(0, LOOKUP_WINDOW), offset),
                // To walk over the whole segment takes a while, whether it is in memory or not.
                Cold::Refuse => Err(CursorError::Io(io::ErrorKind::WouldBlock.into())),
            },
            found => found,
        }
    }

    /// As [`seek`], with a cursor at the batch of an index entry. Its key is the last offset of that batch,
    /// or with Kafka of the last of several that were appended together. Where there is none of that offset,
    /// the two contradict each other.
    fn seek_from(
        &self,
        entry: Entry,
        cursor: &mut Cursor,
        offset: Offset,
    ) -> Result<Option<Found>, CursorError> {
        while let Some(found) = cursor.next()? {
            match self.relative(&found).cmp(&entry.key) {
                Less => {}
                Equal if found.holds(offset) => return Ok(Some(found)),
                Equal => return seek(cursor, offset),
                Greater => break,
            }
        }
        let what = format!("no batch ends at offset {} of the index", self.base.0.saturating_add(entry.key));
        Err(CursorError::Corrupt { position: entry.value.into(), what })
    }

    /// The last offset of a batch as the index has it.
    fn relative(&self, found: &Found) -> i64 {
        found.header.last_offset().0 - self.base.0
    }

    /// Paths of the files, whether they exist or not.
    pub fn paths(&self) -> impl Iterator<Item = PathBuf> + '_ {
        FileKind::OF_SEGMENT.into_iter().map(|kind| self.place.path(self.base, kind))
    }

    /// Renames the files out of the log; gives the new names. Those who have the files open can go on
    /// reading.
    pub fn retire(&self) -> io::Result<Vec<PathBuf>> {
        let mut retired = Vec::new();
        // The log first: a log without its transaction index would show aborted records as committed, while
        // indexes without their log are leftovers.
        for path in self.paths() {
            if let Some(path) = retire_file(&*self.place.disk, &path)? {
                retired.push(path);
            }
        }
        Ok(retired)
    }

    /// Lets go of the descriptors if nothing has used them since the last call.
    pub fn close_if_idle(&self) {
        if !self.used.swap(false, Ordering::Relaxed) {
            self.log.close();
            self.offsets.close();
            self.times.close();
            self.txns.close();
        }
    }
}

/// Goes on to the first batch that holds `offset` or a later one.
fn seek(cursor: &mut Cursor, offset: Offset) -> Result<Option<Found>, CursorError> {
    while let Some(found) = cursor.next()? {
        if found.header.last_offset() < offset {
            continue;
        }
        if !found.holds(offset) {
            // Compaction leaves such gaps, and so does a damaged offset: then what follows is not behind it.
            cursor.confirm()?;
        }
        return Ok(Some(found));
    }
    Ok(None)
}

/// Renames a file to `….deleted`. `None` if there is no such file.
pub(crate) fn retire_file(disk: &dyn Disk, path: &Path) -> io::Result<Option<PathBuf>> {
    let mut name = path.as_os_str().to_owned();
    name.push(DELETED);
    let retired = PathBuf::from(name);
    match disk.rename(path, &retired) {
        Ok(()) => Ok(Some(retired)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // A longer name may need room; to remove the file needs none.
        Err(error) if Verdict::of(&error) == Verdict::Full => disk.remove_file(path).map(|()| None),
        Err(error) => Err(error),
    }
}
