//! `ottla group`: what consumer groups do, how far they are, and where they go on.
//!
//! - [`args`]: what may be said; a file for each command.
//! - `offsets`: offsets of partitions and of groups, for all of them; `lag`: how old is what a group reads next.

pub mod args;
mod delete;
mod delete_offsets;
mod describe;
mod history;
mod lag;
mod list;
mod offsets;
mod reset;
mod story;

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::{Admin, Error, TopicPartition};

use crate::cluster;
use crate::exit::{Exit, Failure};
use crate::output::Style;
use args::{GroupArgs, GroupCommand};

pub async fn run(args: GroupArgs) -> Result<Exit, Failure> {
    let style = Style::of(args.output);
    let admin = async || -> Result<Admin, Failure> {
        // To ask for a topic must not create it.
        Ok(Admin::on(cluster::connect(&args.cluster, false).await?))
    };
    match args.command {
        GroupCommand::List(list) => list::run(&admin().await?, style, list).await,
        GroupCommand::Describe(describe) => describe::run(&admin().await?, style, describe).await,
        GroupCommand::ResetOffsets(reset) => reset::run(&admin().await?, style, reset).await,
        GroupCommand::DeleteOffsets(delete) => delete_offsets::run(&admin().await?, style, delete).await,
        GroupCommand::Delete { groups } => delete::run(&admin().await?, style, groups).await,
        // Over HTTP: it needs no connection to the cluster.
        GroupCommand::History(history) => history::run(style, &history, args.cluster.timeout).await,
    }
}

/// Tells what became of one group, when that is not what was wanted.
fn complain_of(group: &str, error: Error) {
    Failure::from(error).about(format_args!("group {group}")).print();
}

/// Partitions as `--topic` takes them: `orders:0,2 returns:1`.
fn partitions_text(partitions: &BTreeSet<TopicPartition>) -> String {
    let mut topics: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for of in partitions {
        topics.entry(of.topic.as_str()).or_default().push(of.partition.to_string());
    }
    let topic = |(topic, numbers): (&str, Vec<String>)| format!("{topic}:{}", numbers.join(","));
    topics.into_iter().map(topic).collect::<Vec<_>>().join(" ")
}

/// A dash where there is nothing to show.
fn or_dash(text: Option<impl ToString>) -> String {
    text.map(|text| text.to_string()).filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_stand_behind_their_topic() {
        let of = |topic: &str, partition| TopicPartition::new(topic, partition);
        let partitions = BTreeSet::from([of("b", 1), of("a", 2), of("a", 0)]);
        assert_eq!(partitions_text(&partitions), "a:0,2 b:1");
        assert_eq!(partitions_text(&BTreeSet::new()), "");
    }
}
