//! `ottla group delete-offsets`.

use std::collections::BTreeSet;

use ottla_client::{Admin, Error, TopicPartition};
use serde_json::json;

use super::args::{DeleteOffsetsArgs, Selected};
use super::offsets;
use crate::exit::{Exit, Failure};
use crate::output::{Style, json_line, print};

pub async fn run(admin: &Admin, style: Style, args: DeleteOffsetsArgs) -> Result<Exit, Failure> {
    let DeleteOffsetsArgs { group, topics } = args;
    // What was committed, rather than what there is: the topic may be deleted.
    let committed = offsets::committed(admin, &group).await?;
    let (chosen, nothing) = chosen(committed.keys(), &topics);
    if let Some(topic) = nothing {
        return Err(Failure::failed(format!("group {group} has committed nothing for {topic}"))
            .hint("`ottla group describe` shows what a group has committed"));
    }
    let about = |error: Error| Failure::from(error).about(format_args!("group {group}"));
    let outcomes = admin.delete_group_offsets(&group, &chosen).await.map_err(about)?;
    let mut exit = Exit::Clean;
    for partition in &chosen {
        match outcomes.get(partition) {
            Some(Ok(())) => {
                print(told(style, &group, partition))?;
            }
            Some(Err(error)) => {
                about(error.clone().into()).about(partition).print();
                exit = Exit::Failed;
            }
            None => {
                return Err(Failure::failed(format!(
                    "the broker did not say what became of the offset of {partition}"
                )));
            }
        }
    }
    Ok(exit)
}

/// The committed partitions that are selected, and the first selection of which nothing is committed.
fn chosen<'a>(
    committed: impl Iterator<Item = &'a TopicPartition> + Clone,
    selected: &[Selected],
) -> (BTreeSet<TopicPartition>, Option<String>) {
    let mut chosen = BTreeSet::new();
    let mut nothing = None;
    for Selected { topic, partitions } in selected {
        let of_topic = committed.clone().filter(|of| of.topic.as_str() == topic);
        let mut found: BTreeSet<i32> = of_topic.map(|of| of.partition).collect();
        let missing = partitions.iter().find(|partition| !found.contains(partition));
        if let Some(missing) = missing {
            nothing.get_or_insert(format!("partition {missing} of topic {topic}"));
        } else if found.is_empty() {
            nothing.get_or_insert(format!("topic {topic}"));
        }
        found.retain(|partition| partitions.is_empty() || partitions.contains(partition));
        chosen.extend(found.into_iter().map(|partition| TopicPartition::new(topic.as_str(), partition)));
    }
    (chosen, nothing)
}

fn told(style: Style, group: &str, of: &TopicPartition) -> String {
    match style {
        Style::Json => json_line(
            &json!({ "group": group, "topic": of.topic.as_str(), "partition": of.partition, "deleted": true }),
        ),
        Style::Terminal { .. } | Style::Plain => format!("deleted the offset of {of}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_committed_can_be_chosen() {
        let of = |topic: &str, partition| TopicPartition::new(topic, partition);
        let committed = [of("a", 0), of("a", 2), of("b", 0)];
        let cases: [(&str, &[TopicPartition], Option<&str>); 4] = [
            ("a", &[of("a", 0), of("a", 2)], None),
            ("a:2", &[of("a", 2)], None),
            ("a:1", &[], Some("partition 1 of topic a")),
            ("c", &[], Some("topic c")),
        ];
        for (selected, expected, nothing) in cases {
            let (found, missing) = chosen(committed.iter(), &[selected.parse().unwrap()]);
            assert_eq!(found, expected.iter().cloned().collect(), "{selected}");
            assert_eq!(missing.as_deref(), nothing, "{selected}");
        }
    }
}
