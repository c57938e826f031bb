//! The parts that show a broker's facts.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use serde::Serialize;

use crate::facts::Facts;
use crate::health::Readiness;
use crate::metrics::{ProcessFacts, render};
use crate::part::Part;
use crate::reply::{PROMETHEUS, Reply, json, reply, text};

/// What a broker shows of itself.
pub fn parts<F: Facts>(facts: Arc<F>) -> Vec<Part> {
    vec![metrics(facts.clone()), health(facts.clone()), groups(facts)]
}

fn metrics<F: Facts>(facts: Arc<F>) -> Part {
    Part {
        index: &[("/metrics", "what the broker counts, for Prometheus")],
        routes: Router::new().route("/metrics", get(scrape::<F>)).with_state(facts),
    }
}

fn health<F: Facts>(facts: Arc<F>) -> Part {
    Part {
        index: &[
            ("/livez", "200 while the process works"),
            ("/readyz", "200 while the broker serves clients; before that, how far recovery is"),
        ],
        routes: Router::new()
            .route("/livez", get(livez::<F>))
            .route("/readyz", get(readyz::<F>))
            .with_state(facts),
    }
}

fn groups<F: Facts>(facts: Arc<F>) -> Part {
    Part {
        index: &[("/groups/ID/history", "why a group has rebalanced, the newest last")],
        routes: Router::new().route("/groups/{id}/history", get(group_history::<F>)).with_state(facts),
    }
}

async fn scrape<F: Facts>(State(facts): State<Arc<F>>) -> Reply {
    let Some(metrics) = facts.metrics().await else {
        return reply(StatusCode::OK, PROMETHEUS, String::new());
    };
    // With many topics this takes milliseconds, which the threads that serve clients do not have.
    match tokio::task::spawn_blocking(move || render(&metrics, ProcessFacts::read())).await {
        Ok(told) => reply(StatusCode::OK, PROMETHEUS, told),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

async fn livez<F: Facts>(State(facts): State<Arc<F>>) -> Reply {
    match facts.live() {
        Ok(()) => text(StatusCode::OK, "ok\n"),
        Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn readyz<F: Facts>(State(facts): State<Arc<F>>) -> Reply {
    let readiness = facts.readiness();
    let ready = matches!(readiness, Readiness::Ready);
    json(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &readiness)
}

/// Why there is no answer.
#[derive(Serialize)]
struct Failure {
    error: String,
}

async fn group_history<F: Facts>(State(facts): State<Arc<F>>, Path(id): Path<String>) -> Reply {
    match facts.group_history(&id).await {
        Ok(history) => json(StatusCode::OK, &history),
        Err(error) => json(StatusCode::SERVICE_UNAVAILABLE, &Failure { error: error.to_string() }),
    }
}
