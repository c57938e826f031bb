//! `ottla txn describe`.

use ottla_client::Admin;
use ottla_client::admin::TransactionDescription;
use ottla_wire::Timestamp;
use serde_json::json;

use super::age::{age, now};
use super::failure::failure_of;
use crate::exit::{Exit, Failure};
use crate::output::{Align, Style, Table, json_line, or_dash, print, visible};

pub async fn run(admin: &Admin, style: Style, ids: &[String]) -> Result<Exit, Failure> {
    let (mut described, mut exit) = (Vec::new(), Exit::Clean);
    for (id, outcome) in admin.describe_transactions(ids).await {
        match outcome {
            Ok(description) => described.push((id, description)),
            Err(error) => {
                failure_of(&error).about(format_args!("transactional id {id}")).print();
                exit = Exit::Failed;
            }
        }
    }
    print(told(style, &described, now()))?;
    Ok(exit)
}

fn told(style: Style, described: &[(String, TransactionDescription)], now: Timestamp) -> String {
    match style {
        Style::Json => described.iter().map(|(id, of)| json_row(id, of)).collect(),
        Style::Terminal { .. } if described.is_empty() => String::new(),
        Style::Terminal { .. } | Style::Plain => {
            let mut table = Table::new([
                ("TRANSACTIONAL ID", Align::Left),
                ("STATE", Align::Left),
                ("PRODUCER", Align::Right),
                ("EPOCH", Align::Right),
                ("COORDINATOR", Align::Right),
                ("TIMEOUT", Align::Right),
                ("OPEN FOR", Align::Right),
                ("PARTITIONS", Align::Left),
            ]);
            for (id, of) in described {
                let timeout = i64::try_from(of.timeout.as_millis()).unwrap_or(i64::MAX);
                let partitions: Vec<String> = of.partitions.iter().map(ToString::to_string).collect();
                table.row([
                    visible(id),
                    or_dash(of.state.map(|state| state.name())),
                    of.producer_id.to_string(),
                    of.producer_epoch.to_string(),
                    of.coordinator.to_string(),
                    age(style, timeout),
                    or_dash(of.started.map(|started| age(style, (now.0 - started.0).max(0)))),
                    or_dash((!partitions.is_empty()).then(|| partitions.join(","))),
                ]);
            }
            table.to_text(style)
        }
    }
}

fn json_row(id: &str, of: &TransactionDescription) -> String {
    let partitions = of
        .partitions
        .iter()
        .map(|one| json!({ "topic": one.topic.as_str(), "partition": one.partition }))
        .collect::<Vec<_>>();
    json_line(&json!({
        "transactional_id": id,
        "state": of.state.map(|state| state.name()),
        "producer_id": of.producer_id.0,
        "producer_epoch": of.producer_epoch.0,
        "coordinator": of.coordinator.0,
        "timeout_ms": u64::try_from(of.timeout.as_millis()).unwrap_or(u64::MAX),
        "started_ms": of.started.map(|started| started.0),
        "partitions": partitions,
    }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use ottla_client::TopicPartition;
    use ottla_client::admin::TransactionState;
    use ottla_wire::{BrokerId, ProducerEpoch, ProducerId};

    use super::*;

    #[test]
    fn what_is_open_has_an_age_and_partitions() {
        let description = |state, started: Option<i64>, partitions: &[i32]| TransactionDescription {
            coordinator: BrokerId(1),
            state: Some(state),
            producer_id: ProducerId(4000),
            producer_epoch: ProducerEpoch(2),
            timeout: Duration::from_secs(60),
            started: started.map(Timestamp),
            partitions: partitions.iter().map(|&p| TopicPartition::new("t", p)).collect::<BTreeSet<_>>(),
        };
        let described = [
            ("open".to_owned(), description(TransactionState::Ongoing, Some(1_000), &[0, 1])),
            ("idle".to_owned(), description(TransactionState::Empty, None, &[])),
        ];
        let cases = [
            (
                Style::Terminal { colour: false },
                "TRANSACTIONAL ID  STATE    PRODUCER  EPOCH  COORDINATOR  TIMEOUT  OPEN FOR  PARTITIONS\nopen              Ongoing      4000      2            1     60 s       9 s  t-0,t-1\nidle              Empty        4000      2            1     60 s         -  -\n",
            ),
            (
                Style::Plain,
                "open\tOngoing\t4000\t2\t1\t60000\t9000\tt-0,t-1\nidle\tEmpty\t4000\t2\t1\t60000\t-\t-\n",
            ),
        ];
        for (style, text) in cases {
            assert_eq!(told(style, &described, Timestamp(10_000)), text);
        }
        let json: serde_json::Value =
            serde_json::from_str(&told(Style::Json, &described[..1], Timestamp(10_000))).unwrap();
        assert_eq!((&json["started_ms"], &json["partitions"][1]["partition"]), (&json!(1000), &json!(1)));
    }
}
