//! The sparse indexes of a segment: `.index` (offset to position) and `.timeindex` (timestamp to offset).
//!
//! The newest entries are in memory, where readers see them without a lock; they go to the file in runs.
//! Everything older is only in the file and found by `pread`, so an index costs little memory however large
//! it is. What the last look-up read is kept: who reads a log in order asks for the same block of entries
//! again and again.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, ArcSwapOption};
use ottla_wire::Offset;

use super::LogFolder;
use crate::disk::{Cold, DiskFile, FileSlot, Open, read_exact_if, write_all};
use crate::names::FileKind;

/// Entries in memory beyond which the owner MUST call [`SparseIndex::persist`].
pub(crate) const UNPERSISTED_ENTRIES_MAX: usize = 4096;

/// Entries of the file that one read brings at the end of a search, and that are kept in memory. They are let
/// go of with the descriptor.
const BLOCK_ENTRIES: usize = 128;

/// One entry. In the offset index the key is an offset relative to the segment's base and the value the
/// position of the batch that has it as its last; in the time index the key is a timestamp and the value a
/// relative offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub key: i64,
    pub value: u32,
}

impl Entry {
    /// What a file holds that was never written: the first batch of a segment has no entry.
    pub fn is_zero(&self) -> bool {
        self.key == 0 && self.value == 0
    }
}

/// One index of one segment. Keys strictly increase.
#[derive(Debug)]
pub(crate) struct SparseIndex {
    place: Arc<LogFolder>,
    base: Offset,
    kind: FileKind,
    slot: FileSlot,
    tail: ArcSwap<Tail>,
    block: ArcSwapOption<Block>,
}

/// What is around a key: the last entry whose key is at most as large, and the one after that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Around {
    pub floor: Option<Entry>,
    pub next: Option<Entry>,
}

/// The entries that are not in the file.
#[derive(Debug, Default)]
struct Tail {
    /// How many entries the file holds.
    before: usize,
    entries: Growing,
}

impl SparseIndex {
    /// An index whose file holds `entries` entries (none: there need not be a file).
    pub fn new(place: &Arc<LogFolder>, base: Offset, kind: FileKind, entries: usize) -> SparseIndex {
        let tail = ArcSwap::from_pointee(Tail { before: entries, entries: Growing::default() });
        let (place, slot) = (Arc::clone(place), FileSlot::default());
        SparseIndex { place, base, kind, slot, tail, block: ArcSwapOption::empty() }
    }

    /// Bytes of an entry.
    pub fn entry_len(kind: FileKind) -> usize {
        if kind == FileKind::TimeIndex { 12 } else { 8 }
    }

    pub fn len(&self) -> usize {
        let tail = self.tail.load();
        tail.before + tail.entries.len()
    }

    pub fn unpersisted(&self) -> usize {
        self.tail.load().entries.len()
    }

    /// Adds an entry. Only the owner may; the key MUST be greater than the last one.
    pub fn push(&self, entry: Entry) {
        self.tail.load().entries.push(entry);
    }

    pub fn last(&self) -> io::Result<Option<Entry>> {
        let tail = self.tail.load();
        match tail.entries.len() {
            0 if tail.before == 0 => Ok(None),
            0 => self.read(tail.before - 1, 1, Cold::Wait).map(|entries| entries.last().copied()),
            len => Ok(Some(tail.entries.get(len - 1))),
        }
    }

    /// Entry `at`, which MUST be below [`SparseIndex::len`].
    pub fn get(&self, at: usize) -> io::Result<Entry> {
        let tail = self.tail.load();
        match at.checked_sub(tail.before) {
            Some(at) => Ok(tail.entries.get(at)),
            None => Ok(self.read(at, 1, Cold::Wait)?[0]),
        }
    }

    /// The last entry whose key is at most `key`.
    pub fn floor(&self, key: i64) -> io::Result<Option<Entry>> {
        self.around(key, Cold::Wait).map(|around| around.floor)
    }

    /// The last entry whose key is at most `key`, and the first whose key is greater.
    pub fn around(&self, key: i64, cold: Cold) -> io::Result<Around> {
        let tail = self.tail.load();
        let len = tail.entries.len();
        let at = partition_point(len, |i| tail.entries.get(i).key <= key);
        let next = (at < len).then(|| tail.entries.get(at));
        if at > 0 {
            return Ok(Around { floor: Some(tail.entries.get(at - 1)), next });
        }
        let found = self.around_in_file(tail.before, key, cold)?;
        Ok(Around { next: found.next.or(next), ..found })
    }

    /// Writes the entries that are only in memory to the file. Only the owner may. Nothing is synced.
    pub fn persist(&self) -> io::Result<()> {
        let tail = self.tail.load();
        let len = tail.entries.len();
        if len == 0 {
            return Ok(());
        }
        let entry_len = Self::entry_len(self.kind);
        let mut bytes = Vec::with_capacity(len * entry_len);
        for i in 0..len {
            encode(self.kind, tail.entries.get(i), &mut bytes);
        }
        let file = self.file(Open::Create)?;
        write_all(&*file, &[IoSlice::new(&bytes)], (tail.before * entry_len) as u64)?;
        let before = tail.before + len;
        self.tail.store(Arc::new(Tail { before, entries: Growing::default() }));
        Ok(())
    }

    /// Keeps the first `entries` entries, in the file too. Only the owner may; everything MUST be in the
    /// file.
    pub fn truncate(&self, entries: usize) -> io::Result<()> {
        assert_eq!(self.unpersisted(), 0, "an index is truncated in its file");
        if entries > 0 || self.exists()? {
            self.file(Open::Write)?.set_len((entries * Self::entry_len(self.kind)) as u64)?;
        }
        self.tail.store(Arc::new(Tail { before: entries, entries: Growing::default() }));
        self.block.store(None);
        Ok(())
    }

    /// Every entry of the file, up to the first that cannot be one because its key does not increase: a
    /// crashed Kafka leaves zeros at the end.
    pub fn read_all(&self) -> io::Result<Vec<Entry>> {
        let entries = self.read(0, self.tail.load().before, Cold::Wait)?;
        let ordered = |pair: &[Entry]| pair[0].key < pair[1].key && pair[0].value <= pair[1].value;
        let valid = entries.windows(2).position(|pair| !ordered(pair)).map_or(entries.len(), |at| at + 1);
        // The first batch of a segment never has an entry, so no entry is all zeros.
        let zero = entries.first().is_some_and(|first| first.is_zero());
        Ok(entries[..if zero { 0 } else { valid }].to_vec())
    }

    /// The file, for syncing.
    pub fn file(&self, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        self.slot.get(&*self.place.disk, || self.path(), how)
    }

    fn path(&self) -> Box<Path> {
        self.place.path(self.base, self.kind).into()
    }

    pub fn open_file(&self) -> Option<Arc<dyn DiskFile>> {
        self.slot.open_file()
    }

    pub fn close(&self) {
        self.slot.close();
        self.block.store(None);
    }

    fn exists(&self) -> io::Result<bool> {
        match self.place.disk.len(&self.path()) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Of the first `entries` entries, which are in the file.
    fn around_in_file(&self, entries: usize, key: i64, cold: Cold) -> io::Result<Around> {
        if entries == 0 {
            return Ok(Around::default());
        }
        if let Some(found) = self.block.load().as_ref().and_then(|block| block.around(entries, key)) {
            return Ok(found);
        }
        let (mut low, mut high) = (0, entries);
        while high - low >= BLOCK_ENTRIES {
            let middle = low + (high - low) / 2;
            if self.read(middle, 1, cold)?[0].key <= key { low = middle } else { high = middle }
        }
        let block = Block { from: low, entries: self.read(low, BLOCK_ENTRIES.min(entries - low), cold)? };
        // An index whose keys do not increase finds nothing rather than something wrong.
        let found = block.around(entries, key).unwrap_or_default();
        self.block.store(Some(Arc::new(block)));
        Ok(found)
    }

    fn read(&self, from: usize, count: usize, cold: Cold) -> io::Result<Vec<Entry>> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let entry_len = Self::entry_len(self.kind);
        let mut bytes = vec![0; count * entry_len];
        let file = self.slot.get_if(&*self.place.disk, || self.path(), cold)?;
        read_exact_if(&*file, &mut bytes, (from * entry_len) as u64, cold)?;
        Ok(bytes.chunks_exact(entry_len).map(|entry| decode(self.kind, entry)).collect())
    }
}

/// Entries of the file that follow each other.
#[derive(Debug)]
struct Block {
    /// Number of the first one.
    from: usize,
    entries: Vec<Entry>,
}

impl Block {
    /// What is around `key` in a file of `entries` entries; `None` if that is not all in the block.
    fn around(&self, entries: usize, key: i64) -> Option<Around> {
        let at = self.entries.partition_point(|entry| entry.key <= key);
        let (begins, ends) = (self.from == 0, self.from + self.entries.len() == entries);
        if (at == 0 && !begins) || (at == self.entries.len() && !ends) {
            return None;
        }
        let floor = at.checked_sub(1).and_then(|at| self.entries.get(at)).copied();
        Some(Around { floor, next: self.entries.get(at).copied() })
    }
}

fn encode(kind: FileKind, entry: Entry, out: &mut Vec<u8>) {
    match kind {
        FileKind::TimeIndex => out.extend_from_slice(&entry.key.to_be_bytes()),
        _ => out.extend_from_slice(&(entry.key as u32).to_be_bytes()), // relative offsets are below 2^31
    }
    out.extend_from_slice(&entry.value.to_be_bytes());
}

fn decode(kind: FileKind, bytes: &[u8]) -> Entry {
    let mut number = [0; 8];
    let (key, value) = bytes.split_at(bytes.len() - 4);
    number[8 - key.len()..].copy_from_slice(key);
    let key = i64::from_be_bytes(number);
    let mut number = [0; 4];
    number.copy_from_slice(value);
    debug_assert!(kind == FileKind::TimeIndex || key >= 0);
    Entry { key, value: u32::from_be_bytes(number) }
}

/// The first index below `len` for which `below` does not hold, or `len`.
fn partition_point(len: usize, below: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low + (high - low) / 2;
        if below(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

/// Slots of the first chunk; each further chunk is twice as long as the one before.
const FIRST_CHUNK: usize = 16;
const CHUNKS: usize = 9;

/// A list that one thread appends to while others read.
#[derive(Debug, Default)]
struct Growing {
    chunks: [OnceLock<Box<[Cell]>>; CHUNKS],
    len: AtomicU64,
}

#[derive(Debug, Default)]
struct Cell {
    key: AtomicU64,
    value: AtomicU32,
}

impl Growing {
    fn len(&self) -> usize {
        self.len.load(Ordering::Acquire) as usize
    }

    fn push(&self, entry: Entry) {
        let at = self.len();
        let (chunk, slot) = Self::place(at);
        assert!(chunk < CHUNKS, "the owner persists an index long before it has {at} entries in memory");
        let cells = self.chunks[chunk].get_or_init(|| {
            (0..FIRST_CHUNK << chunk).map(|_| Cell::default()).collect::<Vec<_>>().into_boxed_slice()
        });
        cells[slot].key.store(entry.key as u64, Ordering::Relaxed);
        cells[slot].value.store(entry.value, Ordering::Relaxed);
        self.len.store(at as u64 + 1, Ordering::Release);
    }

    fn get(&self, at: usize) -> Entry {
        let (chunk, slot) = Self::place(at);
        let Some(cells) = self.chunks[chunk].get() else {
            unreachable!("entry {at} was counted after its chunk was made");
        };
        let cell = &cells[slot];
        Entry { key: cell.key.load(Ordering::Relaxed) as i64, value: cell.value.load(Ordering::Relaxed) }
    }

    fn place(at: usize) -> (usize, usize) {
        let chunk = (at / FIRST_CHUNK + 1).ilog2() as usize;
        (chunk, at - FIRST_CHUNK * ((1 << chunk) - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, MemDisk};

    fn place() -> Arc<LogFolder> {
        let disk = MemDisk::new();
        disk.create_dir("/t-0".as_ref()).unwrap();
        Arc::new(LogFolder::new(Arc::new(disk), "/t-0".into()))
    }

    /// In memory, in the file, or in both: the same entries are found.
    #[test]
    fn floor_finds_the_last_entry_at_or_below() {
        for kind in [FileKind::Index, FileKind::TimeIndex] {
            let index = SparseIndex::new(&place(), Offset(100), kind, 0);
            assert_eq!(index.around(5, Cold::Wait).unwrap(), Around::default());
            for i in 0..3000 {
                index.push(Entry { key: 10 + i * 3, value: i as u32 });
                if i % 700 == 650 {
                    index.persist().unwrap();
                }
            }
            assert_eq!(index.len(), 3000);
            assert_eq!(index.floor(9).unwrap(), None);
            for i in 0..3000 {
                for key in [10 + i * 3, 12 + i * 3] {
                    let entry = |i| Entry { key: 10 + i * 3, value: i as u32 };
                    let (floor, next) = (Some(entry(i)), (i < 2999).then(|| entry(i + 1)));
                    assert_eq!(index.around(key, Cold::Wait).unwrap(), Around { floor, next });
                }
            }
            assert_eq!(index.last().unwrap().unwrap().value, 2999);
            index.persist().unwrap();
            index.truncate(700).unwrap();
            assert_eq!(index.last().unwrap().unwrap().value, 699);
            assert_eq!(
                index.around(i64::MAX, Cold::Wait).unwrap(),
                Around { floor: index.last().unwrap(), next: None }
            );
            assert_eq!(index.read_all().unwrap().len(), 700);
        }
    }

    #[test]
    fn zeros_after_the_last_entry_are_not_entries() {
        let place = place();
        let index = SparseIndex::new(&place, Offset(0), FileKind::Index, 0);
        index.push(Entry { key: 5, value: 4100 });
        index.push(Entry { key: 9, value: 8300 });
        index.persist().unwrap();
        index.file(Open::Write).unwrap().set_len(80).unwrap();
        let padded = SparseIndex::new(&place, Offset(0), FileKind::Index, 10);
        assert_eq!(padded.read_all().unwrap().len(), 2);
        let empty = SparseIndex::new(&place, Offset(3), FileKind::Index, 0);
        empty.file(Open::Create).unwrap().set_len(80).unwrap();
        assert_eq!(SparseIndex::new(&place, Offset(3), FileKind::Index, 10).read_all().unwrap(), []);
    }
}
