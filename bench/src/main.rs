//! What Ottla costs: loads, a raw server to compare with, and Kafka side by side.
//!
//! - [`shape`]: the table of loads, topics and targets.
//! - [`frames`]: requests built before the load runs.
//! - [`load`]: the generator; [`fleet`]: one for requests that depend on answers. [`histogram`]: its
//!   latencies.
//! - [`raw`]: the baseline, a server that does the least that could be done.
//! - [`server`], [`process`], [`admin`]: processes under test, what the kernel says of them, and their
//!   topics.
//! - [`compare`], [`startup`], [`groups`], [`transactions`]: the measurements. [`report`]: what came out.

mod admin;
mod args;
mod compare;
mod fleet;
mod frames;
mod groups;
mod histogram;
mod load;
mod process;
mod raw;
mod report;
mod server;
mod shape;
mod startup;
mod transactions;

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;

use args::{Cli, Command, CommonArgs, CompareArgs, CoordinatorArgs, StartArgs};
use compare::{Arena, Plan};
use report::Report;
use serde::Serialize;
use server::{ServerKind, Setup};
use shape::{SHAPES, Shape};

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Produce(args) => compare(&args, |shape| shape.kind == shape::ShapeKind::Produce),
        Command::Fetch(args) => compare(&args, |shape| shape.kind == shape::ShapeKind::Fetch),
        Command::All(args) => compare(&args, |_| true),
        Command::Start(args) => start(&args),
        Command::Groups(args) => coordinators(&args, groups::measure, groups::Groups::to_text),
        Command::Transactions(args) => {
            coordinators(&args, transactions::measure, transactions::Transactions::to_text)
        }
        Command::Raw(args) => raw::serve(&args),
    }
}

fn compare(args: &CompareArgs, fits: impl Fn(&Shape) -> bool) -> Result<()> {
    let shapes = chosen(&args.shape, fits)?;
    let plan = Plan {
        warm_up: Duration::try_from_secs_f64(args.warm_up).context("--warm-up")?,
        time: Duration::try_from_secs_f64(args.seconds).context("--seconds")?,
        rounds: args.rounds as usize,
        stored_bytes: args.stored_mib << 20,
    };
    ensure!(!plan.time.is_zero(), "--seconds must be more than 0");
    let mut report = Report::new(args.seconds, plan.rounds);
    let mut arena = Arena::start(&setup(&args.common)?, &args.servers, plan, &shapes)?;
    for shape in shapes {
        report.shapes.push(arena.run(shape)?);
    }
    report.end();
    if args.common.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{}", report.to_text());
    }
    Ok(())
}

fn chosen(names: &[String], fits: impl Fn(&Shape) -> bool) -> Result<Vec<&'static Shape>> {
    let all = names.iter().any(|name| name == "all");
    for name in names {
        let known: Vec<_> = SHAPES.iter().filter(|shape| fits(shape)).map(|shape| shape.name).collect();
        if name != "all" && !known.contains(&name.as_str()) {
            bail!("no load {name} here: there are all, {}", known.join(", "));
        }
    }
    Ok(SHAPES
        .iter()
        .filter(|shape| fits(shape) && (all || names.iter().any(|name| name == shape.name)))
        .collect())
}

fn start(args: &StartArgs) -> Result<()> {
    let setup = setup(&args.common)?;
    for kind in &args.servers {
        ensure!(*kind != ServerKind::Raw, "the raw server has no start-up worth a look");
        let startup = startup::measure(&setup, *kind, args.gib)?;
        if args.common.json {
            println!("{}", serde_json::to_string(&startup)?);
        } else {
            print!("{}", startup.to_text());
        }
    }
    Ok(())
}

fn coordinators<M: Serialize>(
    args: &CoordinatorArgs,
    measure: impl Fn(&Setup, ServerKind, f64) -> Result<M>,
    to_text: impl Fn(&M) -> String,
) -> Result<()> {
    let setup = setup(&args.common)?;
    for kind in &args.servers {
        let measured = measure(&setup, *kind, args.seconds)?;
        if args.common.json {
            println!("{}", serde_json::to_string(&measured)?);
        } else {
            print!("{}", to_text(&measured));
        }
    }
    Ok(())
}

fn setup(args: &CommonArgs) -> Result<Setup> {
    std::fs::create_dir_all(&args.dir).with_context(|| format!("cannot make {}", args.dir.display()))?;
    Ok(Setup {
        ottla: args.server.clone(),
        kafka: args.kafka.clone(),
        dir: args.dir.canonicalize()?,
        segment_bytes: args.segment_mib << 20,
        settings: args.settings.clone(),
        common: Vec::new(),
    })
}
