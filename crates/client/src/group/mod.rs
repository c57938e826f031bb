//! Consumers that share the partitions of topics as a group, by the classic or by the consumer protocol.
//!
//! - `consumer`: the consumer of a group; `poll` its loop, `follow` what it does when its share changes,
//!   `place` where it begins to read, `listener` who is told.
//! - `config`: its settings.
//! - `membership`: pure cores of the member, one for each protocol.
//! - `driver`, `send`, `look`: the task around a core.
//! - `assignor`, `protocol`: how the leader of a classic group shares partitions, and how members say so.
//! - `pattern`: topics by pattern.

mod assignor;
mod config;
mod consumer;
mod driver;
mod follow;
mod listener;
mod look;
mod membership;
mod pattern;
mod place;
mod poll;
mod protocol;
mod send;

pub use assignor::Assignor;
pub use config::{GroupConfig, GroupProtocol};
pub use consumer::GroupConsumer;
pub use listener::{Rebalance, RebalanceListener};
pub use membership::Departure;
pub(crate) use protocol::{PROTOCOL_TYPE, decode_assignment, decode_topics};
