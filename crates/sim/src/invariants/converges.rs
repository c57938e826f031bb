//! It comes to rest: once faults are over, every request is answered, every replica is in sync, and all hold
//! the same.

use ottla_wire::Offset;

use super::ledger::Ledger;
use super::promise::Invariant;
use super::scene::{Scene, Verdict};

#[derive(Default)]
pub struct ComesToRest;

impl Invariant for ComesToRest {
    fn name(&self) -> &'static str {
        "it comes to rest"
    }

    fn is_about_records(&self) -> bool {
        false
    }

    fn at_rest(&mut self, scene: &Scene<'_>, _: &Ledger) -> Verdict {
        match unrest(scene) {
            Some(why) => Err(why),
            None => Ok(()),
        }
    }
}

/// What is still to be done, if anything is.
pub fn unrest(scene: &Scene<'_>) -> Option<String> {
    let assigned = scene.assigned?;
    if assigned.leader.is_none() || assigned.isr.len() < assigned.replicas.len() {
        return Some(format!("the partition is {assigned:?}"));
    }
    let mut ends: Vec<(Offset, Offset)> = Vec::new();
    for node in scene.nodes {
        let Some(view) = node.process.as_ref().and_then(|process| process.view()) else {
            return Some(format!("broker {} does not serve", node.index + 1));
        };
        ends.push((view.log_end, view.high_watermark));
        if view.leader_epoch != assigned.leader_epoch {
            return Some(format!("broker {} is in epoch {}", node.index + 1, view.leader_epoch));
        }
    }
    let same = ends.iter().all(|(end, high_watermark)| *end == ends[0].0 && high_watermark == end);
    (!same).then(|| format!("log ends and high watermarks are {ends:?}"))
}
