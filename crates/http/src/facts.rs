//! What is asked of the broker.

use std::future::Future;

use crate::groups::{GroupHistory, HistoryError};
use crate::health::Readiness;
use crate::metrics::Metrics;

/// What a broker tells of itself. Each is called once for each request that needs it, on a thread that serves
/// others too: it MUST NOT block.
pub trait Facts: Send + Sync + 'static {
    /// Whether it serves clients, and if not, why.
    fn readiness(&self) -> Readiness;

    /// Why the process should be restarted, if it should.
    fn live(&self) -> Result<(), String>;

    /// All that is counted; None before there is anything to count.
    fn metrics(&self) -> impl Future<Output = Option<Metrics>> + Send;

    /// The rebalances of a group, or why they cannot be told.
    fn group_history(&self, group: &str) -> impl Future<Output = Result<GroupHistory, HistoryError>> + Send;
}
