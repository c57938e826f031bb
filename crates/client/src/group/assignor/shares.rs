//! Who there is, and what each gets.

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::primitives::Str;

use crate::cluster::TopicPartition;

/// A member, as the leader sees it.
#[derive(Clone, Debug)]
pub(in crate::group) struct Member {
    pub(in crate::group) id: Str,
    pub(in crate::group) instance: Option<Str>,
    pub(in crate::group) topics: BTreeSet<Str>,
    pub(in crate::group) owned: BTreeSet<TopicPartition>,
    pub(in crate::group) generation: i32,
}

/// What each member gets, by its id. Every member is in it.
pub(in crate::group) type Assignments = BTreeMap<Str, BTreeSet<TopicPartition>>;

/// Every member with nothing.
pub(super) fn nothing(members: &[Member]) -> Assignments {
    members.iter().map(|member| (member.id.clone(), BTreeSet::new())).collect()
}
