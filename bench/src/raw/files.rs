//! The files of the raw server's partitions, and the threads that flush them.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use anyhow::{Context as _, Result, ensure};

use super::answers::Answers;
use super::lock::lock;
use crate::frames::i32_at;
use crate::shape::{PARTITIONS, Topic};

/// What one `pwritev` takes.
const SLICES_MAX: usize = 1_024;
/// Where the last offset of a batch, less the first, stands.
const LAST_OFFSET_DELTA_AT: usize = 23;

/// All topics.
pub struct Files {
    /// As [`Topic::ALL`].
    topics: Vec<Vec<Arc<Partition>>>,
}

impl Files {
    /// Opens one file for each partition, in an empty directory.
    pub fn create(dir: &Path, segment_bytes: u64) -> Result<Files> {
        let partition = |topic: Topic, index: i32| -> Result<Arc<Partition>> {
            let dir = dir.join(format!("{}-{index}", topic.name()));
            fs::create_dir_all(&dir)?;
            let segment_bytes = if topic.is_retained_briefly() { segment_bytes } else { u64::MAX };
            Partition::create(dir, topic, segment_bytes)
        };
        let topic = |topic: Topic| (0..PARTITIONS).map(|index| partition(topic, index)).collect();
        Ok(Files { topics: Topic::ALL.into_iter().map(topic).collect::<Result<_>>()? })
    }

    pub fn partition(&self, topic: Topic, index: i32) -> Result<&Arc<Partition>> {
        let partitions = &self.topics[topic as usize];
        let found = usize::try_from(index).ok().and_then(|index| partitions.get(index));
        found.with_context(|| format!("no partition {index}"))
    }

    /// Deletes old segments.
    pub fn retain(&self, retention_bytes: u64) -> Result<()> {
        self.topics.iter().flatten().try_for_each(|partition| partition.retain(retention_bytes))
    }
}

/// One partition.
pub struct Partition {
    dir: PathBuf,
    segment_bytes: u64,
    log: Mutex<Log>,
    flush: Option<Flush>,
}

struct Log {
    file: Arc<File>,
    /// Bytes in `file`.
    len: u64,
    /// Segments before `file`: path and length.
    closed: VecDeque<(PathBuf, u64)>,
    path: PathBuf,
    base: u64,
    stored: Stored,
}

/// The batches of a topic that is fetched from: they are equally long.
#[derive(Clone, Copy, Default)]
pub struct Stored {
    pub batch_len: u64,
    pub batch_records: u64,
    /// The offset behind the last one.
    pub end: u64,
}

/// Requests that wait for a flush.
struct Flush {
    waiting: Mutex<Vec<PendingFlush>>,
    come: Condvar,
}

struct PendingFlush {
    answers: Arc<Answers>,
    number: u64,
    answer: Vec<u8>,
}

impl Partition {
    fn create(dir: PathBuf, topic: Topic, segment_bytes: u64) -> Result<Arc<Partition>> {
        let path = dir.join("0");
        let file = Arc::new(open(&path)?);
        let flush = (topic == Topic::Flushed)
            .then(|| Flush { waiting: Mutex::new(Vec::new()), come: Condvar::new() });
        let log = Log { file, len: 0, closed: VecDeque::new(), path, base: 0, stored: Stored::default() };
        let partition = Arc::new(Partition { dir, segment_bytes, log: Mutex::new(log), flush });
        if partition.flush.is_some() {
            let flushed = partition.clone();
            thread::spawn(move || flushed.flush_on());
        }
        Ok(partition)
    }

    /// Writes batches, with one call. They are in the page cache when this returns.
    pub fn append(&self, batches: &[IoSlice<'_>]) -> Result<()> {
        let mut log = lock(&self.log);
        for batches in batches.chunks(SLICES_MAX) {
            let len: usize = batches.iter().map(|batch| batch.len()).sum();
            if log.len + len as u64 > self.segment_bytes {
                self.roll(&mut log)?;
            }
            let written = match batches {
                [batch] => rustix::io::pwrite(&log.file, batch, log.len)?,
                batches => rustix::io::pwritev(&log.file, batches, log.len)?,
            };
            ensure!(written == len, "{written} of {len} bytes were written: is the disk full?");
            log.len += len as u64;
        }
        Ok(())
    }

    /// Sends the answer after the next flush that covers what has been appended.
    pub fn answer_when_flushed(&self, answers: &Arc<Answers>, number: u64, answer: Vec<u8>) -> Result<()> {
        let flush = self.flush.as_ref().context("this topic is not flushed")?;
        lock(&flush.waiting).push(PendingFlush { answers: answers.clone(), number, answer });
        flush.come.notify_one();
        Ok(())
    }

    /// Writes a batch that will be fetched, with its base offset in it.
    pub fn store(&self, batch: &[u8]) -> Result<()> {
        let mut log = lock(&self.log);
        let (base, len) = (log.stored.end, batch.len() as u64);
        let mut stored = batch.to_vec();
        stored[..8].copy_from_slice(&base.to_be_bytes());
        let written = rustix::io::pwrite(&log.file, &stored, log.len)? as u64;
        ensure!(written == len, "{written} of {len} bytes were written: is the disk full?");
        let batch_records = i32_at(batch, LAST_OFFSET_DELTA_AT) as u64 + 1;
        log.len += len;
        log.stored = Stored { batch_len: len, batch_records, end: base + batch_records };
        Ok(())
    }

    /// What a fetch needs to know.
    pub fn stored(&self) -> (Arc<File>, Stored) {
        let log = lock(&self.log);
        (log.file.clone(), log.stored)
    }

    fn roll(&self, log: &mut Log) -> Result<()> {
        if self.flush.is_some() {
            // The flush thread sees only the newest file.
            rustix::fs::fdatasync(&log.file)?;
        }
        log.base += log.len;
        let path = self.dir.join(log.base.to_string());
        log.file = Arc::new(open(&path)?);
        let closed = (std::mem::replace(&mut log.path, path), log.len);
        log.closed.push_back(closed);
        log.len = 0;
        Ok(())
    }

    fn retain(&self, retention_bytes: u64) -> Result<()> {
        let old: Vec<PathBuf> = {
            let mut log = lock(&self.log);
            let mut kept = log.len + log.closed.iter().map(|(_, len)| len).sum::<u64>();
            let mut count = 0;
            for (_, len) in &log.closed {
                if kept < retention_bytes + len {
                    break;
                }
                kept -= len;
                count += 1;
            }
            log.closed.drain(..count).map(|(path, _)| path).collect()
        };
        old.iter().try_for_each(fs::remove_file).context("an old segment stays")
    }

    /// Group commit: what came during one flush is covered by the next.
    fn flush_on(&self) {
        let Some(flush) = &self.flush else { return };
        let mut covered = Vec::new();
        loop {
            let mut waiting = lock(&flush.waiting);
            while waiting.is_empty() {
                waiting = flush.come.wait(waiting).unwrap_or_else(std::sync::PoisonError::into_inner);
            }
            std::mem::swap(&mut *waiting, &mut covered);
            drop(waiting);
            let file = lock(&self.log).file.clone();
            if let Err(error) = rustix::fs::fdatasync(&file) {
                eprintln!("raw: a flush failed: {error}");
                return;
            }
            for PendingFlush { answers, number, answer } in covered.drain(..) {
                if let Err(error) = answers.ready(number, answer) {
                    eprintln!("raw: an answer could not be sent: {error}");
                }
            }
        }
    }
}

fn open(path: &Path) -> Result<File> {
    let opened = File::options().read(true).write(true).create_new(true).open(path);
    opened.with_context(|| format!("{} cannot be made", path.display()))
}
