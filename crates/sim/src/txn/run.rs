//! One run, and its report.

use ottla_wire::Instant;

use super::TxnMutation;
use super::world::{CHAOS, REST, World};

/// What came of a run.
#[derive(Clone, Debug)]
pub struct TxnReport {
    pub seed: u64,
    pub broken: Option<String>,
    /// Transactions that clients know to be committed.
    pub committed: usize,
    pub steps: u64,
    pub trace_hash: u64,
    pub last_lines: Vec<String>,
}

impl TxnReport {
    /// The seed, what broke, how to see it again, and what happened last.
    pub fn describe(&self) -> String {
        let broken = self.broken.as_deref().unwrap_or("no promise broken");
        let (seed, lines) = (self.seed, self.last_lines.join("\n"));
        format!(
            "seed {seed}: {broken}\nagain: ottla-sim --transactions --start {seed} --seeds 1 --trace\n{lines}"
        )
    }
}

/// One run.
pub fn run(seed: u64, mutation: Option<TxnMutation>, print: bool) -> TxnReport {
    let mut world = World::new(seed, mutation, print);
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
    let broken = broken.or_else(|| world.ledger.check(&world.partitions).err());
    TxnReport {
        seed,
        broken,
        committed: world.ledger.committed(),
        steps,
        trace_hash: world.trace.hash(),
        last_lines: world.trace.last_lines(),
    }
}
