//! Serving and stopping.

use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;

use crate::guard::Guarded;

/// How long requests under way may take after the shutdown has been asked for.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(1);

/// Serves a site (see [`compose`](crate::part::compose)) until `shutdown` resolves, and then for as long as
/// requests under way take, at most a second.
pub async fn serve(listener: TcpListener, site: Router, shutdown: impl Future<Output = ()> + Send + 'static) {
    let (stop, stopping) = tokio::sync::oneshot::channel();
    let graceful = async move {
        shutdown.await;
        let _nobody_waits = stop.send(());
    };
    let server = axum::serve(Guarded::new(listener), site).with_graceful_shutdown(graceful);
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

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::auth::AllowAll;
    use crate::facts::Facts;
    use crate::groups::{GroupHistory, HistoryError};
    use crate::health::{Readiness, Recovery};
    use crate::metrics::Metrics;
    use crate::part::compose;
    use crate::reply::{JSON, TEXT};
    use crate::routes::parts;

    struct Told {
        readiness: Readiness,
        live: Result<(), String>,
    }

    impl Facts for Told {
        fn readiness(&self) -> Readiness {
            self.readiness.clone()
        }

        fn live(&self) -> Result<(), String> {
            self.live.clone()
        }

        async fn metrics(&self) -> Option<Metrics> {
            (self.readiness == Readiness::Ready).then(Metrics::default)
        }

        async fn group_history(&self, group: &str) -> Result<GroupHistory, HistoryError> {
            match group {
                "a/b" => Ok(GroupHistory { group: group.to_owned(), rebalances: Vec::new() }),
                _ => Err(HistoryError::Starting),
            }
        }
    }

    fn site(readiness: Readiness, live: Result<(), String>) -> Router {
        compose(parts(Arc::new(Told { readiness, live })), Arc::new(AllowAll))
    }

    /// The whole response. `headers` are lines.
    pub(crate) async fn get(site: Router, path: &str, headers: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let server = tokio::spawn(serve(listener, site, std::future::pending()));
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        // Ends only because the server closes after one reply.
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
            ("/metrics", Readiness::Ready, Ok(()), "200", "version=0.0.4", "\n"),
            ("/metrics", Readiness::Ready, Ok(()), "200", "\nottla_topics 0\n", "\n"),
            ("/metrics", Readiness::Stopping, Ok(()), "200", "version=0.0.4", "\r\n\r\n"),
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
            ("/", Readiness::Ready, Ok(()), "200", TEXT, "the newest last\n"),
            (
                "/groups/a%2Fb/history",
                Readiness::Ready,
                Ok(()),
                "200",
                JSON,
                "{\"group\":\"a/b\",\"rebalances\":[]}\n",
            ),
            ("/groups/x/history", Readiness::Ready, Ok(()), "503", JSON, "\"the broker is starting\"}\n"),
            ("/nothing", Readiness::Ready, Ok(()), "404", TEXT, "the newest last\n"),
        ];
        for (path, readiness, live, status, content_type, end) in cases {
            let response = get(site(readiness, live), path, "").await;
            assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {response}");
            assert!(response.contains(content_type) && response.ends_with(end), "{path}: {response}");
        }
    }

    #[tokio::test]
    async fn a_shutdown_does_not_wait_for_a_silent_peer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        silent.write_all(b"GET /liv").await.unwrap();
        let served = serve(listener, site(Readiness::Ready, Ok(())), async {});
        assert!(tokio::time::timeout(SHUTDOWN_WAIT * 20, served).await.is_ok());
    }
}
