//! What may be said behind `ottla start`, and without a command.

use std::path::PathBuf;

use clap::Args;

use crate::args::Pair;
use crate::logging::LogArgs;

/// A broker's settings.
#[derive(Debug, Args)]
pub struct StartArgs {
    /// Settings in Kafka's server.properties format and with Kafka's names
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting, winning over the file; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub settings: Vec<Pair>,
    /// Data directory, made if it does not exist [default: ./ottla-data] (log.dirs)
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address for clients; with 0.0.0.0 every host on the network can connect [default: 127.0.0.1:9092]
    /// (listeners)
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Address that clients are told to connect to [default: the one listened on] (advertised.listeners)
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Option<String>,
    /// Address for /metrics, /livez and /readyz, or "off" [default: 127.0.0.1:9644] (metrics.listener)
    #[arg(long, value_name = "HOST:PORT|off")]
    pub metrics: Option<String>,
    #[command(flatten)]
    pub log: LogArgs,
}
