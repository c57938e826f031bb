//! Classic groups: members that agree among themselves who reads what.
//!
//! A rebalance has two phases. Everybody joins (JoinGroup), and one of them, the leader, learns of all
//! others; the leader makes the assignment, and everybody fetches its part (SyncGroup). Between rebalances
//! members say that they live (Heartbeat).
//!
//! Only the outcome of the last rebalance lasts, as one record. Joining members, waiting requests and session
//! deadlines are lost with the broker. Members notice it at their next heartbeat and join again.
//!
//! - [`group`]: a group and its facts.
//! - [`member`], [`roster`]: a member, and all of them.
//! - [`protocols`]: what members bring along, and how one is chosen.
//! - [`as_group`]: the group as the coordinator sees it.
//! - [`join`], [`sync`], [`heartbeat`], [`leave`]: the requests; [`refusal`]: refusing them.
//! - [`rebalance`]: from one generation to the next; sessions.
//! - [`lasting`]: the record of a group.
//! - [`simple`]: groups that exist by their offsets; [`takeover`]: groups that were consumer groups.

mod as_group;
mod group;
mod heartbeat;
mod join;
mod lasting;
mod leave;
mod member;
mod protocols;
mod rebalance;
mod refusal;
mod roster;
mod simple;
mod sync;
mod takeover;

pub use group::{ClassicGroup, State};
pub use lasting::replay;
pub use member::Member;
pub use protocols::{CONSUMER_PROTOCOL_TYPE, Protocol};
pub use simple::get_or_create;
