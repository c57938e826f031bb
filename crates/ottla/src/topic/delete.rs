//! `ottla topic delete`.

use ottla_client::Admin;
use ottla_wire::protocol::ErrorCode;
use serde_json::json;

use crate::args::unique;
use crate::exit::{Exit, Failure};
use crate::output::{Style, json_line, print};

pub async fn run(admin: &Admin, style: Style, names: &[String], if_exists: bool) -> Result<Exit, Failure> {
    let names = unique(names.to_vec());
    let outcomes = admin.delete_topics(&names).await?;
    let mut exit = Exit::Clean;
    for name in &names {
        match outcomes.get(name) {
            Some(Ok(())) => {
                print(told(style, name, true))?;
            }
            Some(Err(error)) if error.code == ErrorCode::UnknownTopicOrPartition && if_exists => {
                print(told(style, name, false))?;
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

fn told(style: Style, name: &str, deleted: bool) -> String {
    match (style, deleted) {
        (Style::Json, deleted) => json_line(&json!({ "topic": name, "deleted": deleted })),
        (_, true) => format!("deleted {name}\n"),
        (_, false) => format!("{name} does not exist\n"),
    }
}
