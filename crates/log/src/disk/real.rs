//! The operating system's files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;

use ottla_wire::Timestamp;
use rustix::fs::{Access, AtFlags, FallocateFlags, FlockOperation};
use rustix::io::{Errno, ReadWriteFlags};

use super::{Disk, DiskFile, Entry, Lock, LockGuard, Open, Space};
use crate::verdict::{PATIENCE, patiently, sync_failed};

/// The operating system's file system.
#[derive(Debug, Default)]
pub struct RealDisk;

/// A file of the operating system.
#[derive(Debug)]
struct RealFile {
    file: Arc<File>,
    /// The file system does not say what is in memory (`RWF_NOWAIT`); it is asked once.
    cannot_tell: AtomicBool,
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let file = Arc::new(options(how).open(path)?);
        Ok(Arc::new(RealFile { file, cannot_tell: AtomicBool::new(false) }))
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn modified(&self, path: &Path) -> io::Result<Timestamp> {
        let modified = fs::metadata(path)?.modified()?;
        let since_1970 = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Timestamp(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(Entry { name, is_dir: entry.file_type()?.is_dir() });
            }
        }
        Ok(entries)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all().map_err(sync_failed)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let space = rustix::fs::statvfs(path)?;
        Ok(Space {
            total: space.f_blocks.saturating_mul(space.f_frsize),
            usable: space.f_bavail.saturating_mul(space.f_frsize),
        })
    }

    fn writable(&self, path: &Path) -> io::Result<()> {
        // As whom this process acts counts, not as whom it was started.
        Ok(rustix::fs::accessat(rustix::fs::CWD, path, Access::WRITE_OK, AtFlags::EACCESS)?)
    }

    fn lock(&self, path: &Path, how: Open) -> io::Result<Lock> {
        let mut file = options(how).open(path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock::Taken(LockGuard { file: Some(file) })),
            Err(Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let holder = Read::by_ref(&mut file).take(16).read_to_string(&mut text).ok();
                Ok(Lock::HeldBy(holder.and_then(|_| text.trim().parse().ok())))
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn options(how: Open) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(how != Open::Read).create(how == Open::Create).truncate(false);
    options
}

impl DiskFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buffer, position)
    }

    fn read_into(&self, out: &mut Vec<u8>, position: u64) -> io::Result<usize> {
        Ok(rustix::io::pread(&self.file, rustix::buffer::spare_capacity(out), position)?)
    }

    fn read_resident_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        if !self.cannot_tell.load(Ordering::Relaxed) {
            let parts = &mut [IoSliceMut::new(buffer)];
            match rustix::io::preadv2(&self.file, parts, position, ReadWriteFlags::NOWAIT) {
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.cannot_tell.store(true, Ordering::Relaxed),
                read => return Ok(read?),
            }
        }
        self.read_at(buffer, position)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(&self.file, parts, position)?)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data().map_err(sync_failed)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let reserve = || match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, len) {
            Err(Errno::OPNOTSUPP) => Ok(()),
            done => Ok(done?),
        };
        // Long enough for a signal to come in between.
        patiently(PATIENCE, reserve)
    }

    fn as_std(&self) -> Option<&Arc<File>> {
        Some(&self.file)
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{Advice, fadvise};

    use super::*;

    /// What is in memory is read as ever; what is not is either refused or, by a file system that cannot
    /// tell, waited for.
    #[test]
    fn resident_bytes_are_read_without_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk.open(&dir.path().join("f"), Open::Create).unwrap();
        file.write_at(&[IoSlice::new(&[7; 10_000])], 0).unwrap();
        let mut buffer = [0; 5000];
        assert_eq!(
            file.read_resident_at(&mut buffer, 10_000).unwrap(),
            0,
            "behind the end is nothing to wait for"
        );
        file.sync_data().unwrap();
        fadvise(file.as_std().unwrap(), 0, None, Advice::DontNeed).unwrap();
        // Who waits brings the pages into memory, where they stay for a while.
        let read = loop {
            match file.read_resident_at(&mut buffer, 4000) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    assert_eq!(file.read_at(&mut [0; 5000], 4000).unwrap(), 5000);
                }
                read => break read.unwrap(),
            }
        };
        assert!(read > 0 && buffer[..read].iter().all(|byte| *byte == 7));
    }
}
