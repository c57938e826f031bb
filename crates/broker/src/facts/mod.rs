//! What the broker tells of itself over HTTP, gathered where it lies.

mod counts;
mod groups;
mod history;
mod topics;
mod transactions;

pub use counts::{net, requests};
pub use groups::groups;
pub use history::history;
pub use topics::{dir, topics};
pub use transactions::transactions;
