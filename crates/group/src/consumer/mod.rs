//! Consumer groups: the broker assigns partitions to members (KIP-848).

mod group;

pub use group::{ConsumerGroup, first_heartbeat, replay};
