//! From the metadata log to what the broker knows and holds.
//!
//! - [`machine`]: the state machine of the metadata log: keeps the image, notes what is to be published.
//! - [`publisher`]: opens, changes and removes the partitions of this broker as the image says, then publishes it.
//! - [`open`]: one partition from its folder to its driver.
//! - [`without_effect`]: what the log says of settings that do nothing.

mod assignment;
mod machine;
mod open;
mod publisher;
mod without_effect;

#[cfg(test)]
pub use assignment::partition_state;
pub use machine::{Applied, Inbox, Machine};
pub use open::{Opener, RecoveryProgress};
pub use publisher::Publisher;
