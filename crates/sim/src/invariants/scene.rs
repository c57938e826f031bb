//! What invariants see, and how they say what they have found.

use ottla_controller::{Image, Partition as Assignment};
use ottla_replica::View;
use ottla_wire::Offset;

use crate::node::Node;
use crate::node::partition::Partition;
use crate::settings::Settings;

/// A promise was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub invariant: &'static str,
    pub why: String,
}

pub type Verdict = Result<(), String>;

/// What there is to see.
pub struct Scene<'a> {
    pub settings: &'a Settings,
    pub nodes: &'a [Node],
    /// The cluster as the metadata log has it, and the partition in it.
    pub image: &'a Image,
    pub assigned: Option<&'a Assignment>,
}

/// One broker after its turn.
pub struct Sight<'a> {
    pub node: usize,
    /// Which of its processes.
    pub process: u64,
    pub view: &'a View,
    pub partition: &'a Partition,
}

/// Where a node's log ends on stable storage, whether a process runs there or not.
pub fn durable_end(node: &Node) -> Offset {
    match node.process.as_ref().and_then(|process| process.partition()) {
        Some(partition) => partition.log().durable_end(),
        None => node.durable_then,
    }
}
