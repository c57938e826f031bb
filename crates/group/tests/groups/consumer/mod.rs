//! Consumer groups (KIP-848).

mod classic_client;
pub mod client;
mod commit;
mod heartbeat;
mod laws;
mod migration;
mod regex;
