//! The command line as a whole. What may be said behind a command stands with the command.

use clap::{Parser, Subcommand};

use crate::consume::ConsumeArgs;
use crate::group::GroupArgs;
use crate::produce::ProduceArgs;
use crate::start::StartArgs;
use crate::topic::TopicArgs;
use crate::txn::TxnArgs;

const EXIT_CODES: &str = "\
Exit codes:
  0  everything asked for was done (a broker: stopped cleanly)
  1  it failed on the way
  2  the command line or a setting is wrong; nothing was done
  3  the data directory is in use, belongs to another node, or cannot be read or written
  4  an address to listen on cannot be used
  5  no broker could be reached; nothing was done";

/// An event streaming platform that speaks the Kafka protocol. Without a command it starts a broker.
#[derive(Debug, Parser)]
#[command(name = "ottla", version, after_help = EXIT_CODES, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub start: StartArgs,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a broker (what happens without a command, too)
    #[command(after_help = EXIT_CODES)]
    Start(StartArgs),
    /// Create, list, describe and delete topics
    Topic(TopicArgs),
    /// Send lines from standard input as records
    Produce(ProduceArgs),
    /// Print records, alone or as a member of a group
    Consume(ConsumeArgs),
    /// See what consumer groups do, move their offsets, delete them
    Group(GroupArgs),
    /// List, describe and abort transactions, find those that hang, fence producers
    Txn(TxnArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parsed(line: &str) -> Cli {
        Cli::try_parse_from(["ottla"].into_iter().chain(line.split_whitespace())).unwrap()
    }

    #[test]
    fn the_definitions_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_command_takes_the_options_of_start() {
        for line in [
            "--data d --set a=1 --set b=x=y --log-level debug",
            "start --data d --set a=1 --set b=x=y --log-level debug",
        ] {
            let cli = parsed(line);
            let start = match cli.command {
                None => cli.start,
                Some(Command::Start(start)) => start,
                Some(other) => panic!("{line}: {other:?}"),
            };
            assert_eq!(start.data.as_deref(), Some(std::path::Path::new("d")), "{line}");
            let settings: Vec<(&str, &str)> = start.settings.iter().map(|p| (&*p.name, &*p.value)).collect();
            assert_eq!(settings, [("a", "1"), ("b", "x=y")], "{line}");
            assert_eq!(start.log.log_level, "debug".parse().unwrap(), "{line}");
        }
    }

    #[test]
    fn options_of_the_cluster_stand_before_or_behind_the_command_of_topics() {
        for line in [
            "topic -b host:1 --json list",
            "topic list -b host:1 --json",
            "topic list --bootstrap-server host:1 --json",
        ] {
            let Some(Command::Topic(topic)) = parsed(line).command else { panic!("{line}") };
            assert_eq!((&*topic.cluster.bootstrap_server, topic.output.json), ("host:1", true), "{line}");
        }
    }
}
