//! A data directory that was looked at: a start that is refused has touched nothing.
//!
//! First everything is checked, then the directory is locked, then it is written to. Who finds a lock file
//! takes the lock before looking. There is none where no process of ours has been: then it is made, and what
//! has been checked is checked once more under the lock.

use std::io;
use std::path::{Path, PathBuf};

use super::meta::MetaProperties;
use super::setup::{
    CLEAN, DirOptions, FLUSHED_FIRST, Identity, Mark, OpenError, create_dir_all, create_meta,
    read_checkpoint, read_mark, read_meta,
};
use super::slots::{CHECKPOINTS, Written};
use crate::disk::{Disk, Entry, Lock, LockGuard, Open, UNFINISHED};
use crate::names::{Folder, parse_folder_name};

const LOCK: &str = ".lock";

/// A data directory in which nothing stands against opening it.
pub struct CheckedDir {
    pub(super) options: DirOptions,
    pub(super) path: PathBuf,
    identity: Identity,
    /// `None` if there is no lock file.
    lock: Option<LockGuard>,
    contents: Contents,
}

/// A data directory that is this process's, and whose.
pub(super) struct Owned {
    pub lock: LockGuard,
    pub meta: MetaProperties,
    pub contents: Contents,
}

impl CheckedDir {
    pub(super) fn of(
        options: DirOptions,
        path: PathBuf,
        identity: &Identity,
    ) -> Result<CheckedDir, OpenError> {
        let lock = match options.disk.lock(&path.join(LOCK), Open::Write) {
            Ok(Lock::Taken(guard)) => Some(guard),
            Ok(Lock::HeldBy(pid)) => return Err(OpenError::InUse { dir: path, pid }),
            Err(error) if is_not_there(&error) => None,
            Err(error) => return Err(OpenError::NotWritable { path: path.join(LOCK), error }),
        };
        let contents = Contents::read(&*options.disk, &path, identity)?;
        Ok(CheckedDir { options, path, identity: identity.clone(), lock, contents })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose it is; `None` if it is new.
    pub fn meta(&self) -> Option<&MetaProperties> {
        self.contents.meta.as_ref()
    }

    /// Who a new directory is to belong to. MUST be known before it is opened.
    pub fn set_identity(&mut self, identity: Identity) {
        self.identity = identity;
    }

    /// The names in it that are not hidden, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.contents.entries.iter().map(|entry| entry.name.as_str()).filter(|name| !name.starts_with('.'))
    }

    /// The folders of partitions, by name.
    pub fn partitions(&self) -> impl Iterator<Item = &str> {
        let is_partition =
            |entry: &&Entry| entry.is_dir && matches!(parse_folder_name(&entry.name), Folder::Partition(..));
        self.contents.entries.iter().filter(is_partition).map(|entry| entry.name.as_str())
    }

    /// Takes the directory, the lock first, and says in it whose it is.
    pub(super) fn take(self) -> Result<Owned, OpenError> {
        let CheckedDir { options, path, identity, lock, contents } = self;
        let (disk, path) = (&*options.disk, path.as_path());
        let io = |error| OpenError::Io { dir: path.to_owned(), error };
        if contents.meta.is_none() && (identity.node_id.is_none() || identity.cluster_id.is_none()) {
            return Err(OpenError::NoIdentity { dir: path.to_owned() });
        }
        let (lock, contents) = match lock {
            Some(lock) => (lock, contents),
            None => {
                create_dir_all(disk, path).map_err(io)?;
                match disk.lock(&path.join(LOCK), Open::Create).map_err(io)? {
                    Lock::Taken(lock) => (lock, Contents::read(disk, path, &identity)?),
                    Lock::HeldBy(pid) => return Err(OpenError::InUse { dir: path.to_owned(), pid }),
                }
            }
        };
        lock.sign().map_err(io)?;
        let meta = match &contents.meta {
            Some(meta) => meta.clone(),
            None => create_meta(disk, path, &identity)?,
        };
        Ok(Owned { lock, meta, contents })
    }
}

/// Neither the file nor, perhaps, the directory.
fn is_not_there(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// What a data directory holds, as far as the directory itself is concerned.
pub(super) struct Contents {
    /// `None` if it is new: it has no logs either.
    pub meta: Option<MetaProperties>,
    pub entries: Vec<Entry>,
    pub clean: Option<Mark>,
    pub flushed_first: Option<Mark>,
    pub written: Written,
}

impl Contents {
    /// Looks at everything that can be wrong, and touches nothing.
    pub fn read(disk: &dyn Disk, dir: &Path, identity: &Identity) -> Result<Contents, OpenError> {
        let io = |error| OpenError::Io { dir: dir.to_owned(), error };
        let mut entries = match disk.read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if is_not_there(&error) => {
                check_can_be_made(disk, dir)?;
                Vec::new()
            }
            Err(error) => return Err(io(error)),
        };
        entries.sort_unstable();
        let meta = read_meta(disk, dir, identity, &entries)?;
        let clean = read_mark(disk, &dir.join(CLEAN)).map_err(io)?;
        let flushed_first = read_mark(disk, &dir.join(FLUSHED_FIRST)).map_err(io)?;
        let mut written = Written::default();
        for (entries, name) in written.files.iter_mut().zip(CHECKPOINTS) {
            *entries = read_checkpoint(disk, dir, name)?;
        }
        if !entries.is_empty() {
            check_writable(disk, dir, &entries)?;
        }
        Ok(Contents { meta, entries, clean, flushed_first, written })
    }
}

/// The directory does not exist, and the first parent that does is where it would be made.
fn check_can_be_made(disk: &dyn Disk, dir: &Path) -> Result<(), OpenError> {
    let parents =
        dir.ancestors().skip(1).map(|part| if part.as_os_str().is_empty() { Path::new(".") } else { part });
    for parent in parents {
        match disk.read_dir(parent).and_then(|_| disk.writable(parent)) {
            Err(error) if is_not_there(&error) => {}
            Err(error) => return Err(OpenError::NotWritable { path: parent.to_owned(), error }),
            Ok(()) => return Ok(()),
        }
    }
    Ok(())
}

fn check_writable(disk: &dyn Disk, dir: &Path, entries: &[Entry]) -> Result<(), OpenError> {
    let is_ours = |entry: &&Entry| match parse_folder_name(&entry.name) {
        Folder::Partition(..) => entry.is_dir,
        // Left of a checkpoint that a crash has interrupted: the next one writes to it.
        Folder::Other => !entry.is_dir && entry.name.ends_with(UNFINISHED),
        Folder::Deleted | Folder::Aside => false,
    };
    let parts = entries.iter().filter(is_ours).map(|entry| dir.join(&entry.name));
    for path in std::iter::once(dir.to_owned()).chain(parts) {
        disk.writable(&path).map_err(|error| OpenError::NotWritable { path, error })?;
    }
    Ok(())
}
