//! What may be said behind `ottla topic`.

use clap::{Args, Subcommand};

use crate::args::{ClusterArgs, OutputArgs, Pair};

#[derive(Debug, Args)]
pub struct TopicArgs {
    #[command(subcommand)]
    pub command: TopicCommand,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Subcommand)]
pub enum TopicCommand {
    /// Create topics
    Create(CreateArgs),
    /// List topics: name, partitions, replicas
    List,
    /// Partitions, leaders, replicas, offsets, sizes, and the settings that were changed
    Describe {
        /// Topics; all if none is named
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Delete topics with all their records
    Delete {
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
        /// A topic that does not exist is no error
        #[arg(long)]
        if_exists: bool,
        /// Delete internal topics, too, and do not ask
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Args)]
pub struct CreateArgs {
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
    /// [default: the broker's num.partitions]
    #[arg(long, short = 'p', value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pub partitions: Option<i32>,
    /// Copies of each partition [default: the broker's default.replication.factor]
    #[arg(long, short = 'r', value_name = "N", value_parser = clap::value_parser!(i16).range(1..))]
    pub replication_factor: Option<i16>,
    /// A topic setting, such as retention.ms=3600000; may be repeated
    #[arg(long = "config", short = 'c', value_name = "NAME=VALUE")]
    pub configs: Vec<Pair>,
    /// A topic that exists already is no error
    #[arg(long)]
    pub if_not_exists: bool,
}
