//! The life of a broker: start, readiness, stop.

mod checked;
mod claims;
#[cfg(test)]
mod deletion_tests;
#[cfg(test)]
mod disk_tests;
#[cfg(test)]
mod door_tests;
mod error;
#[cfg(test)]
mod leader_tests;
#[cfg(test)]
mod move_tests;
mod node;
#[cfg(test)]
mod panic_tests;
mod registration;
#[cfg(test)]
mod stage;
mod status;
#[cfg(test)]
mod sweep_tests;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ottla_controller::image::Endpoint;
use ottla_http::AllowAll;
use ottla_net::{ConnectionLimits, Listener, NetSettings, Plain, SecurityProtocol, Server};
use ottla_quorum::MetadataLog;
use ottla_settings::Listener as Setting;
use ottla_settings::{BrokerSettings, key};
use ottla_tasks::Tasks;
use tokio::net::{TcpListener, lookup_host};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::context::Context;
use crate::descriptors::{self, Shares};
use crate::door::Door;
use crate::metadata::RecoveryProgress;
use crate::service::KafkaService;
use crate::shard::Mail;
use checked::Checked;
use claims::Claims;
pub use error::{FatalError, ShutdownError, StartError};
use node::Node;
use registration::Membership;
use status::{Parts, Status};

/// How long a stop waits for work that nobody waits for. What it does not finish is taken up at the next
/// start: coordinators ask again for whatever is missing.
const ERRANDS_MAX: Duration = Duration::from_secs(1);

/// How long a stop waits for requests in flight.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// A broker that serves clients.
pub struct Broker {
    node: Node,
    server: Server,
    membership: Membership,
    /// Writes the mark of the data directory.
    vouching: JoinHandle<()>,
    /// Heartbeats, and the adjustment of dynamic settings.
    chores: [JoinHandle<()>; 2],
    listening: Vec<Listening>,
    fatal: watch::Receiver<Option<FatalError>>,
    status: Arc<Status>,
    http: Option<Http>,
}

/// The HTTP server of metrics and health.
struct Http {
    addr: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// An address that the broker serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    pub listener: String,
    pub addr: SocketAddr,
    /// `host:port` as advertised to clients.
    pub advertised: String,
}

impl Broker {
    /// Opens the data directory, recovers its logs, joins the metadata quorum and listens. Returns once
    /// clients are served. `metrics.listener` shows the progress. MUST be called within a tokio runtime.
    pub async fn start(settings: BrokerSettings) -> Result<Broker, StartError> {
        settings.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
        descriptors::raise();
        let progress = Arc::new(RecoveryProgress::default());
        let status = Status::new(progress.clone(), seconds_since_1970());
        let tasks = Tasks::default();
        let http = Http::start(&settings, &status, &tasks).await?;
        let listeners = bind(&settings).await?;
        let (dir, metadata) = Checked::of(&settings).await?.take().await?;
        status.recovers(dir.clone());
        status.step("recovering logs");
        let node =
            Node::open(&settings, dir, metadata, Clock::start(), progress, Door::open(), tasks.clone());
        let mut node = node.await?;
        status.step("joining the cluster");
        let listening = listening(&settings, &listeners);
        let endpoints = endpoints(&settings, &listeners);
        let (ctx, meta) = (node.ctx.clone(), node.dir.meta());
        let claims = Claims::of(&node);
        let membership =
            Membership::join(ctx.clone(), endpoints, vec![meta.directory_id], claims.previous_epoch).await?;
        let vouching = claims.renew(&node.dir, membership.epoch());
        let heartbeats = tasks.part("the heartbeats", membership.clone().stay());
        // The first client finds what it asks for.
        node.opened().await?;
        let service = Arc::new(KafkaService::new(ctx.clone()));
        let mut server = Server::new(net_settings(&ctx.settings()), tasks.clone());
        for listener in listeners {
            server.serve(service.clone(), listener, Arc::new(Plain));
        }
        let chores = [
            heartbeats,
            tasks.part(
                "the adjustment of limits",
                adjust(server.limits(), ctx.clone(), node.published.clone()),
            ),
        ];
        let fatal = watch_parts(&mut node, status.clone());
        status.ready(Parts { ctx, tasks, net: server.metrics(), admission: server.admission() });
        Ok(Broker { node, server, membership, vouching, chores, listening, fatal, status, http })
    }

    /// The addresses that serve clients.
    pub fn listening(&self) -> &[Listening] {
        &self.listening
    }

    /// The address that serves metrics and health, if there is one.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(|http| http.addr)
    }

    pub fn data_dir(&self) -> &Path {
        self.node.dir.path()
    }

    pub fn cluster_id(&self) -> &str {
        &self.node.ctx.cluster_id
    }

    pub fn node_id(&self) -> i32 {
        self.node.ctx.node.0
    }

    /// Resolves when the broker cannot continue. Safe to drop and call again.
    pub async fn failed(&self) -> FatalError {
        let mut fatal = self.fatal.clone();
        match fatal.wait_for(Option::is_some).await.map(|fatal| fatal.clone()) {
            Ok(Some(fatal)) => fatal,
            Ok(None) | Err(_) => FatalError::Task("nobody watches the parts of the broker any more".into()),
        }
    }

    /// Refuses new work, answers requests in flight, flushes, checkpoints and leaves the cluster. When
    /// `hurry` resolves, it stops waiting for clients.
    pub async fn shutdown(self, hurry: impl Future<Output = ()>) -> Result<(), ShutdownError> {
        self.status.stopping();
        let patient = async {
            self.membership.leave().await;
            // Otherwise this would wait for group members that wait for each other.
            for shard in self.node.shards.iter() {
                let _stopping = shard.send(Mail::Resign).await;
            }
            let stopped = self.server.shutdown(DRAIN_MAX).await;
            if stopped.cut > 0 {
                tracing::warn!(connections = stopped.cut, "requests that did not end in time are cut");
            }
        };
        tokio::select! {
            () = patient => {}
            () = hurry => tracing::warn!("hurrying: requests under way are cut"),
        }
        self.chores.iter().for_each(JoinHandle::abort);
        for shard in self.node.shards.iter() {
            let (stopped, stopping) = oneshot::channel();
            if shard.send(Mail::Stop(stopped)).await.is_ok() {
                let _ended = stopping.await;
            }
        }
        self.node.quorum.shutdown().await;
        let _ended = self.vouching.await;
        let (dir, epoch) = (self.node.dir.clone(), self.membership.epoch());
        let marked = tokio::task::spawn_blocking(move || dir.mark_clean(Some(epoch))).await;
        if let Some(http) = self.http {
            http.end().await;
        }
        self.node.tasks.end(ERRANDS_MAX).await;
        marked.unwrap_or_else(|error| Err(error.into())).map_err(ShutdownError::NotClean)
    }
}

/// How often the health of the data directories is checked.
const HEALTH_INTERVAL: Duration = Duration::from_millis(500);

/// Applies dynamic settings of the connection layer. Ends with the metadata log.
async fn adjust(limits: ottla_net::Limits, ctx: Arc<Context>, mut published: watch::Receiver<u64>) {
    let mut known = ctx.settings().into_owned();
    while published.changed().await.is_ok() {
        let now = ctx.settings();
        if *now != known {
            limits.set(net_settings(&now).limits);
            known = now.into_owned();
        }
    }
}

/// Watches everything that can end a broker.
fn watch_parts(node: &mut Node, status: Arc<Status>) -> watch::Receiver<Option<FatalError>> {
    let (told, fatal) = watch::channel(None);
    let health = node.dir.health().clone();
    let publisher = node.publisher.take();
    let mut leadership = node.quorum.leadership();
    let tasks = node.tasks.clone();
    let watch = async move {
        let disk = async {
            while health.is_online() {
                tokio::time::sleep(HEALTH_INTERVAL).await;
            }
            FatalError::DataDirs(health.failure().map(ToString::to_string).unwrap_or_default())
        };
        let metadata = async {
            match publisher {
                Some(publisher) => {
                    publisher.await.unwrap_or_else(|error| FatalError::Task(error.to_string()))
                }
                None => std::future::pending().await,
            }
        };
        let quorum = async {
            // The sender ends with the task of the log.
            while leadership.changed().await.is_ok() {}
            FatalError::MetadataLog
        };
        let ended = tokio::select! {
            ended = disk => ended,
            ended = metadata => ended,
            ended = quorum => ended,
            panicked = tasks.failed() => FatalError::Task(panicked),
        };
        status.failed(ended.to_string());
        told.send_replace(Some(ended));
    };
    // Should it panic, its channel closes, and that is seen.
    drop(node.tasks.part("the watch over the parts of the broker", watch));
    fatal
}

impl Http {
    async fn start(
        settings: &BrokerSettings,
        status: &Arc<Status>,
        tasks: &Tasks,
    ) -> Result<Option<Http>, StartError> {
        let Some((host, port)) = settings.metrics_listener() else { return Ok(None) };
        let bound =
            TcpListener::bind((host.as_str(), port)).await.and_then(|bound| Ok((bound.local_addr()?, bound)));
        let (addr, bound) = bound.map_err(|error| StartError::BindMetrics { host, port, error })?;
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            let _asked_or_dropped = stopped.await;
        };
        // Anyone who reaches the address may ask. Kafka's metrics have no users either.
        let site = ottla_http::part::compose(ottla_http::parts(status.clone()), Arc::new(AllowAll));
        let task = tasks.part("the HTTP server", ottla_http::serve(bound, site, shutdown));
        Ok(Some(Http { addr, stop, task }))
    }

    async fn end(self) {
        let _gone = self.stop.send(());
        let _ended = self.task.await;
    }
}

async fn bind(settings: &BrokerSettings) -> Result<Vec<Listener>, StartError> {
    let backlog = u32::try_from(settings.read(key::SOCKET_LISTEN_BACKLOG_SIZE)).unwrap_or(50);
    let mut bound = Vec::new();
    for Setting { name, host, port } in settings.listeners() {
        if host.is_empty() {
            bound.push(Listener::bind_everywhere(&name, SecurityProtocol::Plaintext, port, backlog)?);
            continue;
        }
        let doing = || format!("look up {host} of listener {name}");
        let found = lookup_host((host.as_str(), port)).await.map(|mut all| all.next());
        let addr = match found {
            Ok(Some(addr)) => addr,
            Ok(None) => return Err(StartError::Settings(format!("listener {name}: {host} has no address"))),
            Err(error) => return Err(StartError::Io { doing: doing(), error }),
        };
        // The settings refuse listeners with TLS or SASL.
        bound.push(Listener::bind(&name, SecurityProtocol::Plaintext, addr, backlog)?);
    }
    Ok(bound)
}

/// The address that clients get for each listener: the advertised one. Its port is the bound one where none
/// is set.
fn advertised(settings: &BrokerSettings, listeners: &[Listener]) -> Vec<(String, String, u16, SocketAddr)> {
    let known = settings.advertised_listeners();
    let of = |listener: &Listener| {
        let bound = listener.addr();
        let known = known.iter().find(|one| one.name == listener.name());
        let host =
            known.map(|one| one.host.clone()).filter(|host| !host.is_empty()).unwrap_or_else(host_name);
        let port = known.map(|one| one.port).filter(|port| *port != 0).unwrap_or(bound.port());
        (listener.name().to_owned(), host, port, bound)
    };
    listeners.iter().map(of).collect()
}

fn listening(settings: &BrokerSettings, listeners: &[Listener]) -> Vec<Listening> {
    let all = advertised(settings, listeners).into_iter();
    all.map(|(listener, host, port, addr)| Listening { listener, addr, advertised: address(&host, port) })
        .collect()
}

fn endpoints(settings: &BrokerSettings, listeners: &[Listener]) -> Vec<Endpoint> {
    let all = advertised(settings, listeners).into_iter().zip(listeners);
    let endpoint =
        |((name, host, port, _), listener): ((String, String, u16, SocketAddr), &Listener)| Endpoint {
            name: name.into(),
            host: host.into(),
            port,
            security_protocol: listener.security_protocol().id(),
        };
    all.map(endpoint).collect()
}

/// As it is written: an address of IPv6 in brackets.
fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn net_settings(settings: &BrokerSettings) -> NetSettings {
    let rate = settings.read(key::MAX_CONNECTION_CREATION_RATE);
    let overrides = settings.max_connections_per_ip_overrides().into_iter();
    NetSettings {
        request_bytes_max: settings.read(key::SOCKET_REQUEST_MAX_BYTES),
        queued_bytes_max: settings.read(key::QUEUED_MAX_REQUEST_BYTES),
        requests_in_flight_max: settings.read(key::MAX_REQUESTS_IN_FLIGHT_PER_CONNECTION),
        idle_max: settings.read(key::CONNECTIONS_MAX_IDLE_MS),
        send_buffer_bytes: settings.read(key::SOCKET_SEND_BUFFER_BYTES),
        receive_buffer_bytes: settings.read(key::SOCKET_RECEIVE_BUFFER_BYTES),
        descriptors_max: Shares::now().connections,
        limits: ConnectionLimits {
            connections_max: settings.read(key::MAX_CONNECTIONS),
            per_ip_max: settings.read(key::MAX_CONNECTIONS_PER_IP),
            per_ip_overrides: overrides
                .filter_map(|(ip, limit)| Some((ip.parse().ok()?, usize::try_from(limit).ok()?)))
                .collect(),
            creation_rate_max: u32::try_from(rate).ok().filter(|_| rate < i32::MAX),
        },
        ..NetSettings::default()
    }
}

fn seconds_since_1970() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_a_connection_are_bounded_as_set() {
        let limit =
            |text: &str| net_settings(&BrokerSettings::parse(text, &[]).unwrap()).requests_in_flight_max;
        assert_eq!(limit(""), NetSettings::default().requests_in_flight_max);
        assert_eq!(limit("max.requests.in.flight.per.connection=7"), 7);
    }

    /// -1 leaves the size of a buffer to the operating system. Any other value goes to the sockets.
    #[test]
    fn buffers_of_sockets_are_sized_as_set() {
        let sizes = |text: &str| {
            let net = net_settings(&BrokerSettings::parse(text, &[]).unwrap());
            (net.receive_buffer_bytes, net.send_buffer_bytes)
        };
        assert_eq!(sizes(""), (None, Some(102_400)));
        let both = "socket.receive.buffer.bytes=8192\nsocket.send.buffer.bytes=-1\n";
        assert_eq!(sizes(both), (Some(8192), None));
    }
}
