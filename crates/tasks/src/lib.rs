//! The one way to start a task of the broker: with a name, with a decision what its panic means, and with an
//! end. A bare task dies as one line in the log of a broker that calls itself ready, and outlives its stop.
//!
//! A [`Tasks::part`] is something without which the broker cannot go on: its panic ends the broker with a
//! reason. A [`Tasks::errand`] is a piece of work that ends by itself: its panic is that of this work alone,
//! and is counted. [`Tasks::end`] leaves none of either behind.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::timeout;

/// How long a task that was cut may take to go. One that takes longer blocks its thread.
const CUT_WAIT_MAX: Duration = Duration::from_secs(1);

/// Starts tasks, and knows those that run. Clones are the same.
#[derive(Clone, Default)]
pub struct Tasks(Arc<Shared>);

#[derive(Default)]
struct Shared {
    register: Mutex<Register>,
    /// Changes whenever a task ends.
    ended: watch::Sender<()>,
    /// The part that panicked first.
    failed: watch::Sender<Option<String>>,
}

#[derive(Default)]
struct Register {
    next: u64,
    running: BTreeMap<u64, Running>,
    panicked: BTreeMap<&'static str, u64>,
}

struct Running {
    kind: Kind,
    /// Set once it is started.
    abort: Option<AbortHandle>,
}

/// What a panic means.
#[derive(Clone)]
enum Kind {
    Part(Cow<'static, str>),
    Errand(&'static str),
}

impl Tasks {
    /// Starts a task without which the broker cannot go on. It need not end by itself. MUST be called within
    /// a tokio runtime.
    pub fn part<T: Send + 'static>(
        &self,
        name: impl Into<Cow<'static, str>>,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.start(Kind::Part(name.into()), task)
    }

    /// Starts a piece of work that ends by itself, and whose failure is that of nothing else. `name` is a
    /// label of a metric. MUST be called within a tokio runtime.
    pub fn errand(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        // Its end is seen here.
        drop(self.start(Kind::Errand(name), task));
    }

    /// Resolves when a part has panicked, with a sentence that says which.
    pub async fn failed(&self) -> String {
        let mut failed = self.0.failed.subscribe();
        match failed.wait_for(Option::is_some).await.map(|failed| failed.clone()) {
            Ok(Some(why)) => why,
            // The sender lives as long as this does.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// The errands that have panicked, by name.
    pub fn panicked(&self) -> Vec<(&'static str, u64)> {
        self.0.register().panicked.iter().map(|(name, count)| (*name, *count)).collect()
    }

    /// Waits until all errands are done, for `patience` at the most; then cuts whatever runs, and returns
    /// when it is gone. Errands that are cut are named in the log. For when nobody starts tasks any more.
    pub async fn end(&self, patience: Duration) {
        let errands = |running: &Running| matches!(running.kind, Kind::Errand(_));
        if timeout(patience, self.gone(errands)).await.is_err() {
            tracing::warn!(tasks = %self.names(errands), "work that did not end in time is cut");
        }
        let running: Vec<AbortHandle> =
            self.0.register().running.values().filter_map(|running| running.abort.clone()).collect();
        running.iter().for_each(AbortHandle::abort);
        if timeout(CUT_WAIT_MAX, self.gone(|_| true)).await.is_err() {
            tracing::warn!(tasks = %self.names(|_| true), "tasks did not end when they were cut");
        }
    }

    /// Resolves when no such task runs.
    async fn gone(&self, which: impl Fn(&Running) -> bool) {
        let mut ended = self.0.ended.subscribe();
        while self.0.register().running.values().any(&which) {
            // The sender lives as long as this does.
            let _ended = ended.changed().await;
        }
    }

    /// The names of such tasks that run, for the log.
    fn names(&self, which: impl Fn(&Running) -> bool) -> String {
        let register = self.0.register();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for running in register.running.values().filter(|running| which(running)) {
            *counts.entry(running.kind.name()).or_default() += 1;
        }
        let names = counts.into_iter().map(|(name, count)| match count {
            1 => name.to_owned(),
            count => format!("{name} ({count} times)"),
        });
        names.collect::<Vec<_>>().join(", ")
    }

    fn start<T: Send + 'static>(
        &self,
        kind: Kind,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let id = self.0.register().add(kind.clone());
        let watched = Watched { id, kind, shared: self.0.clone() };
        let started = tokio::spawn(async move {
            let _watched = watched;
            task.await
        });
        // It may have ended.
        if let Some(running) = self.0.register().running.get_mut(&id) {
            running.abort = Some(started.abort_handle());
        }
        started
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tasks").field(&self.names(|_| true)).finish()
    }
}

impl Kind {
    fn name(&self) -> &str {
        match self {
            Kind::Part(name) => name,
            Kind::Errand(name) => name,
        }
    }
}

impl Register {
    fn add(&mut self, kind: Kind) -> u64 {
        self.next += 1;
        self.running.insert(self.next, Running { kind, abort: None });
        self.next
    }
}

impl Shared {
    fn register(&self) -> MutexGuard<'_, Register> {
        self.register.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn panicked(&self, kind: &Kind) {
        match kind {
            Kind::Part(name) => {
                let why = format!("{name} panicked; the log above says where");
                self.failed.send_if_modified(|failed| {
                    let first = failed.is_none();
                    failed.get_or_insert(why);
                    first
                });
            }
            Kind::Errand(name) => {
                *self.register().panicked.entry(name).or_default() += 1;
                tracing::error!(task = name, "a piece of work panicked; the log above says where");
            }
        }
    }
}

/// Goes with its task, however that ends.
struct Watched {
    id: u64,
    kind: Kind,
    shared: Arc<Shared>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if thread::panicking() {
            self.shared.panicked(&self.kind);
        }
        self.shared.register().running.remove(&self.id);
        self.shared.ended.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::oneshot;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    async fn is_well(tasks: &Tasks) -> bool {
        timeout(Duration::ZERO, tasks.failed()).await.is_err()
    }

    #[tokio::test]
    async fn only_a_panic_ends_the_broker_and_the_first_one_is_the_reason() {
        let tasks = Tasks::default();
        tasks.part("one that ends", async {}).await.unwrap();
        let stopped = tasks.part("one that is stopped", pending::<()>());
        stopped.abort();
        assert!(stopped.await.unwrap_err().is_cancelled());
        assert!(is_well(&tasks).await);
        for name in ["shard 0", "shard 1"] {
            let panicked = tasks.part::<()>(name, async { panic!("on purpose") });
            assert!(panicked.await.unwrap_err().is_panic());
        }
        let why = timeout(PATIENCE, tasks.failed()).await.unwrap();
        assert_eq!(why, "shard 0 panicked; the log above says where");
    }

    #[tokio::test]
    async fn an_errand_that_panics_is_counted_and_nothing_else_ends() {
        let tasks = Tasks::default();
        for _ in 0..2 {
            tasks.errand("an errand", async { panic!("on purpose") });
        }
        tasks.errand("another errand", async {});
        tasks.end(PATIENCE).await;
        assert_eq!(tasks.panicked(), [("an errand", 2)]);
        assert!(is_well(&tasks).await);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_waits_for_errands_and_cuts_parts() {
        let tasks = Tasks::default();
        let part = tasks.part("a part", pending::<()>());
        let (done, is_done) = oneshot::channel();
        tasks.errand("an errand", async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            done.send(()).unwrap();
        });
        tasks.end(PATIENCE).await;
        is_done.await.unwrap();
        assert!(part.await.unwrap_err().is_cancelled());
        assert_eq!(tasks.names(|_| true), "");
    }

    /// What it had is dropped before the end returns.
    #[tokio::test(start_paused = true)]
    async fn the_end_cuts_errands_that_take_too_long() {
        let tasks = Tasks::default();
        let (held, mut gone) = oneshot::channel::<()>();
        tasks.errand("a slow errand", async {
            pending::<()>().await;
            drop(held);
        });
        tasks.errand("a slow errand", pending());
        assert_eq!(tasks.names(|_| true), "a slow errand (2 times)");
        tasks.end(Duration::from_secs(1)).await;
        assert_eq!(gone.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        assert!(tasks.panicked().is_empty());
    }
}
