//! One run.

use super::TxnMutation;
use super::world::World;
use crate::invariants::Broken;
use crate::run::{Report, watched};

/// Runs the transactions of this seed. A panic of a core is a broken promise like any other.
pub fn run(seed: u64, mutation: Option<TxnMutation>, print: bool) -> Report {
    watched(seed, "--transactions ", print, |trace, progress| {
        let broken = |why| Broken { invariant: "transactions are whole", why };
        let mut world = World::new(seed, mutation, trace).map_err(broken)?;
        let ran = world.run();
        (progress.steps, progress.committed) = (world.steps(), world.committed());
        ran.map_err(broken)
    })
}
