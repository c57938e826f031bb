//! openraft's log storage: the log in memory for reading, the journal behind a thread of its own for writing.
//!
//! Writes and flushes block, so one OS thread does them in the order of openraft's calls. Votes and entries
//! are thereby serialized, as Raft requires. After the first failure the thread refuses everything.
//!
//! The log in memory holds the entries after the last purge: about `snapshot_bytes + keep_bytes` of
//! [`crate::Settings`].

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, mpsc};
use std::thread;

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{AnyError, LogIdOptionExt, LogState, RaftLogReader};
use tokio::sync::oneshot;

use crate::codec::entry_size;
use crate::disk::Disk;
use crate::journal::{Journal, Replayed};
use crate::raft::{Entry, LogId, StorageError, StorageIoError, TypeConfig, Vote};
use crate::vote;

/// One read for replication stops after this many bytes, but has at least one entry.
const REPLICATED_BYTES_MAX: usize = 1 << 20;
/// Jobs that wait for the thread. openraft waits for each job before the next; only stops come on top.
const JOBS_MAX: usize = 16;

/// The log storage that openraft and the observer share.
#[derive(Clone)]
pub(crate) struct LogStore {
    tail: Arc<RwLock<Tail>>,
    jobs: mpsc::SyncSender<Job>,
    disk: Disk,
    vote: Option<Vote>,
}

/// The entries that have not been purged.
#[derive(Default)]
struct Tail {
    before: Option<LogId>,
    entries: VecDeque<Entry>,
}

enum Job {
    Append { entries: Vec<Entry>, done: LogFlushed<TypeConfig> },
    Vote { vote: Vote, done: oneshot::Sender<io::Result<()>> },
    Truncate { keep: Option<LogId>, done: oneshot::Sender<io::Result<()>> },
    Purge { upto: LogId, done: oneshot::Sender<io::Result<()>> },
    Stop { done: oneshot::Sender<io::Result<()>> },
}

impl LogStore {
    /// Takes over the opened journal and starts the thread that writes to it.
    pub(crate) fn start(
        disk: Disk,
        dir: PathBuf,
        journal: Journal,
        replayed: Replayed,
        vote: Option<Vote>,
    ) -> io::Result<LogStore> {
        let (jobs, queue) = mpsc::sync_channel(JOBS_MAX);
        let writer = Writer { disk: disk.clone(), dir, journal, failed: None };
        thread::Builder::new().name("metadata-log".into()).spawn(move || writer.run(queue))?;
        let tail = Tail { before: replayed.before, entries: replayed.entries };
        Ok(LogStore { tail: Arc::new(RwLock::new(tail)), jobs, disk, vote })
    }

    /// On a full disk what is being written fails from now on.
    pub(crate) fn stop_waiting_for_room(&self) {
        self.disk.stop_waiting();
    }

    /// Stops the thread and closes the files. Every later call fails.
    pub(crate) async fn stop(&self) {
        // An error says that it has stopped already.
        let _ = self.ask(|done| Job::Stop { done }).await;
    }

    /// Like `stop`, but does not wait.
    pub(crate) fn stop_soon(&self) {
        self.disk.stop_waiting();
        let (done, _) = oneshot::channel();
        let _ = self.jobs.try_send(Job::Stop { done });
    }

    /// The last entry to purge so that about `keep_bytes` of log stay behind the snapshot at `snapshot`.
    pub(crate) fn purge_point(&self, snapshot: u64, keep_bytes: u64) -> Option<u64> {
        let tail = self.tail.read().unwrap_or_else(PoisonError::into_inner);
        let mut kept = 0;
        let held = tail.entries.iter().rev().skip_while(|entry| entry.log_id.index > snapshot);
        for entry in held {
            if kept >= keep_bytes {
                return Some(entry.log_id.index);
            }
            kept += entry_size(entry) as u64;
        }
        None
    }

    async fn ask(&self, job: impl FnOnce(oneshot::Sender<io::Result<()>>) -> Job) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        self.jobs.try_send(job(done)).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    fn change_tail<T>(&self, change: impl FnOnce(&mut Tail) -> T) -> T {
        // A panic cannot leave it half changed, because each change is one call on the deque.
        change(&mut self.tail.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        Ok(self.tail.read().unwrap_or_else(PoisonError::into_inner).range(start, end).cloned().collect())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        let tail = self.tail.read().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = 0;
        let mut entries = Vec::new();
        for entry in tail.range(start, end) {
            bytes += entry_size(entry);
            if bytes > REPLICATED_BYTES_MAX && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        Ok(entries)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let tail = self.tail.read().unwrap_or_else(PoisonError::into_inner);
        Ok(LogState { last_purged_log_id: tail.before, last_log_id: tail.last() })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let vote = *vote;
        self.ask(|done| Job::Vote { vote, done })
            .await
            .map_err(|error| StorageIoError::write_vote(AnyError::new(&error)))?;
        self.vote = Some(vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(self.vote)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        self.change_tail(|tail| tail.entries.extend(entries.iter().cloned()));
        self.jobs
            .try_send(Job::Append { entries, done: callback })
            .map_err(|_| StorageIoError::write_logs(AnyError::new(&stopped())))?;
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let keep = self.change_tail(|tail| {
            let keep = (log_id.index - tail.before.next_index().min(log_id.index)) as usize;
            tail.entries.truncate(keep);
            tail.last()
        });
        self.ask(|done| Job::Truncate { keep, done })
            .await
            .map_err(|error| StorageIoError::write_logs(AnyError::new(&error)))?;
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        self.change_tail(|tail| {
            let purged = (log_id.index + 1).saturating_sub(tail.before.next_index()) as usize;
            tail.entries.drain(..purged.min(tail.entries.len()));
            tail.before = tail.before.max(Some(log_id));
        });
        self.ask(|done| Job::Purge { upto: log_id, done })
            .await
            .map_err(|error| StorageIoError::write_logs(AnyError::new(&error)))?;
        Ok(())
    }
}

impl Tail {
    fn last(&self) -> Option<LogId> {
        self.entries.back().map(|entry| entry.log_id).or(self.before)
    }

    fn range(&self, start: u64, end: u64) -> impl Iterator<Item = &Entry> {
        let first = self.before.next_index();
        let from = (start.saturating_sub(first) as usize).min(self.entries.len());
        let to = (end.saturating_sub(first) as usize).min(self.entries.len());
        self.entries.range(from..to.max(from))
    }
}

/// The thread's half.
struct Writer {
    disk: Disk,
    dir: PathBuf,
    journal: Journal,
    /// Why nothing is written any more.
    failed: Option<String>,
}

impl Writer {
    fn run(mut self, queue: mpsc::Receiver<Job>) {
        while let Ok(job) = queue.recv() {
            match job {
                Job::Append { entries, done } => {
                    let result = self.attempt(|writer| writer.journal.append(&entries));
                    done.log_io_completed(result);
                }
                // An answer without a receiver means a dropped caller: the runtime is shutting down.
                Job::Vote { vote, done } => {
                    let _ = done.send(self.attempt(|writer| vote::save(&writer.disk, &writer.dir, &vote)));
                }
                Job::Truncate { keep, done } => {
                    let _ = done.send(self.attempt(|writer| writer.journal.truncate(keep)));
                }
                Job::Purge { upto, done } => {
                    let _ = done.send(self.attempt(|writer| writer.journal.purge(upto)));
                }
                Job::Stop { done } => {
                    drop(self);
                    let _ = done.send(Ok(()));
                    return;
                }
            }
        }
    }

    /// Does the work unless earlier work failed. After a failed write or flush the content of the disk is
    /// unknown.
    fn attempt(&mut self, work: impl FnOnce(&mut Writer) -> io::Result<()>) -> io::Result<()> {
        if let Some(reason) = &self.failed {
            return Err(io::Error::other(format!("storage failed before: {reason}")));
        }
        let result = work(self);
        if let Err(error) = &result {
            tracing::error!(dir = %self.dir.display(), %error, "metadata log storage failed");
            self.failed = Some(error.to_string());
        }
        result
    }
}

fn stopped() -> io::Error {
    io::Error::other("the metadata log's storage has stopped")
}
