//! Consumer groups: the broker assigns partitions to members (KIP-848).
//!
//! - [`group`]: a group and its timers; [`as_group`]: as the coordinator sees it.
//! - [`lasting`]: what its records say; [`write`](mod@write): the records.
//! - [`member`], [`owned`]: a member and what it has; [`reconcile`]: its way to what it is to have.
//! - [`first`]: how a group comes to be.
//! - [`admission`], [`heartbeat`], [`leave`]: ConsumerGroupHeartbeat, checked and served; members that go.
//! - [`subscription`], [`topic_regex`]: the topics that members want.
//! - [`target`]: the assignment that the group moves to.
//! - [`classic`], [`embedded`]: members that speak the classic protocol.
//! - [`migration`]: groups that change their type.
//! - [`commit`], [`describe`]: what offsets and the administrator ask.
//! - [`refusal`]: why a request is not served.

mod admission;
mod as_group;
mod classic;
mod commit;
mod describe;
mod embedded;
mod first;
mod group;
mod heartbeat;
mod lasting;
mod leave;
mod member;
mod migration;
mod owned;
mod reconcile;
mod refusal;
mod subscription;
mod target;
mod topic_regex;
mod write;

pub use first::replay;
pub use group::ConsumerGroup;
