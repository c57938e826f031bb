//! Stories, golden scripts and properties of the replica, told through its public interface.

// Everything here is test code, the helpers outside of test functions too: an unwrap that fails is a test
// that fails.
#![allow(clippy::unwrap_used)]

mod batches;
mod deletions;
#[path = "../disk/mod.rs"]
mod disk;
mod idempotence;
mod invariants;
mod isr;
mod leadership;
mod partition;
mod replay;
mod transactions;
