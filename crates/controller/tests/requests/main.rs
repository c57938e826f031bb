//! Requests to the controller, answer by answer, on a cluster that is only data.

// Helpers of tests fail their test; the lint only knows functions that are marked as tests.
#![allow(clippy::unwrap_used)]

mod brokers;
mod configs;
mod entries;
mod features;
mod laws;
mod partitions;
mod topics;
mod world;
