//! Metrics and health over HTTP: `/metrics`, `/livez`, `/readyz`, `/groups/ID/history`.
//!
//! It is up before the broker is ready, so that recovery can be watched, and down after everything else. What it tells
//! comes from closures ([`HttpState`]); it holds no part of the broker.
//!
//! - [`readiness`]: what `/readyz` tells.
//! - [`exposition`]: the text of `/metrics`, made of [`facts`], [`group_facts`] and [`txn_facts`].
//! - [`history`]: why a group has rebalanced.
//! - [`guard`]: bounds what strangers can hold open.

pub mod exposition;
pub mod facts;
mod families;
pub mod group_facts;
mod guard;
pub mod history;
mod readiness;
pub mod txn_facts;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE};
use axum::http::{HeaderName, StatusCode};
use axum::routing::get;
use tokio::net::TcpListener;

use guard::Guarded;
use history::HistoryError;
pub use readiness::{Readiness, Recovery};

/// How long requests under way may take after the shutdown has been asked for.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(1);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// The version of the text format that Prometheus and its kin read.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

const INDEX: &str = "\
/metrics            what the broker counts, for Prometheus
/livez              200 while the process works
/readyz             200 while the broker serves clients; before that, how far recovery is
/groups/ID/history  why a group has rebalanced, the newest last
";

/// What the answers are made of. The closures are called once for each request and MUST NOT block for long; the one for
/// the metrics is called on a thread that may block.
#[derive(Clone)]
pub struct HttpState {
    /// The text of `/metrics`: see [`exposition::render`].
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    pub readiness: Arc<dyn Fn() -> Readiness + Send + Sync>,
    /// Why the process should be restarted, if it should.
    pub live: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
    /// The rebalances of a group, or why they cannot be told.
    pub history: Arc<dyn Fn(String) -> TellsHistory + Send + Sync>,
}

/// Tells the rebalances of a group, as JSON.
pub type TellsHistory = Pin<Box<dyn Future<Output = Result<String, HistoryError>> + Send>>;

/// Serves until `shutdown` resolves, and then for as long as requests under way take, at most a second.
pub async fn serve(
    listener: TcpListener,
    state: HttpState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let (stop, stopping) = tokio::sync::oneshot::channel();
    let graceful = async move {
        shutdown.await;
        let _nobody_waits = stop.send(());
    };
    let server = axum::serve(Guarded::new(listener), router(state)).with_graceful_shutdown(graceful);
    let overdue = async {
        // An error is the sender dropped with the server: there is nothing to wait for any more.
        let _ended = stopping.await;
        tokio::time::sleep(SHUTDOWN_WAIT).await;
    };
    tokio::select! {
        // It has no errors of its own; those of accepting are retried within.
        _ = server => {}
        () = overdue => {}
    }
}

type Answer = (StatusCode, [(HeaderName, &'static str); 3], String);

fn router(state: HttpState) -> Router {
    Router::new()
        .route("/", get(async || answer(StatusCode::OK, TEXT, INDEX.to_owned())))
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/groups/{id}/history", get(group_history))
        .fallback(async || answer(StatusCode::NOT_FOUND, TEXT, format!("there is:\n{INDEX}")))
        .with_state(state)
}

async fn metrics(State(state): State<HttpState>) -> Answer {
    // With many partitions this takes milliseconds, which the threads that serve clients do not have.
    match tokio::task::spawn_blocking(move || (state.metrics)()).await {
        Ok(text) => answer(StatusCode::OK, PROMETHEUS, text),
        Err(error) => answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
    }
}

async fn livez(State(state): State<HttpState>) -> Answer {
    match (state.live)() {
        Ok(()) => answer(StatusCode::OK, TEXT, "ok\n".to_owned()),
        Err(why) => answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
    }
}

async fn readyz(State(state): State<HttpState>) -> Answer {
    let readiness = (state.readiness)();
    let ready = matches!(readiness, Readiness::Ready);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer(status, JSON, readiness.to_json())
}

async fn group_history(State(state): State<HttpState>, Path(id): Path<String>) -> Answer {
    match (state.history)(id).await {
        Ok(history) => answer(StatusCode::OK, JSON, history),
        Err(error) => answer(StatusCode::SERVICE_UNAVAILABLE, JSON, error.to_json()),
    }
}

/// One request a connection: a scrape every few seconds gains nothing from keeping it, and what nobody may keep cannot be
/// hoarded.
fn answer(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    (status, [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store"), (CONNECTION, "close")], body)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    fn state(readiness: Readiness, live: Result<(), String>) -> HttpState {
        HttpState {
            metrics: Arc::new(|| "ottla_topics 3\n".to_owned()),
            readiness: Arc::new(move || readiness.clone()),
            live: Arc::new(move || live.clone()),
            history: Arc::new(|id| {
                Box::pin(async move {
                    match &*id {
                        "a/b" => Ok("[]\n".to_owned()),
                        _ => Err(HistoryError::Starting),
                    }
                })
            }),
        }
    }

    async fn get(state: HttpState, path: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let server = tokio::spawn(serve(listener, state, std::future::pending()));
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        // Ends only because the server closes after one answer.
        stream.read_to_string(&mut response).await.unwrap();
        server.abort();
        response
    }

    #[tokio::test]
    async fn each_path_answers_with_its_status_and_body() {
        let recovering = Readiness::Starting {
            step: "opening logs",
            recovery: Recovery { logs: 8, logs_open: 2, bytes_to_scan: 100, bytes_scanned: 25 },
        };
        let broken = Err("data directory failed".to_owned());
        let cases = [
            ("/metrics", Readiness::Ready, Ok(()), "200", "version=0.0.4", "ottla_topics 3\n"),
            ("/livez", Readiness::Ready, Ok(()), "200", TEXT, "ok\n"),
            ("/livez", Readiness::Ready, broken, "503", TEXT, "data directory failed\n"),
            ("/readyz", Readiness::Ready, Ok(()), "200", JSON, "{\"ready\":true,\"state\":\"ready\"}\n"),
            ("/readyz", recovering, Ok(()), "503", JSON, "\"bytes_scanned\":25}}\n"),
            (
                "/readyz",
                Readiness::Stopping,
                Ok(()),
                "503",
                JSON,
                "{\"ready\":false,\"state\":\"stopping\"}\n",
            ),
            ("/", Readiness::Ready, Ok(()), "200", TEXT, INDEX),
            ("/groups/a%2Fb/history", Readiness::Ready, Ok(()), "200", JSON, "[]\n"),
            ("/groups/x/history", Readiness::Ready, Ok(()), "503", JSON, "\"the broker is starting\"}\n"),
            ("/nothing", Readiness::Ready, Ok(()), "404", TEXT, INDEX),
        ];
        for (path, readiness, live, status, content_type, end) in cases {
            let response = get(state(readiness, live), path).await;
            assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {response}");
            assert!(response.contains(content_type) && response.ends_with(end), "{path}: {response}");
        }
    }

    #[tokio::test]
    async fn a_shutdown_does_not_wait_for_a_silent_peer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        silent.write_all(b"GET /liv").await.unwrap();
        let served = serve(listener, state(Readiness::Ready, Ok(())), async {});
        assert!(tokio::time::timeout(SHUTDOWN_WAIT * 20, served).await.is_ok());
    }
}
