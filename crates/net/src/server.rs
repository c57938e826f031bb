//! Starting and stopping.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ottla_tasks::Tasks;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::limits::Limiter;
use crate::listener::{self, Listener};
use crate::metrics::NetMetrics;
use crate::service::Service;
use crate::settings::{ConnectionLimits, NetSettings};
use crate::shared::{Phase, Shared};
use crate::transport::Transport;

/// Once connections are cut they end at their next turn; a turn that takes longer than this is a bug of the
/// service.
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
    /// A server without listeners: see [`Server::serve`]. What it runs is started by `tasks`.
    pub fn new(settings: NetSettings, tasks: Tasks) -> Server {
        let shared = Arc::new(Shared::new(settings, tasks));
        Server { shared, acceptors: Vec::new(), listeners: Vec::new() }
    }

    /// Starts to accept from one more listener. Its connections come through `transport`, and share all
    /// limits with those of the other listeners. MUST be called within a tokio runtime, which then runs the
    /// connections.
    pub fn serve<S: Service, T: Transport>(
        &mut self,
        service: Arc<S>,
        listener: Listener,
        transport: Arc<T>,
    ) {
        self.listeners.push((listener.name().to_owned(), listener.addr()));
        let name = format!("listener {}", listener.name());
        let accepting = listener::accept(listener, service, transport, self.shared.clone());
        self.acceptors.push(self.shared.tasks.part(name, accepting));
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

    /// Stops accepting and reading, serves the requests that were read, sends their responses, and closes.
    /// What is not done by then is cut at `deadline` (from now). Every session is closed when this returns,
    /// but for those that block a thread.
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
