//! `ottla group list`.

use std::collections::BTreeMap;

use ottla_client::Admin;
use ottla_client::admin::{GroupFilter, GroupListing, GroupState, GroupType};
use serde_json::json;

use super::args::ListArgs;
use crate::exit::{Exit, Failure};
use crate::output::{Align, Style, Table, json_line, or_dash, print, visible};

/// Groups that one request asks about.
const GROUPS_A_REQUEST: usize = 200;

/// One group in the list. What could not be found out is missing.
struct Row {
    listing: GroupListing,
    members: Option<usize>,
}

pub async fn run(admin: &Admin, style: Style, args: ListArgs) -> Result<Exit, Failure> {
    let filter = GroupFilter { states: args.states, types: args.types, ..GroupFilter::default() };
    let listings = admin.list_groups(&filter).await?;
    let members = members(admin, &listings.groups).await;
    let row = |listing: GroupListing| Row { members: members.get(&listing.group_id).copied(), listing };
    let rows: Vec<Row> = listings.groups.into_iter().map(row).collect();
    print(told(style, &rows))?;
    let mut exit = Exit::Clean;
    for (broker, error) in listings.errors {
        Failure::from(error).about(format_args!("groups of broker {broker}")).print();
        exit = Exit::Failed;
    }
    Ok(exit)
}

/// How many members groups have; those that are gone meanwhile are left out.
async fn members(admin: &Admin, listings: &[GroupListing]) -> BTreeMap<String, usize> {
    let mut members = BTreeMap::new();
    for chunk in listings.chunks(GROUPS_A_REQUEST) {
        let names: Vec<&str> = chunk.iter().map(|listing| listing.group_id.as_str()).collect();
        for (name, described) in admin.describe_groups(&names).await {
            match described {
                Ok(group) => drop(members.insert(name, group.members.len())),
                Err(error) => tracing::info!(group = name, %error, "members are not known"),
            }
        }
    }
    members
}

fn told(style: Style, rows: &[Row]) -> String {
    match style {
        Style::Json => rows.iter().map(json_row).collect(),
        Style::Terminal { .. } if rows.is_empty() => {
            "there are no such groups; `ottla consume TOPIC --group NAME` makes one\n".to_owned()
        }
        Style::Terminal { .. } | Style::Plain => {
            let header = [
                ("GROUP", Align::Left),
                ("TYPE", Align::Left),
                ("PROTOCOL", Align::Left),
                ("STATE", Align::Left),
                ("MEMBERS", Align::Right),
            ];
            let mut table = Table::new(header);
            for Row { listing, members } in rows {
                table.row([
                    visible(&listing.group_id),
                    or_dash(listing.group_type.map(GroupType::name)),
                    or_dash(Some(&listing.protocol_type)),
                    or_dash(listing.state.map(GroupState::name)),
                    or_dash(*members),
                ]);
            }
            table.to_text(style)
        }
    }
}

fn json_row(row: &Row) -> String {
    json_line(&json!({
        "group": row.listing.group_id,
        "type": row.listing.group_type.map(GroupType::name),
        "protocol": row.listing.protocol_type,
        "state": row.listing.state.map(GroupState::name),
        "members": row.members,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_a_line() {
        let listing = |name: &str, protocol: &str, state| GroupListing {
            group_id: name.to_owned(),
            protocol_type: protocol.to_owned(),
            state,
            group_type: Some(GroupType::Classic),
        };
        let rows = [
            Row { listing: listing("billing", "consumer", Some(GroupState::Stable)), members: Some(3) },
            Row { listing: listing("x", "", None), members: None },
        ];
        assert_eq!(
            told(Style::Terminal { colour: false }, &rows),
            "GROUP    TYPE     PROTOCOL  STATE   MEMBERS\nbilling  Classic  consumer  Stable        3\nx        Classic  -         -             -\n"
        );
        assert_eq!(told(Style::Plain, &rows), "billing\tClassic\tconsumer\tStable\t3\nx\tClassic\t-\t-\t-\n");
        assert_eq!(
            told(Style::Json, &rows[..1]),
            "{\"group\":\"billing\",\"members\":3,\"protocol\":\"consumer\",\"state\":\"Stable\",\"type\":\"Classic\"}\n"
        );
        assert!(told(Style::Terminal { colour: false }, &[]).contains("--group"));
        assert_eq!(told(Style::Plain, &[]), "");
    }
}
