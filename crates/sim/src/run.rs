//! One run: a seed in, a verdict out.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::invariants::Broken;
use crate::mutation::Mutation;
use crate::trace::Trace;
use crate::world::World;

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
        Options { steps_max: 2_000_000, print: false, mutation: None }
    }
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Report {
    pub seed: u64,
    /// What the command line needs to run this kind of world, with a space behind it.
    pub flags: &'static str,
    pub steps: u64,
    /// Offsets that were committed.
    pub committed: i64,
    /// The same for two runs that did the same.
    pub trace_hash: u64,
    pub broken: Option<Broken>,
    /// The last events, if something broke.
    pub last_lines: Vec<String>,
}

/// How far a run has come.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub steps: u64,
    pub committed: i64,
}

/// Runs the world of this seed. A panic of a core is a broken promise like any other.
pub fn run(seed: u64, options: &Options) -> Report {
    watched(seed, "", options.print, |trace, progress| {
        let mut world = World::new(seed, options.mutation, trace)
            .map_err(|why| Broken { invariant: "the world can be made", why })?;
        let ran = world.run(options.steps_max);
        (progress.steps, progress.committed) = (world.steps(), world.committed());
        ran
    })
}

/// Lets a world run, and says what came of it.
pub(crate) fn watched(
    seed: u64,
    flags: &'static str,
    print: bool,
    run: impl FnOnce(&mut Trace, &mut Progress) -> Result<(), Broken>,
) -> Report {
    let mut trace = Trace::new(print);
    let mut progress = Progress::default();
    let ran = catch_unwind(AssertUnwindSafe(|| run(&mut trace, &mut progress)));
    let Progress { steps, committed } = progress;
    let broken = match ran {
        Ok(ran) => ran.err(),
        Err(panic) => Some(Broken { invariant: "nobody panics", why: message(&*panic) }),
    };
    let last_lines = if broken.is_some() { trace.last_lines() } else { Vec::new() };
    Report { seed, flags, steps, committed, trace_hash: trace.hash(), broken, last_lines }
}

impl Report {
    /// For whoever has to find out why.
    pub fn describe(&self) -> String {
        let Some(broken) = &self.broken else {
            return format!("seed {}: {} steps, {} offsets, all well", self.seed, self.steps, self.committed);
        };
        format!(
            "seed {}: \"{}\" is broken after {} steps: {}\nthe last events:\n  {}\nrun it again with\n  \
             cargo run -p ottla-sim --release -- {}--start {} --seeds 1 --trace",
            self.seed,
            broken.invariant,
            self.steps,
            broken.why,
            self.last_lines.join("\n  "),
            self.flags,
            self.seed
        )
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").to_owned()
}
