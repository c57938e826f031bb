//! Consumer groups (KIP-848).

mod classic_client;
mod client;
mod heartbeat;
mod laws;
mod migration;
