//! Flushing: what one log has to make durable, and the threads that do it for many logs at once.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::disk::{Disk, DiskFile, Open, replace_file};
use crate::health::Health;
use crate::names::LEADER_EPOCHS;
use crate::verdict::Verdict;

/// Tells the flushes of one log apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlushId(pub(crate) u64);

/// What is to be made durable for one log. Made by `Log::begin_flush`; run on any thread; its outcome goes
/// back to `Log::finish_flush`. The steps run in order.
#[derive(Debug)]
pub struct FlushJob {
    pub(crate) id: FlushId,
    pub(crate) steps: Vec<Step>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) health: Health,
}

#[derive(Debug)]
pub(crate) enum Step {
    /// Sync an open file.
    File(Arc<dyn DiskFile>),
    /// Sync a file that is not open. It is no matter if it is gone.
    Path(PathBuf),
    /// Sync a directory. It is no matter if it is gone.
    Dir(PathBuf),
    /// Write the leader epochs anew. Where there is no room for them, that can wait: the log says them, too.
    Epochs { folder: PathBuf, bytes: Vec<u8> },
}

/// The outcome of a [`FlushJob`].
#[derive(Debug)]
pub struct FlushDone {
    pub id: FlushId,
    /// After an error nothing is known of what the log has on stable storage.
    pub result: io::Result<()>,
    /// The leader epochs, if there was no room for them.
    pub(crate) epochs: Option<Vec<u8>>,
}

impl FlushJob {
    pub fn id(&self) -> FlushId {
        self.id
    }

    /// Does it. No sync is tried twice: one that fails takes the data directory offline.
    pub fn run(self) -> FlushDone {
        let FlushJob { id, steps, disk, health } = self;
        let mut epochs = None;
        let result = match health.failure() {
            Some(failure) => Err(io::Error::other(failure.to_string())),
            None => steps.into_iter().try_for_each(|step| match (run_step(&*disk, &step), step) {
                (Err(error), Step::Epochs { bytes, .. }) if Verdict::of(&error) == Verdict::Full => {
                    health.judge("write leader epochs", &error);
                    epochs = Some(bytes);
                    Ok(())
                }
                (done, _) => done,
            }),
        };
        if let Err(error) = &result {
            health.judge_flush(error);
        }
        FlushDone { id, result, epochs }
    }
}

fn run_step(disk: &dyn Disk, step: &Step) -> io::Result<()> {
    let gone_is_fine = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    };
    match step {
        Step::File(file) => file.sync_data(),
        Step::Path(path) => gone_is_fine(disk.open(path, Open::Write).and_then(|file| file.sync_data())),
        Step::Dir(path) => gone_is_fine(disk.sync_dir(path)),
        Step::Epochs { folder, bytes } => gone_is_fine(replace_file(disk, folder, LEADER_EPOCHS, bytes)),
    }
}

type Done = Box<dyn FnOnce(FlushDone) + Send>;

/// A pool of threads that run flushes of different logs at the same time.
pub struct Flusher {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<(FlushJob, Done)>,
    stop: bool,
}

/// Jobs that may wait. A log has one flush at a time, so this bounds the logs with a flush, not what they
/// write.
pub const FLUSHES_WAITING_MAX: usize = 65_536;

impl Flusher {
    /// Threads beyond this bring nothing: a disk queue is full before.
    pub const THREADS_MAX: usize = 64;

    /// Starts `threads` threads (1 to [`Flusher::THREADS_MAX`]).
    pub fn start(threads: usize) -> io::Result<Flusher> {
        let shared = Arc::new(Shared::default());
        let mut flusher = Flusher { shared, threads: Vec::new() };
        for i in 0..threads.clamp(1, Flusher::THREADS_MAX) {
            let shared = Arc::clone(&flusher.shared);
            let thread = thread::Builder::new().name(format!("log-flush-{i}"));
            flusher.threads.push(thread.spawn(move || work(&shared))?);
        }
        Ok(flusher)
    }

    /// Queues a job. `done` is called on a thread of the pool with the outcome and must not block. If
    /// [`FLUSHES_WAITING_MAX`] jobs wait, both are given back.
    pub fn submit(&self, job: FlushJob, done: Done) -> Result<(), (FlushJob, Done)> {
        let mut queue = self.shared.lock();
        if queue.jobs.len() >= FLUSHES_WAITING_MAX {
            return Err((job, done));
        }
        queue.jobs.push_back((job, done));
        drop(queue);
        self.shared.wake.notify_one();
        Ok(())
    }
}

/// Waits for the jobs that are queued.
impl Drop for Flusher {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.wake.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing more to say: the panic was reported when it happened.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Flusher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flusher").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn work(shared: &Shared) {
    let mut queue = shared.lock();
    loop {
        if let Some((job, done)) = queue.jobs.pop_front() {
            drop(queue);
            done(job.run());
            queue = shared.lock();
        } else if queue.stop {
            return;
        } else {
            queue = shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
