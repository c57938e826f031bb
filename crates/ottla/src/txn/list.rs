//! `ottla txn list`.

use ottla_client::Admin;
use ottla_client::admin::{TransactionFilter, TransactionListing};
use ottla_wire::ProducerId;
use serde_json::json;

use super::args::ListArgs;
use super::failure::failure_of;
use crate::exit::{Exit, Failure};
use crate::output::{Align, Style, Table, json_line, or_dash, print, visible};

pub async fn run(admin: &Admin, style: Style, args: ListArgs) -> Result<Exit, Failure> {
    let filter = TransactionFilter {
        states: args.states,
        producer_ids: args.producer_ids.into_iter().map(ProducerId).collect(),
        open_for: args.open_for,
        id_pattern: args.id_pattern,
    };
    let listed = admin.list_transactions(&filter).await?;
    print(told(style, &listed.transactions))?;
    for (broker, error) in &listed.errors {
        failure_of(error).about(format_args!("broker {broker}")).print();
    }
    Ok(if listed.errors.is_empty() { Exit::Clean } else { Exit::Failed })
}

fn told(style: Style, listings: &[TransactionListing]) -> String {
    match style {
        Style::Json => listings.iter().map(json_row).collect(),
        Style::Terminal { .. } if listings.is_empty() => "there are no such transactions\n".to_owned(),
        Style::Terminal { .. } | Style::Plain => {
            let mut table = Table::new([
                ("TRANSACTIONAL ID", Align::Left),
                ("STATE", Align::Left),
                ("PRODUCER", Align::Right),
                ("COORDINATOR", Align::Right),
            ]);
            for listing in listings {
                table.row([
                    visible(&listing.transactional_id),
                    or_dash(listing.state.map(|state| state.name())),
                    listing.producer_id.to_string(),
                    listing.coordinator.to_string(),
                ]);
            }
            table.to_text(style)
        }
    }
}

fn json_row(listing: &TransactionListing) -> String {
    json_line(&json!({
        "transactional_id": listing.transactional_id,
        "state": listing.state.map(|state| state.name()),
        "producer_id": listing.producer_id.0,
        "coordinator": listing.coordinator.0,
    }))
}

#[cfg(test)]
mod tests {
    use ottla_client::admin::TransactionState;
    use ottla_wire::BrokerId;

    use super::*;

    #[test]
    fn a_transactional_id_is_a_line() {
        let listing = |id: &str, state| TransactionListing {
            transactional_id: id.to_owned(),
            producer_id: ProducerId(4000),
            state,
            coordinator: BrokerId(1),
        };
        let listings = [listing("billing", Some(TransactionState::Ongoing)), listing("odd", None)];
        let cases = [
            (
                Style::Terminal { colour: false },
                "TRANSACTIONAL ID  STATE    PRODUCER  COORDINATOR\nbilling           Ongoing      4000            1\nodd               -            4000            1\n",
            ),
            (Style::Plain, "billing\tOngoing\t4000\t1\nodd\t-\t4000\t1\n"),
            (
                Style::Json,
                "{\"coordinator\":1,\"producer_id\":4000,\"state\":\"Ongoing\",\"transactional_id\":\"billing\"}\n{\"coordinator\":1,\"producer_id\":4000,\"state\":null,\"transactional_id\":\"odd\"}\n",
            ),
        ];
        for (style, text) in cases {
            assert_eq!(told(style, &listings), text);
        }
        assert!(told(Style::Terminal { colour: false }, &[]).contains("no such"));
        assert_eq!(told(Style::Plain, &[]), "");
    }
}
