//! `ottla group delete`.

use ottla_client::Admin;
use serde_json::json;

use crate::args::unique;
use crate::exit::{Exit, Failure};
use crate::output::{Style, json_line, print};

pub async fn run(admin: &Admin, style: Style, groups: Vec<String>) -> Result<Exit, Failure> {
    let groups = unique(groups);
    let mut outcomes = admin.delete_groups(&groups).await;
    let mut exit = Exit::Clean;
    for group in &groups {
        match outcomes.remove(group) {
            Some(Ok(())) => {
                print(told(style, group))?;
            }
            Some(Err(error)) => {
                Failure::from(error).about(format_args!("group {group}")).print();
                exit = Exit::Failed;
            }
            None => {
                return Err(Failure::failed(format!("the broker did not say what became of group {group}")));
            }
        }
    }
    Ok(exit)
}

fn told(style: Style, group: &str) -> String {
    match style {
        Style::Json => json_line(&json!({ "group": group, "deleted": true })),
        Style::Terminal { .. } | Style::Plain => format!("deleted {group}\n"),
    }
}
