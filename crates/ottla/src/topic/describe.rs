//! `ottla topic describe`: partitions with leader, replicas, offsets and sizes, and the settings that were
//! changed.

use std::collections::BTreeMap;

use ottla_client::admin::ConfigEntry;
use ottla_client::cluster::{Partition, Topic};
use ottla_client::offsets::Listed;
use ottla_client::{Admin, ConfigResource, IsolationLevel, OffsetSpec, TopicPartition};
use ottla_wire::BrokerId;
use serde_json::{Value, json};

use crate::args::unique;
use crate::exit::{Exit, Failure};
use crate::output::{Align, Style, Table, bytes_for_people, complain, json_line, print};

/// Where a value comes from, as on the wire: it was set for the topic.
const OF_TOPIC: i8 = 1;
/// Likewise: nobody has set it.
const DEFAULT: i8 = 5;

/// Everything about one topic.
struct Described {
    name: String,
    id: String,
    internal: bool,
    partitions: Vec<Row>,
    /// Name and value of settings that were changed; values that are not shown are `None`.
    configs: Vec<(String, Option<String>)>,
}

/// A partition. What could not be found out is missing.
struct Row {
    index: i32,
    leader: Option<BrokerId>,
    replicas: Vec<BrokerId>,
    isr: Vec<BrokerId>,
    start: Option<i64>,
    end: Option<i64>,
    /// Of the leader's log.
    size_bytes: Option<i64>,
}

pub async fn run(admin: &Admin, style: Style, names: Vec<String>) -> Result<Exit, Failure> {
    let names = match names.is_empty() {
        true => admin.list_topics().await?.into_iter().map(|listing| listing.name).collect(),
        false => unique(names),
    };
    let outcomes = admin.describe_topics(&names).await?;
    let sizes = sizes(admin).await;
    let mut exit = Exit::Clean;
    for name in &names {
        match outcomes.get(name) {
            Some(Ok(topic)) => {
                let described = described(admin, topic, &sizes).await;
                if !print(told(style, &described))? {
                    break;
                }
            }
            Some(Err(error)) => {
                Failure::from(error.clone()).about(format_args!("topic {name}")).print();
                exit = Exit::Failed;
            }
            None => return Err(Failure::failed(format!("the broker did not tell of topic {name}"))),
        }
    }
    Ok(exit)
}

type Sizes = BTreeMap<(TopicPartition, BrokerId), i64>;

/// The sizes of all replicas. A cluster that does not tell them leaves them out: the rest is worth showing.
async fn sizes(admin: &Admin) -> Sizes {
    let dirs = match admin.describe_log_dirs(&[]).await {
        Ok(dirs) => dirs,
        Err(error) => {
            tracing::info!(%error, "sizes are not known");
            return Sizes::new();
        }
    };
    let mut sizes = Sizes::new();
    for (broker, dirs) in dirs {
        for replica in
            dirs.into_iter().flatten().flat_map(|dir| dir.partitions).filter(|replica| !replica.future)
        {
            sizes.insert((replica.partition, broker), replica.size_bytes);
        }
    }
    sizes
}

async fn described(admin: &Admin, topic: &Topic, sizes: &Sizes) -> Described {
    // Those without a leader have nobody to ask.
    let led = topic.partitions.iter().filter(|partition| partition.leader.is_some());
    let led: Vec<TopicPartition> =
        led.map(|one| TopicPartition::new(topic.name.clone(), one.index)).collect();
    let asked = |spec| led.iter().map(|partition| (partition.clone(), spec)).collect();
    let starts = admin.list_offsets(&asked(OffsetSpec::Earliest), IsolationLevel::ReadUncommitted).await;
    let ends = admin.list_offsets(&asked(OffsetSpec::Latest), IsolationLevel::ReadUncommitted).await;
    let row = |partition: &Partition| {
        let key = TopicPartition::new(topic.name.clone(), partition.index);
        let size = partition.leader.and_then(|leader| sizes.get(&(key.clone(), leader)).copied());
        Row {
            index: partition.index,
            leader: partition.leader,
            replicas: partition.replicas.clone(),
            isr: partition.isr.clone(),
            start: offset(&starts, &key),
            end: offset(&ends, &key),
            size_bytes: size,
        }
    };
    Described {
        name: topic.name.to_string(),
        id: topic.id.to_string(),
        internal: topic.internal,
        partitions: topic.partitions.iter().map(row).collect(),
        configs: configs(admin, &topic.name).await,
    }
}

fn offset(listed: &Listed, of: &TopicPartition) -> Option<i64> {
    Some(listed.get(of)?.as_ref().ok()?.offset?.0)
}

async fn configs(admin: &Admin, topic: &str) -> Vec<(String, Option<String>)> {
    let resource = ConfigResource::topic(topic);
    let described = admin.describe_configs(std::slice::from_ref(&resource), None, false).await;
    let entries = match described.map(|mut all| all.remove(&resource)) {
        Ok(Some(Ok(entries))) => entries,
        Ok(Some(Err(error))) => return unknown(topic, &error),
        Ok(None) => return Vec::new(),
        Err(error) => return unknown(topic, &error),
    };
    entries.into_iter().filter(is_changed).map(|entry| (entry.name, entry.value)).collect()
}

/// Set for this topic, or by the brokers to something else than the default.
fn is_changed(entry: &ConfigEntry) -> bool {
    let default = entry.synonyms.iter().find(|synonym| synonym.source == DEFAULT);
    match entry.source {
        OF_TOPIC => true,
        DEFAULT => false,
        _ => default.is_none_or(|default| default.value != entry.value),
    }
}

fn unknown(topic: &str, error: &dyn std::fmt::Display) -> Vec<(String, Option<String>)> {
    complain(&format!("warning: the settings of topic {topic} are not known: {error}\n"));
    Vec::new()
}

fn told(style: Style, topic: &Described) -> String {
    match style {
        Style::Json => json_topic(topic),
        Style::Terminal { .. } => for_people(style, topic),
        Style::Plain => {
            let mut table = table(true);
            topic.partitions.iter().for_each(|row| table.row(cells(style, row, Some(&topic.name))));
            table.to_text(style)
        }
    }
}

fn for_people(style: Style, topic: &Described) -> String {
    let internal = if topic.internal { ", internal" } else { "" };
    let mut text =
        format!("{} {}\n", style.bold(&topic.name), style.dim(&format!("({}{internal})", topic.id)));
    let mut table = table(false);
    topic.partitions.iter().for_each(|row| table.row(cells(style, row, None)));
    text.push_str(&table.to_text(style));
    let leaderless = topic.partitions.iter().filter(|row| row.leader.is_none()).count();
    if leaderless > 0 {
        text.push_str(&style.alarm(&format!("{leaderless} without a leader\n")));
    }
    let lagging = topic.partitions.iter().filter(|row| row.isr.len() < row.replicas.len()).count();
    if lagging > 0 {
        text.push_str(&style.alarm(&format!("{lagging} with replicas out of sync\n")));
    }
    for (name, value) in &topic.configs {
        text.push_str(&format!("{name}={}\n", value.as_deref().unwrap_or("[hidden]")));
    }
    text.push('\n');
    text
}

/// For programs the topic stands before each partition.
fn table(with_topic: bool) -> Table {
    let mut header = vec![
        ("PARTITION", Align::Right),
        ("LEADER", Align::Right),
        ("REPLICAS", Align::Left),
        ("ISR", Align::Left),
        ("START", Align::Right),
        ("END", Align::Right),
        ("SIZE", Align::Right),
    ];
    if with_topic {
        header.insert(0, ("TOPIC", Align::Left));
    }
    Table::new(header)
}

fn cells(style: Style, row: &Row, topic: Option<&str>) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let size = |bytes: i64| if style == Style::Plain { bytes.to_string() } else { bytes_for_people(bytes) };
    let cells = [
        row.index.to_string(),
        or_dash(row.leader.map(|leader| leader.to_string())),
        ids(&row.replicas),
        ids(&row.isr),
        or_dash(row.start.map(|offset| offset.to_string())),
        or_dash(row.end.map(|offset| offset.to_string())),
        or_dash(row.size_bytes.map(size)),
    ];
    topic.map(str::to_owned).into_iter().chain(cells).collect()
}

fn ids(brokers: &[BrokerId]) -> String {
    brokers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn json_topic(topic: &Described) -> String {
    let numbers = |brokers: &[BrokerId]| brokers.iter().map(|id| id.0).collect::<Vec<_>>();
    let partition = |row: &Row| {
        json!({
            "partition": row.index,
            "leader": row.leader.map(|id| id.0),
            "replicas": numbers(&row.replicas),
            "isr": numbers(&row.isr),
            "start_offset": row.start,
            "end_offset": row.end,
            "size_bytes": row.size_bytes,
        })
    };
    let configs: serde_json::Map<String, Value> =
        topic.configs.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    json_line(&json!({
        "topic": topic.name,
        "id": topic.id,
        "internal": topic.internal,
        "partitions": topic.partitions.iter().map(partition).collect::<Vec<_>>(),
        "configs": configs,
    }))
}

#[cfg(test)]
mod tests {
    use ottla_client::admin::ConfigSynonym;

    use super::*;

    fn topic() -> Described {
        let row = |index, leader: Option<i32>, isr: &[i32], end: Option<i64>, size_bytes| Row {
            index,
            leader: leader.map(BrokerId),
            replicas: vec![BrokerId(1), BrokerId(2)],
            isr: isr.iter().map(|id| BrokerId(*id)).collect(),
            start: end.map(|_| 0),
            end,
            size_bytes,
        };
        Described {
            name: "orders".to_owned(),
            id: "AQEBAQEBAQEBAQEBAQEBAQ".to_owned(),
            internal: false,
            partitions: vec![
                row(0, Some(1), &[1, 2], Some(1234), Some(2048)),
                row(1, None, &[2], None, None),
            ],
            configs: vec![("retention.ms".to_owned(), Some("1000".to_owned()))],
        }
    }

    #[test]
    fn people_see_a_table_with_what_is_wrong_below() {
        let expected = "\
orders (AQEBAQEBAQEBAQEBAQEBAQ)
PARTITION  LEADER  REPLICAS  ISR  START   END     SIZE
        0       1  1,2       1,2      0  1234  2.0 KiB
        1       -  1,2       2        -     -        -
1 without a leader
1 with replicas out of sync
retention.ms=1000

";
        assert_eq!(told(Style::Terminal { colour: false }, &topic()), expected);
    }

    #[test]
    fn a_setting_is_changed_if_the_topic_has_it_or_it_is_not_the_default() {
        let entry = |source, value: &str| ConfigEntry {
            name: "retention.ms".to_owned(),
            value: Some(value.to_owned()),
            read_only: false,
            sensitive: false,
            source,
            config_type: 5,
            synonyms: vec![ConfigSynonym {
                name: "log.retention.ms".to_owned(),
                value: Some("7".to_owned()),
                source: DEFAULT,
            }],
            documentation: None,
        };
        let cases = [(1, "7", true), (3, "7", false), (3, "8", true), (4, "8", true), (5, "7", false)];
        for (source, value, changed) in cases {
            assert_eq!(is_changed(&entry(source, value)), changed, "{source} {value}");
        }
    }

    #[test]
    fn programs_get_one_line_a_partition_or_a_document() {
        assert_eq!(
            told(Style::Plain, &topic()),
            "orders\t0\t1\t1,2\t1,2\t0\t1234\t2048\norders\t1\t-\t1,2\t2\t-\t-\t-\n"
        );
        let json: Value = serde_json::from_str(&told(Style::Json, &topic())).unwrap();
        assert_eq!(json["partitions"][0]["end_offset"], 1234);
        assert_eq!(json["partitions"][1]["leader"], Value::Null);
        assert_eq!(json["configs"]["retention.ms"], "1000");
    }
}
