//! The way of a command to a cluster.

use std::future::Future;

use ottla_client::{ClientConfig, Cluster};

use crate::args::ClusterArgs;
use crate::exit::{Exit, Failure};
use crate::logging;

/// Runs a command. One thread is enough for what a terminal asks, and starts at once.
pub fn run(
    args: &ClusterArgs,
    command: impl Future<Output = Result<Exit, Failure>>,
) -> Result<Exit, Failure> {
    logging::start_quietly(&args.log_level);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    let outcome = runtime.block_on(command);
    // A thread may be waiting for standard input, which may never end.
    runtime.shutdown_background();
    outcome
}

/// A cluster that has answered. That nobody answers is told at once, rather than after all the patience that
/// holds for a cluster in trouble.
pub async fn connect(args: &ClusterArgs, auto_create_topics: bool) -> Result<Cluster, Failure> {
    let config = ClientConfig {
        client_id: "ottla-cli".to_owned(),
        request_timeout: args.timeout,
        default_api_timeout: args.timeout,
        connection_setup_timeout: args.timeout,
        allow_auto_create_topics: auto_create_topics,
        ..ClientConfig::new(&args.bootstrap_server)
    };
    let cluster = Cluster::new(config)?;
    cluster.any().await?;
    Ok(cluster)
}
