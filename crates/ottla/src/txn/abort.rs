//! `ottla txn abort`.

use std::collections::BTreeSet;

use ottla_client::admin::{AbortTransaction, ActiveProducer};
use ottla_client::{Admin, TopicPartition};
use ottla_wire::{Offset, ProducerEpoch, ProducerId};
use serde_json::json;

use super::args::AbortArgs;
use super::failure::failure_of;
use crate::exit::{Exit, Failure};
use crate::output::{Style, json_line, print};

pub async fn run(admin: &Admin, style: Style, args: AbortArgs) -> Result<Exit, Failure> {
    let partition = TopicPartition::new(args.topic.as_str(), args.partition);
    let abort = match (args.start_offset, args.producer_id, args.producer_epoch) {
        (Some(start), _, _) => begun_at(admin, &partition, Offset(start)).await?,
        (None, Some(producer_id), Some(producer_epoch)) => AbortTransaction {
            partition: partition.clone(),
            producer_id: ProducerId(producer_id),
            producer_epoch: ProducerEpoch(producer_epoch),
            coordinator_epoch: args.coordinator_epoch.unwrap_or(0),
        },
        (None, _, _) => {
            return Err(Failure::usage("either --start-offset, or --producer-id and --producer-epoch"));
        }
    };
    let outcome = admin.abort_transaction(&abort).await;
    outcome.map_err(|error| failure_of(&error).about(format!("partition {partition}")))?;
    print(told(style, &abort))?;
    Ok(Exit::Clean)
}

/// The transaction that begins at this offset, as the partition's leader knows it.
async fn begun_at(
    admin: &Admin,
    partition: &TopicPartition,
    start: Offset,
) -> Result<AbortTransaction, Failure> {
    let described = admin.describe_producers(&BTreeSet::from([partition.clone()])).await;
    let producers = match described.into_values().next() {
        Some(outcome) => {
            outcome.map_err(|error| failure_of(&error).about(format!("partition {partition}")))?
        }
        None => Vec::new(),
    };
    abort_of(partition, &producers, start)
}

fn abort_of(
    partition: &TopicPartition,
    producers: &[ActiveProducer],
    start: Offset,
) -> Result<AbortTransaction, Failure> {
    let Some(found) = producers.iter().find(|producer| producer.transaction_start == Some(start)) else {
        return Err(Failure::failed(format!(
            "no transaction is open in {partition} that begins at offset {start}"
        ))
        .hint("`ottla txn hanging` shows those that hang and where they begin"));
    };
    let producer_epoch = i16::try_from(found.producer_epoch)
        .map_err(|_| Failure::failed(format!("{} is no epoch of a producer", found.producer_epoch)))?;
    Ok(AbortTransaction {
        partition: partition.clone(),
        producer_id: found.producer_id,
        producer_epoch: ProducerEpoch(producer_epoch),
        coordinator_epoch: found.coordinator_epoch.unwrap_or(0),
    })
}

fn told(style: Style, abort: &AbortTransaction) -> String {
    match style {
        Style::Json => json_line(&json!({
            "topic": abort.partition.topic.as_str(),
            "partition": abort.partition.partition,
            "producer_id": abort.producer_id.0,
            "producer_epoch": abort.producer_epoch.0,
            "aborted": true,
        })),
        Style::Terminal { .. } | Style::Plain => {
            format!("aborted the transaction of producer {} in {}\n", abort.producer_id, abort.partition)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_partition_tells_whose_transaction_begins_there() {
        let producer = |id, start: Option<i64>, coordinator_epoch| ActiveProducer {
            producer_id: ProducerId(id),
            producer_epoch: 2,
            last_sequence: None,
            last_timestamp: None,
            coordinator_epoch,
            transaction_start: start.map(Offset),
        };
        let producers = [producer(1, None, None), producer(2, Some(5), None), producer(3, Some(9), Some(4))];
        let of = TopicPartition::new("t", 0);
        for (start, id, coordinator_epoch) in [(5, 2, 0), (9, 3, 4)] {
            let abort = abort_of(&of, &producers, Offset(start)).unwrap();
            assert_eq!((abort.producer_id, abort.coordinator_epoch), (ProducerId(id), coordinator_epoch));
            assert!(told(Style::Plain, &abort).contains("in t-0"));
        }
        let failure = abort_of(&of, &producers, Offset(6)).unwrap_err();
        assert!(failure.what.contains("offset 6") && failure.hint.is_some(), "{failure:?}");
    }
}
