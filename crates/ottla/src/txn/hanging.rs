//! `ottla txn hanging`.

use std::collections::BTreeSet;

use ottla_client::admin::OpenTransaction;
use ottla_client::{Admin, TopicPartition};
use ottla_wire::Timestamp;
use serde_json::json;

use super::age::{age, now};
use super::args::HangingArgs;
use super::failure::failure_of;
use crate::exit::{Exit, Failure};
use crate::output::{Align, Style, Table, json_line, or_dash, print};

pub async fn run(admin: &Admin, style: Style, args: HangingArgs) -> Result<Exit, Failure> {
    let partitions = partitions(admin, &args).await?;
    let hanging = admin.find_hanging(&partitions, args.idle_for).await.map_err(|error| {
        // What a coordinator knows that does not answer would seem to hang.
        failure_of(&error).about("not every coordinator tells what it knows")
    })?;
    print(told(style, &hanging.transactions, now()))?;
    for (partition, error) in &hanging.errors {
        failure_of(error).about(format_args!("partition {partition}")).print();
    }
    Ok(if hanging.errors.is_empty() { Exit::Clean } else { Exit::Failed })
}

/// The partitions to look at.
async fn partitions(admin: &Admin, args: &HangingArgs) -> Result<BTreeSet<TopicPartition>, Failure> {
    let names = match args.topics.is_empty() {
        true => admin.list_topics().await?.into_iter().map(|listing| listing.name).collect(),
        false => args.topics.clone(),
    };
    let mut partitions = BTreeSet::new();
    for (name, outcome) in admin.describe_topics(&names).await? {
        let topic = outcome.map_err(|error| Failure::from(error).about(&name))?;
        for &wanted in &args.partitions {
            if topic.partition(wanted).is_none() {
                return Err(Failure::usage(format!("topic {name} has no partition {wanted}")));
            }
        }
        let found = topic.partitions.iter().filter(|partition| {
            (args.partitions.is_empty() || args.partitions.contains(&partition.index))
                && args.broker.is_none_or(|broker| partition.leader.is_some_and(|leader| leader.0 == broker))
        });
        partitions.extend(found.map(|partition| TopicPartition::new(name.as_str(), partition.index)));
    }
    Ok(partitions)
}

fn told(style: Style, hanging: &[OpenTransaction], now: Timestamp) -> String {
    match style {
        Style::Json => hanging.iter().map(json_row).collect(),
        Style::Terminal { .. } if hanging.is_empty() => "no transaction hangs\n".to_owned(),
        Style::Terminal { .. } => {
            table(style, hanging, now) + "`ottla txn abort TOPIC PARTITION --start-offset START` aborts one\n"
        }
        Style::Plain => table(style, hanging, now),
    }
}

fn table(style: Style, hanging: &[OpenTransaction], now: Timestamp) -> String {
    let mut table = Table::new([
        ("TOPIC", Align::Left),
        ("PARTITION", Align::Right),
        ("START", Align::Right),
        ("PRODUCER", Align::Right),
        ("EPOCH", Align::Right),
        ("COORDINATOR EPOCH", Align::Right),
        ("LAST RECORD", Align::Right),
    ]);
    for OpenTransaction { partition, producer } in hanging {
        table.row([
            partition.topic.to_string(),
            partition.partition.to_string(),
            or_dash(producer.transaction_start),
            producer.producer_id.to_string(),
            producer.producer_epoch.to_string(),
            or_dash(producer.coordinator_epoch),
            or_dash(producer.last_timestamp.map(|last| age(style, (now.0 - last.0).max(0)))),
        ]);
    }
    table.to_text(style)
}

fn json_row(OpenTransaction { partition, producer }: &OpenTransaction) -> String {
    json_line(&json!({
        "topic": partition.topic.as_str(),
        "partition": partition.partition,
        "start_offset": producer.transaction_start.map(|start| start.0),
        "producer_id": producer.producer_id.0,
        "producer_epoch": producer.producer_epoch,
        "coordinator_epoch": producer.coordinator_epoch,
        "last_timestamp_ms": producer.last_timestamp.map(|last| last.0),
    }))
}

#[cfg(test)]
mod tests {
    use ottla_client::admin::ActiveProducer;
    use ottla_wire::{Offset, ProducerId};

    use super::*;

    #[test]
    fn what_hangs_is_a_line_and_people_are_told_what_to_do() {
        let producer = ActiveProducer {
            producer_id: ProducerId(4000),
            producer_epoch: 2,
            last_sequence: Some(9),
            last_timestamp: Some(Timestamp(0)),
            coordinator_epoch: None,
            transaction_start: Some(Offset(17)),
        };
        let hanging = [OpenTransaction { partition: TopicPartition::new("t", 3), producer }];
        let now = Timestamp(7_200_000);
        let cases = [
            (
                Style::Terminal { colour: false },
                "TOPIC  PARTITION  START  PRODUCER  EPOCH  COORDINATOR EPOCH  LAST RECORD\nt              3     17      4000      2                  -          2 h\n`ottla txn abort TOPIC PARTITION --start-offset START` aborts one\n",
            ),
            (Style::Plain, "t\t3\t17\t4000\t2\t-\t7200000\n"),
            (
                Style::Json,
                "{\"coordinator_epoch\":null,\"last_timestamp_ms\":0,\"partition\":3,\"producer_epoch\":2,\"producer_id\":4000,\"start_offset\":17,\"topic\":\"t\"}\n",
            ),
        ];
        for (style, text) in cases {
            assert_eq!(told(style, &hanging, now), text);
        }
        assert_eq!(told(Style::Terminal { colour: false }, &[], now), "no transaction hangs\n");
        assert_eq!(told(Style::Plain, &[], now), "");
    }
}
