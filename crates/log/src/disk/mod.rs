//! The seam to the file system: everything that this room does to files goes through [`Disk`].
//!
//! [`RealDisk`] is the operating system's. [`MemDisk`] is a simulated one that can lose what was not synced,
//! tear writes, fill up and fail.

mod mem;
mod patient;
mod real;
mod slot;

use std::fmt;
use std::io::{self, IoSlice, Seek, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use ottla_wire::Timestamp;

use crate::verdict::{PATIENCE, patiently};
pub use mem::{Faults, MemDisk};
pub(crate) use patient::Patient;
pub use real::RealDisk;
pub(crate) use slot::FileSlot;

/// A file system.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>>;
    /// Length of a file in bytes.
    fn len(&self, path: &Path) -> io::Result<u64>;
    /// When a file was last written to.
    fn modified(&self, path: &Path) -> io::Result<Timestamp>;
    /// What a directory holds, in no particular order. Names that are not UTF-8 are left out: none of them is
    /// ours.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>>;
    /// Creates a directory; its parent MUST exist.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in this directory durable. An error of the sync itself MUST be
    /// marked with [`sync_failed`](crate::sync_failed).
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    fn space(&self, path: &Path) -> io::Result<Space>;
    /// Whether this process may write to a file, or change what is in a directory; an error says why not.
    fn writable(&self, path: &Path) -> io::Result<()>;
    /// Takes the lock file `path` for this process until the guard is dropped. Nothing is written, but that
    /// the file is made with [`Open::Create`].
    fn lock(&self, path: &Path, how: Open) -> io::Result<Lock>;
}

/// What a read does that comes upon pages that are not in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cold {
    /// It waits for the disk, so it has no place on a thread that serves others.
    Wait,
    /// It fails with [`io::ErrorKind::WouldBlock`].
    Refuse,
}

/// An open file.
pub trait DiskFile: fmt::Debug + Send + Sync + 'static {
    /// Reads up to `buffer.len()` bytes; 0 at the end of the file.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// Reads into the spare capacity of `out`, which need not be initialized for that; says how much was
    /// appended.
    fn read_into(&self, out: &mut Vec<u8>, position: u64) -> io::Result<usize>;
    /// As [`DiskFile::read_at`], but only what is in memory: fails with [`io::ErrorKind::WouldBlock`] when
    /// the first byte is not. A file system that cannot tell waits.
    fn read_resident_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// Writes the parts one after the other; may write less than all of them.
    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize>;
    /// Errors MUST be marked with [`sync_failed`](crate::sync_failed).
    fn sync_data(&self) -> io::Result<()>;
    /// Length in bytes.
    fn size(&self) -> io::Result<u64>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves space without changing the length. A file system that cannot do it does nothing.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// The operating system's file, for `sendfile`; a simulated disk has none.
    fn as_std(&self) -> Option<&Arc<std::fs::File>>;
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// For reading; it must exist.
    Read,
    /// For reading and writing; it must exist.
    Write,
    /// For reading and writing; it is created if it does not exist.
    Create,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub name: String,
    pub is_dir: bool,
}

/// Space of the volume that holds a directory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub total: u64,
    /// What an ordinary user can still write.
    pub usable: u64,
}

/// What came of taking a lock.
#[derive(Debug)]
pub enum Lock {
    Taken(LockGuard),
    /// Another process has it; its id, if the file says so.
    HeldBy(Option<u32>),
}

/// Gives the lock back when dropped.
#[derive(Debug)]
pub struct LockGuard {
    /// The lock is tied to the open file; a simulated disk has none.
    file: Option<std::fs::File>,
}

impl LockGuard {
    /// Writes the id of this process into the file.
    pub(crate) fn sign(&self) -> io::Result<()> {
        let Some(mut file) = self.file.as_ref() else { return Ok(()) };
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    }
}

/// Reads a whole file of at most `max` bytes; a larger one is an error.
pub(crate) fn read_file(disk: &dyn Disk, path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let file = disk.open(path, Open::Read)?;
    let len = file.size()?;
    if len > max {
        let message = format!("{} has {len} bytes, more than the {max} it may have", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let mut bytes = vec![0; len as usize];
    let read = read_full(&*file, &mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Ends the name of a file that is being written, and is not the one of that name yet.
pub(crate) const UNFINISHED: &str = ".tmp";

/// Replaces a file's contents so that a crash leaves the old or the new: temporary file, fsync, rename,
/// directory fsync.
pub(crate) fn replace_file(disk: &dyn Disk, folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = folder.join(format!("{name}{UNFINISHED}"));
    let write = || {
        let file = disk.open(&temporary, Open::Create)?;
        file.set_len(0)?;
        write_all(&*file, &[IoSlice::new(bytes)], 0)?;
        file.sync_data()
    };
    write().inspect_err(|_| {
        // On a full disk it is only in the way; where it stays, the next one writes over it.
        let _ = disk.remove_file(&temporary);
    })?;
    disk.rename(&temporary, &folder.join(name))?;
    disk.sync_dir(folder)
}

/// Reads until the buffer is full or the file ends; says how much was read.
pub(crate) fn read_full(file: &dyn DiskFile, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    let len = buffer.len();
    read_at_least(file, buffer, position, len, Cold::Wait)
}

/// Reads until `out` has `lens.end` bytes or the file ends, or cold pages are refused that lie behind its
/// first `lens.start` bytes. `position` is where the first byte of `out` stands in the file. What waits for
/// the disk may read more if `out` has room for more, and overwrites nothing with zeros before.
pub(crate) fn read_up_to(
    file: &dyn DiskFile,
    out: &mut Vec<u8>,
    lens: Range<usize>,
    position: u64,
    cold: Cold,
) -> io::Result<()> {
    let kept = out.len();
    match cold {
        Cold::Wait => {
            out.reserve_exact(lens.end.saturating_sub(kept));
            while out.len() < lens.end {
                if patiently(PATIENCE, || file.read_into(out, position + out.len() as u64))? == 0 {
                    break;
                }
            }
            Ok(())
        }
        Cold::Refuse => {
            out.resize(lens.end.max(kept), 0);
            let needed = lens.start.saturating_sub(kept);
            let read = read_at_least(file, &mut out[kept..], position + kept as u64, needed, cold);
            out.truncate(kept + *read.as_ref().unwrap_or(&0));
            read.map(drop)
        }
    }
}

/// Fills the buffer or fails.
pub(crate) fn read_exact(file: &dyn DiskFile, buffer: &mut [u8], position: u64) -> io::Result<()> {
    read_exact_if(file, buffer, position, Cold::Wait)
}

/// Fills the buffer or fails, as `cold` says.
pub(crate) fn read_exact_if(
    file: &dyn DiskFile,
    buffer: &mut [u8],
    position: u64,
    cold: Cold,
) -> io::Result<()> {
    let len = buffer.len();
    match read_at_least(file, buffer, position, len, cold)? {
        read if read == len => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Reads until the buffer is full, the file ends, or cold pages are met that are not `needed`; says how much
/// was read.
pub(crate) fn read_at_least(
    file: &dyn DiskFile,
    buffer: &mut [u8],
    position: u64,
    needed: usize,
    cold: Cold,
) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        let (rest, at) = (&mut buffer[filled..], position + filled as u64);
        let read = match cold {
            Cold::Wait => patiently(PATIENCE, || file.read_at(rest, at)),
            Cold::Refuse => file.read_resident_at(rest, at),
        };
        match read {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && filled >= needed => break,
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// `IOV_MAX` of Linux.
const PARTS_MAX: usize = 1024;

/// Writes all parts, going on after short writes.
pub(crate) fn write_all(file: &dyn DiskFile, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
    let mut position = position;
    for parts in parts.chunks(PARTS_MAX) {
        let mut parts = parts.to_vec();
        let mut rest = &mut parts[..];
        while !rest.is_empty() {
            match patiently(PATIENCE, || file.write_at(rest, position))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => {
                    position += written as u64;
                    IoSlice::advance_slices(&mut rest, written);
                }
            }
        }
    }
    Ok(())
}
