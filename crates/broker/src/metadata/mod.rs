//! From the metadata log to the broker's knowledge and partitions.
//!
//! - [`machine`]: the state machine of the metadata log: keeps the image, collects news for the publisher.
//! - [`publisher`]: brings the partitions of this broker up to date with the image, publishes it, and has
//!   partitions opened and removed.
//! - [`holdings`]: the partitions that this broker holds, and the pending work on them: a pure core.
//! - [`job`]: the work on their files, beside the publisher.
//! - [`open`]: one partition from its folder to its driver.
//! - [`internal`]: what the log says of changes to internal topics.
//! - [`without_effect`]: logs settings that do nothing.

mod holdings;
mod internal;
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
