//! The one binary: a broker, and the commands to try it.
//!
//! - [`cli`]: the command line as a whole; [`args`]: what several commands take. Each command has its own in
//!   `NAME/args.rs`.
//! - [`exit`]: what the exit codes mean, and errors that say what to do.
//! - [`start`]: runs a broker, from settings to the signal that stops it; [`logging`]: its log on stderr.
//! - [`topic`], [`produce`], [`consume`], [`group`], [`txn`]: commands for a running cluster, through
//!   [`cluster`].
//! - [`output`]: how they answer; [`time`]: times for people; [`selected`]: partitions by name and number.
//! - [`signals`]: what asks for an end.

mod args;
mod cli;
mod cluster;
mod consume;
mod exit;
mod group;
mod logging;
mod output;
mod produce;
mod selected;
mod signals;
mod start;
mod time;
mod topic;
mod txn;

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

use cli::{Cli, Command};
use exit::{Exit, Failure};

/// Buffers are filled by the threads of connections and freed by those of shards, which the system's
/// allocator is slow at.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(help_or_error) => {
            // Nothing can be done about a terminal that is gone.
            let _ = help_or_error.print();
            return ExitCode::from(u8::try_from(help_or_error.exit_code()).unwrap_or(Exit::Usage.code()));
        }
    };
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.print();
            failure.exit.into()
        }
    }
}

fn run(cli: Cli) -> Result<Exit, Failure> {
    match cli.command {
        None => start::run(cli.start),
        Some(Command::Start(start)) => start::run(start),
        Some(Command::Topic(topic)) => cluster::run(&topic.cluster.clone(), topic::run(topic)),
        Some(Command::Produce(produce)) => cluster::run(&produce.cluster.clone(), produce::run(produce)),
        Some(Command::Txn(txn)) => cluster::run(&txn.cluster.clone(), txn::run(txn)),
        Some(Command::Consume(consume)) => cluster::run(&consume.cluster.clone(), consume::run(consume)),
        Some(Command::Group(group)) => cluster::run(&group.cluster.clone(), group::run(group)),
    }
}
