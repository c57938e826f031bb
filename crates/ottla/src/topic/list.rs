//! `ottla topic list`.

use ottla_client::Admin;
use ottla_client::admin::TopicListing;
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::output::{Align, Style, Table, json_line, print};

/// Topics that one request asks about.
const TOPICS_A_REQUEST: usize = 1000;

/// One topic in the list. Numbers are missing if the topic has gone meanwhile.
struct Row {
    listing: TopicListing,
    partitions: Option<usize>,
    replicas: Option<usize>,
}

pub async fn run(admin: &Admin, style: Style) -> Result<Exit, Failure> {
    let listings = admin.list_topics().await?;
    let mut rows = Vec::with_capacity(listings.len());
    for chunk in listings.chunks(TOPICS_A_REQUEST) {
        let names: Vec<&str> = chunk.iter().map(|listing| listing.name.as_str()).collect();
        let described = admin.describe_topics(&names).await?;
        for listing in chunk {
            let topic = described.get(&listing.name).and_then(|outcome| outcome.as_ref().ok());
            let partitions = topic.map(|topic| topic.partitions.len());
            let replicas =
                topic.and_then(|topic| topic.partitions.first()).map(|partition| partition.replicas.len());
            rows.push(Row { listing: listing.clone(), partitions, replicas });
        }
    }
    print(told(style, &rows))?;
    Ok(Exit::Clean)
}

fn told(style: Style, rows: &[Row]) -> String {
    match style {
        Style::Json => rows.iter().map(json_row).collect(),
        Style::Terminal { .. } if rows.is_empty() => {
            "there are no topics; `ottla topic create NAME` makes one\n".to_owned()
        }
        Style::Terminal { .. } | Style::Plain => {
            let header = [
                ("TOPIC", Align::Left),
                ("PARTITIONS", Align::Right),
                ("REPLICAS", Align::Right),
                ("ID", Align::Left),
            ];
            let mut table = Table::new(header);
            for row in rows {
                let name = row.listing.name.clone();
                table.row([name, number(row.partitions), number(row.replicas), row.listing.id.to_string()]);
            }
            table.to_text(style)
        }
    }
}

fn json_row(row: &Row) -> String {
    json_line(&json!({
        "topic": row.listing.name,
        "id": row.listing.id.to_string(),
        "internal": row.listing.internal,
        "partitions": row.partitions,
        "replication_factor": row.replicas,
    }))
}

fn number(number: Option<usize>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use ottla_wire::Uuid;

    use super::*;

    #[test]
    fn a_topic_is_a_line() {
        let row = |name: &str, partitions| Row {
            listing: TopicListing { name: name.to_owned(), id: Uuid([1; 16]), internal: false },
            partitions,
            replicas: partitions.map(|_| 1),
        };
        let rows = [row("orders", Some(12)), row("gone", None)];
        let cases = [
            (
                Style::Terminal { colour: false },
                "TOPIC   PARTITIONS  REPLICAS  ID\norders          12         1  AQEBAQEBAQEBAQEBAQEBAQ\ngone             -         -  AQEBAQEBAQEBAQEBAQEBAQ\n",
            ),
            (Style::Plain, "orders\t12\t1\tAQEBAQEBAQEBAQEBAQEBAQ\ngone\t-\t-\tAQEBAQEBAQEBAQEBAQEBAQ\n"),
        ];
        for (style, text) in cases {
            assert_eq!(told(style, &rows), text);
        }
        let json = told(Style::Json, &rows[..1]);
        assert_eq!(
            json,
            "{\"id\":\"AQEBAQEBAQEBAQEBAQEBAQ\",\"internal\":false,\"partitions\":12,\"replication_factor\":1,\"topic\":\"orders\"}\n"
        );
        assert!(told(Style::Terminal { colour: false }, &[]).contains("topic create"));
        assert_eq!(told(Style::Plain, &[]), "");
    }
}
