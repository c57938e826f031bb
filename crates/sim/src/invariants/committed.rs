//! Committed records are never lost: whoever becomes leader holds everything that was ever committed and is
//! not deleted.

use std::collections::BTreeSet;

use ottla_replica::ViewRole;
use ottla_wire::batch::batches;
use ottla_wire::{LeaderEpoch, Offset};

use super::ledger::Ledger;
use super::promise::Invariant;
use super::scene::{Scene, Sight, Verdict};
use crate::node::read_all;

/// Looks at each leader once.
#[derive(Default)]
pub struct LeadersHoldWhatIsCommitted {
    looked: BTreeSet<(usize, LeaderEpoch)>,
}

impl Invariant for LeadersHoldWhatIsCommitted {
    fn name(&self) -> &'static str {
        "leaders hold what is committed"
    }

    fn turn(&mut self, sight: &Sight<'_>, scene: &Scene<'_>, ledger: &Ledger) -> Verdict {
        let view = sight.view;
        // One that has been replaced and does not know it may lag behind; it leads nobody.
        let current = scene.assigned.is_some_and(|assigned| assigned.leader_epoch == view.leader_epoch);
        if view.role != ViewRole::Leader || !current || !self.looked.insert((sight.node, view.leader_epoch)) {
            return Ok(());
        }
        let mut at = view.log_start;
        for run in read_all(sight.partition, view.log_start, view.log_end)? {
            for batch in batches(run).map_while(Result::ok) {
                let header = batch.header();
                let known = ledger.holding(header.base_offset);
                if known.is_some_and(|known| known.bytes != *batch.bytes()) {
                    return Err(format!(
                        "broker {} leads with {header:?}, which is not what was committed",
                        sight.node + 1
                    ));
                }
                at = header.next_offset();
            }
        }
        if at < ledger.end() && view.log_start < ledger.end() {
            let epoch = view.leader_epoch;
            return Err(format!(
                "broker {} leads in epoch {epoch} and holds {at} of {}",
                sight.node + 1,
                ledger.end()
            ));
        }
        if view.log_start > Offset::ZERO && view.log_start > ledger.end() {
            return Err(format!(
                "broker {} leads from {} on, where nothing was committed",
                sight.node + 1,
                view.log_start
            ));
        }
        Ok(())
    }
}
