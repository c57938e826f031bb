//! Committed offsets.

mod ask;
mod deletion;
mod expiry;
mod fetch;
mod laws;
mod plain;
mod transactions;
