//! The high watermark: below it is only what every in-sync replica holds (flushed, where that is asked for);
//! no broker's goes back while its process lives.

use std::collections::BTreeMap;

use ottla_replica::{Durability, ViewRole};
use ottla_wire::Offset;

use super::ledger::Ledger;
use super::promise::Invariant;
use super::scene::{Scene, Sight, Verdict, durable_end};
use crate::node::{Node, index_of};

/// The last high watermark of each broker's process.
#[derive(Default)]
pub struct HighWatermarkIsHeld {
    last: BTreeMap<usize, (u64, Offset)>,
}

impl Invariant for HighWatermarkIsHeld {
    fn name(&self) -> &'static str {
        "the high watermark is held by all in sync, and never goes back"
    }

    fn turn(&mut self, sight: &Sight<'_>, scene: &Scene<'_>, _: &Ledger) -> Verdict {
        let (broker, now) = (sight.node + 1, sight.view.high_watermark);
        let last = self.last.insert(sight.node, (sight.process, now));
        let before = last.filter(|(process, _)| *process == sight.process).map(|(_, before)| before);
        if before.is_some_and(|before| before > now) {
            return Err(format!("broker {broker} goes back from {before:?} to {now}"));
        }
        let rose = before.is_some_and(|before| before < now);
        let Some(assigned) = scene.assigned.filter(|_| rose && sight.view.role == ViewRole::Leader) else {
            return Ok(());
        };
        if assigned.leader_epoch != sight.view.leader_epoch {
            return Ok(()); // it has been replaced: only what its followers still fetched counts for it
        }
        for member in &assigned.isr {
            let held = held(&scene.nodes[index_of(*member)], scene.settings.durability);
            if held < now {
                return Err(format!(
                    "broker {broker} calls {now} committed, but broker {member} in the ISR holds {held}"
                ));
            }
        }
        Ok(())
    }
}

fn held(node: &Node, durability: Durability) -> Offset {
    match (durability, node.process.as_ref().and_then(|process| process.partition())) {
        (Durability::PageCache, Some(partition)) => partition.view().log_end,
        // Nothing dies there but processes, and what they wrote stays.
        (Durability::PageCache, None) => Offset(i64::MAX),
        (Durability::Flushed, _) => durable_end(node),
    }
}
