//! What may be said behind `ottla consume`.

use std::time::Duration;

use clap::Args;
use ottla_client::{GroupProtocol, IsolationLevel};

use super::begin::From;
use super::format::Format;
use crate::args::{ClusterArgs, OutputArgs, seconds};
use crate::selected::Selected;
use crate::time::Time;

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
    /// Seconds after which a member that has died is put out; classic only, else the broker says [default:
    /// 45]
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
    pub fn isolation(&self) -> IsolationLevel {
        if self.read_committed { IsolationLevel::ReadCommitted } else { IsolationLevel::ReadUncommitted }
    }

    /// The partitions to read, as they are named.
    pub fn selected(&self) -> Vec<Selected> {
        let select = |topic: &String| Selected { topic: topic.clone(), partitions: self.partitions.clone() };
        self.topics.iter().map(select).collect()
    }
}

fn protocol(text: &str) -> Result<GroupProtocol, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "classic" => Ok(GroupProtocol::Classic),
        "consumer" => Ok(GroupProtocol::Consumer),
        _ => Err("it must be classic or consumer"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        consume: ConsumeArgs,
    }

    fn parsed(line: &str) -> Result<ConsumeArgs, String> {
        let words = ["consume"].into_iter().chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.consume).map_err(|error| error.to_string())
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
            let consume = parsed(&format!("t {options}")).unwrap();
            assert_eq!((consume.from(), consume.follows()), (from, follows), "{options}");
        }
    }

    #[test]
    fn a_member_has_no_place_of_its_own_to_begin() {
        let consume = parsed("a b -g g --protocol consumer").unwrap();
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
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
