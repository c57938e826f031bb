//! What may be said behind `ottla txn`.

use std::time::Duration;

use clap::{Args, Subcommand};
use ottla_client::admin::TransactionState;

use crate::args::{ClusterArgs, OutputArgs};
use crate::time::span_ms;

#[derive(Debug, Args)]
pub struct TxnArgs {
    #[command(subcommand)]
    pub command: TxnCommand,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Subcommand)]
pub enum TxnCommand {
    /// List transactional ids: state, producer, coordinator
    List(ListArgs),
    /// State, producer, timeout, age and partitions of transactions
    Describe {
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
    },
    /// Find transactions that are open in a partition and that no coordinator will end
    Hanging(HangingArgs),
    /// Abort a transaction that hangs, in one partition and past its coordinator
    Abort(AbortArgs),
    /// Fence the producers of transactional ids: what they have open is aborted, and they cannot go on
    Fence {
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only this state, such as Ongoing or PrepareCommit; may be repeated
    #[arg(long = "state", value_name = "STATE", value_parser = state)]
    pub states: Vec<TransactionState>,
    /// Only this producer; may be repeated
    #[arg(long = "producer-id", value_name = "N")]
    pub producer_ids: Vec<i64>,
    /// Only transactions that are open for longer than this, as 90s, 15m, 12h, 7d
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub open_for: Option<Duration>,
    /// Only ids that match this regular expression as a whole
    #[arg(long, value_name = "REGEX")]
    pub id_pattern: Option<String>,
}

#[derive(Debug, Args)]
pub struct HangingArgs {
    /// Only this topic; may be repeated [default: all]
    #[arg(long = "topic", value_name = "NAME")]
    pub topics: Vec<String>,
    /// Only this partition of each topic; may be repeated
    #[arg(long = "partition", short = 'p', value_name = "N", value_parser = clap::value_parser!(i32).range(0..), requires = "topics")]
    pub partitions: Vec<i32>,
    /// Only partitions that this broker leads
    #[arg(long, value_name = "ID")]
    pub broker: Option<i32>,
    /// Leave out those with a record later than this ago; at least the brokers' transaction.max.timeout.ms
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = span)]
    pub idle_for: Duration,
}

#[derive(Debug, Args)]
pub struct AbortArgs {
    pub topic: String,
    #[arg(value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: i32,
    /// Where the transaction begins, as `ottla txn hanging` shows it; the partition tells the rest
    #[arg(long, value_name = "N", conflicts_with_all = ["producer_id", "producer_epoch", "coordinator_epoch"])]
    pub start_offset: Option<i64>,
    #[arg(long, value_name = "N", required_unless_present = "start_offset", requires = "producer_epoch")]
    pub producer_id: Option<i64>,
    #[arg(long, value_name = "N", requires = "producer_id")]
    pub producer_epoch: Option<i16>,
    /// [default: 0, for a partition that has no marker of the producer yet]
    #[arg(long, value_name = "N", requires = "producer_id")]
    pub coordinator_epoch: Option<i32>,
}

fn state(text: &str) -> Result<TransactionState, String> {
    TransactionState::from_name(text).ok_or_else(|| {
        let names = TransactionState::ALL.map(TransactionState::name);
        format!("it must be one of {}", names.join(", "))
    })
}

fn span(text: &str) -> Result<Duration, &'static str> {
    let ms = span_ms(text).and_then(|ms| u64::try_from(ms).ok());
    ms.map(Duration::from_millis).ok_or("it must be like 90s, 15m, 12h or 7d")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        command: TxnCommand,
    }

    fn parsed(line: &str) -> Result<TxnCommand, String> {
        let words = ["txn"].into_iter().chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.command).map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_checked() {
        for (text, expected) in
            [("90s", Some(90)), ("15m", Some(900)), ("0s", Some(0)), ("15", None), ("", None)]
        {
            assert_eq!(span(text).ok(), expected.map(Duration::from_secs), "{text}");
        }
        assert_eq!(state("ongoing"), Ok(TransactionState::Ongoing));
        assert!(state("open").unwrap_err().contains("PrepareCommit"));
    }

    #[test]
    fn an_abort_needs_the_offset_or_the_producer() {
        for right in [
            "abort t 0 --start-offset 5",
            "abort t 0 --producer-id 1 --producer-epoch 2",
            "abort t 0 --producer-id 1 --producer-epoch 2 --coordinator-epoch 3",
        ] {
            assert!(matches!(parsed(right), Ok(TxnCommand::Abort(_))), "{right}");
        }
        for wrong in [
            "abort t 0",
            "abort t",
            "abort t 0 --producer-id 1",
            "abort t 0 --start-offset 5 --producer-id 1 --producer-epoch 2",
            "describe",
            "fence",
            "hanging -p 1",
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
