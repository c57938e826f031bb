//! Groups seen from outside: requests through the frame, records in a log, and reloads from that log at any
//! time.

mod classic;
mod consumer;
mod memory;
mod offsets;
mod requests;
mod world;
