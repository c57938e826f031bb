//! What a data directory does behind everyone's back: remove files that have left their log, write
//! checkpoints, look how much room is left.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::Inner;
use crate::disk::Disk;

/// Wanted checkpoints are at least this far apart.
const CHECKPOINT_SPACING: Duration = Duration::from_millis(50);

/// How often the room on the disk is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What waits to be done.
#[derive(Debug, Default)]
pub(super) struct Chores {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// By time, then in the order of coming.
    doomed: BTreeMap<(Instant, u64), Doomed>,
    count: u64,
    checkpoint_wanted: bool,
    stop: bool,
}

/// What is to be removed.
#[derive(Debug)]
pub(crate) enum Doomed {
    Files(Vec<PathBuf>),
    Folder(PathBuf),
}

impl Chores {
    /// Removes it after `delay`.
    pub fn doom(&self, doomed: Doomed, delay: Duration) {
        let mut state = self.lock();
        state.count += 1;
        // A delay beyond what a clock can hold is for ever: the next start removes the files.
        if let Some(due) = Instant::now().checked_add(delay) {
            let key = (due, state.count);
            state.doomed.insert(key, doomed);
            self.wake.notify_one();
        }
    }

    pub fn want_checkpoint(&self) {
        let mut state = self.lock();
        if !state.checkpoint_wanted {
            state.checkpoint_wanted = true;
            self.wake.notify_one();
        }
    }

    pub fn stop(&self) {
        self.lock().stop = true;
        self.wake.notify_one();
    }

    /// Does everything that waits, whether it is due or not.
    pub fn do_all(&self, dir: &Inner) {
        let (doomed, wanted) = {
            let mut state = self.lock();
            (std::mem::take(&mut state.doomed), std::mem::take(&mut state.checkpoint_wanted))
        };
        doomed.into_values().for_each(|doomed| remove(&*dir.disk, doomed));
        if wanted {
            checkpoint(dir);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the thread. It ends when the directory is dropped.
pub(super) fn start(chores: Arc<Chores>, dir: Weak<Inner>, interval: Duration) -> io::Result<()> {
    let run = move || {
        let started = Instant::now();
        let (mut checkpointed, mut looked) = (started, started);
        loop {
            let next = (checkpointed + interval).min(looked + LOOK_INTERVAL);
            let Some((due, wanted)) = wait(&chores, next) else { return };
            let Some(dir) = dir.upgrade() else { return };
            if looked.elapsed() >= LOOK_INTERVAL {
                looked = Instant::now();
                dir.look_for_room(ottla_wire::Instant(looked.duration_since(started).as_nanos() as u64));
            }
            due.into_iter().for_each(|doomed| remove(&*dir.disk, doomed));
            if wanted || checkpointed.elapsed() >= interval {
                checkpoint(&dir);
                drop(dir);
                checkpointed = Instant::now();
                thread::sleep(CHECKPOINT_SPACING);
            }
        }
    };
    thread::Builder::new().name("log-chores".to_owned()).spawn(run).map(drop)
}

/// Waits until something is due, `until` at the latest; `None` when the thread is to end.
fn wait(chores: &Chores, until: Instant) -> Option<(Vec<Doomed>, bool)> {
    let mut state = chores.lock();
    loop {
        if state.stop {
            return None;
        }
        let now = Instant::now();
        let later = state.doomed.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut state.doomed, later);
        let wanted = std::mem::take(&mut state.checkpoint_wanted);
        if wanted || !due.is_empty() || now >= until {
            return Some((due.into_values().collect(), wanted));
        }
        let first = state.doomed.keys().next().map(|(due, _)| *due);
        let first = first.map_or(until, |first| first.min(until));
        let waited = chores.wake.wait_timeout(state, first.saturating_duration_since(now));
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}

fn checkpoint(dir: &Inner) {
    if dir.health.is_online() {
        // What came of it is told, and the next one tries again.
        let _ = dir.checkpoint();
    }
}

fn remove(disk: &dyn Disk, doomed: Doomed) {
    let done = |path: &PathBuf, removed: io::Result<()>| match removed {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        // The next start tries again.
        Err(error) => tracing::warn!(path = %path.display(), %error, "cannot remove what was deleted"),
    };
    match doomed {
        Doomed::Files(paths) => paths.iter().for_each(|path| done(path, disk.remove_file(path))),
        Doomed::Folder(path) => done(&path, disk.remove_dir_all(&path)),
    }
}
