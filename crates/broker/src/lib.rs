//! The broker: partitions in shards, one file for each API, and the life of the process from start to stop.
//!
//! The cores (`ottla-replica`, `ottla-group`, `ottla-txn`, `ottla-controller`) take the decisions. The broker
//! feeds them and carries out their effects.
//!
//! - [`service`]: frames to requests to responses; [`door`]: the steps that every request goes through;
//!   [`api`]: one file for each API key.
//! - [`shard`]: the owners of partitions; [`partition`], [`published`]: what everyone may read of them.
//! - [`fetch`], [`waiters`], [`cold_reads`]: fetch sessions, long polls, and reads that wait for a disk.
//! - [`coordinator`]: coordinators of groups and transactions, in the shards that own their partitions.
//! - [`controllers`], [`metadata`]: changes of the cluster, decided, logged and applied.
//! - [`facts`]: the facts that `ottla-http` shows.
//! - [`broker`]: start, readiness, stop.

mod api;
mod broker;
mod clock;
mod cold_reads;
mod context;
mod controllers;
mod coordinator;
mod descriptors;
mod door;
mod facts;
mod fetch;
mod metadata;
mod metrics;
mod partition;
mod producer_ids;
mod published;
// The schema of the messages as data, which tests of all APIs are made from.
#[cfg(test)]
#[allow(dead_code)]
#[path = "../../wire/build/schema.rs"]
mod schema;
mod service;
mod shard;
mod waiters;

pub use broker::{Broker, FatalError, Listening, ShutdownError, StartError};
