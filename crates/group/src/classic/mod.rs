//! Classic groups: members that agree among themselves who reads what.
//!
//! A rebalance has two phases. Everybody joins (JoinGroup), and one of them, the leader, learns of all others; the leader makes
//! the assignment, and everybody fetches its part (SyncGroup). Between rebalances members say that they live (Heartbeat).
//!
//! What lasts is the outcome of the last rebalance, as one record. Who is joining, who waits for an answer and when sessions
//! end is lost with the broker: members find out by their next heartbeat and join again.
//!
//! - [`group`]: a group and its facts.
//! - [`member`], [`roster`]: a member, and all of them.
//! - [`protocols`]: what members bring along, and how one is chosen.
//! - [`join`], [`sync`], [`heartbeat`], [`leave`]: the requests.
//! - [`rebalance`]: from one generation to the next; sessions.
//! - [`lasting`]: the record of a group.

mod group;
mod heartbeat;
mod join;
mod lasting;
mod leave;
mod member;
mod protocols;
mod rebalance;
mod roster;
mod sync;

pub use group::{ClassicGroup, State};
pub use heartbeat::heartbeat_in_unknown_group;
pub use join::first_join;
pub use lasting::replay;
pub use leave::leave_unknown_group;
pub use member::Member;
pub use protocols::{CONSUMER_PROTOCOL_TYPE, Protocol};
pub use sync::sync_in_unknown_group;
