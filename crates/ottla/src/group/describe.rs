//! `ottla group describe`: members with their partitions, committed offsets, and the lag in records and in
//! time.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::admin::{GroupDescription, GroupFilter, GroupState, MemberDescription};
use ottla_client::{Admin, OffsetSpec, TopicPartition};
use ottla_wire::Offset;
use serde_json::{Value, json};

use super::args::DescribeArgs;
use super::{lag, offsets};
use crate::args::unique;
use crate::exit::{Exit, Failure};
use crate::output::{Align, Style, Table, json_line, or_dash, print, visible};
use crate::time::{self, Time};

/// How a member reads a partition, and how far the group is. What is not known is missing.
#[derive(Debug, Default)]
struct Row {
    committed: Option<i64>,
    end: Option<i64>,
    lag_ms: Option<i64>,
    member: Option<String>,
}

impl Row {
    fn lag(&self) -> Option<i64> {
        Some(self.end?.saturating_sub(self.committed?).max(0))
    }
}

/// Everything about one group; what is not to be shown is missing.
struct Described {
    group: GroupDescription,
    members: bool,
    offsets: Option<BTreeMap<TopicPartition, Row>>,
}

pub async fn run(admin: &Admin, style: Style, args: DescribeArgs) -> Result<Exit, Failure> {
    let (members, with_offsets) = args.shows();
    let mut exit = Exit::Clean;
    let groups = if args.groups.is_empty() {
        let listings = admin.list_groups(&GroupFilter::default()).await?;
        for (broker, error) in listings.errors {
            Failure::from(error).about(format_args!("groups of broker {broker}")).print();
            exit = Exit::Failed;
        }
        listings.groups.into_iter().map(|listing| listing.group_id).collect()
    } else {
        unique(args.groups)
    };
    let mut outcomes = admin.describe_groups(&groups).await;
    for name in &groups {
        let group = match outcomes.remove(name) {
            Some(Ok(group)) => group,
            Some(Err(error)) => {
                Failure::from(error).about(format_args!("group {name}")).print();
                exit = Exit::Failed;
                continue;
            }
            None => return Err(Failure::failed(format!("the broker did not tell of group {name}"))),
        };
        let offsets = if with_offsets { Some(rows(admin, &group).await?) } else { None };
        if !print(told(style, &Described { group, members, offsets }))? {
            break;
        }
    }
    Ok(exit)
}

/// What the group has committed, and what its members have.
async fn rows(admin: &Admin, group: &GroupDescription) -> Result<BTreeMap<TopicPartition, Row>, Failure> {
    let mut rows: BTreeMap<TopicPartition, Row> = BTreeMap::new();
    for (partition, offset) in offsets::committed(admin, &group.group_id).await? {
        rows.entry(partition).or_default().committed = Some(offset);
    }
    for member in &group.members {
        for partition in &member.assignment {
            rows.entry(partition.clone()).or_default().member = Some(member.member_id.clone());
        }
    }
    let all: BTreeSet<TopicPartition> = rows.keys().cloned().collect();
    // A topic that is deleted, or without a leader, has no end that could be told; the rest is worth showing.
    let (ends, errors) = offsets::listed(admin, &all, OffsetSpec::Latest).await;
    for (partition, error) in errors {
        tracing::info!(%partition, %error, "its end is not known");
    }
    for (partition, end) in ends {
        rows.entry(partition).or_default().end = Some(end);
    }
    add_ages(admin, &mut rows).await;
    Ok(rows)
}

async fn add_ages(admin: &Admin, rows: &mut BTreeMap<TopicPartition, Row>) {
    let behind = rows.iter().filter(|(_, row)| row.lag().is_some_and(|lag| lag > 0));
    let behind = behind.filter_map(|(of, row)| Some((of.clone(), Offset(row.committed?)))).collect();
    let next = lag::timestamps(admin, &behind).await;
    let now = Time::AgoMs(0).resolve();
    for (partition, row) in rows {
        row.lag_ms = match row.lag() {
            Some(0) => Some(0),
            // Clocks of producers may be ahead of this one.
            Some(_) => next.get(partition).map(|of| now.0.saturating_sub(of.0).max(0)),
            None => None,
        };
    }
}

fn told(style: Style, of: &Described) -> String {
    match style {
        Style::Json => json_group(of),
        Style::Terminal { .. } => for_people(style, of),
        Style::Plain => for_programs(of),
    }
}

fn for_people(style: Style, of: &Described) -> String {
    let group = &of.group;
    let count = group.members.len();
    let members = format!("{count} member{}", if count == 1 { "" } else { "s" });
    let state = group.state.map_or("state unknown", GroupState::name);
    let mut text = format!(
        "{} ({}, {state}, {members})\n",
        style.bold(&visible(&group.group_id)),
        group.group_type.name()
    );
    let mut facts = vec![format!("coordinator {}", group.coordinator)];
    if !group.assignor.is_empty() {
        facts.push(format!("assignor {}", visible(&group.assignor)));
    }
    facts.extend(group.epochs.map(|of| format!("epoch {} (assigned for {})", of.group, of.assignment)));
    text.push_str(&style.dim(&facts.join(", ")));
    text.push('\n');
    if of.members && count > 0 {
        let mut table = member_table();
        group.members.iter().for_each(|member| table.row(member_cells(member)));
        text.push_str(&format!("\n{}", table.to_text(style)));
    }
    if let Some(rows) = of.offsets.as_ref().filter(|rows| !rows.is_empty()) {
        let mut table = offset_table();
        for (partition, row) in rows {
            table.row(offset_cells(partition, row, time::duration_for_people));
        }
        text.push_str(&format!("\n{}", table.to_text(style)));
    }
    if of.offsets.as_ref().is_some_and(BTreeMap::is_empty) {
        text.push_str("it has committed nothing\n");
    }
    text.push('\n');
    text
}

fn for_programs(of: &Described) -> String {
    let mut text = String::new();
    let mut line = |kind: &str, cells: Vec<String>| {
        text.push_str(&format!("{kind}\t{}\t{}\n", visible(&of.group.group_id), cells.join("\t")));
    };
    if of.members {
        of.group.members.iter().for_each(|member| line("member", member_cells(member)));
    }
    for (partition, row) in of.offsets.iter().flatten() {
        line("offset", offset_cells(partition, row, |ms| ms.to_string()));
    }
    text
}

fn member_table() -> Table {
    Table::new([
        ("MEMBER", Align::Left),
        ("INSTANCE", Align::Left),
        ("CLIENT", Align::Left),
        ("HOST", Align::Left),
        ("EPOCH", Align::Right),
        ("ASSIGNMENT", Align::Left),
    ])
}

fn member_cells(member: &MemberDescription) -> Vec<String> {
    vec![
        visible(&member.member_id),
        or_dash(member.group_instance_id.as_ref()),
        or_dash(Some(&member.client_id)),
        or_dash(Some(&member.client_host)),
        or_dash(member.epoch),
        or_dash(Some(partitions_text(&member.assignment))),
    ]
}

fn offset_table() -> Table {
    Table::new([
        ("TOPIC", Align::Left),
        ("PARTITION", Align::Right),
        ("COMMITTED", Align::Right),
        ("END", Align::Right),
        ("LAG", Align::Right),
        ("TIME-LAG", Align::Right),
        ("MEMBER", Align::Left),
    ])
}

fn offset_cells(partition: &TopicPartition, row: &Row, time: impl Fn(i64) -> String) -> Vec<String> {
    vec![
        partition.topic.to_string(),
        partition.partition.to_string(),
        or_dash(row.committed),
        or_dash(row.end),
        or_dash(row.lag()),
        or_dash(row.lag_ms.map(time)),
        or_dash(row.member.as_ref()),
    ]
}

fn json_group(of: &Described) -> String {
    let group = &of.group;
    let mut told = json!({
        "group": group.group_id,
        "type": group.group_type.name(),
        "state": group.state.map(GroupState::name),
        "protocol": group.protocol_type,
        "assignor": group.assignor,
        "coordinator": group.coordinator.0,
        "epoch": group.epochs.map(|epochs| epochs.group),
        "assignment_epoch": group.epochs.map(|epochs| epochs.assignment),
    });
    if of.members {
        told["members"] = group.members.iter().map(json_member).collect();
    }
    if let Some(rows) = &of.offsets {
        let row = |(partition, row): (&TopicPartition, &Row)| {
            json!({
                "topic": partition.topic.as_str(),
                "partition": partition.partition,
                "committed_offset": row.committed,
                "end_offset": row.end,
                "lag": row.lag(),
                "lag_ms": row.lag_ms,
                "member": row.member,
            })
        };
        told["offsets"] = rows.iter().map(row).collect();
    }
    json_line(&told)
}

fn json_member(member: &MemberDescription) -> Value {
    let partitions = |of: &BTreeSet<TopicPartition>| -> Value {
        let one = |of: &TopicPartition| json!({ "topic": of.topic.as_str(), "partition": of.partition });
        of.iter().map(one).collect()
    };
    json!({
        "member": member.member_id,
        "instance": member.group_instance_id,
        "client": member.client_id,
        "host": member.client_host,
        "rack": member.rack_id,
        "epoch": member.epoch,
        "classic": member.classic,
        "topics": member.topics,
        "topic_regex": member.topic_regex,
        "assignment": partitions(&member.assignment),
        "target": member.target.as_ref().map(partitions),
    })
}

/// Partitions as `--topic` takes them: `orders:0,2 returns:1`.
fn partitions_text(partitions: &BTreeSet<TopicPartition>) -> String {
    let mut topics: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for of in partitions {
        topics.entry(of.topic.as_str()).or_default().push(of.partition.to_string());
    }
    let topic = |(topic, numbers): (&str, Vec<String>)| format!("{topic}:{}", numbers.join(","));
    topics.into_iter().map(topic).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use ottla_client::admin::{GroupEpochs, GroupType};
    use ottla_wire::BrokerId;

    use super::*;

    fn described(members: bool, with_offsets: bool) -> Described {
        let of = |partition| TopicPartition::new("orders", partition);
        let member = |id: &str, partitions: &[i32]| MemberDescription {
            member_id: id.to_owned(),
            group_instance_id: None,
            client_id: "c".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            rack_id: None,
            epoch: Some(4),
            topics: BTreeSet::from(["orders".to_owned()]),
            topic_regex: None,
            assignment: partitions.iter().map(|partition| of(*partition)).collect(),
            target: None,
            classic: false,
        };
        let group = GroupDescription {
            group_id: "billing".to_owned(),
            group_type: GroupType::Consumer,
            state: Some(GroupState::Stable),
            protocol_type: "consumer".to_owned(),
            assignor: "uniform".to_owned(),
            epochs: Some(GroupEpochs { group: 4, assignment: 4 }),
            coordinator: BrokerId(1),
            members: vec![member("m-1", &[0, 1]), member("m-2", &[])],
        };
        let member = Some("m-1".to_owned());
        let rows = BTreeMap::from([
            (of(0), Row { committed: Some(7), end: Some(10), lag_ms: Some(61_000), member: member.clone() }),
            (of(1), Row { committed: None, end: Some(2), lag_ms: None, member }),
        ]);
        Described { group, members, offsets: with_offsets.then_some(rows) }
    }

    #[test]
    fn partitions_stand_behind_their_topic() {
        let of = |topic: &str, partition| TopicPartition::new(topic, partition);
        let partitions = BTreeSet::from([of("b", 1), of("a", 2), of("a", 0)]);
        assert_eq!(partitions_text(&partitions), "a:0,2 b:1");
        assert_eq!(partitions_text(&BTreeSet::new()), "");
    }

    #[test]
    fn people_see_members_and_how_far_they_are() {
        let expected = "\
billing (Consumer, Stable, 2 members)
coordinator 1, assignor uniform, epoch 4 (assigned for 4)

MEMBER  INSTANCE  CLIENT  HOST        EPOCH  ASSIGNMENT
m-1     -         c       /127.0.0.1      4  orders:0,1
m-2     -         c       /127.0.0.1      4  -

TOPIC   PARTITION  COMMITTED  END  LAG  TIME-LAG  MEMBER
orders          0          7   10    3     1m 1s  m-1
orders          1          -    2    -         -  m-1

";
        assert_eq!(told(Style::Terminal { colour: false }, &described(true, true)), expected);
    }

    #[test]
    fn programs_get_the_kind_before_each_line() {
        let members = "member\tbilling\tm-1\t-\tc\t/127.0.0.1\t4\torders:0,1\nmember\tbilling\tm-2\t-\tc\t/127.0.0.1\t4\t-\n";
        let offsets =
            "offset\tbilling\torders\t0\t7\t10\t3\t61000\tm-1\noffset\tbilling\torders\t1\t-\t2\t-\t-\tm-1\n";
        assert_eq!(told(Style::Plain, &described(true, true)), [members, offsets].concat());
        assert_eq!(told(Style::Plain, &described(true, false)), members);
        assert_eq!(told(Style::Plain, &described(false, true)), offsets);
        let json: Value = serde_json::from_str(&told(Style::Json, &described(false, true))).unwrap();
        assert_eq!(json["offsets"][0]["lag"], 3);
        assert_eq!(json["offsets"][1]["lag"], Value::Null);
        assert_eq!((&json["epoch"], json.get("members")), (&json!(4), None));
    }
}
