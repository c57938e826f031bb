//! A simulated disk, for tests and for the simulator.
//!
//! What was written is readable at once and durable only once it was synced. [`MemDisk::crash`] takes away
//! what was not: of each file's unsynced writes a random first part stays, the last write that stays may be
//! torn, and now and then a hole of zeros is left where data was; of each directory's unsynced changes a
//! random first part stays.
//!
//! - [`nodes`]: what is on it.
//!
//! Everything is in memory as a page cache has it until [`MemDisk::evict`] takes it out.

mod nodes;

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use ottla_wire::Timestamp;

use nodes::{Change, Node, Nodes};

use super::{Disk, DiskFile, Entry, Lock, LockGuard, Open, Space};
use crate::verdict::sync_failed;

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct MemDisk {
    state: Arc<Mutex<State>>,
}

/// What goes wrong from now on.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Writes that would take the sum of all files' lengths beyond this fail with "no space left".
    pub capacity: Option<u64>,
    /// Every sync fails.
    pub syncs_fail: bool,
    /// Every write fails.
    pub writes_fail: bool,
    /// After so many more changes every change fails, as if the machine had stopped there.
    pub changes_left: Option<u64>,
    /// A write takes at most this many bytes.
    pub short_writes: Option<usize>,
    /// A read of what is not in memory waits until this is taken back.
    pub reads_stall: bool,
}

/// Bytes that come into memory together, and go.
const PAGE: usize = 4096;

#[derive(Debug, Default)]
struct State {
    nodes: Nodes,
    faults: Faults,
    /// Pages that are not in memory: node and number.
    cold: BTreeSet<(usize, usize)>,
    reads_stalled: usize,
    faults_changed: Arc<Condvar>,
    /// Every open file has one more of it.
    handles: Arc<()>,
}

#[derive(Debug)]
struct MemFile {
    state: Arc<Mutex<State>>,
    node: usize,
    _handle: Arc<()>,
}

impl MemDisk {
    /// An empty disk.
    pub fn new() -> MemDisk {
        MemDisk::default()
    }

    /// Sets what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        let mut state = self.lock_state();
        state.faults = faults;
        state.faults_changed.notify_all();
    }

    /// Takes these bytes of a file out of memory, page by page, until they are read.
    pub fn evict(&self, path: &Path, bytes: Range<usize>) -> io::Result<()> {
        let mut state = self.lock_state();
        let node = state.nodes.find(path)?;
        state.cold.extend(pages(bytes).map(|page| (node, page)));
        Ok(())
    }

    /// Reads that wait because of [`Faults::reads_stall`].
    pub fn reads_stalled(&self) -> usize {
        self.lock_state().reads_stalled
    }

    /// Power loss: what was not synced is lost in part, as `random` decides (it gives evenly spread numbers).
    /// Files that are open stay usable but belong to the past: the caller drops them.
    pub fn crash(&self, random: &mut dyn FnMut() -> u64) {
        let mut state = self.lock_state();
        state.faults = Faults::default();
        state.faults_changed.notify_all();
        state.nodes.crash(random);
    }

    /// Changes bytes of a file as bit rot does, beneath everything.
    pub fn corrupt(&self, path: &Path, position: usize, with: &[u8]) -> io::Result<()> {
        let mut state = self.lock_state();
        let node = state.nodes.find(path)?;
        let (data, durable, _) = state.nodes.file(node)?;
        for bytes in [data, durable] {
            if let Some(place) = bytes.get_mut(position..position + with.len()) {
                place.copy_from_slice(with);
            }
        }
        Ok(())
    }

    /// Files that are open.
    pub fn open_files(&self) -> usize {
        Arc::strong_count(&self.lock_state().handles) - 1
    }

    fn lock_state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }
}

impl Disk for MemDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock_state();
        let node = match state.nodes.find(path) {
            Ok(node) => node,
            Err(error) if error.kind() == io::ErrorKind::NotFound && how == Open::Create => {
                state.add(path, Node::new_file())?
            }
            Err(error) => return Err(error),
        };
        state.nodes.file(node)?;
        let handle = Arc::clone(&state.handles);
        Ok(Arc::new(MemFile { state: Arc::clone(&self.state), node, _handle: handle }))
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        let mut state = self.lock_state();
        let node = state.nodes.find(path)?;
        Ok(state.nodes.file(node)?.0.len() as u64)
    }

    fn modified(&self, _path: &Path) -> io::Result<Timestamp> {
        Ok(Timestamp(i64::MAX)) // a simulated disk has no clock: nothing on it is old
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut state = self.lock_state();
        let node = state.nodes.find(path)?;
        let names = state.nodes.dir(node)?.0.clone();
        let entry = |(name, node)| Entry { name, is_dir: state.nodes.is_dir(node) };
        Ok(names.into_iter().map(entry).collect())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock_state();
        if state.nodes.find(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.add(path, Node::new_dir())?;
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock_state();
        let node = state.nodes.find(from)?;
        let (old_parent, old_name) = state.nodes.place(from)?;
        let (parent, name) = state.nodes.place(to)?;
        if parent == old_parent {
            return state.change(parent, vec![(old_name, None), (name, Some(node))]);
        }
        state.change(parent, vec![(name, Some(node))])?;
        state.change(old_parent, vec![(old_name, None)])
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock_state();
        let node = state.nodes.find(path)?;
        state.nodes.file(node)?;
        let (parent, name) = state.nodes.place(path)?;
        state.change(parent, vec![(name, None)])
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock_state();
        let node = state.nodes.find(path)?;
        state.nodes.dir(node)?;
        let (parent, name) = state.nodes.place(path)?;
        state.change(parent, vec![(name, None)])
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock_state();
        state.count_change()?;
        if state.faults.syncs_fail {
            return Err(sync_failed(io::Error::other("sync failed")));
        }
        let node = state.nodes.find(path)?;
        let (names, durable, unsynced) = state.nodes.dir(node)?;
        durable.clone_from(names);
        unsynced.clear();
        Ok(())
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let state = self.lock_state();
        let total = state.faults.capacity.unwrap_or(u64::MAX);
        Ok(Space { total, usable: total.saturating_sub(state.nodes.used(Nodes::ROOT)) })
    }

    fn writable(&self, path: &Path) -> io::Result<()> {
        self.lock_state().nodes.find(path).map(drop)
    }

    fn lock(&self, path: &Path, how: Open) -> io::Result<Lock> {
        self.open(path, how)?;
        Ok(Lock::Taken(LockGuard { file: None }))
    }
}

impl DiskFile for MemFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut state = locked(&self.state);
        let read = position as usize..position as usize + buffer.len();
        if state.first_cold(self.node, read.clone()).is_some() {
            state.reads_stalled += 1;
            let changed = Arc::clone(&state.faults_changed);
            while state.faults.reads_stall {
                state = changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
            }
            state.reads_stalled -= 1;
            for page in pages(read) {
                state.cold.remove(&(self.node, page));
            }
        }
        state.read(self.node, buffer, position as usize)
    }

    fn read_into(&self, out: &mut Vec<u8>, position: u64) -> io::Result<usize> {
        let mut bytes = vec![0; out.capacity() - out.len()];
        let read = self.read_at(&mut bytes, position)?;
        out.extend_from_slice(&bytes[..read]);
        Ok(read)
    }

    fn read_resident_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut state = locked(&self.state);
        let position = position as usize;
        let len = match state.first_cold(self.node, position..position + buffer.len()) {
            Some(page) if page * PAGE <= position => return Err(io::ErrorKind::WouldBlock.into()),
            Some(page) => page * PAGE - position,
            None => buffer.len(),
        };
        state.read(self.node, &mut buffer[..len], position)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let mut state = locked(&self.state);
        state.count_change()?;
        if state.faults.writes_fail {
            return Err(io::Error::other("write failed"));
        }
        let mut bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        bytes.truncate(state.faults.short_writes.unwrap_or(usize::MAX));
        let old = state.nodes.file(self.node)?.0.len() as u64;
        if let Some(capacity) = state.faults.capacity {
            let room = capacity.saturating_sub(state.nodes.used(Nodes::ROOT)) + old.saturating_sub(position);
            bytes.truncate(room as usize);
            if bytes.is_empty() {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        let (data, _, unsynced) = state.nodes.file(self.node)?;
        let written = bytes.len();
        let change = Change::Write { position: position as usize, bytes };
        change.apply(data, usize::MAX);
        unsynced.push(change);
        Ok(written)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = locked(&self.state);
        state.count_change()?;
        if state.faults.syncs_fail {
            return Err(sync_failed(io::Error::other("sync failed")));
        }
        let (data, durable, unsynced) = state.nodes.file(self.node)?;
        for change in unsynced.drain(..) {
            change.apply(durable, usize::MAX);
        }
        assert_eq!(data, durable, "all changes together are the file");
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(locked(&self.state).nodes.file(self.node)?.0.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = locked(&self.state);
        state.count_change()?;
        let (data, _, unsynced) = state.nodes.file(self.node)?;
        let change = Change::SetLen(len as usize);
        change.apply(data, usize::MAX);
        unsynced.push(change);
        Ok(())
    }

    fn allocate(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn as_std(&self) -> Option<&Arc<std::fs::File>> {
        None
    }
}

impl State {
    /// Counts a change; fails if there may be none.
    fn count_change(&mut self) -> io::Result<()> {
        match &mut self.faults.changes_left {
            Some(0) => Err(io::Error::other("the machine has stopped")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The first page of these bytes that is not in memory.
    fn first_cold(&self, node: usize, bytes: Range<usize>) -> Option<usize> {
        // Most disks have no such page.
        let mut pages = if self.cold.is_empty() { 0..0 } else { pages(bytes) };
        pages.find(|page| self.cold.contains(&(node, *page)))
    }

    fn read(&mut self, node: usize, buffer: &mut [u8], position: usize) -> io::Result<usize> {
        let (data, _, _) = self.nodes.file(node)?;
        let rest = data.get(position..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    /// Adds something under a new name.
    fn add(&mut self, path: &Path, new: Node) -> io::Result<usize> {
        let (parent, name) = self.nodes.place(path)?;
        let node = self.nodes.add(new);
        self.change(parent, vec![(name, Some(node))])?;
        Ok(node)
    }

    fn change(&mut self, dir: usize, names: Vec<(String, Option<usize>)>) -> io::Result<()> {
        self.count_change()?;
        self.nodes.change(dir, names)
    }
}

/// The pages that hold these bytes.
fn pages(bytes: Range<usize>) -> Range<usize> {
    bytes.start / PAGE..bytes.end.div_ceil(PAGE)
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // The state is sound after a panic of another test thread: every change of it is made in one go.
    state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
