//! One run: a seed in, a verdict out.

use super::mutation::Mutation;
use super::world::World;
use crate::run::{Report, watched};

/// How a run is made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Stop after so many events.
    pub steps_max: u64,
    /// Print every event.
    pub print: bool,
    /// Break a rule on purpose.
    pub mutation: Option<Mutation>,
}

impl Default for Options {
    fn default() -> Options {
        Options { steps_max: 200_000, print: false, mutation: None }
    }
}

/// Runs the groups of this seed. A panic of the core is a broken promise like any other.
pub fn run(seed: u64, options: &Options) -> Report {
    watched(seed, "--groups ", options.print, |trace, progress| {
        let mut world = World::new(seed, options.mutation, trace)?;
        let ran = world.run(options.steps_max);
        (progress.steps, progress.committed) = (world.steps(), world.commits());
        ran
    })
}
