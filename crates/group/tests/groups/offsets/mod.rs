//! Committed offsets.

pub mod ask;
mod deletion;
mod expiry;
mod fetch;
mod laws;
mod members;
mod plain;
mod transactions;
