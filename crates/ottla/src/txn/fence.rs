//! `ottla txn fence`.

use ottla_client::Admin;
use ottla_wire::{ProducerEpoch, ProducerId};
use serde_json::json;

use super::failure::failure_of;
use crate::exit::{Exit, Failure};
use crate::output::{Style, json_line, print};

pub async fn run(admin: &Admin, style: Style, ids: &[String]) -> Result<Exit, Failure> {
    let mut exit = Exit::Clean;
    for (id, outcome) in admin.fence_producers(ids).await {
        match outcome {
            Ok(identity) => {
                print(told(style, &id, identity))?;
            }
            Err(error) => {
                failure_of(&error).about(format_args!("transactional id {id}")).print();
                exit = Exit::Failed;
            }
        }
    }
    Ok(exit)
}

fn told(style: Style, id: &str, (producer, epoch): (ProducerId, ProducerEpoch)) -> String {
    match style {
        Style::Json => json_line(&json!({
            "transactional_id": id,
            "producer_id": producer.0,
            "producer_epoch": epoch.0,
            "fenced": true,
        })),
        Style::Terminal { .. } | Style::Plain => {
            format!("fenced {id}: producer {producer} is at epoch {epoch} now\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_epoch_is_told() {
        let identity = (ProducerId(4000), ProducerEpoch(3));
        assert_eq!(told(Style::Plain, "tx", identity), "fenced tx: producer 4000 is at epoch 3 now\n");
        let json: serde_json::Value = serde_json::from_str(&told(Style::Json, "tx", identity)).unwrap();
        assert_eq!((&json["fenced"], &json["producer_epoch"]), (&json!(true), &json!(3)));
    }
}
