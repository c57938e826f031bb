//! What the connections of a server share, and what they may still do.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ottla_tasks::Tasks;
use tokio::sync::Semaphore;

use crate::buffers::Buffers;
use crate::control::Control;
use crate::limits::Limiter;
use crate::log_limit::{FAULTS_PER_S_MAX, LogLimit};
use crate::metrics::NetMetrics;
use crate::peer::ConnectionId;
use crate::pool::Pool;
use crate::settings::NetSettings;

/// What a connection may still do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Everything.
    Serving,
    /// Finish what has arrived.
    Stopping,
    /// Nothing.
    Cut,
}

/// What the connections of a server share.
pub(crate) struct Shared {
    pub(crate) settings: NetSettings,
    pub(crate) tasks: Tasks,
    pub(crate) metrics: Arc<NetMetrics>,
    pub(crate) pool: Arc<Pool>,
    /// A task looks after those who wait for the pool.
    pub(crate) relief_runs: AtomicBool,
    /// Of large requests.
    pub(crate) buffers: Arc<Buffers>,
    pub(crate) limiter: Arc<Limiter>,
    /// Turns for reading cold file pages.
    pub(crate) cold_reads: Semaphore,
    /// Warnings about connections.
    pub(crate) fault_log: LogLimit,
    /// Warnings that connections cannot be taken.
    pub(crate) accept_log: LogLimit,
    phase: AtomicU8,
    connections: Mutex<BTreeMap<ConnectionId, Arc<Control>>>,
    last_connection: AtomicU64,
}

impl Shared {
    pub(crate) fn new(settings: NetSettings, tasks: Tasks) -> Shared {
        let metrics = Arc::<NetMetrics>::default();
        let pool = Arc::new(Pool::new(settings.queued_bytes_max));
        Shared {
            relief_runs: AtomicBool::new(false),
            buffers: Arc::new(Buffers::new(tasks.clone())),
            fault_log: LogLimit::new(FAULTS_PER_S_MAX),
            accept_log: LogLimit::new(1),
            limiter: Arc::new(Limiter::new(
                settings.limits.clone(),
                settings.descriptors_max,
                metrics.clone(),
                pool.clone(),
            )),
            cold_reads: Semaphore::new(settings.cold_reads_max.clamp(1, Semaphore::MAX_PERMITS)),
            phase: AtomicU8::new(Phase::Serving as u8),
            connections: Mutex::default(),
            last_connection: AtomicU64::new(0),
            metrics,
            pool,
            settings,
            tasks,
        }
    }

    pub(crate) fn next_connection(&self) -> ConnectionId {
        ConnectionId(self.last_connection.fetch_add(1, Relaxed) + 1)
    }

    /// Adds a connection to those that are told of a change of phase.
    pub(crate) fn register(&self, id: ConnectionId, control: Arc<Control>) {
        self.connections().insert(id, control);
        self.metrics.connections_accepted.fetch_add(1, Relaxed);
        self.metrics.connections_open.fetch_add(1, Relaxed);
    }

    pub(crate) fn unregister(&self, id: ConnectionId) {
        self.connections().remove(&id);
        self.metrics.connections_open.fetch_sub(1, Relaxed);
    }

    /// All connections.
    pub(crate) fn controls(&self) -> Vec<Arc<Control>> {
        self.connections().values().cloned().collect()
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Serving,
            1 => Phase::Stopping,
            _ => Phase::Cut,
        }
    }

    pub(crate) fn enter_phase(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
        for control in self.connections().values() {
            control.wake();
        }
    }

    pub(crate) fn count_read(&self, bytes: usize) {
        self.metrics.reads.fetch_add(1, Relaxed);
        self.metrics.bytes_in.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn count_write(&self, bytes: usize) {
        self.metrics.writes.fetch_add(1, Relaxed);
        self.metrics.bytes_out.fetch_add(bytes as u64, Relaxed);
    }

    fn connections(&self) -> MutexGuard<'_, BTreeMap<ConnectionId, Arc<Control>>> {
        // Single insertions and removals: the map is whole whatever happened to a holder.
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
