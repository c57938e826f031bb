//! Partitions as they are selected on the command line.

use std::collections::BTreeSet;
use std::str::FromStr;

use ottla_client::{Admin, TopicPartition};

use crate::exit::Failure;

/// `TOPIC` or `TOPIC:N,N`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    pub topic: String,
    /// All if empty.
    pub partitions: Vec<i32>,
}

impl FromStr for Selected {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Selected, &'static str> {
        const FORM: &str = "it must be TOPIC or TOPIC:N,N";
        let (topic, partitions) = match text.split_once(':') {
            None => (text, Vec::new()),
            Some((topic, numbers)) => {
                let number = |text: &str| text.parse::<u16>().map(i32::from).map_err(|_| FORM);
                (topic, numbers.split(',').map(number).collect::<Result<Vec<i32>, _>>()?)
            }
        };
        if topic.is_empty() {
            return Err(FORM);
        }
        Ok(Selected { topic: topic.to_owned(), partitions })
    }
}

/// The partitions that are selected, which MUST exist.
pub async fn existing(admin: &Admin, selected: &[Selected]) -> Result<BTreeSet<TopicPartition>, Failure> {
    let names: Vec<&str> = selected.iter().map(|of| of.topic.as_str()).collect();
    let described = admin.describe_topics(&names).await?;
    let mut partitions = BTreeSet::new();
    for Selected { topic: name, partitions: numbers } in selected {
        let topic = match described.get(name) {
            Some(Ok(topic)) => topic,
            Some(Err(error)) => {
                return Err(Failure::from(error.clone()).about(format_args!("topic {name}")));
            }
            None => return Err(Failure::failed(format!("the broker did not tell of topic {name}"))),
        };
        if let Some(wrong) = numbers.iter().find(|number| topic.partition(**number).is_none()) {
            let count = topic.partitions.len();
            return Err(Failure::usage(format!(
                "topic {name} has {count} partitions: there is no partition {wrong}"
            )));
        }
        let all = topic.partitions.iter().map(|partition| partition.index);
        let chosen = all.filter(|index| numbers.is_empty() || numbers.contains(index));
        partitions.extend(chosen.map(|index| TopicPartition::new(name.as_str(), index)));
    }
    Ok(partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_with_and_without_partitions() {
        let selected = |topic: &str, partitions: &[i32]| {
            Ok(Selected { topic: topic.to_owned(), partitions: partitions.to_vec() })
        };
        assert_eq!("t".parse(), selected("t", &[]));
        assert_eq!("t.x:0,2".parse(), selected("t.x", &[0, 2]));
        for wrong in ["", ":1", "t:", "t:x", "t:-1", "t:1,"] {
            assert!(wrong.parse::<Selected>().is_err(), "{wrong}");
        }
    }
}
