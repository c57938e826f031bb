//! Why a broker did not start, cannot continue, or did not stop cleanly.

use std::path::PathBuf;

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    DataDir(#[from] ottla_log::OpenError),
    #[error(
        "data directory {dir} holds {count} partitions (such as {example}) that the metadata log does not know: it was made by another program; choose another --data"
    )]
    ForeignPartitions { dir: PathBuf, count: usize, example: String },
    #[error(
        "data directory {dir} belongs to Apache Kafka, whose metadata is in {found}: choose another --data, and copy topics from one to the other by a consumer and a producer"
    )]
    Kafkas { dir: PathBuf, found: String },
    #[error(transparent)]
    Quorum(#[from] ottla_quorum::StartError),
    #[error(transparent)]
    Bind(#[from] ottla_net::BindError),
    #[error(
        "metrics.listener={host}:{port} cannot be used: {error}; choose another port, or leave the setting out"
    )]
    BindMetrics { host: String, port: u16, error: std::io::Error },
    #[error("{0}")]
    Settings(String),
    #[error("the broker could not join its cluster: {0}")]
    Join(String),
    #[error("{doing}: {error}")]
    Io { doing: String, error: std::io::Error },
}

/// Why a broker cannot continue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FatalError {
    #[error("the metadata log cannot be applied: {0}")]
    Metadata(String),
    #[error("the metadata log has stopped: its disk has failed, and what it says is in the log above")]
    MetadataLog,
    #[error("every data directory has failed: {0}")]
    DataDirs(String),
    #[error("a part of the broker has failed: {0}")]
    Task(String),
}

/// Why a stop was not clean. Acknowledged records are safe, but the next start may have more to recover.
#[derive(Debug, thiserror::Error)]
pub enum ShutdownError {
    #[error("the data directory could not be marked as cleanly stopped: {0}")]
    NotClean(std::io::Error),
}
