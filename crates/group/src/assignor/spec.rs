//! A group from the viewpoint of an assignor.

use std::collections::BTreeMap;

use ottla_wire::TopicId;
use ottla_wire::primitives::Str;

use crate::assignor::partitions::Partitions;
use crate::topics::{TopicFacts, Topics};

/// The members of a group, their subscriptions and the topics behind them. Whatever is named by position MUST
/// be there.
pub struct Spec<'a> {
    /// Topics that a member is subscribed to, and that exist.
    pub topics: Vec<TopicFacts>,
    /// Distinct subscriptions: positions in `topics`, ascending.
    pub subscriptions: Vec<Vec<usize>>,
    pub members: Vec<MemberSpec<'a>>,
    pub facts: &'a dyn Topics,
}

/// A member as an assignor sees it.
pub struct MemberSpec<'a> {
    pub id: Str,
    pub instance_id: Option<Str>,
    pub rack: Option<Str>,
    /// Position in [`Spec::subscriptions`].
    pub subscription: usize,
    /// Its partitions in the previous assignment.
    pub before: Option<&'a Partitions>,
}

impl Spec<'_> {
    /// Positions of topics by their ids.
    pub fn positions(&self) -> BTreeMap<TopicId, usize> {
        self.topics.iter().enumerate().map(|(position, topic)| (topic.id, position)).collect()
    }

    /// The distinct subscriptions that name each topic, ascending.
    pub fn subscriptions_by_topic(&self) -> Vec<Vec<usize>> {
        let mut by_topic = vec![Vec::new(); self.topics.len()];
        for (subscription, topics) in self.subscriptions.iter().enumerate() {
            for &topic in topics {
                by_topic[topic].push(subscription);
            }
        }
        by_topic
    }

    /// Partitions of a topic; what metadata may claim below zero counts as none.
    pub fn partitions(&self, topic: usize) -> usize {
        usize::try_from(self.topics[topic].partitions).unwrap_or(0)
    }
}
