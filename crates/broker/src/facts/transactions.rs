//! Transactions.

use std::time::Duration;

use ottla_http::metrics::TxnFacts;
use ottla_txn::{Facts, TxnCoordinator, TxnState};

use crate::context::Context;

/// How long a scrape waits for the coordinators. It leaves out those that are loading or whose shard is busy.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks the coordinators of this broker.
pub async fn transactions(ctx: &Context) -> TxnFacts {
    let see = |core: &TxnCoordinator| core.facts();
    let seen: Vec<Facts> =
        tokio::time::timeout(PATIENCE, ctx.coordinators.look(see)).await.unwrap_or_default();
    let count = |state| seen.iter().map(|facts| facts.count(state) as u64).sum();
    let oldest = seen.iter().filter_map(|facts| facts.oldest_open).min();
    let age_ms = oldest.map_or(0, |began| ctx.clock.wall().0.saturating_sub(began.0).max(0));
    TxnFacts {
        ids: TxnState::ALL.into_iter().map(|state| (state.name(), count(state))).collect(),
        oldest_s: age_ms as f64 / 1e3,
        held_s: held(ctx).as_secs_f64(),
    }
}

fn held(ctx: &Context) -> Duration {
    let (published, now) = (ctx.published.load(), ctx.clock.now());
    let partitions = published.topics().flat_map(|topic| topic.partitions());
    let led = partitions.filter_map(|partition| partition.leader_view(None).ok());
    led.filter_map(|view| view.held_since).map(|since| now.since(since)).max().unwrap_or_default()
}
