//! The state of the broker for `/readyz`, and its counters for `/metrics`.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ottla_http::Facts;
use ottla_http::groups::{GroupHistory, HistoryError};
use ottla_http::health::{Readiness, Recovery};
use ottla_http::metrics::{LevelFacts, Metrics, NodeFacts};
use ottla_log::DataDir;
use ottla_net::{Admission, NetMetrics};
use ottla_tasks::Tasks;

use crate::context::Context;
use crate::facts;
use crate::metadata::RecoveryProgress;

/// Shared by the broker, which sets it during its life, and the HTTP server, which shows it.
pub struct Status {
    stage: Mutex<Stage>,
    progress: Arc<RecoveryProgress>,
    dir: OnceLock<DataDir>,
    parts: OnceLock<Parts>,
    started_s: f64,
}

/// The parts that have counters once the broker serves.
pub struct Parts {
    pub ctx: Arc<Context>,
    pub tasks: Tasks,
    pub net: Arc<NetMetrics>,
    pub admission: Admission,
}

/// The stages of a broker's life.
#[derive(Clone, Debug)]
enum Stage {
    Starting(&'static str),
    Ready,
    Stopping,
    Failed(String),
}

impl Status {
    pub fn new(progress: Arc<RecoveryProgress>, started_s: f64) -> Arc<Status> {
        let stage = Mutex::new(Stage::Starting("opening the data directory"));
        Arc::new(Status { stage, progress, dir: OnceLock::new(), parts: OnceLock::new(), started_s })
    }

    pub fn step(&self, step: &'static str) {
        self.set(Stage::Starting(step));
    }

    pub fn recovers(&self, dir: DataDir) {
        let _once = self.dir.set(dir);
    }

    pub fn ready(&self, parts: Parts) {
        let _once = self.parts.set(parts);
        self.set(Stage::Ready);
    }

    pub fn stopping(&self) {
        self.set(Stage::Stopping);
    }

    pub fn failed(&self, why: String) {
        self.set(Stage::Failed(why));
    }

    fn recovery(&self) -> Recovery {
        let scan = self.dir.get().map(|dir| dir.progress().clone());
        Recovery {
            logs: self.progress.partitions.load(Ordering::Relaxed),
            logs_open: self.progress.opened.load(Ordering::Relaxed),
            bytes_to_scan: scan.as_ref().map_or(0, |scan| scan.to_scan()),
            bytes_scanned: scan.as_ref().map_or(0, |scan| scan.scanned()),
        }
    }

    fn set(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    fn stage(&self) -> Stage {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Facts for Status {
    fn readiness(&self) -> Readiness {
        match self.stage() {
            Stage::Starting(step) => Readiness::Starting { step, recovery: self.recovery() },
            Stage::Ready => match self.dir.get().and_then(|dir| dir.health().failure().cloned()) {
                Some(failure) => Readiness::Failed(format!("the data directory is offline: {failure}")),
                None => Readiness::Ready,
            },
            Stage::Stopping => Readiness::Stopping,
            Stage::Failed(why) => Readiness::Failed(why),
        }
    }

    fn live(&self) -> Result<(), String> {
        match self.stage() {
            Stage::Failed(why) => Err(why),
            Stage::Starting(_) | Stage::Ready | Stage::Stopping => Ok(()),
        }
    }

    async fn metrics(&self) -> Option<Metrics> {
        let Parts { ctx, tasks, net, admission } = self.parts.get()?;
        let (groups, transactions) = tokio::join!(facts::groups(ctx), facts::transactions(ctx));
        let of_disk = ctx.clone();
        // With many partitions this takes milliseconds. File systems may take longer.
        let gathered = move || {
            let topics = facts::topics(&of_disk.published.load());
            (topics, of_disk.data_dirs.iter().map(facts::dir).collect())
        };
        let (topics, dirs) = tokio::task::spawn_blocking(gathered).await.ok()?;
        Some(Metrics {
            node: NodeFacts {
                id: ctx.node.0,
                cluster_id: ctx.cluster_id.clone(),
                version: env!("CARGO_PKG_VERSION"),
                started_s: self.started_s,
            },
            requests: facts::requests(&ctx.metrics),
            net: facts::net(net),
            panics: tasks.panicked(),
            topics,
            dirs,
            groups,
            transactions,
            levels: LevelFacts {
                admitted_bytes: admission.bytes(),
                fetch_sessions: ctx.fetch_sessions.len(),
                metadata_index: ctx.published.load().index,
            },
        })
    }

    async fn group_history(&self, group: &str) -> Result<GroupHistory, HistoryError> {
        let Parts { ctx, .. } = self.parts.get().ok_or(HistoryError::Starting)?;
        facts::history(ctx, group).await
    }
}
