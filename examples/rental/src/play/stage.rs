//! What the broker says: which orders there are, what groups have committed, who is in them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use ottla_client::admin::GroupState;
use ottla_client::{
    Admin, ClientConfig, Cluster, Consumer, ConsumerConfig, IsolationLevel, OffsetAndMetadata, OffsetSpec,
    Offsets, Seek, TopicPartition,
};
use ottla_wire::{ErrorCode, Timestamp};

use super::troupe::{LOOK_AGAIN, PATIENCE};
use crate::order::{PARTITIONS, Place, Shop};
use crate::shop;

pub struct Stage {
    admin: Admin,
}

impl Stage {
    pub async fn new(bootstrap: &str) -> anyhow::Result<Stage> {
        let client = ClientConfig { client_id: "play".to_owned(), ..ClientConfig::new(bootstrap) };
        let cluster = Cluster::connect(client).await.context("`ottla start` starts a broker")?;
        Ok(Stage { admin: Admin::on(cluster) })
    }

    /// The topics of the shops, which MUST be new: with orders of others in them, no count would be right.
    pub async fn make_topics(&self) -> anyhow::Result<()> {
        let there: BTreeSet<String> =
            self.admin.list_topics().await?.into_iter().map(|topic| topic.name).collect();
        let old: Vec<&str> =
            Shop::ALL.map(Shop::topic).into_iter().filter(|name| there.contains(*name)).collect();
        ensure!(
            old.is_empty(),
            "there are topics of an earlier play; stop their readers, and `ottla topic delete {}`",
            old.join(" ")
        );
        for shop in Shop::ALL {
            shop::make_topic(&self.admin, shop).await?;
        }
        Ok(())
    }

    /// Waits until a group is stable with so many members, one of them without a share; with 0, until nobody is left.
    pub async fn await_shares(&self, group: &str, members: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let wanted = if members == 0 { GroupState::Empty } else { GroupState::Stable };
        loop {
            match self.admin.describe_groups(&[group]).await.remove(group) {
                Some(Ok(described)) => {
                    let idle = described.members.iter().filter(|member| member.assignment.is_empty()).count();
                    let shared =
                        described.members.iter().map(|member| member.assignment.len()).sum::<usize>();
                    let as_wanted = members == 0 || idle == 1 && shared == partitions().len();
                    if described.state == Some(wanted) && described.members.len() == members && as_wanted {
                        return Ok(());
                    }
                }
                // Nobody has joined yet.
                Some(Err(error)) if error.code() == Some(ErrorCode::GroupIdNotFound) => {}
                Some(Err(error)) => return Err(error).context(format!("group {group}")),
                None => anyhow::bail!("the broker did not tell of group {group}"),
            }
            ensure!(Instant::now() < deadline, "group {group} does not come to rest with {members} members");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// All orders, with their times, read without a group.
    pub async fn orders(&self) -> anyhow::Result<BTreeMap<Place, Timestamp>> {
        let ends = self.offsets(OffsetSpec::Latest).await?;
        let mut consumer = Consumer::on(self.admin.cluster().clone(), ConsumerConfig::default());
        consumer.assign(partitions());
        for partition in partitions() {
            consumer.seek(&partition, Seek::Beginning)?;
        }
        let mut orders = BTreeMap::new();
        let deadline = Instant::now() + PATIENCE;
        let at_end = |consumer: &Consumer| {
            let reached =
                |(of, end): (&TopicPartition, &i64)| consumer.position(of).is_some_and(|at| at.0 >= *end);
            ends.iter().all(reached)
        };
        while !at_end(&consumer) {
            ensure!(Instant::now() < deadline, "the orders cannot be read");
            for of in consumer.poll(Duration::from_millis(500)).await? {
                let place = |offset| Place { partition: of.partition.clone(), offset };
                orders.extend(of.records.iter().map(|record| (place(record.offset.0), record.timestamp)));
            }
        }
        Ok(orders)
    }

    /// What a group has committed in these partitions; 0 where nothing, which is where it would begin.
    pub async fn committed(
        &self,
        group: &str,
        of: &BTreeSet<TopicPartition>,
    ) -> anyhow::Result<BTreeMap<TopicPartition, i64>> {
        let asked = BTreeMap::from([(group.to_owned(), Some(of.clone()))]);
        let answered = self.admin.group_offsets(&asked, false).await.remove(group);
        let mut answered = answered.context("the broker did not tell what is committed")??;
        let mut committed = BTreeMap::new();
        for partition in of {
            let offset = answered.remove(partition).transpose()?.flatten().map_or(0, |of| of.offset.0);
            committed.insert(partition.clone(), offset);
        }
        Ok(committed)
    }

    /// Moves a group without members to the first order of this time or later.
    pub async fn reset(&self, group: &str, to: Timestamp) -> anyhow::Result<()> {
        let mut found = self.offsets(OffsetSpec::At(to)).await?;
        let ends = self.offsets(OffsetSpec::Latest).await?;
        let offset = |(partition, end): (TopicPartition, i64)| {
            let offset = found.remove(&partition).unwrap_or(end);
            (partition, OffsetAndMetadata::from(ottla_wire::Offset(offset)))
        };
        let offsets: Offsets = ends.into_iter().map(offset).collect();
        for (partition, outcome) in self.admin.alter_group_offsets(group, &offsets).await? {
            outcome.with_context(|| format!("the offset of {partition} was not moved"))?;
        }
        Ok(())
    }

    /// Offsets of all partitions; a time after the last order has none.
    async fn offsets(&self, spec: OffsetSpec) -> anyhow::Result<BTreeMap<TopicPartition, i64>> {
        let asked = partitions().into_iter().map(|partition| (partition, spec)).collect();
        let mut offsets = BTreeMap::new();
        for (partition, outcome) in self.admin.list_offsets(&asked, IsolationLevel::ReadUncommitted).await {
            offsets.extend(outcome?.offset.map(|offset| (partition, offset.0)));
        }
        Ok(offsets)
    }
}

pub fn ago(duration: Duration) -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(now.saturating_sub(duration).as_millis()).unwrap_or(i64::MAX))
}

fn partitions() -> Vec<TopicPartition> {
    let of = |shop: Shop| (0..PARTITIONS).map(move |partition| TopicPartition::new(shop.topic(), partition));
    Shop::ALL.into_iter().flat_map(of).collect()
}
