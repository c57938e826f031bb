//! What the broker says: which orders and invoices there are, what groups have committed, who is in them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use ottla_client::admin::{GroupState, TransactionState};
use ottla_client::{
    Admin, ClientConfig, Cluster, Consumer, ConsumerConfig, IsolationLevel, OffsetAndMetadata, OffsetSpec,
    Offsets, Seek, TopicPartition,
};
use ottla_wire::batch::Record;
use ottla_wire::{ErrorCode, Timestamp};

use super::troupe::{LOOK_AGAIN, PATIENCE};
use crate::bill::{self, Invoice};
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

    /// The topics of the shops and of the invoices, which MUST be new: with records of others in them, no
    /// count would be right.
    pub async fn make_topics(&self) -> anyhow::Result<()> {
        let there: BTreeSet<String> =
            self.admin.list_topics().await?.into_iter().map(|topic| topic.name).collect();
        let ours = Shop::ALL.map(Shop::topic).into_iter().chain([bill::TOPIC]);
        let old: Vec<&str> = ours.clone().filter(|name| there.contains(*name)).collect();
        ensure!(
            old.is_empty(),
            "there are topics of an earlier play; stop their readers, and `ottla topic delete {}`",
            old.join(" ")
        );
        for topic in ours {
            shop::make_topic(&self.admin, topic).await?;
        }
        Ok(())
    }

    /// Waits until a group is stable with so many members, one of them without a share; with 0, until nobody
    /// is left.
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
        let mut orders = BTreeMap::new();
        self.read(partitions(), IsolationLevel::ReadUncommitted, |partition, record| {
            let place = Place { partition: partition.clone(), offset: record.offset.0 };
            orders.insert(place, record.timestamp);
            Ok(())
        })
        .await?;
        Ok(orders)
    }

    /// The orders that there are invoices for, in no order, as often as there are.
    pub async fn invoiced(&self, isolation: IsolationLevel) -> anyhow::Result<Vec<Place>> {
        let mut invoiced = Vec::new();
        self.read(of_topic(bill::TOPIC).collect(), isolation, |_, record| {
            let invoice = Invoice::from_json(record.value.as_deref().unwrap_or_default())?;
            invoiced.push(invoice.order.parse()?);
            Ok(())
        })
        .await?;
        Ok(invoiced)
    }

    /// Reads all that is in these partitions and that readers of this level may see.
    async fn read(
        &self,
        partitions: Vec<TopicPartition>,
        isolation: IsolationLevel,
        mut each: impl FnMut(&TopicPartition, &Record) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let ends = self.offsets(&partitions, OffsetSpec::Latest, isolation).await?;
        let reading = ConsumerConfig { isolation_level: isolation, ..ConsumerConfig::default() };
        let mut consumer = Consumer::on(self.admin.cluster().clone(), reading);
        consumer.assign(partitions.iter().cloned());
        for partition in &partitions {
            consumer.seek(partition, Seek::Beginning)?;
        }
        let deadline = Instant::now() + PATIENCE;
        let at_end = |consumer: &Consumer| {
            let reached =
                |(of, end): (&TopicPartition, &i64)| consumer.position(of).is_some_and(|at| at.0 >= *end);
            ends.iter().all(reached)
        };
        while !at_end(&consumer) {
            ensure!(Instant::now() < deadline, "the topics cannot be read");
            for of in consumer.poll(Duration::from_millis(500)).await? {
                of.records.iter().try_for_each(|record| each(&of.partition, record))?;
            }
        }
        Ok(())
    }

    /// Whether a transaction of this id is open.
    pub async fn has_open_transaction(&self, transactional_id: &str) -> anyhow::Result<bool> {
        let described = self.admin.describe_transactions(&[transactional_id]).await.remove(transactional_id);
        let described = described.context("the broker did not tell of a transaction")??;
        Ok(described.state == Some(TransactionState::Ongoing))
    }

    /// Waits until a group has committed that it has read all orders.
    pub async fn await_committed(&self, group: &str) -> anyhow::Result<()> {
        let ends = self.offsets(&partitions(), OffsetSpec::Latest, IsolationLevel::ReadUncommitted).await?;
        let deadline = Instant::now() + PATIENCE;
        while self.committed(group, &partitions().into_iter().collect()).await? != ends {
            ensure!(Instant::now() < deadline, "group {group} has not committed all orders");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    /// Waits until no transaction holds up the readers of committed invoices.
    pub async fn await_settled(&self) -> anyhow::Result<()> {
        let invoices: Vec<TopicPartition> = of_topic(bill::TOPIC).collect();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ends = self.offsets(&invoices, OffsetSpec::Latest, IsolationLevel::ReadUncommitted).await?;
            let stable = self.offsets(&invoices, OffsetSpec::Latest, IsolationLevel::ReadCommitted).await?;
            if stable == ends {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "a transaction is still open");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
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
        let level = IsolationLevel::ReadUncommitted;
        let mut found = self.offsets(&partitions(), OffsetSpec::At(to), level).await?;
        let ends = self.offsets(&partitions(), OffsetSpec::Latest, level).await?;
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

    /// Offsets of partitions; a time after the last record has none.
    async fn offsets(
        &self,
        of: &[TopicPartition],
        spec: OffsetSpec,
        isolation: IsolationLevel,
    ) -> anyhow::Result<BTreeMap<TopicPartition, i64>> {
        let asked = of.iter().map(|partition| (partition.clone(), spec)).collect();
        let mut offsets = BTreeMap::new();
        for (partition, outcome) in self.admin.list_offsets(&asked, isolation).await {
            offsets.extend(outcome?.offset.map(|offset| (partition, offset.0)));
        }
        Ok(offsets)
    }
}

pub fn ago(duration: Duration) -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(now.saturating_sub(duration).as_millis()).unwrap_or(i64::MAX))
}

/// Of the shops' topics.
fn partitions() -> Vec<TopicPartition> {
    Shop::ALL.into_iter().flat_map(|shop| of_topic(shop.topic())).collect()
}

fn of_topic(topic: &'static str) -> impl Iterator<Item = TopicPartition> {
    (0..PARTITIONS).map(move |partition| TopicPartition::new(topic, partition))
}
