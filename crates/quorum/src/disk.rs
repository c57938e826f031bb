//! The one place that touches files, so that tests can make it fail.
//!
//! A full disk is waited for: nothing is lost by that, while a metadata log that gives up takes its broker
//! along.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;

/// The most bytes of one file that are read at once, or written as one snapshot. The log's files are far
/// smaller; a snapshot of a million partitions takes about 200 MB.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 30;

/// Extension of a file that is still being written. A start deletes such files.
pub(crate) const UNFINISHED: &str = "tmp";

/// Access to the files of one folder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    /// Nobody waits for room any more.
    stopping: Arc<AtomicBool>,
    #[cfg(test)]
    pub(crate) faults: Arc<faults::Faults>,
}

/// How often it is tried whether there is room.
const ROOM_PAUSE: Duration = Duration::from_millis(200);

impl Disk {
    /// Appends to a file that was opened for it and has `len` bytes. Where there is no room it waits for
    /// some, without half of the bytes in the file.
    pub(crate) fn append(&self, file: &File, len: u64, bytes: &[u8]) -> io::Result<()> {
        self.when_there_is_room(|| {
            self.append_once(file, bytes).map_err(|error| match take_back(file, len) {
                Ok(()) => error,
                // Half of the bytes stay: the next start cuts them off.
                Err(stays) => stays,
            })
        })
    }

    fn append_once(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        self.faults.before_append(file, bytes)?;
        file.write_all(bytes)
    }

    /// Nothing waits for room from now on.
    pub(crate) fn stop_waiting(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Does something again and again until the disk has room for it.
    fn when_there_is_room<T>(&self, mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        let mut told = false;
        loop {
            match work() {
                Err(error) if is_full(&error) && !self.stopping.load(Ordering::Relaxed) => {
                    if !told {
                        tracing::error!(%error, "the metadata log waits for room on the disk: nothing can be changed until there is some");
                        told = true;
                    }
                    thread::sleep(ROOM_PAUSE);
                }
                done => {
                    if told && done.is_ok() {
                        tracing::info!("the metadata log has room again");
                    }
                    return done;
                }
            }
        }
    }

    /// Returns once the bytes and the length of the file are on stable storage. After a failure the content
    /// of the disk is unknown, so the caller MUST NOT try again.
    pub(crate) fn sync(&self, file: &File) -> io::Result<()> {
        #[cfg(test)]
        self.faults.before_sync()?;
        file.sync_data()
    }

    /// Makes created, renamed and deleted names of the folder durable.
    pub(crate) fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        #[cfg(test)]
        self.faults.before_sync()?;
        File::open(dir)?.sync_all()
    }

    /// Replaces the file of that name as a whole. After a crash it is either the old one or the new one.
    pub(crate) fn replace(&self, path: &Path, chunks: &[&[u8]]) -> io::Result<()> {
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(".");
        unfinished.push(UNFINISHED);
        let unfinished = PathBuf::from(unfinished);
        let file = self.when_there_is_room(|| File::create(&unfinished))?;
        let mut len = 0;
        for chunk in chunks {
            self.append(&file, len, chunk)?;
            len += chunk.len() as u64;
        }
        self.sync(&file)?;
        self.when_there_is_room(|| fs::rename(&unfinished, path))?;
        self.sync_dir(path.parent().unwrap_or(Path::new(".")))
    }

    pub(crate) fn open_for_append(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().append(true).open(path)
    }

    /// Cuts a file, durably.
    pub(crate) fn cut(&self, path: &Path, len: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(len)?;
        self.sync(&file)
    }

    /// The whole file; `None` if there is none.
    pub(crate) fn read(&self, path: &Path) -> io::Result<Option<Bytes>> {
        let len = match fs::metadata(path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if len > FILE_BYTES_MAX {
            let message = format!("{} has {len} bytes, more than {FILE_BYTES_MAX}", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        fs::read(path).map(|bytes| Some(Bytes::from(bytes)))
    }

    /// The folder's files with that extension, by name; none if there is no folder.
    pub(crate) fn list(&self, dir: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    }

    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

/// Cuts a file to `len` bytes, and goes on writing there.
fn take_back(mut file: &File, len: u64) -> io::Result<()> {
    file.set_len(len)?;
    file.seek(SeekFrom::Start(len)).map(drop)
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
pub(crate) mod faults {
    //! The failures that tests can provoke.

    use std::fs::File;
    use std::io::{self, Write};
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    #[derive(Debug, Default)]
    pub(crate) struct Faults {
        /// The disk is full: half of what is appended is written.
        pub(crate) full: AtomicBool,
        /// Every flush fails.
        pub(crate) sync: AtomicBool,
        /// Flushes so far.
        pub(crate) syncs: AtomicU64,
    }

    impl Faults {
        pub(crate) fn before_append(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
            if self.full.load(Ordering::SeqCst) {
                file.write_all(&bytes[..bytes.len() / 2])?;
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            Ok(())
        }

        pub(crate) fn before_sync(&self) -> io::Result<()> {
            self.syncs.fetch_add(1, Ordering::SeqCst);
            if self.sync.load(Ordering::SeqCst) {
                Err(io::Error::other("injected flush failure"))
            } else {
                Ok(())
            }
        }
    }
}
