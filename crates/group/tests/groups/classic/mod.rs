//! Classic groups.

mod admin;
pub mod client;
mod heartbeat;
mod history;
mod join;
mod lasting;
mod leave;
mod random;
mod rebalance;
mod statics;
mod sync;
mod vanish;
