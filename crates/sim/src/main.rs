//! `ottla-sim [--transactions] [--seeds N] [--start S] [--steps N] [--threads N] [--mutation NAME] [--keep-going] [--trace]`: runs seeds S to S+N-1 and
//! says which break a promise. It stops at the first that does, or with `--keep-going` tells each in one line.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use ottla_sim::txn::{self, TxnMutation};
use ottla_sim::{Mutation, Options, run};

/// What the command line asks for.
struct Asked {
    start: u64,
    seeds: u64,
    threads: usize,
    keep_going: bool,
    options: Options,
    /// The simulator of transactions, instead of that of partitions.
    transactions: bool,
    txn_mutation: Option<TxnMutation>,
}

impl Asked {
    /// One run: how many steps, and what broke.
    fn run(&self, seed: u64) -> (u64, Option<String>) {
        if self.transactions {
            let report = txn::run(seed, self.txn_mutation, self.options.print);
            return (report.steps, report.broken.is_some().then(|| report.describe()));
        }
        let report = run(seed, &self.options);
        (report.steps, report.broken.is_some().then(|| report.describe()))
    }
}

fn main() -> ExitCode {
    let asked = match parse(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(why) => {
            eprintln!(
                "{why}\nusage: ottla-sim [--transactions] [--seeds N] [--start S] [--steps N] [--threads N] [--mutation NAME] [--keep-going] [--trace]"
            );
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
            let (taken, broken) = asked.run(seed);
            steps.fetch_add(taken, Ordering::Relaxed);
            if let Some(text) = broken {
                failed.store(true, Ordering::Relaxed);
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

fn parse(mut args: impl Iterator<Item = String>) -> Result<Asked, String> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut asked = Asked {
        start: 0,
        seeds: 1_000,
        threads,
        keep_going: false,
        options: Options::default(),
        transactions: false,
        txn_mutation: None,
    };
    while let Some(arg) = args.next() {
        let mut number = || {
            let value = args.next().ok_or_else(|| format!("{arg} needs a value"))?;
            value.parse::<u64>().map_err(|_| format!("{arg} needs a number, not {value}"))
        };
        match arg.as_str() {
            "--seeds" => asked.seeds = number()?.max(1),
            "--start" => asked.start = number()?,
            "--steps" => asked.options.steps_max = number()?,
            "--threads" => asked.threads = number()?.max(1) as usize,
            "--keep-going" => asked.keep_going = true,
            "--trace" => asked.options.print = true,
            "--transactions" => asked.transactions = true,
            "--mutation" if asked.transactions => {
                let name = args.next().ok_or("--mutation needs a name")?;
                let known = TxnMutation::ALL.into_iter().find(|one| format!("{one:?}") == name);
                let all = TxnMutation::ALL;
                asked.txn_mutation =
                    Some(known.ok_or_else(|| format!("there is no mutation {name}: {all:?}"))?);
            }
            "--mutation" => {
                let name = args.next().ok_or("--mutation needs a name")?;
                let known = Mutation::ALL.into_iter().find(|one| format!("{one:?}") == name);
                asked.options.mutation =
                    Some(known.ok_or_else(|| format!("there is no mutation {name}: {:?}", Mutation::ALL))?);
            }
            _ => return Err(format!("{arg} is not known")),
        }
    }
    Ok(asked)
}
