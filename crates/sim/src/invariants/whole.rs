//! Decisions become whole: when the controller has done what was due, the partition is as the brokers are.
//! Whoever cannot serve is in no ISR and leads nothing, and there is a leader if any replica lacks nothing.

use super::promise::Invariant;
use super::scene::{Scene, Verdict};

#[derive(Default)]
pub struct DecisionsBecomeWhole;

impl Invariant for DecisionsBecomeWhole {
    fn name(&self) -> &'static str {
        "decisions become whole"
    }

    fn is_about_records(&self) -> bool {
        false
    }

    fn controlled(&mut self, scene: &Scene<'_>) -> Verdict {
        let Some(assigned) = scene.assigned else { return Ok(()) };
        let serves =
            |broker| scene.image.is_active(broker) && scene.image.has_online_replica(assigned, broker);
        let half_done = match assigned.leader {
            Some(leader) => {
                !assigned.isr.contains(&leader) || !assigned.isr.iter().all(|broker| serves(*broker))
            }
            // The last one in sync may stay in the ISR, to be waited for.
            None => assigned.isr.iter().chain(&assigned.elr).any(|broker| serves(*broker)),
        };
        if !half_done {
            return Ok(());
        }
        let serving: Vec<_> = assigned.replicas.iter().filter(|broker| serves(**broker)).collect();
        Err(format!("{serving:?} can serve, and the partition is {assigned:?}"))
    }
}
