//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::raw::RawArgs;
use crate::server::ServerKind;

/// Measures what Ottla costs, beside the least that its work can cost, and beside Kafka.
#[derive(Debug, Parser)]
#[command(name = "ottla-bench", version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Produce loads, with and without a flush before the acknowledgement
    Produce(CompareArgs),
    /// Fetch loads
    Fetch(CompareArgs),
    /// Produce and fetch loads
    All(CompareArgs),
    /// Start-up time, memory, many partitions, restart after a kill
    Start(StartArgs),
    /// Consumer groups: commits, one large group, many small ones
    Groups(CoordinatorArgs),
    /// Transactions of 1, 10 and 100 records
    Transactions(CoordinatorArgs),
    /// The raw server itself, as the other commands start it
    Raw(RawArgs),
}

#[derive(Clone, Debug, Args)]
pub struct CommonArgs {
    /// Ottla's binary
    #[arg(long, value_name = "PATH", default_value = "target/release/ottla")]
    pub server: PathBuf,
    /// A further setting for Ottla; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub settings: Vec<String>,
    /// The script that starts Kafka
    #[arg(long, value_name = "PATH", default_value = "bench/kafka/run")]
    pub kafka: PathBuf,
    /// Data directories are made below this one, and deleted at the end
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    pub dir: PathBuf,
    /// Segments of the produce topics, and what is retained beside the newest one, for each of 16 partitions
    #[arg(long, value_name = "MIB", default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub segment_mib: u64,
    /// One JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Debug, Args)]
pub struct CompareArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// Names of loads, or all
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "all")]
    pub shape: Vec<String>,
    /// Who takes part, in this order in each round
    #[arg(long, value_enum, value_name = "SERVER", value_delimiter = ',', default_value = "raw,ottla")]
    pub servers: Vec<ServerKind>,
    /// Of each measurement
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Of load before each measurement
    #[arg(long, default_value_t = 1.0)]
    pub warm_up: f64,
    /// Measurements of each server; one more is made first and not counted
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// What fetches read, in all partitions together
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u64).range(16..))]
    pub stored_mib: u64,
}

#[derive(Clone, Debug, Args)]
pub struct StartArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// Who is measured
    #[arg(long, value_enum, value_name = "SERVER", value_delimiter = ',', default_value = "ottla")]
    pub servers: Vec<ServerKind>,
    /// What is stored before the kill
    #[arg(long, default_value_t = 1.0)]
    pub gib: f64,
}

#[derive(Clone, Debug, Args)]
pub struct CoordinatorArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// Who is measured
    #[arg(long, value_enum, value_name = "SERVER", value_delimiter = ',', default_value = "ottla")]
    pub servers: Vec<ServerKind>,
    /// Of each measurement
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
}
