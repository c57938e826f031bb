//! What the broker is doing, for `/readyz`, and what it counts, for `/metrics`.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ottla_log::DataDir;
use ottla_net::{Admission, NetMetrics};
use tokio::runtime::Handle;

use crate::context::Context;
use crate::http::exposition::{Sources, render};
use crate::http::facts::{DirFacts, LevelFacts, NodeFacts, ProcessFacts, TopicFacts};
use crate::http::group_facts::GroupFacts;
use crate::http::history::{HistoryError, history as group_history};
use crate::http::txn_facts::TxnFacts;
use crate::http::{HttpState, Readiness, Recovery};
use crate::metadata::RecoveryProgress;

/// Shared by the broker, which sets it as it comes along, and the HTTP server, which tells it.
pub struct Status {
    stage: Mutex<Stage>,
    progress: Arc<RecoveryProgress>,
    dir: OnceLock<DataDir>,
    parts: OnceLock<Parts>,
    started_s: f64,
}

/// What there is to count once the broker serves.
pub struct Parts {
    pub ctx: Arc<Context>,
    pub net: Arc<NetMetrics>,
    pub admission: Admission,
}

/// How far the broker has come.
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

    /// What the HTTP server asks.
    pub fn http(self: &Arc<Status>) -> HttpState {
        let (metrics, readiness, live, history) = (self.clone(), self.clone(), self.clone(), self.clone());
        HttpState {
            metrics: Arc::new(move || metrics.metrics()),
            readiness: Arc::new(move || readiness.readiness()),
            live: Arc::new(move || live.live()),
            history: Arc::new(move |group| {
                let status = history.clone();
                Box::pin(async move {
                    let Parts { ctx, .. } = status.parts.get().ok_or(HistoryError::Starting)?;
                    group_history(ctx, &group).await
                })
            }),
        }
    }

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

    fn recovery(&self) -> Recovery {
        let scan = self.dir.get().map(|dir| dir.progress().clone());
        Recovery {
            logs: self.progress.partitions.load(Ordering::Relaxed),
            logs_open: self.progress.opened.load(Ordering::Relaxed),
            bytes_to_scan: scan.as_ref().map_or(0, |scan| scan.to_scan()),
            bytes_scanned: scan.as_ref().map_or(0, |scan| scan.scanned()),
        }
    }

    fn live(&self) -> Result<(), String> {
        match self.stage() {
            Stage::Failed(why) => Err(why),
            Stage::Starting(_) | Stage::Ready | Stage::Stopping => Ok(()),
        }
    }

    /// Before the broker is ready there is nothing that it counts.
    fn metrics(&self) -> String {
        let Some(Parts { ctx, net, admission }) = self.parts.get() else { return String::new() };
        let node = NodeFacts {
            id: ctx.node,
            cluster_id: ctx.cluster_id.clone(),
            version: env!("CARGO_PKG_VERSION"),
            started_s: self.started_s,
        };
        let topics = TopicFacts::of(&ctx.published.load());
        // This runs on a thread that may block.
        let groups = Handle::current().block_on(GroupFacts::of(ctx));
        let transactions = Handle::current().block_on(TxnFacts::of(ctx));
        let dirs: Vec<DirFacts> = ctx.data_dirs.iter().map(DirFacts::of).collect();
        render(&Sources {
            node: &node,
            broker: &ctx.metrics,
            net,
            topics: &topics,
            dirs: &dirs,
            groups: &groups,
            transactions: &transactions,
            levels: LevelFacts {
                admitted_bytes: admission.bytes(),
                fetch_sessions: ctx.fetch_sessions.len(),
                metadata_index: ctx.published.load().index,
            },
            process: ProcessFacts::read(),
        })
    }

    fn set(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    fn stage(&self) -> Stage {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
