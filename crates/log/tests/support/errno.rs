//! A disk whose calls fail with numbers that are chosen.

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::{Arc, Mutex};

use ottla_log::{Disk, DiskFile, Entry, Lock, MemDisk, Open, Space, sync_failed};
use ottla_wire::Timestamp;

/// What a disk is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Open,
    Read,
    Write,
    Sync,
    SetLen,
    Names,
}

/// A disk in memory on which every call of one kind fails, for a time or for good.
#[derive(Clone, Debug, Default)]
pub struct ErrnoDisk {
    pub memory: MemDisk,
    faults: Arc<Mutex<Option<Fault>>>,
}

#[derive(Clone, Copy, Debug)]
struct Fault {
    call: Call,
    errno: i32,
    left: usize,
}

#[derive(Debug)]
struct ErrnoFile {
    disk: ErrnoDisk,
    file: Arc<dyn DiskFile>,
}

impl ErrnoDisk {
    /// The next `times` calls of this kind fail.
    pub fn fail(&self, call: Call, errno: i32, times: usize) {
        *self.faults.lock().unwrap() = Some(Fault { call, errno, left: times });
    }

    pub fn mend(&self) {
        *self.faults.lock().unwrap() = None;
    }

    fn before(&self, call: Call) -> io::Result<()> {
        match &mut *self.faults.lock().unwrap() {
            Some(fault) if fault.call == call && fault.left > 0 => {
                fault.left -= 1;
                Err(io::Error::from_raw_os_error(fault.errno))
            }
            _ => Ok(()),
        }
    }
}

impl Disk for ErrnoDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        self.before(Call::Open)?;
        Ok(Arc::new(ErrnoFile { disk: self.clone(), file: self.memory.open(path, how)? }))
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        self.memory.len(path)
    }

    fn modified(&self, path: &Path) -> io::Result<Timestamp> {
        self.memory.modified(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.before(Call::Open)?;
        self.memory.read_dir(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.before(Call::Names)?;
        self.memory.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.before(Call::Names)?;
        self.memory.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.before(Call::Names)?;
        self.memory.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.before(Call::Names)?;
        self.memory.remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.before(Call::Open)?;
        self.before(Call::Sync).map_err(sync_failed)?;
        self.memory.sync_dir(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.memory.space(path)
    }

    fn writable(&self, path: &Path) -> io::Result<()> {
        self.memory.writable(path)
    }

    fn lock(&self, path: &Path, how: Open) -> io::Result<Lock> {
        self.before(Call::Open)?;
        self.memory.lock(path, how)
    }
}

impl DiskFile for ErrnoFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.disk.before(Call::Read)?;
        self.file.read_at(buffer, position)
    }

    fn read_into(&self, out: &mut Vec<u8>, position: u64) -> io::Result<usize> {
        self.disk.before(Call::Read)?;
        self.file.read_into(out, position)
    }

    fn read_resident_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.disk.before(Call::Read)?;
        self.file.read_resident_at(buffer, position)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        self.disk.before(Call::Write)?;
        self.file.write_at(parts, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.before(Call::Sync).map_err(sync_failed)?;
        self.file.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.before(Call::SetLen)?;
        self.file.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file.allocate(len)
    }

    fn as_std(&self) -> Option<&Arc<File>> {
        None
    }
}
