//! Starting and stopping: what all connections of a server share.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::admission::{Control, Pool};
use crate::buffers::Buffers;
use crate::limits::Limiter;
use crate::listener::{self, Listener};
use crate::log_limit::LogLimit;
use crate::metrics::NetMetrics;
use crate::service::{ConnectionId, Service};
use crate::settings::{ConnectionLimits, NetSettings};

/// Once connections are cut they end at their next turn; a turn that takes longer than this is a bug of the service.
const CUT_WAIT_MAX: Duration = Duration::from_secs(1);

/// Serves connections until it is shut down. Dropped without a shutdown, it cuts them all.
pub struct Server {
    shared: Arc<Shared>,
    acceptors: Vec<JoinHandle<()>>,
    listeners: Vec<(String, SocketAddr)>,
}

/// Changes the limits on connections of a running [`Server`]. Open connections stay.
#[derive(Clone)]
pub struct Limits(Arc<Limiter>);

impl Limits {
    pub fn set(&self, limits: ConnectionLimits) {
        self.0.set(limits);
    }
}

/// Looks at the memory that requests take, for as long as anybody wants to know.
#[derive(Clone)]
pub struct Admission(Arc<Shared>);

impl Admission {
    /// The bytes of requests that are admitted now, being read or being served.
    pub fn bytes(&self) -> usize {
        self.0.pool.used()
    }
}

/// How a shutdown went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Connections that had not finished what was in flight by the deadline, and were cut.
    pub cut: usize,
}

impl Server {
    /// Starts to accept. MUST be called within a tokio runtime, which then runs all connections.
    pub fn start<S: Service>(service: Arc<S>, listeners: Vec<Listener>, settings: NetSettings) -> Server {
        let shared = Arc::new(Shared::new(settings));
        let named = |listener: &Listener| (listener.name().to_owned(), listener.addr());
        Server {
            listeners: listeners.iter().map(named).collect(),
            acceptors: listeners
                .into_iter()
                .map(|listener| tokio::spawn(listener::accept(listener, service.clone(), shared.clone())))
                .collect(),
            shared,
        }
    }

    /// Names and addresses of the listeners.
    pub fn listeners(&self) -> &[(String, SocketAddr)] {
        &self.listeners
    }

    /// The counters.
    pub fn metrics(&self) -> Arc<NetMetrics> {
        self.shared.metrics.clone()
    }

    /// What requests take of `queued.max.request.bytes`.
    pub fn admission(&self) -> Admission {
        Admission(self.shared.clone())
    }

    /// A way to change the limits on connections that outlives borrows of the server.
    pub fn limits(&self) -> Limits {
        Limits(self.shared.limiter.clone())
    }

    /// Stops accepting and reading, serves the requests that were read, sends their responses, and closes. What is not done
    /// by then is cut at `deadline` (from now). Every session is closed when this returns, but for those that block a thread.
    pub async fn shutdown(mut self, deadline: Duration) -> Stopped {
        for acceptor in self.acceptors.drain(..) {
            acceptor.abort();
            // An acceptor may be about to start one more connection. Its only error is the abort itself.
            let _ = acceptor.await;
        }
        self.shared.enter_phase(Phase::Stopping);
        if timeout(deadline, self.shared.limiter.empty()).await.is_ok() {
            return Stopped { cut: 0 };
        }
        let cut = self.shared.limiter.open();
        self.shared.enter_phase(Phase::Cut);
        if timeout(CUT_WAIT_MAX, self.shared.limiter.empty()).await.is_err() {
            tracing::warn!(
                connections = self.shared.limiter.open(),
                "connections did not end when they were cut"
            );
        }
        Stopped { cut }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for acceptor in &self.acceptors {
            acceptor.abort();
        }
        self.shared.enter_phase(Phase::Cut);
    }
}

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
    pub(crate) metrics: Arc<NetMetrics>,
    pub(crate) pool: Pool,
    /// Of large requests.
    pub(crate) buffers: Arc<Buffers>,
    pub(crate) limiter: Arc<Limiter>,
    /// Turns for reading cold file pages.
    pub(crate) cold_reads: Semaphore,
    /// Warnings about connections.
    pub(crate) fault_log: LogLimit,
    phase: AtomicU8,
    connections: Mutex<BTreeMap<ConnectionId, Arc<Control>>>,
    last_connection: AtomicU64,
}

impl Shared {
    pub(crate) fn new(settings: NetSettings) -> Shared {
        let metrics = Arc::<NetMetrics>::default();
        Shared {
            pool: Pool::new(settings.queued_bytes_max),
            buffers: Arc::default(),
            fault_log: LogLimit::default(),
            limiter: Arc::new(Limiter::new(settings.limits.clone(), metrics.clone())),
            cold_reads: Semaphore::new(settings.cold_reads_max.clamp(1, Semaphore::MAX_PERMITS)),
            phase: AtomicU8::new(Phase::Serving as u8),
            connections: Mutex::default(),
            last_connection: AtomicU64::new(0),
            metrics,
            settings,
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

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Serving,
            1 => Phase::Stopping,
            _ => Phase::Cut,
        }
    }

    fn enter_phase(&self, phase: Phase) {
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
