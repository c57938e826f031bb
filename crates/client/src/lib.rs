//! A client of the Kafka protocol: producer, consumer by assignment, admin. The command line, tests and benchmarks use it,
//! against Ottla and against any other broker that speaks the protocol.
//!
//! - [`connection`]: one TCP connection; any request of [`ottla_wire::messages`] at the best version both sides speak.
//! - [`cluster`]: metadata, leaders, connections to brokers.
//! - [`producer`]: batching, partitioning, retries, idempotence.
//! - [`consumer`]: reads assigned partitions.
//! - [`admin`]: topics, configs, records, the cluster.
//! - [`offsets`]: offsets by place or time.
//! - [`config`], [`error`]: what all have in common.
//!
//! Everything runs on tokio. An error says what to do about it: [`Error::advice`], [`ProduceError::advice`]. A timeout after
//! a request was sent is an *unknown* outcome, never a failure.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use ottla_client::{ClientConfig, Producer, ProducerConfig, ProducerRecord};
//! let producer = Producer::new(ClientConfig::new("localhost:9092"), ProducerConfig::default())?;
//! let delivery = producer.send(ProducerRecord::new("orders", "hello").key("customer-1")).await?;
//! println!("stored at {:?}", delivery.await?.offset);
//! # Ok(()) }
//! ```

mod backoff;
mod seam;

pub mod admin;
pub mod cluster;
pub mod config;
pub mod connection;
pub mod consumer;
pub mod error;
pub mod offsets;
pub mod producer;

pub use admin::{Admin, ConfigChange, ConfigResource, NewPartitions, NewTopic};
pub use cluster::{Cluster, Lane, Metadata, TopicPartition};
pub use config::ClientConfig;
pub use connection::Connection;
pub use consumer::{Consumer, ConsumerConfig, IsolationLevel, OffsetReset, PartitionRecords, Seek};
pub use error::{Advice, ApiError, Error};
pub use offsets::{ListedOffset, OffsetSpec};
pub use producer::{Acks, Delivery, ProduceError, Producer, ProducerConfig, ProducerRecord, RecordMetadata};
