//! Where to begin, and where to stop.

use std::collections::BTreeMap;

use ottla_client::offsets::Listed;
use ottla_client::{Admin, Consumer, IsolationLevel, OffsetSpec, Seek, TopicPartition};
use ottla_wire::Offset;

use crate::exit::Failure;
use crate::time::Time;

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Beginning,
    End,
    Offset(i64),
    /// So many records of each partition.
    Last(u64),
    Time(Time),
}

/// Goes to where to begin in each partition.
pub async fn seek(
    admin: &Admin,
    consumer: &mut Consumer,
    partitions: &[TopicPartition],
    from: From,
    isolation: IsolationLevel,
) -> Result<(), Failure> {
    let same = match from {
        From::Beginning => Seek::Beginning,
        From::End => Seek::End,
        From::Offset(offset) => Seek::Offset(Offset(offset)),
        From::Time(time) => Seek::Timestamp(time.resolve()),
        From::Last(count) => return seek_to_last(admin, consumer, partitions, count, isolation).await,
    };
    for partition in partitions {
        consumer.seek(partition, same)?;
    }
    Ok(())
}

async fn seek_to_last(
    admin: &Admin,
    consumer: &mut Consumer,
    partitions: &[TopicPartition],
    count: u64,
    isolation: IsolationLevel,
) -> Result<(), Failure> {
    let starts = offsets(admin, partitions, OffsetSpec::Earliest, isolation).await?;
    let ends = offsets(admin, partitions, OffsetSpec::Latest, isolation).await?;
    for (partition, end) in ends {
        let start = starts.get(&partition).copied().unwrap_or(0);
        let first = end.saturating_sub(i64::try_from(count).unwrap_or(i64::MAX)).max(start);
        consumer.seek(&partition, Seek::Offset(Offset(first)))?;
    }
    Ok(())
}

/// The offsets to stop at; without one for a partition, its records have no end.
#[derive(Clone, Debug, Default)]
pub struct Ends(BTreeMap<TopicPartition, i64>);

impl Ends {
    /// Where the logs end now.
    pub async fn now(
        admin: &Admin,
        partitions: &[TopicPartition],
        isolation: IsolationLevel,
    ) -> Result<Ends, Failure> {
        offsets(admin, partitions, OffsetSpec::Latest, isolation).await.map(Ends)
    }

    /// The offset to stop at.
    pub fn of(&self, partition: &TopicPartition) -> i64 {
        self.0.get(partition).copied().unwrap_or(i64::MAX)
    }

    /// Whether there are any.
    pub fn are_set(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether everything before the ends has been given.
    pub fn reached(&self, consumer: &Consumer) -> bool {
        let past = |(partition, end): (&TopicPartition, &i64)| {
            consumer.position(partition).is_some_and(|position| position.0 >= *end)
        };
        self.are_set() && self.0.iter().all(past)
    }
}

async fn offsets(
    admin: &Admin,
    partitions: &[TopicPartition],
    spec: OffsetSpec,
    isolation: IsolationLevel,
) -> Result<BTreeMap<TopicPartition, i64>, Failure> {
    let asked = partitions.iter().map(|partition| (partition.clone(), spec)).collect();
    let listed: Listed = admin.list_offsets(&asked, isolation).await;
    let mut offsets = BTreeMap::new();
    for (partition, outcome) in listed {
        let about = |failure: Failure| failure.about(format_args!("offsets of {partition}"));
        let listed = outcome.map_err(|error| about(error.into()))?;
        let offset = listed.offset.ok_or_else(|| about(Failure::failed("the broker did not tell them")))?;
        offsets.insert(partition, offset.0);
    }
    Ok(offsets)
}
