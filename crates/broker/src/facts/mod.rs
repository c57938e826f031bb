//! The facts that the broker shows over HTTP, gathered at their sources.

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
