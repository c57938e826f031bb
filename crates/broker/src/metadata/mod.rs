//! From the metadata log to what the broker knows and holds.
//!
//! - [`machine`]: the state machine of the metadata log: keeps the image, notes what is to be published.
//! - [`publisher`]: tells the partitions of this broker what the image says, publishes it, has partitions
//!   opened and removed.
//! - [`holdings`]: which partitions this broker holds, and what is still to be done about them: a pure core.
//! - [`job`]: what is done with their files, beside the publisher.
//! - [`open`]: one partition from its folder to its driver.
//! - [`without_effect`]: what the log says of settings that do nothing.

mod holdings;
mod job;
mod machine;
mod open;
mod publisher;
mod without_effect;

#[cfg(test)]
pub use job::Progress;
pub use machine::{Applied, Inbox, Machine};
pub use open::{FoundPartitions, Opener, RecoveryProgress};
pub use publisher::Publisher;
