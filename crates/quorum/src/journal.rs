//! The files of the log: `<20 digits>.log`, numbered from 1 without a gap. They are only ever appended to.
//!
//! Each is a run of frames. The first (with salt 0) is the header. Each of the others is one change to the
//! log:
//!
//! ```text
//! header    u8 0, u8 version 1, optional log id before this file's first entry, u32 salt of the other frames
//! append    u8 1, u32 entries, each: u32 length, entry
//! truncate  u8 2, optional log id of the last entry that stays
//! ```
//!
//! A file that begins after the end of the previous one starts the log anew: a snapshot from the leader
//! replaced what was before. Every write is one frame and is flushed before the next. So a crash can damage
//! only the last frame of the last file, which is then cut off. Any other damage may be in acknowledged data
//! and is an error.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use openraft::LogIdOptionExt;

use crate::codec::{Input, Malformed, Output, entry_size};
use crate::disk::{Disk, UNFINISHED};
use crate::frame::{self, Found};
use crate::raft::{Entry, LogId};
use crate::types::StartError;

const VERSION: u8 = 1;
const KIND_HEADER: u8 = 0;
const KIND_APPEND: u8 = 1;
const KIND_TRUNCATE: u8 = 2;
const EXTENSION: &str = "log";
const LOCK: &str = ".lock";
/// An append starts another frame (and flush) after this many bytes. Far below the limit of a frame.
const FRAME_BYTES_SOFT: usize = 16 << 20;

/// The log's files, open for writing. Owned by the storage thread; every method blocks.
pub(crate) struct Journal {
    disk: Disk,
    dir: PathBuf,
    segment_bytes: u64,
    /// Never empty; the last one is written to.
    segments: VecDeque<Segment>,
    active: File,
    active_len: u64,
    salt: u32,
    last: Option<LogId>,
    lease: Arc<Lease>,
}

/// The right to write to the folder. Whoever writes beside the journal holds it while writing, so another
/// quorum finds the folder in use until all writes are done. No new write begins once the journal is closed.
pub(crate) struct Lease {
    _lock: File,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    /// The entry before the first one in it.
    before: Option<LogId>,
}

/// The log as the files hold it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Replayed {
    /// The entry before the first one.
    pub(crate) before: Option<LogId>,
    pub(crate) entries: VecDeque<Entry>,
    /// Bytes of a write that a crash interrupted, cut off.
    pub(crate) cut: u64,
}

/// The log's files as they were found, and the repairs that are due before the first write.
pub(crate) struct Reading {
    disk: Disk,
    dir: PathBuf,
    /// `None` if the folder has no lock file yet.
    lock: Option<File>,
    unfinished: Vec<PathBuf>,
    /// The file whose last write was interrupted, and the position where that write begins.
    torn: Option<(PathBuf, u64)>,
    replay: Replay,
}

impl Reading {
    pub(crate) fn replayed(&self) -> &Replayed {
        &self.replay.replayed
    }

    /// The file that the next write goes to, if there is one.
    pub(crate) fn active(&self) -> Option<PathBuf> {
        self.replay.segments.back().map(|segment| path(&self.dir, segment.number))
    }

    /// Opens the files for writing, or creates the first one with the entries `first`. Repairs only the
    /// damage that a crash can leave.
    pub(crate) fn open(self, segment_bytes: u64, first: &[Entry]) -> Result<(Journal, Replayed), StartError> {
        let Reading { disk, dir, lock, unfinished, torn, mut replay } = self;
        let io_error = |source| StartError::Io { dir: dir.clone(), source };
        let lock = match lock {
            Some(lock) => lock,
            None => create_lock(&dir)?,
        };
        for path in &unfinished {
            disk.remove(path).map_err(io_error)?;
        }
        if let Some((path, end)) = torn {
            disk.cut(&path, end).map_err(io_error)?;
        }
        if replay.segments.is_empty() {
            replay.salt = new_salt();
            create(&disk, &dir, 1, None, replay.salt, first).map_err(io_error)?;
            replay.segments.push_back(Segment { number: 1, before: None });
            replay.replayed.entries.extend(first.iter().cloned());
        }
        let last = replay.last();
        let number = replay.segments.back().map_or(1, |segment| segment.number);
        let active = disk.open_for_append(&path(&dir, number)).map_err(io_error)?;
        let active_len = active.metadata().map_err(io_error)?.len();
        let journal = Journal {
            disk,
            dir,
            segment_bytes,
            segments: replay.segments,
            active,
            active_len,
            salt: replay.salt,
            last,
            lease: Arc::new(Lease { _lock: lock }),
        };
        Ok((journal, replay.replayed))
    }
}

impl Journal {
    /// Reads the log's files and changes nothing. A folder that does not exist has no files.
    pub(crate) fn read(disk: &Disk, dir: &Path) -> Result<Reading, StartError> {
        let io_error = |source| StartError::Io { dir: dir.to_path_buf(), source };
        let lock = lock(dir, OpenOptions::new().write(true))?;
        let unfinished = disk.list(dir, UNFINISHED).map_err(io_error)?;
        let paths = disk.list(dir, EXTENSION).map_err(io_error)?;
        let mut replay = Replay::default();
        let mut torn = None;
        for (i, path) in paths.iter().enumerate() {
            let file = disk.read(path).map_err(io_error)?.unwrap_or_default();
            torn = replay.file(path, file, i + 1 == paths.len())?.map(|end| (path.clone(), end));
        }
        Ok(Reading { disk: disk.clone(), dir: dir.to_path_buf(), lock, unfinished, torn, replay })
    }

    /// A share in the right to write, which ends with the journal.
    pub(crate) fn lease(&self) -> Weak<Lease> {
        Arc::downgrade(&self.lease)
    }

    /// Appends entries that follow the last one. They are durable when it returns. After an error the journal
    /// MUST NOT be written to again.
    pub(crate) fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        let mut rest = entries;
        while let Some(first) = rest.first() {
            assert_eq!(first.log_id.index, self.last.next_index(), "the log has no holes");
            let mut bytes = 0;
            let more = |entry: &&Entry| {
                bytes += entry_size(entry);
                bytes <= FRAME_BYTES_SOFT
            };
            let run = rest.iter().take_while(more).count().max(1);
            self.write(|body| put_append(body, &rest[..run]))?;
            self.last = Some(rest[run - 1].log_id);
            rest = &rest[run..];
        }
        Ok(())
    }

    /// Removes every entry after `keep`, durably.
    pub(crate) fn truncate(&mut self, keep: Option<LogId>) -> io::Result<()> {
        self.write(|body| {
            body.u8(KIND_TRUNCATE);
            body.log_id_option(keep.as_ref());
        })?;
        self.last = keep;
        Ok(())
    }

    /// Deletes the files that hold only entries up to `upto`. If the log ends before `upto`, it starts anew
    /// after it. The snapshot that replaces the entries MUST be durable.
    pub(crate) fn purge(&mut self, upto: LogId) -> io::Result<()> {
        if self.last.next_index() <= upto.index {
            self.last = Some(upto);
            self.roll()?;
        }
        let mut removed = false;
        while self
            .segments
            .get(1)
            .is_some_and(|next| next.before.is_some_and(|before| before.index <= upto.index))
        {
            if let Some(segment) = self.segments.pop_front() {
                self.disk.remove(&path(&self.dir, segment.number))?;
                removed = true;
            }
        }
        if removed { self.disk.sync_dir(&self.dir) } else { Ok(()) }
    }

    fn write(&mut self, body: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        if self.active_len >= self.segment_bytes {
            self.roll()?;
        }
        let mut out = Vec::new();
        frame::put(&mut out, self.salt, body);
        self.disk.append(&self.active, self.active_len, &out)?;
        self.active_len += out.len() as u64;
        self.disk.sync(&self.active)
    }

    fn roll(&mut self) -> io::Result<()> {
        let number = self.segments.back().map_or(1, |segment| segment.number + 1);
        let salt = new_salt();
        create(&self.disk, &self.dir, number, self.last, salt, &[])?;
        self.active = self.disk.open_for_append(&path(&self.dir, number))?;
        self.active_len = self.active.metadata()?.len();
        self.salt = salt;
        self.segments.push_back(Segment { number, before: self.last });
        Ok(())
    }
}

/// Reads the files in order into the log they hold.
#[derive(Default)]
struct Replay {
    replayed: Replayed,
    segments: VecDeque<Segment>,
    salt: u32,
}

impl Replay {
    /// Replays one file. Returns the position at which to cut it, if a crash interrupted its last write.
    fn file(&mut self, path: &Path, file: Bytes, is_last: bool) -> Result<Option<u64>, StartError> {
        let damaged = |position: usize, reason: &str| StartError::Damaged {
            file: path.to_path_buf(),
            position: position as u64,
            reason: reason.to_string(),
        };
        // The header is written before the file gets its name, so no crash leaves half of it.
        let (body, mut at) = match frame::get(&file, 0, 0) {
            Found::Frame { body, next } => (body, next),
            Found::End => return Err(damaged(0, "the file is empty")),
            Found::Damage(reason) => return Err(damaged(0, reason)),
        };
        self.header(path, body).map_err(|reason| damaged(0, &reason))?;
        loop {
            match frame::get(&file, self.salt, at) {
                Found::End => return Ok(None),
                Found::Frame { body, next } => {
                    self.frame(body).map_err(|Malformed(what)| damaged(at, &format!("unexpected {what}")))?;
                    at = next;
                }
                Found::Damage(reason) if !is_last => return Err(damaged(at, reason)),
                Found::Damage(reason) if frame::follows(&file, self.salt, at) => {
                    return Err(damaged(at, &format!("{reason}, and whole frames follow")));
                }
                Found::Damage(_) => {
                    self.replayed.cut = (file.len() - at) as u64;
                    return Ok(Some(at as u64));
                }
            }
        }
    }

    fn header(&mut self, path: &Path, body: Bytes) -> Result<(), String> {
        let (before, salt) = read_header(body)?;
        let number = path.file_stem().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        let number: u64 = number.ok_or("the file's name is not a number")?;
        match self.segments.back() {
            None => self.replayed.before = before,
            Some(previous) if previous.number + 1 != number => {
                return Err(format!("file {} is missing before this one", previous.number + 1));
            }
            Some(_) if before == self.last() => {}
            Some(_) if before.next_index() > self.last().next_index() => {
                self.replayed.before = before;
                self.replayed.entries.clear();
            }
            Some(_) => return Err("the file does not continue the one before it".into()),
        }
        self.salt = salt;
        self.segments.push_back(Segment { number, before });
        Ok(())
    }

    fn frame(&mut self, body: Bytes) -> Result<(), Malformed> {
        let mut input = Input::new(body);
        match input.u8("frame kind")? {
            KIND_APPEND => {
                for _ in 0..input.count(4, "entries")? {
                    let mut bytes = Input::new(input.bytes("entry")?);
                    let entry = bytes.entry()?;
                    bytes.end()?;
                    if entry.log_id.index != self.last().next_index() {
                        return Err(Malformed("index of an entry"));
                    }
                    self.replayed.entries.push_back(entry);
                }
            }
            KIND_TRUNCATE => self.truncate(input.log_id_option()?)?,
            _ => return Err(Malformed("frame kind")),
        }
        input.end()
    }

    fn truncate(&mut self, keep: Option<LogId>) -> Result<(), Malformed> {
        if keep.next_index() > self.last().next_index() {
            return Err(Malformed("index of a truncation"));
        }
        while self.replayed.entries.back().is_some_and(|entry| entry.log_id.index >= keep.next_index()) {
            self.replayed.entries.pop_back();
        }
        // Earlier files may have been deleted, together with the entry that stays.
        if keep.next_index() < self.replayed.before.next_index() {
            self.replayed.before = keep;
        }
        if self.last() == keep { Ok(()) } else { Err(Malformed("term of a truncation")) }
    }

    fn last(&self) -> Option<LogId> {
        self.replayed.entries.back().map(|entry| entry.log_id).or(self.replayed.before)
    }
}

fn put_append(body: &mut Vec<u8>, entries: &[Entry]) {
    body.u8(KIND_APPEND);
    body.count(entries.len());
    for entry in entries {
        let mut bytes = Vec::with_capacity(entry_size(entry));
        bytes.entry(entry);
        body.bytes(&bytes);
    }
}

fn create(
    disk: &Disk,
    dir: &Path,
    number: u64,
    before: Option<LogId>,
    salt: u32,
    entries: &[Entry],
) -> io::Result<()> {
    let mut out = Vec::new();
    frame::put(&mut out, 0, |body| {
        body.u8(KIND_HEADER);
        body.u8(VERSION);
        body.log_id_option(before.as_ref());
        body.u32(salt);
    });
    if !entries.is_empty() {
        frame::put(&mut out, salt, |body| put_append(body, entries));
    }
    disk.replace(&path(dir, number), &[&out])
}

fn read_header(body: Bytes) -> Result<(Option<LogId>, u32), String> {
    let mut input = Input::new(body);
    let mut read = || {
        let kind = input.u8("header")?;
        let version = input.u8("header")?;
        Ok((kind, version))
    };
    match read().map_err(|Malformed(what)| what.to_string())? {
        (KIND_HEADER, VERSION) => {}
        (KIND_HEADER, version) => {
            return Err(format!("version {version} is newer than this release reads ({VERSION})"));
        }
        (kind, _) => return Err(format!("the file begins with a frame of kind {kind}")),
    }
    let mut rest = || Ok((input.log_id_option()?, input.u32("salt")?));
    rest().map_err(|Malformed(what)| what.to_string())
}

fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}.{EXTENSION}"))
}

fn new_salt() -> u32 {
    // It need only be unknown to writers of records. The standard library seeds its hashers in the same way.
    RandomState::new().hash_one(0) as u32
}

/// Creates the folder and its lock file, and takes the lock.
fn create_lock(dir: &Path) -> Result<File, StartError> {
    let io_error = |source| StartError::Io { dir: dir.to_path_buf(), source };
    std::fs::create_dir_all(dir).map_err(io_error)?;
    let lock = lock(dir, OpenOptions::new().write(true).create(true))?;
    lock.ok_or_else(|| io_error(io::ErrorKind::NotFound.into()))
}

/// Takes the folder's lock; `None` if there is no lock file.
fn lock(dir: &Path, options: &OpenOptions) -> Result<Option<File>, StartError> {
    let io_error = |source| StartError::Io { dir: dir.to_path_buf(), source };
    let file = match options.open(dir.join(LOCK)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(error)),
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(StartError::InUse { dir: dir.to_path_buf() }),
        Err(TryLockError::Error(source)) => Err(io_error(source)),
    }
}
