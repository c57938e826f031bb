//! One leader an epoch: an epoch names one broker, which alone leads in it and alone writes in it.

use std::collections::BTreeMap;

use ottla_replica::ViewRole;
use ottla_wire::LeaderEpoch;

use super::ledger::Ledger;
use super::promise::Invariant;
use super::scene::{Scene, Sight, Verdict};

/// Who led in which epoch: a process of a broker.
#[derive(Default)]
pub struct OneLeaderAnEpoch {
    led: BTreeMap<LeaderEpoch, (usize, u64)>,
}

impl Invariant for OneLeaderAnEpoch {
    fn name(&self) -> &'static str {
        "one leader an epoch"
    }

    fn is_about_records(&self) -> bool {
        false
    }

    fn turn(&mut self, sight: &Sight<'_>, scene: &Scene<'_>, _: &Ledger) -> Verdict {
        if sight.view.role != ViewRole::Leader {
            return Ok(());
        }
        let epoch = sight.view.leader_epoch;
        let me = (sight.node, sight.process);
        let led = *self.led.entry(epoch).or_insert(me);
        if led != me {
            return Err(format!(
                "epoch {epoch} was led by process {} of broker {}, now by {} of {}",
                led.1,
                led.0 + 1,
                me.1,
                me.0 + 1
            ));
        }
        match scene.assigned {
            Some(assigned) if assigned.leader_epoch < epoch => {
                Err(format!("broker {} leads in epoch {epoch}, which nobody has given out", sight.node + 1))
            }
            _ => Ok(()),
        }
    }
}
