//! `ottla-sim [--groups|--transactions] [--seeds N] [--start S] [--steps N] [--threads N] [--mutation NAME]
//! [--keep-going] [--trace]`: runs seeds S to S+N-1 and says which break a promise. It stops at the first
//! that does, or with `--keep-going` tells each in one line.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use ottla_sim::txn::{self, TxnMutation};
use ottla_sim::{Mutation, Options, Report, group, run};

/// What the command line asks for.
struct RunOptions {
    start: u64,
    seeds: u64,
    threads: usize,
    keep_going: bool,
    world: WorldKind,
    steps_max: Option<u64>,
    print: bool,
    mutation: Option<String>,
}

/// Which world is run.
#[derive(Clone, Copy)]
enum WorldKind {
    Cluster,
    Groups,
    Transactions,
}

/// Runs one seed of what was asked for.
type RunSeed = Box<dyn Fn(u64) -> Report + Sync>;

fn main() -> ExitCode {
    let asked = match parse(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(why) => {
            eprintln!(
                "{why}\nusage: ottla-sim [--groups|--transactions] [--seeds N] [--start S] [--steps N] [--threads N] [--mutation NAME] [--keep-going] [--trace]"
            );
            return ExitCode::from(2);
        }
    };
    let run_seed = match runner(&asked) {
        Ok(run_seed) => run_seed,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    let (next, steps, failed) = (AtomicU64::new(asked.start), AtomicU64::new(0), AtomicBool::new(false));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let stop = failed.load(Ordering::Relaxed) && !asked.keep_going;
            if seed >= asked.start.saturating_add(asked.seeds) || stop {
                return;
            }
            let report = run_seed(seed);
            steps.fetch_add(report.steps, Ordering::Relaxed);
            if report.broken.is_some() {
                failed.store(true, Ordering::Relaxed);
                let text = report.describe();
                let lines = if asked.keep_going { 1 } else { usize::MAX };
                text.lines().take(lines).for_each(|line| eprintln!("{line}"));
            }
        }
    };
    thread::scope(|scope| (0..asked.threads).for_each(|_| drop(scope.spawn(work))));
    if failed.load(Ordering::Relaxed) {
        return ExitCode::FAILURE;
    }
    let steps = steps.load(Ordering::Relaxed);
    println!("seeds {} to {}: {steps} steps, no promise broken", asked.start, asked.start + asked.seeds - 1);
    ExitCode::SUCCESS
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<RunOptions, String> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut asked = RunOptions {
        start: 0,
        seeds: 1_000,
        threads,
        keep_going: false,
        world: WorldKind::Cluster,
        steps_max: None,
        print: false,
        mutation: None,
    };
    while let Some(arg) = args.next() {
        let mut number = || {
            let value = args.next().ok_or_else(|| format!("{arg} needs a value"))?;
            value.parse::<u64>().map_err(|_| format!("{arg} needs a number, not {value}"))
        };
        match arg.as_str() {
            "--seeds" => asked.seeds = number()?.max(1),
            "--start" => asked.start = number()?,
            "--steps" => asked.steps_max = Some(number()?),
            "--threads" => asked.threads = number()?.max(1) as usize,
            "--keep-going" => asked.keep_going = true,
            "--groups" => asked.world = WorldKind::Groups,
            "--transactions" => asked.world = WorldKind::Transactions,
            "--trace" => asked.print = true,
            "--mutation" => asked.mutation = Some(args.next().ok_or("--mutation needs a name")?),
            _ => return Err(format!("{arg} is not known")),
        }
    }
    Ok(asked)
}

fn runner(asked: &RunOptions) -> Result<RunSeed, String> {
    let name = asked.mutation.as_deref();
    match asked.world {
        WorldKind::Cluster => {
            let mut options = Options { print: asked.print, ..Options::default() };
            options.steps_max = asked.steps_max.unwrap_or(options.steps_max);
            options.mutation = mutation(name, &Mutation::ALL)?;
            Ok(Box::new(move |seed| run(seed, &options)))
        }
        WorldKind::Groups => {
            let mut options = group::run::Options { print: asked.print, ..Default::default() };
            options.steps_max = asked.steps_max.unwrap_or(options.steps_max);
            options.mutation = mutation(name, &group::Mutation::ALL)?;
            Ok(Box::new(move |seed| group::run(seed, &options)))
        }
        WorldKind::Transactions if asked.steps_max.is_some() => {
            Err("--steps: transactions run for a time, not for steps".to_owned())
        }
        WorldKind::Transactions => {
            let (mutation, print) = (mutation(name, &TxnMutation::ALL)?, asked.print);
            Ok(Box::new(move |seed| txn::run(seed, mutation, print)))
        }
    }
}

fn mutation<M: Copy + std::fmt::Debug>(name: Option<&str>, all: &[M]) -> Result<Option<M>, String> {
    let Some(name) = name else { return Ok(None) };
    let known = all.iter().copied().find(|one| format!("{one:?}") == name);
    known.map(Some).ok_or_else(|| format!("there is no mutation {name}: {all:?}"))
}
