//! What may be said on the command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ottla_client::{Acks, GroupProtocol};
use ottla_wire::compress::Codec;

use crate::consume::{Format, From};
use crate::group::args::GroupArgs;
use crate::time::Time;
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

/// A broker's settings.
#[derive(Debug, Args)]
pub struct StartArgs {
    /// Settings in Kafka's server.properties format and with Kafka's names
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting, winning over the file; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub settings: Vec<Pair>,
    /// Data directory, made if it does not exist [default: ./ottla-data] (log.dirs)
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address for clients; with 0.0.0.0 every host on the network can connect [default: 127.0.0.1:9092] (listeners)
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Address that clients are told to connect to [default: the one listened on] (advertised.listeners)
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Option<String>,
    /// Address for /metrics, /livez and /readyz, or "off" [default: 127.0.0.1:9644] (metrics.listener)
    #[arg(long, value_name = "HOST:PORT|off")]
    pub metrics: Option<String>,
    #[command(flatten)]
    pub log: LogArgs,
}

/// What is logged to stderr, and how.
#[derive(Clone, Debug, Args)]
pub struct LogArgs {
    /// Log lines: text, json, or auto (text at a terminal, json otherwise)
    #[arg(long, value_enum, default_value_t = LogFormat::Auto, env = "OTTLA_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// off, error, warn, info, debug or trace; for single parts too: info,ottla_net=debug
    #[arg(long, value_name = "LEVEL", default_value = "info,openraft=warn", env = "OTTLA_LOG_LEVEL")]
    pub log_level: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
    Auto,
}

/// Which cluster, and how patient to be with it.
#[derive(Clone, Debug, Args)]
pub struct ClusterArgs {
    /// Brokers to begin with, as HOST:PORT[,HOST:PORT]
    #[arg(
        long,
        short = 'b',
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:9092",
        env = "OTTLA_BOOTSTRAP",
        global = true
    )]
    pub bootstrap_server: String,
    /// Seconds to wait for the cluster before giving up
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds, global = true)]
    pub timeout: Duration,
    /// What the client logs to stderr: off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "off", global = true)]
    pub log_level: String,
}

/// How to answer.
#[derive(Clone, Copy, Debug, Args)]
pub struct OutputArgs {
    /// One JSON document a line, for machines
    #[arg(long, global = true)]
    pub json: bool,
    /// Colour and tables: auto is at a terminal only
    #[arg(long, value_enum, default_value_t = Colour::Auto, value_name = "WHEN", global = true)]
    pub color: Colour,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Args)]
pub struct TopicArgs {
    #[command(subcommand)]
    pub command: TopicCommand,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Subcommand)]
pub enum TopicCommand {
    /// Create topics
    Create(CreateArgs),
    /// List topics: name, partitions, replicas
    List,
    /// Partitions, leaders, replicas, offsets, sizes, and the settings that were changed
    Describe {
        /// Topics; all if none is named
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Delete topics with all their records
    Delete {
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
        /// A topic that does not exist is no error
        #[arg(long)]
        if_exists: bool,
    },
}

#[derive(Debug, Args)]
pub struct CreateArgs {
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
    /// [default: the broker's num.partitions]
    #[arg(long, short = 'p', value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pub partitions: Option<i32>,
    /// Copies of each partition [default: the broker's default.replication.factor]
    #[arg(long, short = 'r', value_name = "N", value_parser = clap::value_parser!(i16).range(1..))]
    pub replication_factor: Option<i16>,
    /// A topic setting, such as retention.ms=3600000; may be repeated
    #[arg(long = "config", short = 'c', value_name = "NAME=VALUE")]
    pub configs: Vec<Pair>,
    /// A topic that exists already is no error
    #[arg(long)]
    pub if_not_exists: bool,
}

#[derive(Debug, Args)]
pub struct ProduceArgs {
    pub topic: String,
    /// What parts key and value of a line; a line without it is an error
    #[arg(long, short = 'K', value_name = "TEXT")]
    pub key_separator: Option<String>,
    /// When a record counts as stored: 0 (sent), 1 (the leader has it) or all (every in-sync replica has it)
    #[arg(long, value_name = "0|1|all", default_value = "all", value_parser = acks)]
    pub acks: Acks,
    /// none, gzip, snappy, lz4 or zstd
    #[arg(long, short = 'z', value_name = "CODEC", default_value = "none", value_parser = codec)]
    pub compression: Codec,
    /// Send everything to this partition
    #[arg(long, short = 'p', value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: Option<i32>,
    /// A header for every record; may be repeated
    #[arg(long = "header", short = 'H', visible_alias = "headers", value_name = "NAME=VALUE")]
    pub headers: Vec<Pair>,
    /// Do not report what was stored (errors are reported all the same)
    #[arg(long, short)]
    pub quiet: bool,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

const CONSUME_HELP: &str = "\
Without a place to begin, --follow begins at the end (new records only), --no-follow at the beginning. In a group that holds
only where the group has committed nothing: else it goes on there.

Examples:
  ottla consume orders --from-beginning --no-follow         # all that there is now
  ottla consume orders --offset -10                         # the last ten of each partition, then what comes
  ottla consume orders returns --group billing              # a member: start it twice, and each gets a share
  ottla group describe billing                              # who has what, and how far behind";

#[derive(Debug, Args)]
#[command(after_help = CONSUME_HELP)]
pub struct ConsumeArgs {
    #[arg(value_name = "TOPIC", required = true)]
    pub topics: Vec<String>,
    #[command(flatten)]
    pub begin: BeginArgs,
    #[command(flatten)]
    pub group: MemberArgs,
    /// Only this partition (of each topic); may be repeated
    #[arg(long = "partition", short = 'p', value_name = "N", conflicts_with = "group", value_parser = clap::value_parser!(i32).range(0..))]
    pub partitions: Vec<i32>,
    /// Stop after so many records
    #[arg(long, short = 'n', value_name = "N")]
    pub max_messages: Option<u64>,
    /// Wait for further records (the default)
    #[arg(long, short = 'f', overrides_with = "no_follow")]
    pub follow: bool,
    /// Stop at what is the end now
    #[arg(long, short = 'e', overrides_with = "follow")]
    pub no_follow: bool,
    /// Leave out records of transactions that are open or were aborted
    #[arg(long)]
    pub read_committed: bool,
    /// Text with {topic} {partition} {offset} {timestamp} {key} {value} {headers} and \n \t \\ \0
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "{partition}:{offset}\\t{key}\\t{value}\\n",
        conflicts_with = "json"
    )]
    pub format: Format,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Where to begin.
#[derive(Clone, Debug, Args)]
#[group(multiple = false)]
pub struct BeginArgs {
    /// Begin with the oldest records
    #[arg(long)]
    pub from_beginning: bool,
    /// Begin at this offset; -N is the last N records of each partition
    #[arg(long, short = 'o', value_name = "N", allow_negative_numbers = true, conflicts_with = "group")]
    pub offset: Option<i64>,
    /// Begin at a time: 2026-01-31T12:00:00Z, milliseconds since 1970, or how long ago as 90s, 15m, 12h, 7d
    #[arg(long, value_name = "TIME", conflicts_with = "group")]
    pub from_time: Option<Time>,
}

/// Being a member of a group.
#[derive(Clone, Debug, Args)]
pub struct MemberArgs {
    /// Share the partitions with the other members of this group, go on where it has committed, and commit
    #[arg(long, short = 'g', value_name = "GROUP")]
    pub group: Option<String>,
    /// Who shares the partitions: a member (classic) or the broker (consumer, KIP-848)
    #[arg(long, value_name = "classic|consumer", default_value = "classic", value_parser = protocol, requires = "group")]
    pub protocol: GroupProtocol,
    /// Milliseconds between commits of what was printed
    #[arg(long, value_name = "MS", default_value = "5000", value_parser = clap::value_parser!(u64).range(1..), requires = "group")]
    pub commit_interval: u64,
    /// Seconds after which a member that has died is put out; classic only, else the broker says [default: 45]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, requires = "group")]
    pub session_timeout: Option<Duration>,
}

impl ConsumeArgs {
    pub fn follows(&self) -> bool {
        !self.no_follow
    }

    pub fn from(&self) -> From {
        match &self.begin {
            BeginArgs { offset: Some(offset), .. } if *offset < 0 => From::Last(offset.unsigned_abs()),
            BeginArgs { offset: Some(offset), .. } => From::Offset(*offset),
            BeginArgs { from_time: Some(time), .. } => From::Time(*time),
            BeginArgs { from_beginning: true, .. } => From::Beginning,
            BeginArgs { .. } if self.follows() => From::End,
            BeginArgs { .. } => From::Beginning,
        }
    }
}

/// `NAME=VALUE`. The value may be empty and may hold further equals signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub name: String,
    pub value: String,
}

impl FromStr for Pair {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Pair, &'static str> {
        match text.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                Ok(Pair { name: name.trim().to_owned(), value: value.to_owned() })
            }
            _ => Err("it must be NAME=VALUE"),
        }
    }
}

/// What is left of a list of names when those that come again are left out.
pub fn unique(names: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    names.into_iter().filter(|name| seen.insert(name.clone())).collect()
}

fn protocol(text: &str) -> Result<GroupProtocol, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "classic" => Ok(GroupProtocol::Classic),
        "consumer" => Ok(GroupProtocol::Consumer),
        _ => Err("it must be classic or consumer"),
    }
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    let seconds: f64 = text.parse().map_err(|_| "it must be a number of seconds")?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("it must be more than 0"),
    }
}

fn acks(text: &str) -> Result<Acks, &'static str> {
    match text {
        "0" => Ok(Acks::None),
        "1" => Ok(Acks::Leader),
        "all" | "-1" => Ok(Acks::All),
        _ => Err("it must be 0, 1 or all"),
    }
}

fn codec(text: &str) -> Result<Codec, &'static str> {
    let named = Codec::ALL.into_iter().find(|codec| codec.name().eq_ignore_ascii_case(text));
    named.ok_or("it must be none, gzip, snappy, lz4 or zstd")
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
            assert_eq!(start.log.log_level, "debug", "{line}");
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

    #[test]
    fn where_to_begin() {
        let cases = [
            ("", From::End, true),
            ("--follow", From::End, true),
            ("--no-follow", From::Beginning, false),
            ("--no-follow --follow", From::End, true),
            ("--follow --no-follow", From::Beginning, false),
            ("--from-beginning", From::Beginning, true),
            ("-e --from-beginning", From::Beginning, false),
            ("--offset 7", From::Offset(7), true),
            ("--offset 0 -e", From::Offset(0), false),
            ("-o -3", From::Last(3), true),
            ("--offset=-3", From::Last(3), true),
            ("--from-time 15m -e", From::Time(Time::AgoMs(900_000)), false),
        ];
        for (options, from, follows) in cases {
            let Some(Command::Consume(consume)) = parsed(&format!("consume t {options}")).command else {
                panic!("{options}")
            };
            assert_eq!((consume.from(), consume.follows()), (from, follows), "{options}");
        }
    }

    #[test]
    fn names_keep_their_order_and_come_once() {
        let names = ["b", "a", "b"].map(str::to_owned).to_vec();
        assert_eq!(unique(names), ["b", "a"]);
    }

    #[test]
    fn a_member_has_no_place_of_its_own_to_begin() {
        let Some(Command::Consume(consume)) = parsed("consume a b -g g --protocol consumer").command else {
            panic!()
        };
        assert_eq!(consume.topics, ["a", "b"]);
        assert_eq!(
            (consume.group.group.as_deref(), consume.group.protocol),
            (Some("g"), GroupProtocol::Consumer)
        );
        for wrong in [
            "a -g g --offset 1",
            "a -g g --from-time 1h",
            "a -g g -p 0",
            "a -g g --commit-interval 0",
            "a -g g --protocol new",
            "a --protocol classic",
            "a --session-timeout 6",
            "-g g",
        ] {
            let words = ["ottla", "consume"].into_iter().chain(wrong.split_whitespace());
            assert!(Cli::try_parse_from(words).is_err(), "{wrong}");
        }
    }

    #[test]
    fn values_are_checked() {
        assert_eq!(acks("all"), Ok(Acks::All));
        assert_eq!(acks("-1"), Ok(Acks::All));
        assert!(acks("2").is_err());
        assert_eq!(codec("ZSTD"), Ok(Codec::Zstd));
        assert!(codec("").is_err());
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["0", "-1", "inf", "NaN", "soon"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
        assert_eq!("a=".parse(), Ok(Pair { name: "a".to_owned(), value: String::new() }));
        assert!("=a".parse::<Pair>().is_err() && "a".parse::<Pair>().is_err());
    }
}
