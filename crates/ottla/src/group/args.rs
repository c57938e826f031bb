//! What may be said behind `ottla group`.

use clap::{Args, Subcommand};
use ottla_client::admin::{GroupState, GroupType};
use ottla_wire::Timestamp;

use crate::args::{ClusterArgs, OutputArgs};
use crate::selected::Selected;
use crate::time::Time;

#[derive(Debug, Args)]
pub struct GroupArgs {
    #[command(subcommand)]
    pub command: GroupCommand,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// List groups: name, type, protocol, state, members
    List(ListArgs),
    /// Members with their partitions, committed offsets, and the lag in records and in time
    #[command(after_help = DESCRIBE_HELP)]
    Describe(DescribeArgs),
    /// Move what a group has committed, so that it reads records again or leaves some out
    #[command(after_help = RESET_HELP)]
    ResetOffsets(ResetArgs),
    /// Forget what a group has committed for topics that it no longer reads
    DeleteOffsets(DeleteOffsetsArgs),
    /// Delete groups without members, with all that they have committed
    Delete {
        #[arg(value_name = "GROUP", required = true)]
        groups: Vec<String>,
    },
    /// Why a group has rebalanced: who caused it, how long each phase took, who was slow, who was missed
    #[command(after_help = HISTORY_HELP)]
    History(HistoryArgs),
}

const DESCRIBE_HELP: &str = "\
The lag in records is how far the end of a partition is ahead of the committed offset. The lag in time is the age of the
record that the group reads next, 0 if it has read all; - where something is not known.

In a pipe each line begins with its kind and the group, parted by tabs; times are in milliseconds:
  member  GROUP  ID  INSTANCE  CLIENT  HOST  EPOCH  ASSIGNMENT
  offset  GROUP  TOPIC  PARTITION  COMMITTED  END  LAG  TIME-LAG  MEMBER";

const RESET_HELP: &str = "\
Nothing is changed without --execute: what would be is shown. The group must have no members then, because members commit
where they are. An offset outside of the log becomes its beginning or its end.

Examples:
  ottla group reset-offsets billing --topic orders --to-earliest             # what would it be?
  ottla group reset-offsets billing --topic orders --to-earliest --execute   # all of it again
  ottla group reset-offsets billing --topic orders:0,2 --shift-by -10        # the last ten again, of two partitions
  ottla group reset-offsets billing --all-topics --by-duration 7d            # the last week again";

const HISTORY_HELP: &str = "\
A broker remembers the last rebalances of the groups that it coordinates, until it stops. It tells them at the address of
its metrics.";

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only groups in these states, such as Stable or Empty
    #[arg(long = "state", value_name = "STATE", value_delimiter = ',', value_parser = state)]
    pub states: Vec<GroupState>,
    /// Only groups of these types: classic, consumer (KIP-848), share, streams
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',', value_parser = group_type)]
    pub types: Vec<GroupType>,
}

#[derive(Debug, Args)]
pub struct DescribeArgs {
    /// Groups; all if none is named
    #[arg(value_name = "GROUP")]
    pub groups: Vec<String>,
    /// Only the members (with --offsets, both: the default)
    #[arg(long)]
    pub members: bool,
    /// Only the offsets
    #[arg(long)]
    pub offsets: bool,
}

impl DescribeArgs {
    /// Whether members, and whether offsets, are to be shown.
    pub fn shows(&self) -> (bool, bool) {
        if self.members == self.offsets { (true, true) } else { (self.members, self.offsets) }
    }
}

#[derive(Debug, Args)]
pub struct ResetArgs {
    pub group: String,
    #[command(flatten)]
    pub topics: ResetTopics,
    #[command(flatten)]
    pub to: ResetTo,
    /// Do it; without this, only show what would be done
    #[arg(long)]
    pub execute: bool,
}

#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct ResetTopics {
    /// A topic, or some of its partitions; may be repeated
    #[arg(long = "topic", short = 't', value_name = "TOPIC[:N,N]")]
    pub topics: Vec<Selected>,
    /// Every partition that the group has committed
    #[arg(long)]
    pub all_topics: bool,
}

/// Where to.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct ResetTo {
    /// To where each log begins
    #[arg(long)]
    to_earliest: bool,
    /// To where each log ends: only new records
    #[arg(long)]
    to_latest: bool,
    /// To this offset
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    to_offset: Option<i64>,
    /// To the first record of this time or later: 2026-01-31T12:00:00Z, milliseconds since 1970, or 90s, 15m,
    /// 12h, 7d ago
    #[arg(long, value_name = "TIME")]
    to_datetime: Option<Time>,
    /// To the first record that is not older than 90s, 15m, 12h, 7d
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    by_duration: Option<Time>,
    /// Forward by so many records; -N is back
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    shift_by: Option<i64>,
    /// To where it is: what is not committed yet becomes the end of the log
    #[arg(long)]
    to_current: bool,
}

/// Where offsets are to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Earliest,
    Latest,
    Offset(i64),
    Time(Timestamp),
    ShiftBy(i64),
    Current,
}

impl ResetTo {
    /// Times as of now. The parser makes sure that exactly one is given.
    pub fn target(&self) -> Target {
        match self {
            ResetTo { to_offset: Some(offset), .. } => Target::Offset(*offset),
            ResetTo { to_datetime: Some(time), .. } | ResetTo { by_duration: Some(time), .. } => {
                Target::Time(time.resolve())
            }
            ResetTo { shift_by: Some(by), .. } => Target::ShiftBy(*by),
            ResetTo { to_earliest: true, .. } => Target::Earliest,
            ResetTo { to_latest: true, .. } => Target::Latest,
            ResetTo { .. } => Target::Current,
        }
    }
}

#[derive(Debug, Args)]
pub struct DeleteOffsetsArgs {
    pub group: String,
    /// A topic, or some of its partitions; may be repeated
    #[arg(long = "topic", short = 't', value_name = "TOPIC[:N,N]", required = true)]
    pub topics: Vec<Selected>,
}

#[derive(Debug, Args)]
pub struct HistoryArgs {
    pub group: String,
    /// Where the broker that coordinates the group tells its metrics
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9644")]
    pub metrics: String,
}

fn state(text: &str) -> Result<GroupState, String> {
    let names = || GroupState::ALL.map(GroupState::name).join(", ");
    GroupState::from_name(text).ok_or_else(|| format!("it must be one of {}", names()))
}

fn group_type(text: &str) -> Result<GroupType, String> {
    let names = || GroupType::ALL.map(GroupType::name).join(", ");
    GroupType::from_name(text).ok_or_else(|| format!("it must be one of {}", names()))
}

fn duration(text: &str) -> Result<Time, &'static str> {
    match text.parse() {
        Ok(ago @ Time::AgoMs(_)) => Ok(ago),
        Ok(Time::At(_)) | Err(_) => Err("it must be like 90s, 15m, 12h, 7d"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        command: GroupCommand,
    }

    fn parsed(line: &str) -> Result<GroupCommand, String> {
        let words = ["group"].into_iter().chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.command).map_err(|error| error.to_string())
    }

    #[test]
    fn where_to_reset_to() {
        let cases = [
            ("--to-earliest", Target::Earliest),
            ("--to-latest", Target::Latest),
            ("--to-current", Target::Current),
            ("--to-offset 0", Target::Offset(0)),
            ("--shift-by -7", Target::ShiftBy(-7)),
            ("--shift-by 7", Target::ShiftBy(7)),
            ("--to-datetime 1970-01-01T00:00:01Z", Target::Time(Timestamp(1000))),
            // Longer ago than 1970.
            ("--by-duration 99999d", Target::Time(Timestamp(0))),
        ];
        for (options, target) in cases {
            let Ok(GroupCommand::ResetOffsets(reset)) = parsed(&format!("reset-offsets g -t t {options}"))
            else {
                panic!("{options}")
            };
            assert_eq!(reset.to.target(), target, "{options}");
            assert!(!reset.execute && !reset.topics.all_topics);
        }
    }

    #[test]
    fn what_is_missing_or_contradicts_itself_is_refused() {
        for line in [
            "reset-offsets g --to-latest",
            "reset-offsets g -t t",
            "reset-offsets g -t t --all-topics --to-latest",
            "reset-offsets g -t t --to-latest --to-earliest",
            "reset-offsets g -t t --to-offset -1",
            "reset-offsets g -t t --by-duration 2026-01-01",
            "reset-offsets --all-topics --to-latest",
            "delete-offsets g",
            "delete",
            "history",
            "list --state Happy",
            "list --type classy",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }

    #[test]
    fn members_and_offsets_are_shown_unless_one_is_asked_for() {
        let cases = [
            ("", (true, true)),
            ("--members", (true, false)),
            ("--offsets", (false, true)),
            ("--members --offsets", (true, true)),
        ];
        for (options, shows) in cases {
            let Ok(GroupCommand::Describe(describe)) = parsed(&format!("describe g {options}")) else {
                panic!("{options}")
            };
            assert_eq!(describe.shows(), shows, "{options}");
        }
    }

    #[test]
    fn filters_take_several_in_any_case() {
        let Ok(GroupCommand::List(list)) = parsed("list --state stable,EMPTY --type Consumer") else {
            panic!()
        };
        assert_eq!(list.states, [GroupState::Stable, GroupState::Empty]);
        assert_eq!(list.types, [GroupType::Consumer]);
    }
}
