//! One run.

use ottla_wire::Instant;

use super::TxnMutation;
use super::world::{CHAOS, REST, World};
use crate::invariants::Broken;
use crate::run::Report;

const FLAGS: &str = "--transactions ";
const INVARIANT: &str = "transactions are whole";

/// One run.
pub fn run(seed: u64, mutation: Option<TxnMutation>, print: bool) -> Report {
    let mut world = match World::new(seed, mutation, print) {
        Ok(world) => world,
        Err(why) => return not_begun(seed, why),
    };
    let mut steps = 0;
    let mut broken = None;
    let end = Instant(0) + CHAOS + REST;
    while let Some((now, event)) = world.queue.take_next() {
        if now > end {
            break;
        }
        world.now = now;
        steps += 1;
        if let Err(why) = world.step(event) {
            broken = Some(why);
            break;
        }
    }
    let broken = broken.or_else(|| world.ledger.check(&world.partitions, &world.offsets).err());
    Report {
        seed,
        flags: FLAGS,
        broken: broken.map(|why| Broken { invariant: INVARIANT, why }),
        committed: i64::try_from(world.ledger.committed()).unwrap_or(i64::MAX),
        steps,
        trace_hash: world.trace.hash(),
        last_lines: world.trace.last_lines(),
    }
}

fn not_begun(seed: u64, why: String) -> Report {
    Report {
        seed,
        flags: FLAGS,
        broken: Some(Broken { invariant: INVARIANT, why }),
        committed: 0,
        steps: 0,
        trace_hash: 0,
        last_lines: Vec::new(),
    }
}
