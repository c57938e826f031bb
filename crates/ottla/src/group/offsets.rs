//! Offsets of partitions and of groups, as the commands need them.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::{Admin, Error, IsolationLevel, OffsetSpec, TopicPartition};

use crate::exit::Failure;

/// Offsets by partition.
pub type ByPartition = BTreeMap<TopicPartition, i64>;

/// All that a group has committed. One that does not exist has committed nothing.
pub async fn committed(admin: &Admin, group: &str) -> Result<ByPartition, Failure> {
    let asked = BTreeMap::from([(group.to_owned(), None)]);
    let outcome = admin.group_offsets(&asked, false).await.remove(group);
    let about = |error: Error| Failure::from(error).about(format_args!("group {group}"));
    let answered = outcome.transpose().map_err(about)?;
    let Some(answered) = answered else {
        return Err(Failure::failed(format!("the broker did not tell what group {group} has committed")));
    };
    let mut committed = ByPartition::new();
    for (partition, outcome) in answered {
        match outcome {
            Ok(Some(of)) => drop(committed.insert(partition, of.offset.0)),
            Ok(None) => {}
            Err(error) => return Err(about(error.into()).about(&partition)),
        }
    }
    Ok(committed)
}

/// Offsets of partitions, and what could not be found out. A time after the last record has no offset and is
/// left out.
pub async fn listed(
    admin: &Admin,
    partitions: &BTreeSet<TopicPartition>,
    spec: OffsetSpec,
) -> (ByPartition, BTreeMap<TopicPartition, Error>) {
    let asked = partitions.iter().map(|partition| (partition.clone(), spec)).collect();
    let mut errors = BTreeMap::new();
    let mut offsets = ByPartition::new();
    for (partition, outcome) in admin.list_offsets(&asked, IsolationLevel::ReadUncommitted).await {
        match outcome {
            Ok(listed) => offsets.extend(listed.offset.map(|offset| (partition, offset.0))),
            Err(error) => drop(errors.insert(partition, error)),
        }
    }
    (offsets, errors)
}
