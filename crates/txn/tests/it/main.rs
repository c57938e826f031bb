//! Stories, golden records and properties of the transaction coordinator, told through its frame.

// Everything here is test code, the helpers outside of test functions too: an unwrap that fails is a test
// that fails.
#![allow(clippy::unwrap_used)]

mod describe;
mod end;
mod every_state;
mod expiry;
mod init;
mod limits;
mod markers;
mod partitions;
mod records;
mod reload;
mod world;
