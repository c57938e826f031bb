//! `ottla group reset-offsets`: shows where offsets would go, and with `--execute` moves them.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::{Admin, ApiError, Error, OffsetAndMetadata, OffsetSpec, Offsets, TopicPartition};
use ottla_wire::Offset;
use ottla_wire::protocol::ErrorCode;
use serde_json::json;

use super::args::{ResetArgs, Target};
use super::offsets::{self, ByPartition};
use crate::exit::{Exit, Failure};
use crate::output::{Align, Style, Table, complain, json_line, or_dash, print};
use crate::selected;

/// Where a group goes on in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Move {
    before: Option<i64>,
    after: i64,
}

type Plan = BTreeMap<TopicPartition, Move>;

pub async fn run(admin: &Admin, style: Style, args: ResetArgs) -> Result<Exit, Failure> {
    let group = args.group.as_str();
    let members = members(admin, group).await?;
    if members > 0 && args.execute {
        return Err(has_members(group, members));
    }
    let committed = offsets::committed(admin, group).await?;
    let chosen: BTreeSet<TopicPartition> = match args.topics.all_topics {
        true => committed.keys().cloned().collect(),
        false => selected::existing(admin, &args.topics.topics).await?,
    };
    if chosen.is_empty() {
        return Err(
            Failure::failed(format!("group {group} has committed nothing")).hint("--topic names a topic")
        );
    }
    let plan = plan(admin, &chosen, &committed, args.to.target()).await?;
    if !args.execute {
        print(told(style, group, &plan, false))?;
        let then = if members > 0 { ", once its members are stopped" } else { "" };
        complain(&format!("nothing was changed: --execute does it{then}\n"));
        return Ok(Exit::Clean);
    }
    execute(admin, style, group, plan).await
}

/// How many members a group has; none if it does not exist: then this makes it.
async fn members(admin: &Admin, group: &str) -> Result<usize, Failure> {
    match admin.describe_groups(&[group]).await.remove(group) {
        Some(Ok(described)) => Ok(described.members.len()),
        Some(Err(error)) if error.code() == Some(ErrorCode::GroupIdNotFound) => Ok(0),
        Some(Err(error)) => Err(Failure::from(error).about(format_args!("group {group}"))),
        None => Err(Failure::failed(format!("the broker did not tell of group {group}"))),
    }
}

fn has_members(group: &str, members: usize) -> Failure {
    let members = if members == 1 { "a member".to_owned() } else { format!("{members} members") };
    Failure::failed(format!("group {group} has {members}: offsets can be moved only while nobody reads"))
        .hint("stop them first; `ottla group describe` shows who they are, and one that has died leaves after its session timeout")
}

async fn plan(
    admin: &Admin,
    chosen: &BTreeSet<TopicPartition>,
    committed: &ByPartition,
    target: Target,
) -> Result<Plan, Failure> {
    let starts = known(admin, chosen, OffsetSpec::Earliest).await?;
    let ends = known(admin, chosen, OffsetSpec::Latest).await?;
    let at_time = match target {
        Target::Time(time) => known(admin, chosen, OffsetSpec::At(time)).await?,
        Target::Earliest | Target::Latest | Target::Offset(_) | Target::ShiftBy(_) | Target::Current => {
            ByPartition::new()
        }
    };
    let mut plan = Plan::new();
    for partition in chosen {
        let (Some(&start), Some(&end)) = (starts.get(partition), ends.get(partition)) else {
            return Err(Failure::failed(format!(
                "the broker did not tell where {partition} begins and ends"
            )));
        };
        let before = committed.get(partition).copied();
        let wanted = match target {
            Target::Earliest => start,
            Target::Latest => end,
            Target::Offset(offset) => offset,
            Target::Time(_) => at_time.get(partition).copied().unwrap_or(end),
            Target::ShiftBy(by) => match before {
                Some(before) => before.saturating_add(by),
                None => {
                    return Err(Failure::failed(format!("{partition} has no committed offset to shift"))
                        .hint("--to-earliest, --to-latest or --to-offset give it one"));
                }
            },
            Target::Current => before.unwrap_or(end),
        };
        let after = wanted.clamp(start, end);
        if after != wanted {
            complain(&format!(
                "warning: offset {wanted} is not in {partition}, which has {start} to {end}: it becomes {after}\n"
            ));
        }
        plan.insert(partition.clone(), Move { before, after });
    }
    Ok(plan)
}

/// Offsets that MUST be known: to move others than were asked for would be a surprise.
async fn known(
    admin: &Admin,
    partitions: &BTreeSet<TopicPartition>,
    spec: OffsetSpec,
) -> Result<ByPartition, Failure> {
    let (offsets, mut errors) = offsets::listed(admin, partitions, spec).await;
    match errors.pop_first() {
        Some((partition, error)) => Err(Failure::from(error).about(format_args!("offsets of {partition}"))),
        None => Ok(offsets),
    }
}

async fn execute(admin: &Admin, style: Style, group: &str, mut plan: Plan) -> Result<Exit, Failure> {
    let offsets: Offsets =
        plan.iter().map(|(of, to)| (of.clone(), OffsetAndMetadata::from(Offset(to.after)))).collect();
    let altered = admin.alter_group_offsets(group, &offsets).await;
    let mut altered = altered.map_err(|error| refused(group, error))?;
    let mut exit = Exit::Clean;
    let failures: Vec<(TopicPartition, ApiError)> =
        plan.keys().filter_map(|of| altered.remove(of)?.err().map(|error| (of.clone(), error))).collect();
    for (partition, error) in failures {
        plan.remove(&partition);
        refused(group, error.into()).about(&partition).print();
        exit = Exit::Failed;
    }
    print(told(style, group, &plan, true))?;
    Ok(exit)
}

fn refused(group: &str, error: Error) -> Failure {
    match error.code() {
        // A member has come since the group was looked at.
        Some(ErrorCode::UnknownMemberId) => has_members(group, 1),
        _ => Failure::from(error).about(format_args!("group {group}")),
    }
}

fn told(style: Style, group: &str, plan: &Plan, executed: bool) -> String {
    if style == Style::Json {
        let line = |(of, to): (&TopicPartition, &Move)| {
            json_line(&json!({
                "group": group,
                "topic": of.topic.as_str(),
                "partition": of.partition,
                "before": to.before,
                "after": to.after,
                "executed": executed,
            }))
        };
        return plan.iter().map(line).collect();
    }
    let mut table = Table::new([
        ("TOPIC", Align::Left),
        ("PARTITION", Align::Right),
        ("BEFORE", Align::Right),
        ("AFTER", Align::Right),
        ("CHANGE", Align::Right),
    ]);
    for (of, to) in plan {
        let change = to.before.map(|before| format!("{:+}", to.after.saturating_sub(before)));
        let (topic, partition) = (of.topic.to_string(), of.partition.to_string());
        table.row([topic, partition, or_dash(to.before), to.after.to_string(), or_dash(change)]);
    }
    table.to_text(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_and_after_stand_side_by_side() {
        let of = |partition| TopicPartition::new("orders", partition);
        let plan = Plan::from([
            (of(0), Move { before: Some(10), after: 3 }),
            (of(1), Move { before: None, after: 0 }),
            (of(2), Move { before: Some(4), after: 4 }),
        ]);
        assert_eq!(
            told(Style::Terminal { colour: false }, "g", &plan, false),
            "TOPIC   PARTITION  BEFORE  AFTER  CHANGE\n\
             orders          0      10      3      -7\n\
             orders          1       -      0       -\n\
             orders          2       4      4      +0\n"
        );
        assert!(told(Style::Plain, "g", &plan, true).starts_with("orders\t0\t10\t3\t-7\n"));
        assert!(told(Style::Json, "g", &plan, true).starts_with(
            "{\"after\":3,\"before\":10,\"executed\":true,\"group\":\"g\",\"partition\":0,\"topic\":\"orders\"}\n"
        ));
    }

    #[test]
    fn a_member_that_came_in_between_is_named_as_the_reason() {
        let error = |code| Error::Api(ApiError { code, message: None });
        assert!(refused("g", error(ErrorCode::UnknownMemberId)).what.contains("g has a member"));
        assert!(refused("g", error(ErrorCode::NotCoordinator)).what.contains("NOT_COORDINATOR"));
    }
}
