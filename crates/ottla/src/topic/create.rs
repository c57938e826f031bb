//! `ottla topic create`.

use ottla_client::admin::CreatedTopic;
use ottla_client::{Admin, NewTopic};
use ottla_wire::protocol::ErrorCode;
use serde_json::json;

use super::args::CreateArgs;
use crate::args::unique;
use crate::exit::{Exit, Failure};
use crate::output::{Style, json_line, print};

/// The broker decides.
const DEFAULT: i32 = -1;

pub async fn run(admin: &Admin, style: Style, args: CreateArgs) -> Result<Exit, Failure> {
    let configs: Vec<(String, Option<String>)> =
        args.configs.into_iter().map(|pair| (pair.name, Some(pair.value))).collect();
    let topic = |name: &String| NewTopic {
        replication_factor: args.replication_factor.unwrap_or(DEFAULT as i16),
        configs: configs.clone(),
        ..NewTopic::new(name, args.partitions.unwrap_or(DEFAULT))
    };
    let names = unique(args.names);
    let topics: Vec<NewTopic> = names.iter().map(topic).collect();
    let outcomes = admin.create_topics(&topics, false).await?;
    let mut exit = Exit::Clean;
    for name in &names {
        match outcomes.get(name) {
            Some(Ok(created)) => {
                print(told(style, name, Some(created)))?;
            }
            Some(Err(error)) if error.code == ErrorCode::TopicAlreadyExists && args.if_not_exists => {
                print(told(style, name, None))?;
            }
            Some(Err(error)) => {
                Failure::from(error.clone()).about(format_args!("topic {name}")).print();
                exit = Exit::Failed;
            }
            None => {
                return Err(Failure::failed(format!("the broker did not say what became of topic {name}")));
            }
        }
    }
    Ok(exit)
}

/// What became of one topic; `None`: it was there already.
fn told(style: Style, name: &str, created: Option<&CreatedTopic>) -> String {
    if style == Style::Json {
        let mut line = json!({ "topic": name, "created": created.is_some() });
        if let Some(created) = created {
            line["id"] = json!(created.id.to_string());
            line["partitions"] = json!(created.partitions);
            line["replication_factor"] = json!(created.replication_factor);
        }
        return json_line(&line);
    }
    match created {
        Some(CreatedTopic { partitions: Some(partitions), replication_factor: Some(replicas), .. }) => {
            format!(
                "created {name}: {}, {}\n",
                count(*partitions, "partition"),
                count(i32::from(*replicas), "replica")
            )
        }
        Some(_) => format!("created {name}\n"),
        None => format!("{name} exists already\n"),
    }
}

fn count(n: i32, of: &str) -> String {
    format!("{n} {of}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use ottla_wire::Uuid;

    use super::*;

    #[test]
    fn each_outcome_is_a_line() {
        let created = |partitions, replication_factor| CreatedTopic {
            id: Uuid([1; 16]),
            partitions,
            replication_factor,
            configs: Vec::new(),
        };
        let cases = [
            (Style::Plain, Some(created(Some(3), Some(1))), "created orders: 3 partitions, 1 replica\n"),
            (Style::Plain, Some(created(None, None)), "created orders\n"),
            (Style::Plain, None, "orders exists already\n"),
            (Style::Json, None, "{\"created\":false,\"topic\":\"orders\"}\n"),
            (
                Style::Json,
                Some(created(Some(3), Some(1))),
                "{\"created\":true,\"id\":\"AQEBAQEBAQEBAQEBAQEBAQ\",\"partitions\":3,\"replication_factor\":1,\"topic\":\"orders\"}\n",
            ),
        ];
        for (style, created, line) in cases {
            assert_eq!(told(style, "orders", created.as_ref()), line);
        }
    }
}
