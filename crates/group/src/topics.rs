//! A group's view of topics. The broker implements it on its metadata image.

use ottla_wire::TopicId;
use ottla_wire::primitives::Str;

/// A topic as groups see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFacts {
    pub id: TopicId,
    pub name: Str,
    /// Partitions are numbered from 0.
    pub partitions: i32,
}

/// One state of the cluster's topics. Immutable: a change is another value.
pub trait Topics: Send + Sync {
    fn by_name(&self, name: &str) -> Option<TopicFacts>;

    fn by_id(&self, id: TopicId) -> Option<TopicFacts>;

    /// Calls `visit` with the name of every topic, in order.
    fn each_name(&self, visit: &mut dyn FnMut(&Str));

    /// The racks of the replicas of a partition, sorted, each once; empty if none is known.
    fn racks(&self, id: TopicId, partition: i32) -> Vec<Str>;
}
