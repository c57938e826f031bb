//! A client of the Kafka protocol: producer, consumers (by assignment and of groups), admin. The command
//! line, tests and benchmarks use it, against Ottla and against any other broker that speaks the protocol.
//!
//! - [`Connection`]: one connection, of the room `link`; any request of [`ottla_wire::messages`].
//! - [`cluster`]: metadata, leaders, connections to brokers.
//! - [`producer`]: batching, partitioning, retries, idempotence, transactions.
//! - [`consumer`]: reads assigned partitions.
//! - [`group`]: consumers that share partitions as a group, by the classic and the consumer protocol
//!   (KIP-848).
//! - [`admin`]: topics, configs, records, groups, transactions, the cluster.
//! - [`offsets`]: offsets by place or time, and those that groups commit.
//! - [`config`], [`error`]: what all have in common.
//!
//! Everything runs on tokio. An error says what to do about it: [`Error::advice`], [`ProduceError::advice`].
//! A timeout after a request was sent is an *unknown* outcome, never a failure.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use ottla_client::{ClientConfig, Producer, ProducerConfig, ProducerRecord};
//! let producer = Producer::new(ClientConfig::new("localhost:9092"), ProducerConfig::default())?;
//! let delivery = producer.send(ProducerRecord::new("orders", "hello").key("customer-1")).await?;
//! println!("stored at {:?}", delivery.await?.offset);
//! # Ok(()) }
//! ```
//!
//! A consumer of a group, of either protocol; [`GroupConsumer::set_listener`] tells when its share changes:
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! # use std::time::Duration;
//! use ottla_client::{ClientConfig, ConsumerConfig, GroupConfig, GroupConsumer, GroupProtocol};
//! let group = GroupConfig { group_protocol: GroupProtocol::Consumer, ..GroupConfig::new("billing") };
//! let mut consumer =
//!     GroupConsumer::new(ClientConfig::new("localhost:9092"), ConsumerConfig::default(), group)?;
//! consumer.subscribe(["orders"])?;
//! for _ in 0..100 {
//!     for batch in consumer.poll(Duration::from_secs(1)).await? {
//!         println!("{} records of {}", batch.records.len(), batch.partition);
//!     }
//! }
//! consumer.close(Duration::from_secs(30)).await?;
//! # Ok(()) }
//! ```
//!
//! Records and a group's offsets in one transaction: read, work, write, exactly once ([`TransactionError`]
//! says what a failure asks for):
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! # use std::time::Duration;
//! use ottla_client::{
//!     ClientConfig, ConsumerConfig, GroupConfig, GroupConsumer, IsolationLevel, OffsetAndMetadata, Offsets,
//!     ProducerConfig, ProducerRecord, Seek, TransactionConfig, TransactionError, TransactionalProducer,
//! };
//! let client = ClientConfig::new("localhost:9092");
//! // Offsets are committed by the transactions, and by nothing else.
//! let group = GroupConfig { enable_auto_commit: false, ..GroupConfig::new("billing") };
//! let isolation_level = IsolationLevel::ReadCommitted;
//! let reading = ConsumerConfig { isolation_level, ..ConsumerConfig::default() };
//! let mut consumer = GroupConsumer::new(client.clone(), reading, group)?;
//! consumer.subscribe(["orders"])?;
//! let transaction = TransactionConfig::new("billing-1");
//! let producer = TransactionalProducer::new(client, ProducerConfig::default(), transaction)?;
//! producer.init_transactions().await?;
//! for batch in consumer.poll(Duration::from_secs(1)).await? {
//!     producer.begin()?;
//!     let mut offsets = Offsets::new();
//!     for record in &batch.records {
//!         producer.send(ProducerRecord::new("bills", record.value.clone().unwrap_or_default())).await?;
//!         offsets.insert(batch.partition.clone(), OffsetAndMetadata::from(record.offset.plus(1)));
//!     }
//!     producer.send_offsets(&offsets, &consumer.group_metadata()).await?;
//!     match producer.commit().await {
//!         Ok(()) => {}
//!         // Nothing has happened: do it again.
//!         Err(TransactionError::Abortable(_)) => {
//!             producer.abort().await?;
//!             consumer.seek(&batch.partition, Seek::Offset(batch.records[0].offset))?;
//!         }
//!         // The outcome is not known until the same is asked again.
//!         Err(TransactionError::Unfinished { .. }) => producer.commit().await?,
//!         Err(error) => return Err(error.into()),
//!     }
//! }
//! # Ok(()) }
//! ```

mod controller;
mod coordinator;
mod seam;

pub mod admin;
pub mod cluster;
pub mod config;
pub mod consumer;
pub mod error;
pub mod group;
pub mod offsets;
pub mod producer;

pub use admin::{Admin, ConfigChange, ConfigResource, NewPartitions, NewTopic};
pub use cluster::{Cluster, Lane, Metadata, TopicPartition};
pub use config::ClientConfig;
pub use consumer::{Consumer, ConsumerConfig, OffsetReset, PartitionRecords, Seek};
pub use error::{Advice, ApiError, Error, LinkError};
pub use group::{
    Assignor, Departure, GroupConfig, GroupConsumer, GroupProtocol, Rebalance, RebalanceListener,
};
pub use offsets::{
    Commit, GroupMetadata, IsolationLevel, ListedOffset, OffsetAndMetadata, OffsetSpec, Offsets,
};
pub use ottla_link::Connection;
pub use producer::{
    Acks, Delivery, ProduceError, Producer, ProducerConfig, ProducerRecord, RecordMetadata,
    TransactionConfig, TransactionError, TransactionVersion, TransactionalProducer,
};
